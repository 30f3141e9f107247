//! How does a server start, and how does it stop?

use std::fmt;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::binaries::{self, Binaries};
use crate::cluster;
use crate::folder::DataFolder;
use crate::leftovers;
use crate::lock::FolderLock;
use crate::log::Log;
use crate::options::{PORT, options};
use crate::process::Process;
use crate::socket::SocketFolder;
use crate::user::User;
use crate::{Error, Settings, blocking};

/// How long a starting server may be silent. While it recovers it reports every 10 seconds.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// How long we wait for the memory that a crashed server's children still hold.
const MEMORY_LIMIT: Duration = Duration::from_secs(30);

/// How long a fast shutdown may take, most of it for the last checkpoint.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// The same on drop, where somebody waits without having asked to.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// A running PostgreSQL. It stops when this is dropped, and when the program ends.
pub struct Server {
    process: Process,
    socket: SocketFolder,
    password: String,
    binaries: Binaries,
    folder: DataFolder,
    user: User,
    /// Given back last, when the server is gone.
    _lock: FolderLock,
}

/// What is decided before the programs are chosen.
struct Prepared {
    user: User,
    folder: DataFolder,
    lock: FolderLock,
    major: Option<u32>,
}

impl Server {
    /// Starts the server of a data folder, which is made when it is missing and recovered when
    /// it was not shut down in order.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let folder = settings.folder.clone();
        let prepared = blocking(move || Prepared::new(&folder)).await?;
        let binaries = prepared.choose_binaries(&settings).await?;
        blocking(move || prepared.start(binaries, &settings)).await
    }

    /// A `postgres://` URL for this database. It holds the password.
    pub fn url(&self, database: &str) -> String {
        let host = percent_encode(&self.socket.path().to_string_lossy());
        let database = percent_encode(database);
        // Said here, because clients read PGSSLMODE where a URL says nothing; there is no TLS on
        // a socket.
        let rest = format!("{host}:{PORT}/{database}?sslmode=disable");
        format!("postgres://{}:{}@{rest}", self.user(), self.password)
    }

    /// The folder that holds the server's socket.
    pub fn socket_folder(&self) -> &Path {
        self.socket.path()
    }

    /// The number in the socket's name. There is no TCP port.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// The superuser.
    pub fn user(&self) -> &str {
        cluster::SUPERUSER
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The version of PostgreSQL, such as `18.4`.
    pub fn version(&self) -> &str {
        &self.binaries.version
    }

    /// The folder that holds the programs.
    pub fn binaries(&self) -> &Path {
        &self.binaries.folder
    }

    /// Shuts down in order: transactions are rolled back, a checkpoint is written.
    pub async fn stop(self) -> Result<(), Error> {
        blocking(move || self.end(STOP_LIMIT)).await
    }

    fn end(&self, limit: Duration) -> Result<(), Error> {
        if !self.process.end(limit) {
            let process = self.process.id();
            return Err(Error::NotStopped { process });
        }
        // A server that was killed could not take its children along.
        leftovers::clear(&self.folder, &self.user)
    }
}

/// Without the password, which has no business in a log.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("folder", &self.folder.path())
            .field("process", &self.process.id())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` there is nothing to do, and nobody waits for the answer.
        if let Err(error) = self.end(DROP_LIMIT) {
            tracing::warn!(%error, "PostgreSQL was left running");
        }
    }
}

impl Prepared {
    fn new(folder: &Path) -> Result<Self, Error> {
        let user = User::of_folder(folder)?;
        let folder = DataFolder::prepare(folder, &user)?;
        let lock = FolderLock::take(&folder)?;
        let major = cluster::major(&folder)?;
        Ok(Self { user, folder, lock, major })
    }

    async fn choose_binaries(&self, settings: &Settings) -> Result<Binaries, Error> {
        let source = settings.source.clone();
        let fetched =
            std::path::absolute(&settings.binaries).map_err(Error::folder(&settings.binaries))?;
        let chosen = binaries::choose(source, self.user.clone(), fetched, self.major).await;
        let Some(cluster) = self.major else {
            return chosen;
        };
        let reason = match chosen {
            Ok(binaries) if binaries.major == cluster => return Ok(binaries),
            Ok(binaries) => {
                format!("the one in {} is {}", binaries.folder.display(), binaries.version)
            }
            Err(Error::NoPostgres { reason }) => reason,
            Err(error) => return Err(error),
        };
        Err(Error::OtherMajor { folder: self.folder.path().to_owned(), cluster, reason })
    }

    fn start(self, binaries: Binaries, settings: &Settings) -> Result<Server, Error> {
        leftovers::clear(&self.folder, &self.user)?;
        if self.major.is_none() {
            cluster::create(&binaries, &self.user, &self.folder, settings.durability)?;
        }
        let password = cluster::password(&self.folder)?;
        let socket = SocketFolder::make(&self.folder, &self.user)?;
        let process = self.launch(&binaries, settings, socket.path())?;
        Ok(Server {
            process,
            socket,
            password,
            binaries,
            folder: self.folder,
            user: self.user,
            _lock: self.lock,
        })
    }

    /// Starts the process and waits until it is ready, again while it must wait for memory.
    fn launch(
        &self,
        binaries: &Binaries,
        settings: &Settings,
        socket: &Path,
    ) -> Result<Process, Error> {
        let mut log = Log::open(self.folder.log()).map_err(Error::folder(self.folder.path()))?;
        let cluster = self.folder.cluster();
        let name = cluster::cluster_name(&cluster).map_err(Error::folder(&cluster))?;
        let options = options(settings, &name, socket);
        let deadline = Instant::now() + MEMORY_LIMIT;
        loop {
            let mut command = binaries.command("postgres", &self.user);
            command.arg("-D").arg(&cluster).args(&options);
            log.receive(&mut command).map_err(Error::folder(self.folder.path()))?;
            let outcome = Process::spawn(command)
                .map_err(|error| Error::NotStarted {
                    log: log.path().to_owned(),
                    reason: error.to_string(),
                })
                .and_then(|process| self.wait_until_ready(process, &mut log));
            match outcome {
                Err(Error::NotStarted { reason, .. })
                    if reason.contains("pre-existing shared memory block")
                        && Instant::now() < deadline =>
                {
                    log.skip();
                    sleep(Duration::from_millis(500));
                    leftovers::clear(&self.folder, &self.user)?;
                }
                outcome => return outcome,
            }
        }
    }

    fn wait_until_ready(&self, process: Process, log: &mut Log) -> Result<Process, Error> {
        let pid_file = self.folder.cluster().join("postmaster.pid");
        let (mut said, mut since) = (log.len(), Instant::now());
        loop {
            if process.wait(Duration::from_millis(10)).is_some() {
                return Err(Error::NotStarted {
                    log: log.path().to_owned(),
                    reason: log.last_words(),
                });
            }
            if fs::read_to_string(&pid_file).is_ok_and(|text| is_ready(&text, process.id())) {
                return Ok(process);
            }
            if log.len() != said {
                (said, since) = (log.len(), Instant::now());
            }
            if since.elapsed() > SILENCE_LIMIT {
                process.end(DROP_LIMIT);
                return Err(Error::Silent { log: log.path().to_owned(), waited: SILENCE_LIMIT });
            }
        }
    }
}

/// Whether `postmaster.pid` is that of our process and its line 8 says that it is ready. The file
/// is there long before, and may be that of an earlier run.
fn is_ready(pid_file: &str, process: u32) -> bool {
    let mut lines = pid_file.lines().map(str::trim);
    lines.next() == Some(process.to_string().as_str()) && lines.nth(6) == Some("ready")
}

/// Escapes everything but letters, digits and what is safe in every part of a URL.
fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_what_our_own_process_says_in_line_8() {
        let file = |status: &str| format!("12\n/d\n1700000000\n5432\n/s\n\n  1  2\n{status}\n");
        assert!(is_ready(&file("ready   "), 12));
        assert!(!is_ready(&file("starting"), 12));
        assert!(!is_ready(&file("stopping"), 12));
        assert!(!is_ready(&file("ready   "), 1));
        assert!(!is_ready("12\n/d\n", 12));
        assert!(!is_ready("", 12));
    }

    #[test]
    fn a_path_becomes_the_host_of_a_url() {
        assert_eq!(percent_encode("/tmp/a b/é"), "%2Ftmp%2Fa%20b%2F%C3%A9");
    }
}
