//! Who works in this folder?

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process;

use crate::Error;
use crate::folder::DataFolder;

/// The exclusive right to a data folder.
///
/// The kernel gives it back when the file is closed, so that it outlives no program, however
/// that one ends. The server does not inherit it.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _held: File,
}

impl FolderLock {
    pub fn take(folder: &DataFolder) -> Result<Self, Error> {
        let unusable = || Error::folder(folder.path());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.lock())
            .map_err(unusable())?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = read_process(&mut file);
                return Err(Error::InUse { folder: folder.path().to_owned(), process });
            }
            Err(TryLockError::Error(error)) => return Err(unusable()(error)),
        }
        write_process(&mut file).map_err(unusable())?;
        Ok(Self { _held: file })
    }
}

fn write_process(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", process::id())
}

fn read_process(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
