//! What can go wrong, and what does the user do about it?
//!
//! Every failure is one plain sentence that ends in something to do; no other file words one.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::binaries::OLDEST_MAJOR;

/// Why there is no server. Its `Display` is one sentence for a person at a terminal.
#[derive(Debug)]
pub enum Error {
    /// The setting names neither a known word nor an absolute path.
    UnknownSource(String),
    /// PostgreSQL is not installed and could not be fetched.
    NoPostgres { reason: String },
    /// The named folder is not the `bin` folder of PostgreSQL.
    NotBinaries { folder: PathBuf, missing: &'static str },
    /// The programs are there but do not run.
    BinariesFail { folder: PathBuf, reason: String },
    /// The programs are older than we support.
    TooOld { folder: PathBuf, version: String },
    /// The cluster was made by another major version than the programs.
    OtherMajor { folder: PathBuf, cluster: u32, reason: String },
    /// The folder cannot be made, read or written.
    Folder { folder: PathBuf, reason: io::Error },
    /// The user that PostgreSQL runs as cannot pass through a parent of the folder.
    Unreachable { folder: PathBuf, closed: PathBuf, user: String },
    /// We are root, which PostgreSQL refuses to be, and there is nobody to become.
    NobodyToBecome,
    /// Another process holds the folder.
    InUse { folder: PathBuf, process: Option<u32> },
    /// A server of an earlier run does not end.
    LeftOver { folder: PathBuf, process: u32 },
    /// A file that belongs to the cluster is missing or unreadable.
    Damaged { folder: PathBuf, missing: PathBuf },
    /// `initdb` failed.
    NotCreated { folder: PathBuf, reason: String },
    /// `postgres` ended before it was ready.
    NotStarted { log: PathBuf, reason: String },
    /// `postgres` runs but neither becomes ready nor says anything.
    Silent { log: PathBuf, waited: Duration },
    /// `postgres` survived every signal.
    NotStopped { process: u32 },
    /// The runtime ended under our feet.
    Interrupted,
}

impl Error {
    /// Words an input or output error about `folder`, for `map_err`.
    pub(crate) fn folder(folder: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let folder = folder.to_owned();
        move |reason| Self::Folder { folder, reason }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSource(setting) => write!(
                f,
                "“{setting}” does not say where PostgreSQL is: set CLIENTELE_POSTGRES to “search”, “fetch” or the absolute path of a bin folder."
            ),
            Self::NoPostgres { reason } => write!(
                f,
                "PostgreSQL {OLDEST_MAJOR} or newer is not available here ({reason}): install it (Debian, Ubuntu: “apt install postgresql”; macOS: “brew install postgresql@18”) or set CLIENTELE_POSTGRES to the bin folder that holds it."
            ),
            Self::NotBinaries { folder, missing } => write!(
                f,
                "The folder {} holds no “{missing}”: set CLIENTELE_POSTGRES to the bin folder of a PostgreSQL server, such as /usr/lib/postgresql/18/bin, or leave it empty to search for one.",
                folder.display()
            ),
            Self::BinariesFail { folder, reason } => write!(
                f,
                "The PostgreSQL in {} does not run ({reason}): repair it or set CLIENTELE_POSTGRES to the bin folder of another one.",
                folder.display()
            ),
            Self::TooOld { folder, version } => write!(
                f,
                "The PostgreSQL in {} is version {version}: install version {OLDEST_MAJOR} or newer and set CLIENTELE_POSTGRES to its bin folder, or leave it empty to search for one.",
                folder.display()
            ),
            Self::OtherMajor { folder, cluster, reason } => write!(
                f,
                "The data in {} was written by PostgreSQL {cluster} ({reason}): install PostgreSQL {cluster}, or choose another data folder to begin with an empty database.",
                folder.display()
            ),
            Self::Folder { folder, reason } => write!(
                f,
                "The folder {} cannot be used ({reason}): make it writable for this user or choose another one.",
                folder.display()
            ),
            Self::Unreachable { folder, closed, user } => write!(
                f,
                "PostgreSQL does not run as root but as the user “{user}”, who may not pass through {}: choose another folder than {}, or open that one with “chmod o+x”.",
                closed.display(),
                folder.display()
            ),
            Self::NobodyToBecome => f.write_str(
                "PostgreSQL does not run as root, and there is no user “postgres” or “nobody” to run it as: create one, or start this program as an ordinary user.",
            ),
            Self::InUse { folder, process } => {
                let process = process.map(|id| format!(" (process {id})")).unwrap_or_default();
                write!(
                    f,
                    "The data folder {} is already in use by another running Clientele{process}: stop that one first or choose another data folder.",
                    folder.display()
                )
            }
            Self::LeftOver { folder, process } => write!(
                f,
                "A PostgreSQL that an earlier run left behind (process {process}) still works in {}: end it with “kill -INT {process}” and start again.",
                folder.display()
            ),
            Self::Damaged { folder, missing } => write!(
                f,
                "The data folder {} is damaged, {} is missing or unreadable: restore it from a backup, or choose another data folder to begin with an empty database.",
                folder.display(),
                missing.display()
            ),
            Self::NotCreated { folder, reason } => write!(
                f,
                "The database in {} could not be created ({reason}): remove that cause and start again.",
                folder.display()
            ),
            Self::NotStarted { log, reason } => write!(
                f,
                "PostgreSQL did not start ({reason}): remove that cause and start again; its log is {}.",
                log.display()
            ),
            Self::Silent { log, waited } => write!(
                f,
                "PostgreSQL was not ready and said nothing for {} seconds: look into its log {} and start again.",
                waited.as_secs(),
                log.display()
            ),
            Self::NotStopped { process } => write!(
                f,
                "PostgreSQL (process {process}) does not end: the kernel holds it, most likely for a disk that does not answer; look there first."
            ),
            Self::Interrupted => {
                f.write_str("PostgreSQL was not started because this program is ending: start it again.")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder { reason, .. } => Some(reason),
            _ => None,
        }
    }
}
