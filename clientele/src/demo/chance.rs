//! What is decided by chance, and is the same at every start?
//!
//! Everything is drawn from a seed that its own name makes, so that what one client buys does not
//! depend on how far somebody else's calls had come.

use uuid::{Builder, Uuid};

/// Numbers that look random and follow from a name (`SplitMix64`).
pub struct Chance(u64);

impl Chance {
    pub fn of(name: &str) -> Self {
        Self(hash(0xcbf2_9ce4_8422_2325, name))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// From 0 to one less than `end`.
    pub fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end.max(1))).unwrap_or_default()
    }

    pub fn between(&mut self, least: u32, most: u32) -> u32 {
        least + self.below(most - least + 1)
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, times: u32) -> bool {
        self.below(100) < times
    }

    pub fn place(&mut self, places: usize) -> usize {
        self.below(u32::try_from(places).unwrap_or(u32::MAX)) as usize
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.place(of.len())]
    }

    /// One of several that come up in a hundred as often as is said of each.
    pub fn weighted<T: Copy>(&mut self, of: &[(u32, T)]) -> T {
        let mut drawn = self.below(of.iter().map(|(weight, _)| weight).sum());
        for (weight, one) in of {
            if drawn < *weight {
                return *one;
            }
            drawn -= weight;
        }
        of[0].1
    }
}

/// The `request_id` of a step: a UUID of the version for ids of one's own making.
pub fn request_id(step: &str) -> String {
    let halves = [0xcbf2_9ce4_8422_2325, 0x6c62_272e_07bb_0142].map(|base| mixed(hash(base, step)));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&halves[0].to_be_bytes());
    bytes[8..].copy_from_slice(&halves[1].to_be_bytes());
    let id: Uuid = Builder::from_custom_bytes(bytes).into_uuid();
    id.to_string()
}

/// FNV-1a.
fn hash(base: u64, text: &str) -> u64 {
    text.bytes().fold(base, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_step_has_one_id_and_no_other_has_it() {
        let ids: HashSet<_> = (0..10_000).map(|step| request_id(&format!("step {step}"))).collect();
        assert_eq!(ids.len(), 10_000);
        assert_eq!(request_id("step 7"), request_id("step 7"));
        assert_eq!(Uuid::parse_str(&request_id("step 7")).unwrap().get_version_num(), 8);
    }

    #[test]
    fn what_is_drawn_follows_from_the_name_and_stays_within_bounds() {
        let draw = |name: &str| {
            let mut chance = Chance::of(name);
            (0..100).map(|_| chance.between(3, 7)).collect::<Vec<_>>()
        };
        assert_eq!(draw("a"), draw("a"));
        assert_ne!(draw("a"), draw("b"));
        assert_eq!(HashSet::<u32>::from_iter(draw("a")), HashSet::from([3, 4, 5, 6, 7]));
    }
}
