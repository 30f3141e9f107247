//! What happened, in the order in which it became true?
//!
//! Events are numbered without a gap by whoever writes the log, in the order of the commits. A
//! number belongs to an epoch, and there is a new epoch whenever the database is promoted or
//! restored: numbers of two epochs do not compare.

use std::collections::VecDeque;

use proto::identity::v1 as pb;
use uuid::Uuid;

use super::kept;

/// A place in the log: right behind the event of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, sqlx::FromRow)]
pub struct Position {
    pub epoch: Uuid,
    pub number: i64,
}

impl From<Position> for pb::LogPosition {
    fn from(position: Position) -> Self {
        Self { epoch: position.epoch.to_string(), number: position.number }
    }
}

impl Position {
    /// As it was sent, if it can be one.
    pub fn parse(sent: &pb::LogPosition) -> Option<Self> {
        let epoch = Uuid::try_parse(&sent.epoch).ok()?;
        (sent.number >= 0).then_some(Self { epoch, number: sent.number })
    }

    /// Whether whoever stands here has read all that stands before the other place.
    pub fn covers(self, other: Self) -> bool {
        (self.epoch == other.epoch || !kept!(epochs_do_not_compare)) && self.number >= other.number
    }
}

/// An event, with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered<E> {
    pub number: i64,
    pub event: E,
}

/// How many events are remembered. An answer that is older than all of them is not kept.
const REMEMBERED: usize = 1024;

/// How far somebody has read, and the last events that they met.
#[derive(Debug)]
pub struct Applied<E> {
    position: Option<Position>,
    recent: VecDeque<Numbered<E>>,
}

/// It cannot be gone on from here: something is missing in between.
#[derive(Debug, PartialEq, Eq)]
pub struct Gap;

impl<E> Default for Applied<E> {
    fn default() -> Self {
        Self { position: None, recent: VecDeque::new() }
    }
}

impl<E> Applied<E> {
    /// Where it stands, once it knows.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Goes on from there, whatever was before.
    pub fn reset(&mut self, head: Position) {
        self.position = Some(head);
        self.recent.clear();
    }

    /// Whether these events, up to this place, are what comes next.
    pub fn follows(&self, events: &[Numbered<E>], end: Position) -> Result<(), Gap> {
        let Some(at) = self.position else { return Err(Gap) };
        let mut number = at.number;
        for event in events {
            number += 1;
            if event.number != number && kept!(nothing_is_missing) {
                return Err(Gap);
            }
        }
        let same_epoch = at.epoch == end.epoch || !kept!(epochs_do_not_compare);
        let is_end = end.number == number || !kept!(nothing_is_missing);
        if same_epoch && is_end { Ok(()) } else { Err(Gap) }
    }

    /// Takes the next events in.
    pub fn extend(&mut self, events: Vec<Numbered<E>>, end: Position) {
        self.recent.extend(events);
        let excess = self.recent.len().saturating_sub(REMEMBERED);
        self.recent.drain(..excess);
        self.position = Some(end);
    }

    /// The events that somebody who read up to a place has not met; none, if nobody can tell any
    /// more.
    pub fn unmet(&self, by: Position) -> Option<impl Iterator<Item = &E>> {
        let at = self.position?;
        let first = self.recent.front().map_or(at.number, |event| event.number - 1);
        let known = by.number >= first || !kept!(floor_after_reset);
        let same_epoch = by.epoch == at.epoch || !kept!(epochs_do_not_compare);
        (known && same_epoch).then(|| {
            let met = self.recent.partition_point(|event| event.number <= by.number);
            self.recent.range(met..).map(|numbered| &numbered.event)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Uuid = Uuid::from_u128(1);

    fn at(number: i64) -> Position {
        Position { epoch: EPOCH, number }
    }

    fn events(numbers: std::ops::RangeInclusive<i64>) -> Vec<Numbered<i64>> {
        numbers.map(|number| Numbered { number, event: number * 10 }).collect()
    }

    fn unmet(applied: &Applied<i64>, by: Position) -> Option<Vec<i64>> {
        applied.unmet(by).map(|events| events.copied().collect())
    }

    #[test]
    fn only_what_comes_next_without_a_gap_follows() {
        let mut applied = Applied::default();
        assert_eq!(applied.follows(&events(1..=2), at(2)), Err(Gap), "it stands nowhere yet");
        applied.reset(at(7));
        assert_eq!(applied.follows(&events(8..=9), at(9)), Ok(()));
        assert_eq!(applied.follows(&[], at(7)), Ok(()));
        for (wrong, end) in [
            (events(9..=9), at(9)),
            (events(7..=8), at(8)),
            (events(8..=9), at(10)),
            (events(8..=9), Position { epoch: Uuid::from_u128(2), number: 9 }),
            (vec![], at(8)),
        ] {
            assert_eq!(applied.follows(&wrong, end), Err(Gap), "{wrong:?} up to {end:?}");
        }
    }

    #[test]
    fn what_an_answer_has_not_met_is_known_for_a_while() {
        let mut applied = Applied::default();
        assert_eq!(unmet(&applied, at(1)), None);
        applied.reset(at(7));
        assert_eq!(unmet(&applied, at(6)), None, "what was before is not known");
        assert_eq!(unmet(&applied, at(7)), Some(vec![]));
        assert_eq!(unmet(&applied, at(9)), Some(vec![]), "ahead of us");
        applied.extend(events(8..=9), at(9));
        assert_eq!(unmet(&applied, at(7)), Some(vec![80, 90]));
        assert_eq!(unmet(&applied, at(8)), Some(vec![90]));
        assert_eq!(unmet(&applied, Position { epoch: Uuid::from_u128(2), number: 9 }), None);
        let many = 9 + i64::try_from(REMEMBERED).unwrap();
        applied.extend(events(10..=many), at(many));
        assert_eq!(unmet(&applied, at(8)), None);
        assert_eq!(unmet(&applied, at(9)).unwrap().len(), REMEMBERED);
    }
}
