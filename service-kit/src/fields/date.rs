//! What is a day?

use chrono::{Datelike, NaiveDate};

use super::Flaw;

/// A day as it is written: `2025-02-01`.
pub fn date(text: &str) -> Result<NaiveDate, Flaw> {
    if text.is_empty() {
        return Err(Flaw::Missing);
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    // Written in one way only: `2025-2-1` and `+12025-02-01` parse as well.
    day.filter(|day| (1..=9999).contains(&day.year()) && day.to_string() == text)
        .ok_or_else(|| Flaw::bad("must be a day such as 2025-02-01"))
}

/// Nothing where nothing is said.
pub fn optional_date(text: &str) -> Result<Option<NaiveDate>, Flaw> {
    if text.is_empty() { Ok(None) } else { date(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_in_one_way() {
        assert_eq!(date("2024-02-29").map(|day| day.to_string()), Ok("2024-02-29".into()));
        assert_eq!(date(""), Err(Flaw::Missing));
        assert_eq!(optional_date(""), Ok(None));
        for bad in [
            "2025-02-29",
            "2025-2-1",
            "01.02.2025",
            "2025-02-01T00:00:00Z",
            "+12025-02-01",
            "0000-01-01",
            "-0001-01-01",
            " 2025-02-01",
            "20250201",
            "2025-13-01",
            "today",
        ] {
            assert!(matches!(date(bad), Err(Flaw::Bad(_))), "{bad:?}");
        }
    }
}
