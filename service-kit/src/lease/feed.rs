//! What is a holder told on one stream, and when does that give it a lease?

use super::{
    kept,
    log::{Numbered, Position},
};

/// What one statement found: all of it is of one moment.
#[derive(Debug)]
pub struct Reading<E> {
    /// Where the log ends.
    pub head: Position,
    /// The first of the events behind the place that was asked about.
    pub events: Vec<Numbered<E>>,
    /// Whether the row of the process that asks is there, and leases may be given by it.
    pub may_give: bool,
}

/// What to send.
#[derive(Debug, PartialEq, Eq)]
pub struct Word<E> {
    /// Begin anew from the place: what was kept is of no use.
    pub reset: bool,
    pub events: Vec<Numbered<E>>,
    /// Behind the last event.
    pub position: Position,
    /// Nothing is left behind that place: with this a lease may go out.
    pub is_all: bool,
    pub may_give: bool,
}

/// One stream: what was sent on it.
#[derive(Debug, Default)]
pub struct Feed {
    sent: Option<Position>,
}

impl Feed {
    /// Goes on from where the holder says that it stands.
    pub fn begin(&mut self, applied: Option<Position>) {
        self.sent = applied;
    }

    /// Behind which number the log is to be read.
    pub fn behind(&self) -> i64 {
        self.sent.map_or(0, |position| position.number)
    }

    /// What was not sent yet. A place that is missing, swept, ahead of the log or of another
    /// epoch cannot be gone on from.
    pub fn next<E>(&mut self, reading: Reading<E>) -> Word<E> {
        let Reading { head, events, may_give } = reading;
        let follows = self.sent.is_some_and(|sent| {
            let number = match events.first() {
                Some(first) => first.number - 1,
                None => head.number,
            };
            let same_epoch = sent.epoch == head.epoch || !kept!(epochs_do_not_compare);
            same_epoch && (number == sent.number || !kept!(nothing_is_missing))
        });
        if !follows {
            self.sent = Some(head);
            return Word { reset: true, events: vec![], position: head, is_all: true, may_give };
        }
        let number = events.last().map_or(head.number, |last| last.number);
        let position = Position { epoch: head.epoch, number };
        self.sent = Some(position);
        Word { reset: false, events, position, is_all: number == head.number, may_give }
    }
}

impl<E> Word<E> {
    /// Whether a ping may be answered with it, and so a lease be given.
    pub fn gives(&self) -> bool {
        self.is_all && self.may_give
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(number: i64) -> Position {
        Position { epoch: Uuid::from_u128(1), number }
    }

    fn reading(head: i64, numbers: std::ops::RangeInclusive<i64>) -> Reading<()> {
        let events = numbers.map(|number| Numbered { number, event: () }).collect();
        Reading { head: at(head), events, may_give: true }
    }

    fn none(head: Position) -> Reading<()> {
        Reading { head, events: vec![], may_give: true }
    }

    #[test]
    fn what_follows_is_sent_and_a_lease_goes_with_the_last_of_it() {
        let mut feed = Feed::default();
        feed.begin(Some(at(7)));
        let word = feed.next(reading(12, 8..=10));
        assert!(!word.reset && !word.gives() && word.position == at(10));
        assert_eq!(feed.behind(), 10);
        let word = feed.next(reading(12, 11..=12));
        assert!(!word.reset && word.gives() && word.position == at(12));
        let word = feed.next(none(at(12)));
        assert!(!word.reset && word.gives() && word.events.is_empty());
    }

    #[test]
    fn what_cannot_be_gone_on_from_begins_anew() {
        let other = Position { epoch: Uuid::from_u128(2), number: 7 };
        for (applied, found) in [
            (None, reading(9, 1..=9)),
            (Some(at(6)), reading(9, 8..=9)),
            (Some(at(8)), none(at(9))),
            (Some(at(10)), none(at(9))),
            (Some(at(7)), none(other)),
        ] {
            let head = found.head;
            let mut feed = Feed::default();
            feed.begin(applied);
            let word = feed.next(found);
            assert!(word.reset && word.gives() && word.events.is_empty(), "{applied:?}");
            assert_eq!(word.position, head);
            assert!(!feed.next(none(head)).reset, "and goes on from there");
        }
    }

    /// Security checklist 20.
    #[test]
    fn without_its_row_a_process_gives_nothing() {
        let mut feed = Feed::default();
        assert!(!feed.next(Reading { may_give: false, ..none(at(7)) }).gives());
    }
}
