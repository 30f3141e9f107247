//! Which clock do leases run by?
//!
//! One that goes on while the machine is suspended: Rust's own [`Instant`](std::time::Instant)
//! stands still then on Linux, and a lease would be taken up again where it was left. Where a
//! hypervisor stops the clocks of a guest nothing here can notice it.

use std::{ops::Add, time::Duration};

/// A moment by that clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// This one.
    #[cfg(target_os = "linux")]
    pub fn now() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
        Self(Duration::new(seconds, nanos))
    }

    /// This one. Elsewhere the monotonic clock goes on during sleep.
    #[cfg(not(target_os = "linux"))]
    pub fn now() -> Self {
        use std::{sync::LazyLock, time::Instant};
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Self(START.elapsed())
    }

    /// So long after the clock began.
    #[cfg(test)]
    pub const fn at(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// How long it is until then; nothing, if it is over.
    pub fn until(self, then: Self) -> Duration {
        then.0.saturating_sub(self.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on() {
        let before = Moment::now();
        std::thread::sleep(Duration::from_millis(2));
        let after = Moment::now();
        assert!(before.until(after) >= Duration::from_millis(2));
        assert_eq!(after.until(before), Duration::ZERO);
        assert!(before + Duration::from_secs(9) > after);
    }
}
