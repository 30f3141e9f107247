//! What does a process use?

use std::fs;

/// A process that is watched, and what it is called. Its children belong to it where they are
/// of its kind, as PostgreSQL's do.
#[derive(Debug, Clone)]
pub struct Watched {
    pub name: String,
    pub pid: u32,
    pub with_children: bool,
}

impl Watched {
    pub fn process(name: &str, pid: u32) -> Self {
        Self { name: name.to_owned(), pid, with_children: false }
    }

    pub fn family(name: &str, pid: u32) -> Self {
        Self { name: name.to_owned(), pid, with_children: true }
    }

    fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.pid];
        if self.with_children {
            let listed = format!("/proc/{0}/task/{0}/children", self.pid);
            let children = fs::read_to_string(listed).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        pids
    }
}

/// What several processes have used until now.
pub struct Usage(Vec<(String, Used)>);

struct Used {
    /// Microseconds of processor time, those of children that ended among them.
    cpu: u64,
    /// KiB.
    resident: u64,
}

impl Usage {
    pub fn of(watched: &[Watched]) -> Self {
        let each = watched.iter().map(|watched| {
            let pids = watched.pids();
            let cpu = pids.iter().map(|pid| cpu(*pid)).sum();
            let resident = pids.iter().map(|pid| resident(*pid)).sum();
            (watched.name.clone(), Used { cpu, resident })
        });
        Self(each.collect())
    }

    /// The processor time of each of so many calls, by process.
    #[expect(clippy::cast_precision_loss, reason = "nobody computes for 2^52 microseconds")]
    pub fn since(&self, before: &Self, calls: u64) -> Vec<(String, f64)> {
        let each = self.0.iter().zip(&before.0).map(|((name, after), (_, before))| {
            let used = after.cpu.saturating_sub(before.cpu);
            (name.clone(), used as f64 / calls.max(1) as f64)
        });
        each.collect()
    }

    pub fn resident(&self) -> Vec<(String, u64)> {
        self.0.iter().map(|(name, used)| (name.clone(), used.resident)).collect()
    }
}

/// User and system time out of `/proc/<pid>/stat`, behind the name, which may hold anything.
fn cpu(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    ticks * 1_000_000 / rustix::param::clock_ticks_per_second()
}

/// KiB.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0)
}
