//! How often is what is too old swept, and when are records too old?

use std::time::Duration;

use super::Reader;

/// The same for both services.
#[derive(Debug, Clone)]
pub struct HousekeepingSettings {
    /// `HOUSEKEEPING_EVERY`.
    pub every: Duration,
    /// `AUDIT_RETENTION`: how long it can be read who did what.
    pub audit_retention: Duration,
}

const HOUR: Duration = Duration::from_secs(60 * 60);
const SHORTEST_RETENTION: Duration = Duration::from_secs(30 * 24 * HOUR.as_secs());
/// A century.
const LONGEST_RETENTION: Duration = Duration::from_secs(876_600 * HOUR.as_secs());

impl Default for HousekeepingSettings {
    fn default() -> Self {
        Self { every: Duration::from_secs(600), audit_retention: 17_520 * HOUR }
    }
}

impl HousekeepingSettings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let usual = Self::default();
        let settings = Self {
            every: reader.duration("HOUSEKEEPING_EVERY", usual.every),
            audit_retention: reader.duration("AUDIT_RETENTION", usual.audit_retention),
        };
        if settings.every < Duration::from_secs(1) {
            reader
                .problem("HOUSEKEEPING_EVERY leaves no time for anything else: write at least 1s.");
        }
        if settings.audit_retention < SHORTEST_RETENTION {
            reader.problem(
                "AUDIT_RETENTION is shorter than thirty days, for which records are kept in any case: \
                 write at least 720h.",
            );
        }
        if settings.audit_retention > LONGEST_RETENTION {
            reader.problem("AUDIT_RETENTION is longer than a century: write at most 876600h.");
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn read(pairs: &[(&str, &str)]) -> (HousekeepingSettings, String) {
        let source = Source::from(pairs.iter().copied());
        let mut reader = Reader::new(&source);
        let settings = HousekeepingSettings::read(&mut reader);
        let sentences = reader.finish(&[]).err().map(|error| error.to_string());
        (settings, sentences.unwrap_or_default())
    }

    #[test]
    fn records_are_kept_for_two_years_unless_told_otherwise() {
        let (settings, sentences) = read(&[]);
        assert_eq!((settings.every.as_secs(), sentences.as_str()), (600, ""));
        assert_eq!(settings.audit_retention, 17_520 * HOUR);
        let (settings, sentences) =
            read(&[("HOUSEKEEPING_EVERY", "1h"), ("AUDIT_RETENTION", "720h")]);
        assert_eq!((settings.every, sentences.as_str()), (HOUR, ""));
        assert_eq!(settings.audit_retention, SHORTEST_RETENTION);
    }

    #[test]
    fn what_cannot_be_kept_to_stops_the_start() {
        for (name, value) in [
            ("AUDIT_RETENTION", "719h"),
            ("AUDIT_RETENTION", "876601h"),
            ("HOUSEKEEPING_EVERY", "0s"),
            ("HOUSEKEEPING_EVERY", "999ms"),
        ] {
            let sentences = read(&[(name, value)]).1;
            assert!(sentences.starts_with(name) && sentences.contains("write at"), "{sentences}");
        }
    }
}
