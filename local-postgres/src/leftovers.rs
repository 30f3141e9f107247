//! What did an earlier run leave behind?
//!
//! All of this happens under the folder's lock, so that whatever still runs here is an orphan:
//! its program was killed, or it was itself and its children were not.

use std::fs;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;
use crate::folder::DataFolder;
use crate::user::User;

/// How long an orphan may take to write its last checkpoint.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(60);

/// A server process that works in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Worker {
    pub pid: Pid,
    pub is_postmaster: bool,
}

/// Ends the servers that still work in the cluster and removes what would keep a new one from
/// starting.
pub(crate) fn clear(folder: &DataFolder, user: &User) -> Result<(), Error> {
    let cluster = folder.cluster();
    let deadline = Instant::now() + SHUTDOWN_LIMIT;
    loop {
        let workers = workers(&cluster, user);
        let Some(first) = workers.first() else { break };
        if Instant::now() > deadline {
            let process = first.pid.as_raw_nonzero().get().unsigned_abs();
            return Err(Error::LeftOver {
                folder: folder.path().to_owned(),
                process,
            });
        }
        for (worker, signal) in sentence(&workers) {
            tracing::debug!(
                ?worker,
                ?signal,
                "ending a PostgreSQL that an earlier run left behind"
            );
            // It may be gone by now, which is what we want.
            let _ = kill_process(worker.pid, signal);
        }
        sleep(Duration::from_millis(50));
    }
    // The process that this file names is dead, or is not a server of this cluster: since it was
    // written, the machine may have been started anew and the number given to anybody.
    remove(&cluster.join("postmaster.pid")).map_err(Error::folder(folder.path()))
}

/// What to do with the workers. A postmaster shuts down in order and takes its children along;
/// children without one never will, and the cluster must be recovered after them in any case.
fn sentence(workers: &[Worker]) -> Vec<(Worker, Signal)> {
    let postmasters = || workers.iter().filter(|worker| worker.is_postmaster);
    if postmasters().next().is_some() {
        postmasters().map(|worker| (*worker, Signal::INT)).collect()
    } else {
        workers
            .iter()
            .map(|worker| (*worker, Signal::KILL))
            .collect()
    }
}

pub(crate) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// The processes of the server's user that are called `postgres` and work in this cluster.
///
/// The postmaster is known by its command line, which everybody may read. Its children have
/// changed theirs; they are known by their working folder if we may see it. A zombie has neither.
#[cfg(target_os = "linux")]
pub(crate) fn workers(cluster: &Path, user: &User) -> Vec<Worker> {
    use std::os::unix::fs::MetadataExt;

    let worker = |process: fs::DirEntry| {
        let pid = Pid::from_raw(process.file_name().to_str()?.parse().ok()?)?;
        let folder = process.path();
        if process.metadata().ok()?.uid() != user.uid()
            || fs::read_to_string(folder.join("comm")).ok()?.trim_end() != "postgres"
        {
            return None;
        }
        let is_postmaster = serves(&fs::read(folder.join("cmdline")).ok()?, cluster);
        let is_child = || fs::read_link(folder.join("cwd")).is_ok_and(|cwd| cwd == cluster);
        (is_postmaster || is_child()).then_some(Worker { pid, is_postmaster })
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| worker(entry.ok()?))
        .collect()
}

/// Whether a command line is that of the postmaster of this cluster.
#[cfg(target_os = "linux")]
fn serves(command_line: &[u8], cluster: &Path) -> bool {
    let arguments: Vec<&[u8]> = command_line.split(|byte| *byte == 0).collect();
    arguments
        .windows(2)
        .any(|pair| pair == [b"-D".as_slice(), cluster.as_os_str().as_encoded_bytes()])
}

/// The postmaster that its own file names, if it still answers at its socket.
#[cfg(not(target_os = "linux"))]
pub(crate) fn workers(cluster: &Path, _user: &User) -> Vec<Worker> {
    use std::os::unix::net::UnixStream;

    let worker = || {
        let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let pid = Pid::from_raw(lines.first()?.parse().ok()?)?;
        let socket = Path::new(lines.get(4)?).join(format!(".s.PGSQL.{}", lines.get(3)?));
        UnixStream::connect(socket).ok()?;
        Some(Worker {
            pid,
            is_postmaster: true,
        })
    };
    worker().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postmaster_ends_in_order_and_its_children_with_it() {
        let worker = |pid, is_postmaster| Worker {
            pid: Pid::from_raw(pid).unwrap(),
            is_postmaster,
        };
        let (postmaster, child) = (worker(10, true), worker(11, false));
        assert_eq!(sentence(&[child, postmaster]), [(postmaster, Signal::INT)]);
        assert_eq!(sentence(&[child]), [(child, Signal::KILL)]);
        assert_eq!(sentence(&[]), []);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_postmaster_is_known_by_the_folder_it_serves() {
        let command_line = b"/usr/bin/postgres\0-D\0/data/cluster\0-c\0port=5432\0";
        assert!(serves(command_line, Path::new("/data/cluster")));
        assert!(!serves(command_line, Path::new("/data/cluster2")));
        assert!(!serves(
            b"postgres: clientele: checkpointer",
            Path::new("/data/cluster")
        ));
        assert!(!serves(b"", Path::new("/data/cluster")));
    }
}
