//! What did a server leave behind that did not end in order?
//!
//! All of this happens under the folder's lock and without a server of our own, so that whatever
//! still runs here is an orphan: its program was killed, or it was itself but not its children.

use std::fs;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;
#[cfg(target_os = "linux")]
use crate::cluster::cluster_name;
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
            return Err(Error::LeftOver { folder: folder.path().to_owned(), process });
        }
        for (worker, signal) in sentence(&workers) {
            tracing::debug!(?worker, ?signal, "ending a PostgreSQL that was left behind");
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
        workers.iter().map(|worker| (*worker, Signal::KILL)).collect()
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
/// They are known by their command lines, which are the one thing that may be read of another
/// user's processes everywhere, root in a container included. A zombie has none.
#[cfg(target_os = "linux")]
pub(crate) fn workers(cluster: &Path, user: &User) -> Vec<Worker> {
    use std::os::unix::fs::MetadataExt;

    let Ok(name) = cluster_name(cluster) else {
        return Vec::new();
    };
    let worker = |process: fs::DirEntry| {
        let pid = Pid::from_raw(process.file_name().to_str()?.parse().ok()?)?;
        let of_user = process.metadata().ok()?.uid() == user.uid();
        let called = fs::read_to_string(process.path().join("comm")).ok()?;
        if !of_user || called.trim_end() != "postgres" {
            return None;
        }
        let command_line = fs::read(process.path().join("cmdline")).ok()?;
        let is_postmaster = is_postmaster(&command_line, cluster);
        let works_here = is_postmaster || is_child(&command_line, &name);
        works_here.then_some(Worker { pid, is_postmaster })
    };
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| worker(entry.ok()?)).collect()
}

/// Whether a command line is the one with which we start the server of this cluster.
#[cfg(target_os = "linux")]
fn is_postmaster(command_line: &[u8], cluster: &Path) -> bool {
    let folder = [b"-D".as_slice(), cluster.as_os_str().as_encoded_bytes()];
    let arguments: Vec<&[u8]> = command_line.split(|byte| *byte == 0).collect();
    arguments.windows(2).any(|pair| pair == folder)
}

/// Whether a command line is what a child of the server has made of it.
#[cfg(target_os = "linux")]
fn is_child(command_line: &[u8], cluster_name: &str) -> bool {
    command_line.starts_with(format!("postgres: {cluster_name}: ").as_bytes())
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
        Some(Worker { pid, is_postmaster: true })
    };
    worker().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postmaster_ends_in_order_and_its_children_with_it() {
        let worker =
            |pid, is_postmaster| Worker { pid: Pid::from_raw(pid).unwrap(), is_postmaster };
        let (postmaster, child) = (worker(10, true), worker(11, false));
        assert_eq!(sentence(&[child, postmaster]), [(postmaster, Signal::INT)]);
        assert_eq!(sentence(&[child]), [(child, Signal::KILL)]);
        assert_eq!(sentence(&[]), []);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_worker_is_known_by_its_command_line() {
        let cluster = Path::new("/data/cluster");
        let started = b"/usr/bin/postgres\0-D\0/data/cluster\0-c\0port=5432\0";
        assert!(is_postmaster(started, cluster));
        assert!(!is_postmaster(started, Path::new("/data/cluster2")));
        assert!(!is_postmaster(b"", cluster));

        let child = b"postgres: clientele-1-2: checkpointer ";
        assert!(is_child(child, "clientele-1-2"));
        assert!(!is_child(child, "clientele-1"));
        assert!(!is_child(started, "clientele-1-2"));
        assert!(!is_postmaster(child, cluster));
    }
}
