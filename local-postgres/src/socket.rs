//! Where is the socket, the only way in?
//!
//! In the data folder, unless its path is too long for a socket's address; then in a folder
//! under the temporary one, to which the name in the data folder is a link. So the next start
//! finds and removes it, should this program be killed.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::Error;
use crate::folder::DataFolder;
use crate::user::User;

/// How long a socket's path may be, in bytes.
const PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The file that PostgreSQL makes in the folder.
const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// How the names of folders elsewhere begin.
const ELSEWHERE_PREFIX: &str = "clientele-socket-";

/// A folder for the server's user alone, removed on drop.
#[derive(Debug)]
pub(crate) struct SocketFolder {
    path: PathBuf,
    name: PathBuf,
}

impl SocketFolder {
    /// Makes the folder anew, so that nothing stale is in it.
    pub fn make(folder: &DataFolder, user: &User) -> Result<Self, Error> {
        let name = folder.socket();
        remove(&name, user).map_err(Error::folder(&name))?;
        if fits(&name) {
            user.make_own_folder(&name).map_err(Error::folder(&name))?;
            return Ok(Self { path: name.clone(), name });
        }
        let path = elsewhere(user).map_err(Error::folder(&name))?;
        user.make_own_folder(&path)
            .and_then(|()| symlink(&path, &name))
            .map_err(Error::folder(&path))?;
        Ok(Self { path, name })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFolder {
    fn drop(&mut self) {
        // What stays is removed by the next start.
        for folder in [&self.path, &self.name] {
            let _ = fs::remove_dir_all(folder).or_else(|_| fs::remove_file(folder));
        }
    }
}

fn fits(folder: &Path) -> bool {
    folder.as_os_str().len() + "/".len() + SOCKET_NAME.len() <= PATH_LIMIT
}

/// A new name under the first temporary folder that is short enough and open to the user.
fn elsewhere(user: &User) -> io::Result<PathBuf> {
    let name =
        format!("{ELSEWHERE_PREFIX}{:016x}", OsRng.try_next_u64().map_err(io::Error::other)?);
    let mut parents = [env::temp_dir(), "/tmp".into()].into_iter();
    parents
        .find(|parent| user.check_reach(parent).is_ok() && fits(&parent.join(&name)))
        .map(|parent| parent.join(name))
        .ok_or_else(|| io::Error::other("its path is too long for a socket"))
}

/// Removes what an earlier run left under `name`, and what it points to if that was ours.
fn remove(name: &Path, user: &User) -> io::Result<()> {
    let found = match fs::symlink_metadata(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.is_symlink() {
        return fs::remove_dir_all(name);
    }
    let target = fs::read_link(name)?;
    let is_ours =
        target.file_name().is_some_and(|name| name.to_string_lossy().starts_with(ELSEWHERE_PREFIX))
            && fs::symlink_metadata(&target)
                .is_ok_and(|found| found.is_dir() && found.uid() == user.uid());
    if is_ours {
        fs::remove_dir_all(target)?;
    }
    fs::remove_file(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throwaway_folder;

    fn data_folder(path: &Path) -> (DataFolder, User) {
        let user = User::of_folder(path).unwrap();
        (DataFolder::prepare(path, &user).unwrap(), user)
    }

    #[test]
    fn a_short_path_holds_the_socket_itself() {
        let folder = throwaway_folder("s").unwrap();
        let (data, user) = data_folder(&folder.join("d"));
        let socket = SocketFolder::make(&data, &user).unwrap();
        assert_eq!(socket.path(), data.socket());
        drop(socket);
        assert!(!data.socket().exists());
    }

    #[test]
    fn a_long_path_holds_a_link_that_the_next_start_follows_to_clean_up() {
        let folder = throwaway_folder("s").unwrap();
        let (data, user) = data_folder(&folder.join("d".repeat(100)));
        let first = SocketFolder::make(&data, &user).unwrap();
        assert!(fits(first.path()));
        assert_eq!(fs::read_link(data.socket()).unwrap(), first.path());
        let abandoned = first.path().to_owned();
        std::mem::forget(first);

        let second = SocketFolder::make(&data, &user).unwrap();
        assert!(!abandoned.exists());
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists());
        assert!(fs::symlink_metadata(data.socket()).is_err());
    }

    #[test]
    fn a_link_to_something_else_is_removed_and_the_target_left_alone() {
        let folder = throwaway_folder("s").unwrap();
        let (data, user) = data_folder(&folder.join("d"));
        let precious = folder.join("precious");
        fs::create_dir(&precious).unwrap();
        symlink(&precious, data.socket()).unwrap();
        drop(SocketFolder::make(&data, &user).unwrap());
        assert!(precious.is_dir());
    }
}
