//! Where are letters while there is no mail server?

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use service_kit::{clock, keys::random};

/// Writes a letter into a file of its own and says which. Only the user that we run as may
/// read it, and the folder if it was not there before.
pub fn write(folder: &Path, data: &[u8]) -> io::Result<PathBuf> {
    create(folder)?;
    let time = clock::now().format("%Y%m%dT%H%M%S%.3fZ");
    let path = folder.join(format!("{time}-{}.eml", hex::encode(random::<8>())));
    // Whoever watches the folder for letters never meets half of one.
    let unfinished = path.with_extension("part");
    let written = write_file(&unfinished, data).and_then(|()| fs::rename(&unfinished, &path));
    if written.is_err() {
        _ = fs::remove_file(&unfinished);
    }
    written.map(|()| path)
}

fn create(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn write_file(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(data)
}
