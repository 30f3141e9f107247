//! How long does whoever took something back wait before they say so?

use uuid::Uuid;

use super::{
    clock::Moment,
    kept,
    log::Position,
    notes::{Notes, Unaware},
    surely_over,
    table::Row,
};

/// One wait. To be begun after what was done became true, and never to last longer than any lease
/// given before then: the rest only shortens it.
#[derive(Debug)]
pub struct Wait {
    head: Option<Position>,
    own: Unaware,
    others: Vec<Uuid>,
    until: Moment,
}

impl Wait {
    /// For everything up to the head of the log, as the log and the table were found at one
    /// moment after it became true. `own` is the row of the process that waits, whose notes are
    /// at hand.
    pub fn begin(
        head: Position,
        rows: &[Row],
        own: Option<Uuid>,
        notes: &Notes,
        now: Moment,
    ) -> Self {
        let lacks = |row: &&Row| own != Some(row.id) && !row.published.covers(head);
        let others = rows.iter().filter(lacks).filter(|_| kept!(wait_for_others));
        Self {
            head: Some(head),
            own: notes.unaware(head, now),
            others: others.map(|row| row.id).collect(),
            until: surely_over(now),
        }
    }

    /// Where neither could be read: as long as any lease can last.
    pub fn in_the_dark(now: Moment) -> Self {
        Self { head: None, own: Unaware::default(), others: vec![], until: surely_over(now) }
    }

    /// Whether it depends on what other processes publish.
    pub fn is_for_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// The table, as it is by now. Rows that were not there at the beginning do not matter, and
    /// those that are gone do no more.
    pub fn look(&mut self, rows: &[Row]) {
        let Some(head) = self.head else { return };
        self.others
            .retain(|id| rows.iter().any(|row| row.id == *id && !row.published.covers(head)));
    }

    /// Whether nobody can hold a lease any more that was given without the word.
    pub fn is_over(&mut self, notes: &Notes, now: Moment) -> bool {
        now >= self.until
            || (self.head.is_some() && self.others.is_empty() && self.own.are_none(notes, now))
    }

    /// When it is over in any case.
    pub fn until(&self) -> Moment {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const OWN: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn at(number: i64) -> Position {
        Position { epoch: Uuid::from_u128(9), number }
    }

    fn ms(millis: u64) -> Moment {
        Moment::at(Duration::from_millis(millis))
    }

    fn row(id: Uuid, published: i64) -> Row {
        Row { id, published: at(published), beat: 0, is_fenced: false }
    }

    #[test]
    fn where_nobody_gave_a_lease_nobody_waits() {
        let notes = Notes::default();
        assert!(Wait::begin(at(5), &[], None, &notes, ms(0)).is_over(&notes, ms(0)));
        let rows = [row(OWN, 0), row(OTHER, 5)];
        assert!(Wait::begin(at(5), &rows, Some(OWN), &notes, ms(0)).is_over(&notes, ms(0)));
    }

    #[test]
    fn it_lasts_until_ones_own_holders_know_and_the_others_have_published() {
        let (mut notes, crm) = (Notes::default(), Uuid::from_u128(3));
        notes.arrive(crm, ms(0));
        let mut wait = Wait::begin(at(5), &[row(OWN, 0), row(OTHER, 4)], Some(OWN), &notes, ms(10));
        assert!(wait.is_for_others() && !wait.is_over(&notes, ms(10)));
        notes.acknowledge(crm, at(5));
        assert!(!wait.is_over(&notes, ms(20)));
        wait.look(&[row(OTHER, 4), row(Uuid::from_u128(4), 0)]);
        assert!(!wait.is_over(&notes, ms(30)));
        wait.look(&[row(OTHER, 5)]);
        assert!(wait.is_over(&notes, ms(40)));
    }

    #[test]
    fn it_is_over_when_every_lease_is_whoever_is_silent() {
        let notes = Notes::default();
        let silent = Wait::begin(at(5), &[row(OTHER, 4)], Some(OWN), &notes, ms(10));
        for mut wait in [silent, Wait::in_the_dark(ms(10))] {
            assert!(!wait.is_over(&notes, ms(1_259)));
            assert!(wait.is_over(&notes, ms(1_260)));
        }
        let mut gone = Wait::begin(at(5), &[row(OTHER, 4)], None, &notes, ms(10));
        gone.look(&[]);
        assert!(gone.is_over(&notes, ms(11)), "it was deleted when all that it gave was over");
    }
}
