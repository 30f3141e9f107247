//! How much of one kind arrived, and from where?

use std::time::{Duration, Instant};

use super::{buckets::Buckets, limits::ArrivalLimits, network::Network};

/// What arrived of one kind.
pub struct Arrivals {
    pub(super) networks: Buckets<Option<Network>>,
    pub(super) everybody: Buckets<()>,
}

impl Arrivals {
    pub fn new(limits: ArrivalLimits) -> Self {
        Self { networks: Buckets::new(limits.network), everybody: Buckets::new(limits.everybody) }
    }

    /// Takes from both or from none: what one network does too much costs the others nothing.
    pub fn take(&mut self, network: Option<Network>, now: Instant) -> Result<(), Duration> {
        let of_network = self.networks.full_again_after_one(&network, now);
        let of_everybody = self.everybody.full_again_after_one(&(), now);
        match (of_network, of_everybody) {
            (Ok(of_network), Ok(of_everybody)) => {
                self.networks.set_full_again(network, of_network);
                self.everybody.set_full_again((), of_everybody);
                Ok(())
            }
            (Err(wait), Ok(_)) | (Ok(_), Err(wait)) => Err(wait),
            (Err(one), Err(other)) => Err(one.max(other)),
        }
    }

    pub fn kept(&self) -> usize {
        self.networks.len() + self.everybody.len()
    }

    pub fn sweep(&mut self, now: Instant) {
        self.networks.sweep(now);
        self.everybody.sweep(now);
    }
}
