//! Who may hold a lease of ours, and until when?

use std::collections::HashMap;

use uuid::Uuid;

use super::{clock::Moment, log::Position, surely_over};

/// What one giving process knows of the holders that it has met.
///
/// A note belongs to a *start* of a holding process and outlives every stream: a holder whose
/// stream broke still holds what it was given. Only time ends a note, or an acknowledgement of
/// that same start: another start of the same process knows nothing of what this one keeps.
#[derive(Debug, Default)]
pub struct Notes(HashMap<Uuid, Note>);

#[derive(Debug)]
struct Note {
    /// When all that it was given is surely over.
    until: Moment,
    /// How far it has applied the log.
    acknowledged: Option<Position>,
}

/// Leases that were given without the word of something, as they were when it was looked.
#[derive(Debug, Default)]
pub struct Unaware {
    of: Option<Position>,
    starts: Vec<(Uuid, Moment)>,
}

impl Notes {
    /// A ping is here. To be noted before the log is read for it: whatever becomes true after it
    /// was read may not be in the lease.
    pub fn arrive(&mut self, start: Uuid, now: Moment) {
        self.0.retain(|_, note| note.until > now);
        let note = self.0.entry(start).or_insert(Note { until: now, acknowledged: None });
        note.until = note.until.max(surely_over(now));
    }

    /// A start says how far it has applied the log; whether that is news.
    pub fn acknowledge(&mut self, start: Uuid, position: Position) -> bool {
        // One that has no note any more holds nothing.
        let Some(note) = self.0.get_mut(&start) else { return false };
        note.acknowledged.replace(position) != Some(position)
    }

    /// Who may hold a lease that was given without the events up to a place. To be asked after
    /// they became true.
    pub fn unaware(&self, of: Position, now: Moment) -> Unaware {
        let may_hold = |note: &Note| note.until > now && !note.is_aware(of);
        let starts = self.0.iter().filter(|(_, note)| may_hold(note));
        Unaware { of: Some(of), starts: starts.map(|(start, note)| (*start, note.until)).collect() }
    }

    #[cfg(test)]
    pub fn forget(&mut self, start: Uuid) {
        self.0.remove(&start);
    }

    /// How many starts may hold a lease.
    pub fn holders(&self, now: Moment) -> usize {
        self.0.values().filter(|note| note.until > now).count()
    }
}

impl Note {
    fn is_aware(&self, of: Position) -> bool {
        self.acknowledged.is_some_and(|position| position.covers(of))
    }
}

impl Unaware {
    /// Whether each of them has said by now that it knows, or holds nothing more of what it was
    /// given then. What it is given later has the word in it.
    pub fn are_none(&mut self, notes: &Notes, now: Moment) -> bool {
        let Some(of) = self.of else { return true };
        let is_aware = |start: &Uuid| notes.0.get(start).is_some_and(|note| note.is_aware(of));
        self.starts.retain(|(start, until)| *until > now && !is_aware(start));
        self.starts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CRM: Uuid = Uuid::from_u128(10);
    const OTHER: Uuid = Uuid::from_u128(11);

    fn at(number: i64) -> Position {
        Position { epoch: Uuid::from_u128(1), number }
    }

    fn ms(millis: u64) -> Moment {
        Moment::at(Duration::from_millis(millis))
    }

    #[test]
    fn a_lease_without_the_word_is_waited_for_until_it_is_over() {
        let mut notes = Notes::default();
        assert!(notes.unaware(at(5), ms(0)).are_none(&notes, ms(0)), "nobody holds anything");
        notes.arrive(CRM, ms(0));
        let mut unaware = notes.unaware(at(5), ms(100));
        assert!(!unaware.are_none(&notes, ms(1_249)));
        // What is given later is another lease.
        notes.arrive(CRM, ms(1_000));
        assert!(unaware.are_none(&notes, ms(1_250)));
        assert_eq!(notes.holders(ms(2_249)), 1);
        assert_eq!(notes.holders(ms(2_250)), 0);
    }

    #[test]
    fn an_acknowledgement_of_the_same_start_is_enough_and_no_other_is() {
        let mut notes = Notes::default();
        notes.arrive(CRM, ms(0));
        notes.arrive(OTHER, ms(0));
        notes.acknowledge(CRM, at(4));
        let mut unaware = notes.unaware(at(5), ms(1));
        notes.acknowledge(OTHER, at(5));
        assert!(!unaware.are_none(&notes, ms(2)));
        notes.acknowledge(CRM, Position { epoch: Uuid::from_u128(2), number: 9 });
        assert!(!unaware.are_none(&notes, ms(3)), "numbers of another epoch say nothing");
        notes.acknowledge(CRM, at(6));
        assert!(unaware.are_none(&notes, ms(4)));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut notes = Notes::default();
        for start in 0..1_000 {
            notes.arrive(Uuid::from_u128(start), ms(u64::try_from(start).unwrap() * 10));
        }
        assert!(notes.0.len() <= 126, "{}", notes.0.len());
    }
}
