//! How do instants look in Rust, in the database and on the wire?

use std::ops::Range;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
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

/// From 0001-01-02 to 9999-12-30. Every one of them is, whatever the time zone, on a day that can
/// be asked for.
const SECONDS: Range<i64> = -62_135_510_400..253_402_214_400;

/// An instant in a request, or none.
pub fn parse_optional(timestamp: Option<Timestamp>) -> Result<Option<DateTime<Utc>>, Flaw> {
    let Some(Timestamp { seconds, nanos }) = timestamp else { return Ok(None) };
    let flaw = || Flaw::bad("must be an instant from 0001-01-02 to 9999-12-30");
    let nanos = u32::try_from(nanos).map_err(|_| flaw())?;
    if !SECONDS.contains(&seconds) {
        return Err(flaw());
    }
    DateTime::from_timestamp(seconds, nanos).map(Some).ok_or_else(flaw)
}

/// An instant on the wire.
pub fn timestamp(instant: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: instant.timestamp(),
        // Below 2,000,000,000 even in a leap second.
        nanos: i32::try_from(instant.timestamp_subsec_nanos()).unwrap_or(i32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_on_a_day_that_can_be_asked_for_whatever_the_time_zone() {
        let parsed = |seconds, nanos| parse_optional(Some(Timestamp { seconds, nanos }));
        let text =
            |parsed: Result<Option<DateTime<Utc>>, Flaw>| parsed.unwrap().unwrap().to_string();
        assert_eq!(text(parsed(SECONDS.start, 0)), "0001-01-02 00:00:00 UTC");
        assert_eq!(text(parsed(SECONDS.end - 1, 999_999_999)), "9999-12-30 23:59:59.999999999 UTC");
        let bad = [(SECONDS.start - 1, 0), (SECONDS.end, 0), (i64::MAX, 0), (0, -1), (0, i32::MAX)];
        for (seconds, nanos) in bad {
            assert!(parsed(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
        assert_eq!(parse_optional(None), Ok(None));
    }
}
