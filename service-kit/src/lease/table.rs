//! Which processes give leases, and what does each let the others know?
//!
//! Each start of a giving process has a row of its own, made before its first lease. It publishes
//! a place of the log there once nobody holds a lease any more that it gave without the events up
//! to it, so that whoever takes something back by another process need not wait longer.
//!
//! A row goes in two steps, whoever takes it away: it is fenced, after which nobody gives a lease
//! by it, and deleted when all that was given before is surely over. Nothing here goes by the
//! time of day: what counts is how long a beat was not seen to change.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use uuid::Uuid;

use super::{
    clock::Moment,
    kept,
    log::Position,
    notes::{Notes, Unaware},
    surely_over,
};

/// How often a process shows in its row that it lives.
pub const BEAT_EVERY: Duration = Duration::from_secs(2);
/// One that did not for so long is taken to be gone. It may be back: then it finds its row fenced.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// A process that gives leases, or gave some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: Uuid,
    pub published: Position,
    pub beat: i64,
    pub is_fenced: bool,
}

/// Finds out what a process may publish.
#[derive(Debug, Default)]
pub struct Publisher {
    observed: Option<Position>,
    pending: VecDeque<(Position, Unaware)>,
    ready: Option<Position>,
}

impl Publisher {
    /// The log was read, and ended there.
    pub fn observe(&mut self, head: Position, notes: &Notes, now: Moment) {
        if self.observed == Some(head) {
            return;
        }
        self.observed = Some(head);
        self.pending.push_back((head, notes.unaware(head, now)));
    }

    /// The place that everybody who holds something of ours knows of, or has nothing more from
    /// before it.
    pub fn ready(&mut self, notes: &Notes, now: Moment) -> Option<Position> {
        while let Some((position, unaware)) = self.pending.front_mut() {
            if kept!(published_late) && !unaware.are_none(notes, now) {
                break;
            }
            self.ready = Some(*position);
            self.pending.pop_front();
        }
        self.ready
    }

    /// Whether something waits to be published.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// Looks after the rows of those who cannot any more.
#[derive(Debug, Default)]
pub struct Watchman(HashMap<Uuid, Seen>);

#[derive(Debug)]
struct Seen {
    beat: i64,
    since: Moment,
    fenced: Option<Moment>,
}

/// What is to be done to the table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orders {
    pub fence: Vec<Uuid>,
    pub delete: Vec<Uuid>,
}

impl Watchman {
    /// Looks at the rows, of which one may be the process's own.
    pub fn look(&mut self, rows: &[Row], own: Option<Uuid>, now: Moment) -> Orders {
        self.0.retain(|id, _| rows.iter().any(|row| row.id == *id));
        let mut orders = Orders::default();
        for row in rows.iter().filter(|row| own != Some(row.id)) {
            let new = || Seen { beat: row.beat, since: now, fenced: None };
            let seen = self.0.entry(row.id).or_insert_with(new);
            if seen.beat != row.beat {
                (seen.beat, seen.since) = (row.beat, now);
            }
            if row.is_fenced {
                let fenced = *seen.fenced.get_or_insert(now);
                if now >= surely_over(fenced) || !kept!(deleted_late) {
                    orders.delete.push(row.id);
                }
            } else if now >= seen.since + GONE_AFTER {
                orders.fence.push(row.id);
            }
        }
        orders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: i64) -> Position {
        Position { epoch: Uuid::from_u128(1), number }
    }

    fn ms(millis: u64) -> Moment {
        Moment::at(Duration::from_millis(millis))
    }

    fn row(id: u128, beat: i64, is_fenced: bool) -> Row {
        Row { id: Uuid::from_u128(id), published: at(0), beat, is_fenced }
    }

    #[test]
    fn a_place_is_published_when_nobody_holds_a_lease_from_before_it() {
        let (mut notes, mut publisher) = (Notes::default(), Publisher::default());
        let crm = Uuid::from_u128(10);
        publisher.observe(at(4), &notes, ms(0));
        assert_eq!(publisher.ready(&notes, ms(0)), Some(at(4)));
        notes.arrive(crm, ms(0));
        publisher.observe(at(5), &notes, ms(10));
        publisher.observe(at(5), &notes, ms(20));
        publisher.observe(at(6), &notes, ms(30));
        assert_eq!(publisher.ready(&notes, ms(40)), Some(at(4)));
        assert!(publisher.is_waiting());
        notes.acknowledge(crm, at(5));
        assert_eq!(publisher.ready(&notes, ms(50)), Some(at(5)));
        assert_eq!(publisher.ready(&notes, ms(1_249)), Some(at(5)));
        assert_eq!(publisher.ready(&notes, ms(1_250)), Some(at(6)));
        assert!(!publisher.is_waiting());
    }

    #[test]
    fn whoever_shows_no_life_is_fenced_and_deleted_when_its_leases_are_over() {
        let mut watchman = Watchman::default();
        let own = Some(Uuid::from_u128(1));
        let look = |watchman: &mut Watchman, beat, is_fenced, now| {
            watchman.look(&[row(1, 0, false), row(2, beat, is_fenced)], own, ms(now))
        };
        let none = Orders::default;
        assert_eq!(look(&mut watchman, 1, false, 0), none());
        assert_eq!(look(&mut watchman, 1, false, 9_999), none());
        assert_eq!(look(&mut watchman, 2, false, 10_000), none(), "it lives");
        assert_eq!(look(&mut watchman, 2, false, 19_999), none());
        let other = vec![Uuid::from_u128(2)];
        let fence = Orders { fence: other.clone(), ..none() };
        assert_eq!(look(&mut watchman, 2, false, 20_000), fence);
        assert_eq!(look(&mut watchman, 2, true, 20_100), none(), "not by whoever fenced it alone");
        assert_eq!(look(&mut watchman, 2, true, 21_349), none());
        let delete = Orders { delete: other, ..none() };
        assert_eq!(look(&mut watchman, 2, true, 21_350), delete);
    }
}
