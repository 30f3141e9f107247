//! How do instants look in Rust, in the database and on the wire?

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use prost_types::Timestamp;

/// Now, as exact as PostgreSQL keeps it, so that what is written is what is read.
#[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
pub fn now() -> DateTime<Utc> {
    let now = Utc::now();
    now.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(now)
}

/// An instant on the wire.
pub fn timestamp(instant: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: instant.timestamp(),
        // Below 2,000,000,000 even in a leap second.
        nanos: i32::try_from(instant.timestamp_subsec_nanos()).unwrap_or(i32::MAX),
    }
}
