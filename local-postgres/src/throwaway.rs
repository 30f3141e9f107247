//! Where do tests put what nobody needs afterwards?

use std::env;
use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;

use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::folder::DataFolder;
use crate::user::User;
use crate::{Error, leftovers};

const PREFIX: &str = "clientele-test-";

/// The file in it that names the process it belongs to.
const OWNER: &str = "owner";

/// A folder that is removed on drop. Declare it before the server that lives in it, so that it
/// is dropped after that one. In a `static` it is never dropped; a later process sweeps it up.
#[derive(Debug)]
pub struct ThrowawayFolder {
    path: PathBuf,
    /// Tells other processes, by its lock, that this one lives.
    _held: File,
}

/// Makes a fresh folder under the system's temporary one, which the server's user can reach, and
/// removes those that dead processes of the same user have left there.
pub fn throwaway_folder(label: &str) -> Result<ThrowawayFolder, Error> {
    let user = User::of_new_folder()?;
    let parent = [env::temp_dir(), "/tmp".into()]
        .into_iter()
        .find(|parent| user.check_reach(parent).is_ok());
    let parent = parent.unwrap_or_else(env::temp_dir);
    sweep(&parent);

    let unusable = || Error::folder(&parent);
    let number = OsRng.try_next_u32().map_err(io::Error::other).map_err(unusable())?;
    let path = parent.join(format!("{PREFIX}{label}-{number:08x}"));
    user.make_passable_folder(&path).map_err(unusable())?;
    let held = hold(&path).map_err(unusable())?;
    Ok(ThrowawayFolder { path, _held: held })
}

/// Locks a folder and writes the owner into it; in this order, for what names an owner and is
/// not locked is swept.
fn hold(path: &Path) -> io::Result<File> {
    let held = File::open(path)?;
    held.lock()?;
    fs::write(path.join(OWNER), format!("{}\n", process::id()))?;
    Ok(held)
}

impl ThrowawayFolder {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Deref for ThrowawayFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for ThrowawayFolder {
    fn drop(&mut self) {
        // What cannot be removed now is swept later.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn sweep(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for folder in entries.map(|entry| entry.path()).filter(|path| is_abandoned(path)) {
        // Another process may sweep at the same time.
        let _ = fs::remove_dir_all(folder);
    }
}

/// Whether a folder is of our making and our user, and nobody lives in it any more: neither the
/// process that made it nor a server that is still about to follow that process.
fn is_abandoned(path: &Path) -> bool {
    let named_ours =
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
    named_ours
        && fs::symlink_metadata(path).is_ok_and(|folder| {
            folder.is_dir() && folder.uid() == rustix::process::geteuid().as_raw()
        })
        && path.join(OWNER).is_file()
        && File::open(path).is_ok_and(|folder| folder.try_lock().is_ok())
        && User::of_folder(path)
            .is_ok_and(|user| leftovers::workers(&DataFolder::cluster_in(path), &user).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_processes_are_swept() {
        let parent = throwaway_folder("sweep").unwrap();
        let named = |name: &str| parent.join(format!("{PREFIX}{name}"));
        for name in ["dead", "alive", "newborn"] {
            fs::create_dir(named(name)).unwrap();
        }
        fs::create_dir(parent.join("foreign")).unwrap();
        drop(hold(&named("dead")).unwrap());
        drop(hold(&parent.join("foreign")).unwrap());
        let _alive = hold(&named("alive")).unwrap();

        sweep(&parent);
        assert!(!named("dead").exists());
        assert!(named("alive").exists());
        assert!(named("newborn").exists(), "its owner is about to lock it");
        assert!(parent.join("foreign").exists());
    }
}
