//! Who guessed at the secrets of which addresses, and from where?

use std::time::{Duration, Instant};

use super::{Address, Place, buckets::Buckets, expiring::Expiring, limits::Limits};

/// How long a network is known to an address after somebody logged in from there.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// With more of them, a single account would make all others forgotten.
const KNOWN_NETWORKS_PER_ADDRESS: usize = 16;

/// Who guessed at the secrets of addresses.
pub struct Guesses {
    pub(super) from_networks: Buckets<Place>,
    pub(super) from_strangers: Buckets<Address>,
    pub(super) known: Expiring<Place>,
}

impl Guesses {
    pub fn new(limits: &Limits) -> Self {
        Self {
            from_networks: Buckets::new(limits.guesses_from_network),
            from_strangers: Buckets::new(limits.guesses_from_strangers),
            known: Expiring::default(),
        }
    }

    /// Takes a guess from a place, and says whether it is a stranger's. A guess that is not
    /// considered finds nothing out and costs nothing: a person who tries in vain while
    /// others guess is not locked any longer for it.
    pub fn take(&mut self, place: Place, now: Instant) -> Option<bool> {
        let from_network = self.from_networks.full_again_after_one(&place, now).ok()?;
        let by_stranger = !self.is_known(&place, now);
        if by_stranger {
            self.from_strangers.take(place.0, now).ok()?;
        }
        self.from_networks.set_full_again(place, from_network);
        Some(by_stranger)
    }

    pub fn succeeded(&mut self, place: Place, by_stranger: bool, now: Instant) {
        self.from_networks.fill(&place);
        if by_stranger {
            self.from_strangers.give_back(place.0, now);
        }
        // Callers of whom nothing is known are never known.
        if place.1.is_some() {
            self.know(place, now);
        }
    }

    fn is_known(&self, place: &Place, now: Instant) -> bool {
        self.known.get(place).is_some_and(|until| until > now)
    }

    fn know(&mut self, place: Place, now: Instant) {
        self.known.remove(&place);
        let of_address =
            || self.known.range((place.0, None)..).take_while(|(it, _)| it.0 == place.0);
        if of_address().count() >= KNOWN_NETWORKS_PER_ADDRESS {
            let oldest = of_address().min_by_key(|(_, until)| *until);
            if let Some((oldest, _)) = oldest {
                self.known.remove(&oldest);
            }
        }
        self.known.set(place, now + KNOWN_FOR);
    }

    pub fn kept(&self) -> usize {
        self.from_networks.len() + self.from_strangers.len() + self.known.len()
    }

    pub fn sweep(&mut self, now: Instant) {
        self.from_networks.sweep(now);
        self.from_strangers.sweep(now);
        self.known.sweep(now);
    }
}
