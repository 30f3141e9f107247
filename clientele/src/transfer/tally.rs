//! What became of the rows, all in all?

use std::collections::BTreeMap;

use proto::crm::v1::{ImportOutcome as Outcome, ImportResult};

use super::{
    import::UNUSABLE,
    progress::{Progress, grouped},
};

/// Different reasons that are summed up one by one.
const MOST_REASONS: usize = 30;

/// Counts every row once, however often it is answered, and tells of those that were refused.
pub struct Tally {
    progress: Progress,
    created: u64,
    updated: u64,
    unchanged: u64,
    refused: u64,
    already_applied: u64,
    /// The last row that was answered, of those that were sent.
    answered: i64,
    /// The last line that was refused before it could be sent.
    refused_here: u64,
    reasons: BTreeMap<String, u64>,
}

impl Tally {
    pub fn new(progress: Progress) -> Self {
        Self {
            progress,
            created: 0,
            updated: 0,
            unchanged: 0,
            refused: 0,
            already_applied: 0,
            answered: 0,
            refused_here: 0,
            reasons: BTreeMap::new(),
        }
    }

    /// The server's word on the row of a line, beside what was seen to be wrong with it here.
    pub fn take(&mut self, line: u64, seen: &[String], result: &ImportResult) {
        if result.row_number <= self.answered {
            return;
        }
        self.answered = result.row_number;
        match result.outcome() {
            _ if !seen.is_empty() => self.refuse(line, &all_flaws(seen, result)),
            Outcome::Created => self.created += 1,
            Outcome::Updated => self.updated += 1,
            Outcome::Unchanged => self.unchanged += 1,
            Outcome::AlreadyApplied => self.already_applied += 1,
            Outcome::Refused | Outcome::Unspecified => self.refuse(line, &flaws(result)),
        }
        self.progress.rows(self.rows());
    }

    /// A line that says nothing that could be sent.
    pub fn refuse_here(&mut self, line: u64, flaws: &[String]) {
        if line > self.refused_here {
            self.refused_here = line;
            self.refuse(line, flaws);
        }
    }

    fn refuse(&mut self, line: u64, flaws: &[String]) {
        self.refused += 1;
        self.progress.say(format_args!("line {line}: {}", flaws.join("; ")));
        for flaw in flaws {
            let known = self.reasons.contains_key(flaw) || self.reasons.len() < MOST_REASONS;
            let reason = if known { flaw.as_str() } else { "something else" };
            *self.reasons.entry(reason.to_owned()).or_default() += 1;
        }
    }

    pub fn answered(&self) -> i64 {
        self.answered
    }

    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn rows(&self) -> u64 {
        self.created + self.updated + self.unchanged + self.refused + self.already_applied
    }

    /// The counts, and how often each reason for a refusal was given.
    pub fn summary(&self, dry_run: bool) -> String {
        let counts = [
            (self.created, "created"),
            (self.updated, "updated"),
            (self.unchanged, "unchanged"),
            (self.refused, "refused"),
            (self.already_applied, "dealt with before"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> =
            counts.map(|(count, what)| format!("{} {what}", grouped(*count))).collect();
        let rows = grouped(self.rows());
        let mut text = match (dry_run, counts.is_empty()) {
            (_, true) => "No rows.".to_owned(),
            (false, _) => format!("{rows} rows: {}.", counts.join(", ")),
            (true, _) => {
                format!("{rows} rows, nothing changed; would be: {}.", counts.join(", "))
            }
        };
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (reason, count) in reasons {
            text.extend(["\n  ", &grouped(*count), " × ", reason]);
        }
        text
    }
}

/// Everything that is wrong with a row, as it is seen from here and there. What was seen here is
/// not said again, and [`UNUSABLE`] is none of the file's.
fn all_flaws(seen: &[String], result: &ImportResult) -> Vec<String> {
    let is_news = |field: &str| {
        field != UNUSABLE && !seen.iter().any(|flaw| flaw.starts_with(&format!("{field} ")))
    };
    let there = result.violations.iter().filter(|flaw| is_news(&flaw.field));
    let there = there.map(|flaw| format!("{} {}", flaw.field, flaw.description));
    seen.iter().cloned().chain(there).collect()
}

/// Everything that is wrong with a row.
fn flaws(result: &ImportResult) -> Vec<String> {
    let flaws = result.violations.iter().map(|flaw| format!("{} {}", flaw.field, flaw.description));
    let flaws: Vec<_> = flaws.collect();
    if flaws.is_empty() { vec![result.message.clone()] } else { flaws }
}

#[cfg(test)]
mod tests {
    use proto::crm::v1::ImportViolation;

    use super::*;

    fn result(row_number: i64, outcome: Outcome) -> ImportResult {
        let violation =
            ImportViolation { field: "first_name".into(), description: "is required".into() };
        let violations = if outcome == Outcome::Refused { vec![violation] } else { vec![] };
        ImportResult { row_number, outcome: outcome.into(), violations, ..Default::default() }
    }

    #[test]
    fn a_row_counts_once_however_often_it_is_answered() {
        let mut tally = Tally::new(Progress::without_end());
        tally.take(2, &[], &result(1, Outcome::Created));
        tally.take(3, &[], &result(2, Outcome::Refused));
        tally.refuse_here(4, &["status must be known".into()]);
        // The same again, after a broken connection.
        tally.take(2, &[], &result(1, Outcome::AlreadyApplied));
        tally.take(3, &[], &result(2, Outcome::AlreadyApplied));
        tally.refuse_here(4, &["status must be known".into()]);
        tally.take(5, &[], &result(3, Outcome::AlreadyApplied));
        assert_eq!((tally.answered(), tally.refused()), (3, 2));
        assert_eq!(
            tally.summary(false),
            "4 rows: 1 created, 2 refused, 1 dealt with before.\n  1 × first_name is required\n  \
             1 × status must be known"
        );
    }

    #[test]
    fn what_is_wrong_here_and_there_is_said_together() {
        let violation = |field: &str, description: &str| ImportViolation {
            field: field.into(),
            description: description.into(),
        };
        let violations = vec![
            violation("first_name", "is required"),
            violation("email", "must be an e-mail address"),
            violation("status", "must be a known status"),
        ];
        let result = ImportResult { violations, ..result(1, Outcome::Refused) };
        let seen = ["first_name must be a text".to_owned()];
        let expected = ["first_name must be a text", "email must be an e-mail address"];
        assert_eq!(all_flaws(&seen, &result), expected);
        // Sent again it is refused again, and nothing that was dealt with.
        let mut tally = Tally::new(Progress::without_end());
        tally.take(2, &seen, &self::result(1, Outcome::AlreadyApplied));
        assert!(tally.summary(false).starts_with("1 rows: 1 refused."));
    }

    #[test]
    fn reasons_do_not_pile_up() {
        let mut tally = Tally::new(Progress::without_end());
        for line in 1..=1_000 {
            tally.refuse_here(line, &[format!("flaw {line}")]);
        }
        assert_eq!((tally.reasons.len(), tally.refused()), (MOST_REASONS + 1, 1_000));
    }
}
