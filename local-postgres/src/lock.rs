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
    held: File,
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
        Ok(Self { held: file })
    }
}

impl Drop for FolderLock {
    /// Closing the file is not enough while this program lives: a process that another thread
    /// has just forked has the file too, until it becomes another program.
    fn drop(&mut self) {
        // Where this fails the file is closed all the same.
        let _ = self.held.unlock();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throwaway_folder;
    use crate::user::User;

    #[test]
    fn a_lock_that_is_given_back_can_be_taken_though_a_forked_process_has_its_file() {
        let path = throwaway_folder("lock").unwrap();
        let folder = DataFolder::prepare(&path, &User::of_new_folder().unwrap()).unwrap();
        let lock = FolderLock::take(&folder).unwrap();
        let forked = lock.held.try_clone().unwrap();
        let refusal = FolderLock::take(&folder).unwrap_err();
        let Error::InUse { process, .. } = refusal else { panic!("{refusal}") };
        assert_eq!(process, Some(process::id()));

        drop(lock);
        FolderLock::take(&folder).unwrap();
        drop(forked);
    }
}
