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

/// The years 1 to 9999.
const SECONDS: Range<i64> = -62_135_596_800..253_402_300_800;
/// From 0001-01-02 to 9999-12-30.
const DATED: Range<i64> = SECONDS.start + 86_400..SECONDS.end - 86_400;

/// An instant in a request, or none.
pub fn parse_optional(timestamp: Option<Timestamp>) -> Result<Option<DateTime<Utc>>, Flaw> {
    within(&SECONDS, timestamp, "must be an instant from the year 1 to the year 9999")
}

/// The same for one that is put on a day: whatever the time zone, one that can be asked for.
pub fn parse_optional_dated(timestamp: Option<Timestamp>) -> Result<Option<DateTime<Utc>>, Flaw> {
    within(&DATED, timestamp, "must be an instant from 0001-01-02 to 9999-12-30")
}

fn within(
    range: &Range<i64>,
    timestamp: Option<Timestamp>,
    flaw: &'static str,
) -> Result<Option<DateTime<Utc>>, Flaw> {
    let Some(Timestamp { seconds, nanos }) = timestamp else { return Ok(None) };
    let nanos = u32::try_from(nanos).ok().filter(|_| range.contains(&seconds));
    let instant = nanos.and_then(|nanos| DateTime::from_timestamp(seconds, nanos));
    instant.map(Some).ok_or(Flaw::bad(flaw))
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
    fn an_instant_is_of_a_year_with_four_digits_and_a_dated_one_on_a_day_in_every_time_zone() {
        let (first, last) = (-62_135_596_800, 253_402_300_799);
        let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
        let text =
            |parsed: Result<Option<DateTime<Utc>>, Flaw>| parsed.unwrap().unwrap().to_string();
        assert_eq!(text(parse_optional(at(first, 0))), "0001-01-01 00:00:00 UTC");
        assert_eq!(text(parse_optional(at(last, 0))), "9999-12-31 23:59:59 UTC");
        assert_eq!(text(parse_optional_dated(at(first + 86_400, 0))), "0001-01-02 00:00:00 UTC");
        assert_eq!(text(parse_optional_dated(at(last - 86_400, 0))), "9999-12-30 23:59:59 UTC");
        for (seconds, nanos) in [(first - 1, 0), (last + 1, 0), (0, -1), (0, i32::MAX)] {
            assert!(parse_optional(at(seconds, nanos)).is_err(), "{seconds} {nanos}");
            assert!(parse_optional_dated(at(seconds, nanos)).is_err(), "{seconds} {nanos}");
        }
        for seconds in [first, first + 86_399, last - 86_399, last] {
            assert!(parse_optional_dated(at(seconds, 0)).is_err(), "{seconds}");
        }
        assert_eq!((parse_optional(None), parse_optional_dated(None)), (Ok(None), Ok(None)));
    }
}
