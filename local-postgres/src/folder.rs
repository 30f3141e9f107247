//! Where does everything live?

use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{self, Path, PathBuf};

use crate::Error;
use crate::user::User;

/// Where the data of this user are kept unless somebody says otherwise.
///
/// `$XDG_DATA_HOME/clientele` or `~/.local/share/clientele`, on macOS
/// `~/Library/Application Support/clientele`; as root `/var/lib/clientele`, because the server
/// runs as another user, who has no business in root's home.
pub fn default_data_folder() -> PathBuf {
    const OF_MACHINE: &str = "/var/lib/clientele";
    const BELOW_HOME: &str =
        if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/share" };

    if rustix::process::geteuid().is_root() {
        return OF_MACHINE.into();
    }
    let chosen = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let of_user = chosen.or_else(|| env::home_dir().map(|home| home.join(BELOW_HOME)));
    of_user.map_or(OF_MACHINE.into(), |folder| folder.join("clientele"))
}

const NURSERY_PREFIX: &str = "cluster.new-";

/// A data folder and the names of what is in it.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder(PathBuf);

impl DataFolder {
    /// Makes the folder when it is missing, passable for the server's user.
    pub fn prepare(folder: &Path, user: &User) -> Result<Self, Error> {
        let folder = path::absolute(folder).map_err(Error::folder(folder))?;
        make(&folder, user).map_err(Error::folder(&folder))?;
        // The server's command line tells its folder; only one spelling of it can be recognised.
        let folder = folder.canonicalize().map_err(Error::folder(&folder))?;
        user.check_reach(&folder)?;
        Ok(Self(folder))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub fn password(&self) -> PathBuf {
        self.0.join("password")
    }

    pub fn cluster(&self) -> PathBuf {
        Self::cluster_in(&self.0)
    }

    /// Where the cluster is in a data folder that may not be one yet.
    pub fn cluster_in(folder: &Path) -> PathBuf {
        folder.join("cluster")
    }

    /// Where a cluster is made before it gets its name.
    pub fn new_nursery(&self, number: u32) -> PathBuf {
        self.0.join(format!("{NURSERY_PREFIX}{number:08x}"))
    }

    /// All folders in which that was begun and not finished.
    pub fn nurseries(&self) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(NURSERY_PREFIX))
            .map(|entry| entry.path())
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }

    pub fn log(&self) -> PathBuf {
        self.0.join("postgres.log")
    }
}

/// Makes `folder` and its parents. One that exists and is not empty keeps its permissions: it
/// may be somebody's home, and to open that is not ours to decide.
fn make(folder: &Path, user: &User) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        make_public(parent)?;
    }
    match user.make_passable_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_dir(folder)?.next().is_none() && user.check_reach(folder).is_err() {
                user.open_passage(folder)?;
            }
            Ok(())
        }
        outcome => outcome,
    }
}

/// Makes a folder that everybody may read, and its parents.
pub(crate) fn make_public(folder: &Path) -> io::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(folder);
    made.map_err(|error| match error.kind() {
        // “File exists” would be true of a parent but tell nobody what is wrong with it.
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    })
}
