//! How many attempts has each key left?

use std::time::{Duration, Instant};

use super::expiring::Expiring;

/// What is allowed: so many attempts at once, and one more each time `refill` has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub burst: u32,
    pub refill: Duration,
}

/// A bucket for each key. All that is kept of one is when it will be full again: it follows
/// how many attempts are in it, and a full one need not be kept.
///
/// When there are too many keys, the bucket that is the closest to being full goes: whoever
/// has no attempts left stays locked as long as anybody, however many others come.
pub struct Buckets<Key> {
    budget: Budget,
    full_again: Expiring<Key>,
}

impl<Key: Copy + Ord> Buckets<Key> {
    pub fn new(budget: Budget) -> Self {
        Self { budget, full_again: Expiring::default() }
    }

    /// When the bucket will be full again if an attempt is taken out of it now; without one,
    /// after how long there is one. Nothing is taken out yet.
    pub fn full_again_after_one(&self, key: &Key, now: Instant) -> Result<Instant, Duration> {
        let Budget { burst, refill } = self.budget;
        let missing = self.missing(key, now).saturating_add(refill);
        match missing.saturating_sub(refill.saturating_mul(burst)) {
            Duration::ZERO => Ok(now + missing),
            wait => Err(wait),
        }
    }

    pub fn set_full_again(&mut self, key: Key, at: Instant) {
        self.full_again.set(key, at);
    }

    /// Takes an attempt out of the bucket; without one, says after how long there is one.
    pub fn take(&mut self, key: Key, now: Instant) -> Result<(), Duration> {
        let full_again = self.full_again_after_one(&key, now)?;
        self.set_full_again(key, full_again);
        Ok(())
    }

    /// Puts one attempt back.
    pub fn give_back(&mut self, key: Key, now: Instant) {
        match self.missing(&key, now).saturating_sub(self.budget.refill) {
            Duration::ZERO => self.fill(&key),
            missing => self.set_full_again(key, now + missing),
        }
    }

    /// Puts all attempts back.
    pub fn fill(&mut self, key: &Key) {
        self.full_again.remove(key);
    }

    pub fn sweep(&mut self, now: Instant) {
        self.full_again.sweep(now);
    }

    /// How long it takes until the bucket is full.
    fn missing(&self, key: &Key, now: Instant) -> Duration {
        self.full_again.get(key).map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    pub fn len(&self) -> usize {
        self.full_again.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempts::expiring::CAPACITY;

    const MINUTE: Duration = Duration::from_secs(60);

    fn three_a_minute_apart() -> (Buckets<u32>, Instant) {
        (Buckets::new(Budget { burst: 3, refill: MINUTE }), Instant::now())
    }

    /// How many attempts are left.
    fn drain(buckets: &mut Buckets<u32>, key: u32, now: Instant) -> usize {
        std::iter::from_fn(|| buckets.take(key, now).ok()).count()
    }

    #[test]
    fn a_burst_is_followed_by_refusal_and_refill() {
        let (mut buckets, now) = three_a_minute_apart();
        assert_eq!(drain(&mut buckets, 7, now), 3);
        assert_eq!(buckets.take(7, now), Err(MINUTE));
        assert_eq!(buckets.take(7, now + MINUTE / 4), Err(MINUTE * 3 / 4));
        assert_eq!(drain(&mut buckets, 7, now + MINUTE), 1);
        assert_eq!(drain(&mut buckets, 7, now + 100 * MINUTE), 3);
    }

    #[test]
    fn keys_are_independent() {
        let (mut buckets, now) = three_a_minute_apart();
        drain(&mut buckets, 7, now);
        assert_eq!(drain(&mut buckets, 8, now), 3);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (mut buckets, now) = three_a_minute_apart();
        drain(&mut buckets, 7, now);
        buckets.give_back(7, now);
        assert_eq!(drain(&mut buckets, 7, now), 1);
        buckets.fill(&7);
        assert_eq!(drain(&mut buckets, 7, now), 3);
    }

    #[test]
    fn a_full_bucket_gets_no_fuller() {
        let (mut buckets, now) = three_a_minute_apart();
        buckets.give_back(7, now);
        assert_eq!(drain(&mut buckets, 7, now), 3);
    }

    #[test]
    fn no_budget_allows_nothing() {
        let now = Instant::now();
        let mut none = Buckets::new(Budget { burst: 0, refill: MINUTE });
        assert_eq!(none.take(7, now), Err(MINUTE));
    }

    #[test]
    fn a_clock_that_steps_back_takes_nothing_away_and_gives_nothing() {
        let (mut buckets, now) = three_a_minute_apart();
        drain(&mut buckets, 7, now + MINUTE);
        assert_eq!(buckets.take(7, now), Err(2 * MINUTE));
    }

    #[test]
    fn whoever_is_locked_stays_so_in_a_flood_of_others() {
        let (mut buckets, now) = three_a_minute_apart();
        drain(&mut buckets, 0, now);
        for stranger in 1..200_000 {
            assert_eq!(buckets.take(stranger, now), Ok(()));
        }
        assert_eq!(buckets.len(), CAPACITY);
        assert_eq!(buckets.take(0, now), Err(MINUTE));
    }

    #[test]
    fn full_buckets_are_swept() {
        let (mut buckets, now) = three_a_minute_apart();
        drain(&mut buckets, 7, now);
        drain(&mut buckets, 8, now + MINUTE);
        buckets.sweep(now + 3 * MINUTE);
        assert_eq!(buckets.len(), 1);
        assert_eq!(drain(&mut buckets, 8, now + 3 * MINUTE), 2);
    }
}
