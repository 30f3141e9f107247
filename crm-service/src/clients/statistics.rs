//! How many clients are there of each status?

use std::collections::BTreeMap;

use proto::crm::v1 as pb;

/// How many of each status, as it stands in the column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics(BTreeMap<String, i64>);

impl Statistics {
    pub fn of(counts: Vec<(String, i64)>) -> Self {
        Self(counts.into_iter().collect())
    }

    /// How many in all: always the sum of the others.
    pub fn total(&self) -> i64 {
        self.0.values().sum()
    }
}

impl From<Statistics> for pb::ClientStatistics {
    fn from(statistics: Statistics) -> Self {
        let of = |status| statistics.0.get(status).copied().unwrap_or_default();
        Self {
            total: statistics.total(),
            active: of("active"),
            inactive: of("inactive"),
            onboarding: of("onboarding"),
            paused: of("paused"),
            cancelled: of("cancelled"),
        }
    }
}
