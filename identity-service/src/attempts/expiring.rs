//! Which keys matter until when, when only so many can be kept?

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeBounds,
    time::Instant,
};

/// Keys that are kept in each map: a few megabytes of them.
pub const CAPACITY: usize = 65_536;

/// Keys, and when each ceases to matter. A key beyond the capacity takes the place of the one
/// that ceases to matter first, which is one that has already, if there is any; both orders
/// are kept, so that finding it costs no more than finding a key.
pub struct Expiring<Key> {
    ends: BTreeMap<Key, Instant>,
    by_end: BTreeSet<(Instant, Key)>,
}

impl<Key> Default for Expiring<Key> {
    fn default() -> Self {
        Self { ends: BTreeMap::new(), by_end: BTreeSet::new() }
    }
}

impl<Key: Copy + Ord> Expiring<Key> {
    pub fn get(&self, key: &Key) -> Option<Instant> {
        self.ends.get(key).copied()
    }

    /// The keys within some bounds.
    pub fn range(&self, bounds: impl RangeBounds<Key>) -> impl Iterator<Item = (Key, Instant)> {
        self.ends.range(bounds).map(|(key, end)| (*key, *end))
    }

    pub fn set(&mut self, key: Key, end: Instant) {
        self.remove(&key);
        if self.ends.len() >= CAPACITY {
            self.remove_first();
        }
        self.ends.insert(key, end);
        self.by_end.insert((end, key));
    }

    pub fn remove(&mut self, key: &Key) {
        if let Some(end) = self.ends.remove(key) {
            self.by_end.remove(&(end, *key));
        }
    }

    /// Removes what has ceased to matter.
    pub fn sweep(&mut self, now: Instant) {
        while self.by_end.first().is_some_and(|(end, _)| *end <= now) {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) {
        if let Some((_, key)) = self.by_end.pop_first() {
            self.ends.remove(&key);
        }
    }

    pub fn len(&self) -> usize {
        debug_assert_eq!(self.ends.len(), self.by_end.len());
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_key_too_many_takes_the_place_of_the_one_that_ends_first() {
        let now = Instant::now();
        let mut keys = Expiring::default();
        for key in 0..CAPACITY {
            keys.set(key, now + Duration::from_secs(100));
        }
        keys.set(5, now + Duration::from_secs(1));
        keys.set(CAPACITY, now);
        assert_eq!((keys.len(), keys.get(&5)), (CAPACITY, None));
        assert_eq!(keys.get(&CAPACITY), Some(now));
    }

    #[test]
    fn a_key_has_one_end() {
        let now = Instant::now();
        let mut keys = Expiring::default();
        keys.set("a", now);
        keys.set("a", now + Duration::from_secs(1));
        keys.sweep(now);
        assert_eq!(keys.len(), 1);
        keys.remove(&"a");
        assert_eq!(keys.len(), 0);
    }
}
