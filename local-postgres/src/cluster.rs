//! How does a cluster come into being, and who made this one?

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::binaries::Binaries;
use crate::folder::DataFolder;
use crate::leftovers::remove;
use crate::log::last_complaint;
use crate::process::end_with_parent;
use crate::user::User;
use crate::{Durability, Error};

/// The superuser of every cluster that we make.
pub(crate) const SUPERUSER: &str = "clientele";

/// The locales to try. The first sorts like the second, by code point, but knows which letters
/// are letters beyond ASCII; not every machine has it.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];

/// The major version that made the cluster, if there is one.
pub(crate) fn major(folder: &DataFolder) -> Result<Option<u32>, Error> {
    let cluster = folder.cluster();
    if !cluster.exists() {
        return Ok(None);
    }
    let file = cluster.join("PG_VERSION");
    let version = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    version.map(Some).ok_or_else(|| damaged(folder, &file))
}

/// A name for the cluster that no other one on this machine has. It is in the title of each of
/// its processes, where `ps` and the next start can see to whom they belong.
pub(crate) fn cluster_name(cluster: &Path) -> io::Result<String> {
    let found = fs::metadata(cluster)?;
    Ok(format!("clientele-{:x}-{:x}", found.dev(), found.ino()))
}

/// The superuser's password.
pub(crate) fn password(folder: &DataFolder) -> Result<String, Error> {
    let file = folder.password();
    let password = fs::read_to_string(&file).map_err(|_| damaged(folder, &file))?;
    Ok(password.trim().to_owned())
}

fn damaged(folder: &DataFolder, missing: &Path) -> Error {
    Error::Damaged { folder: folder.path().to_owned(), missing: missing.to_owned() }
}

/// Makes a cluster. It gets its name when it is complete, so that an interrupted attempt leaves
/// nothing that looks like one; the next attempt begins anew, with a new password.
pub(crate) fn create(
    binaries: &Binaries,
    user: &User,
    folder: &DataFolder,
    durability: Durability,
) -> Result<(), Error> {
    let unusable = || Error::folder(folder.path());
    let password = new_password().map_err(unusable())?;
    write_private(&folder.password(), &password).map_err(unusable())?;

    remove_abandoned_nurseries(folder);
    let nursery =
        folder.new_nursery(OsRng.try_next_u32().map_err(io::Error::other).map_err(unusable())?);
    let mut outcome = Err(String::new());
    for locale in LOCALES {
        begin_nursery(&nursery, &password, user).map_err(unusable())?;
        outcome = initdb(binaries, user, &nursery, durability, locale);
        remove(&nursery.join("password")).map_err(unusable())?;
        match &outcome {
            Err(reason) if reason.contains("locale") => {}
            _ => break,
        }
    }
    outcome.map_err(|reason| Error::NotCreated { folder: folder.path().to_owned(), reason })?;

    fs::rename(nursery.join("cluster"), folder.cluster())
        .and_then(|()| fs::remove_dir(&nursery))
        .and_then(|()| File::open(folder.path())?.sync_all())
        .map_err(unusable())
}

/// A folder in which the server's user can run initdb, with the password in it.
fn begin_nursery(nursery: &Path, password: &str, user: &User) -> io::Result<()> {
    if nursery.exists() {
        fs::remove_dir_all(nursery)?;
    }
    user.make_own_folder(nursery)?;
    let password_file = nursery.join("password");
    write_private(&password_file, password)?;
    user.own(&password_file)
}

/// Removes what interrupted attempts have left. The initdb of a killed program may still be
/// cleaning up behind itself, so that one of us can fail; the next start will do the rest.
fn remove_abandoned_nurseries(folder: &DataFolder) {
    for nursery in folder.nurseries() {
        let _ = fs::remove_dir_all(nursery);
    }
}

fn initdb(
    binaries: &Binaries,
    user: &User,
    nursery: &Path,
    durability: Durability,
    locale: &str,
) -> Result<(), String> {
    let mut command = binaries.command("initdb", user);
    command
        .arg("--pgdata")
        .arg(nursery.join("cluster"))
        .arg("--pwfile")
        .arg(nursery.join("password"))
        .args(["--username", SUPERUSER, "--auth", "scram-sha-256"])
        .args(["--encoding", "UTF8", "--locale", locale, "--no-instructions"])
        .arg(match durability {
            Durability::Kept => "--data-checksums",
            Durability::Throwaway => "--no-sync",
        });
    end_with_parent(&mut command);
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(last_complaint(&said).unwrap_or_else(|| format!("initdb ended with {}", output.status)))
}

/// 256 random bits in letters that no URL has to escape.
fn new_password() -> io::Result<String> {
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Writes a file that its owner alone may read, even if it was there with other rights.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    if path.exists() {
        fs::remove_file(path)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_differ() {
        let (one, other) = (new_password().unwrap(), new_password().unwrap());
        assert_eq!(one.len(), 64);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(one, other);
    }
}
