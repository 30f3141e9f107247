//! How do instants look in Rust, in the database and on the wire?

use chrono::{DateTime, Datelike, DurationRound, TimeDelta, Utc};
use chrono_tz::Tz;
use prost_types::Timestamp;

use crate::fields::Flaw;

/// Now, as exact as PostgreSQL keeps it, so that what is written is what is read.
#[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
pub fn now() -> DateTime<Utc> {
    let now = Utc::now();
    now.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(now)
}

/// A time zone as statements name it. To PostgreSQL some old names are abbreviations first, of
/// hours that are the same all year round.
pub fn zone_name(zone: Tz) -> &'static str {
    match zone {
        Tz::CET | Tz::MET => "Europe/Brussels",
        Tz::EET => "Europe/Athens",
        Tz::WET => "Europe/Lisbon",
        zone => zone.name(),
    }
}

/// An instant in a request, or none.
pub fn parse_optional(timestamp: Option<Timestamp>) -> Result<Option<DateTime<Utc>>, Flaw> {
    let Some(Timestamp { seconds, nanos }) = timestamp else { return Ok(None) };
    let flaw = || Flaw::bad("must be an instant from the year 1 to the year 9999");
    let nanos = u32::try_from(nanos).map_err(|_| flaw())?;
    let instant = DateTime::from_timestamp(seconds, nanos).ok_or_else(flaw)?;
    if (1..=9999).contains(&instant.year()) { Ok(Some(instant)) } else { Err(flaw()) }
}

/// An instant on the wire.
pub fn timestamp(instant: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: instant.timestamp(),
        // Below 2,000,000,000 even in a leap second.
        nanos: i32::try_from(instant.timestamp_subsec_nanos()).unwrap_or(i32::MAX),
    }
}
