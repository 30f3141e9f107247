//! How does a server process begin, and how do we make sure that it ends?

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

/// How long a server may take to abandon its children; it kills them after 5 seconds.
const QUIT_LIMIT: Duration = Duration::from_secs(7);

/// How long the kernel may take to end a process that was killed.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A child process in a group of its own, which ends when this program does.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    end: Arc<End>,
}

/// Whether the process has ended. While the lock is held and there is no status, the process
/// is at most a zombie, so that its number cannot have been given to another one.
#[derive(Debug, Default)]
struct End {
    status: Mutex<Option<ExitStatus>>,
    reached: Condvar,
}

impl Process {
    /// Starts `command` from a thread that lives until the process ends.
    ///
    /// The parent's death is announced when the *thread* dies that made the child, which is why
    /// neither a thread of the runtime nor the caller's may do it.
    pub fn spawn(mut command: Command) -> io::Result<Self> {
        let end = Arc::<End>::default();
        let (started, start) = mpsc::sync_channel(1);
        let launcher = thread::Builder::new().name("postgres-launcher".into());
        let reported = Arc::clone(&end);
        launcher.spawn(move || {
            end_with_parent(&mut command);
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => return drop(started.send(Err(error))),
            };
            let pid = Pid::from_child(&child);
            // The receiver waits for this and nothing else, so it is there.
            drop(started.send(Ok(pid)));
            // Wait without reaping, reap under the lock: see `End`.
            let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), ended) {}
            let mut status = reported.lock();
            *status = child.wait().ok().or(Some(ExitStatus::default()));
            reported.reached.notify_all();
        })?;
        let pid = start.recv().map_err(io::Error::other)??;
        Ok(Self { pid, end })
    }

    /// The number of the process, which is that of its group too.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits for the end, at most for `limit`.
    pub fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let status = self.end.lock();
        let waited = self.end.reached.wait_timeout_while(status, limit, |status| status.is_none());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Asks PostgreSQL to end, more and more firmly; false if nothing helped.
    ///
    /// The steps are a fast shutdown within `limit`, then one without a checkpoint, then the end
    /// of the whole group. The second is there because the server's children are in sessions of
    /// their own, out of reach for the third: the server takes them with it while it still can.
    pub fn end(&self, limit: Duration) -> bool {
        if self.signal(Signal::INT, limit) {
            return true;
        }
        tracing::warn!(
            process = self.id(),
            "PostgreSQL is slow to stop and will recover at its next start"
        );
        self.signal(Signal::QUIT, QUIT_LIMIT) || self.signal(Signal::KILL, KILL_LIMIT)
    }

    /// Sends a signal and waits; true once the process has ended.
    fn signal(&self, signal: Signal, limit: Duration) -> bool {
        {
            let status = self.end.lock();
            if status.is_some() {
                return true;
            }
            let send = if signal == Signal::KILL { kill_process_group } else { kill_process };
            if let Err(error) = send(self.pid, signal) {
                tracing::warn!(process = self.id(), ?signal, %error, "a signal was not delivered");
            }
        }
        self.wait(limit).is_some()
    }
}

impl End {
    fn lock(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the child of `command` leave our process group, so that Ctrl-C at the terminal reaches
/// this program alone, and on Linux makes it stop when the thread that starts it dies.
#[cfg_attr(
    target_os = "linux",
    expect(
        unsafe_code,
        reason = "only code between fork and exec can ask for a parent-death signal"
    )
)]
pub(crate) fn end_with_parent(command: &mut Command) {
    command.process_group(0);
    #[cfg(target_os = "linux")]
    {
        let parent = Some(rustix::process::getpid());
        let ask = move || {
            // The standard library has changed the user by now, which would clear the request.
            rustix::process::set_parent_process_death_signal(Some(Signal::INT))?;
            // A parent that died before the request announces nothing any more.
            if rustix::process::getppid() == parent {
                Ok(())
            } else {
                Err(rustix::io::Errno::SRCH.into())
            }
        };
        // SAFETY: between fork and exec only async-signal-safe code may run; the closure makes
        // two system calls and converts numbers, it neither allocates nor locks.
        unsafe { command.pre_exec(ask) };
    }
}
