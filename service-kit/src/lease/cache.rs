//! Which answers are kept, for how long, and what makes them fall?

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};

use super::{ANSWER_AGE, clock::Moment, kept, log::Numbered};

/// What an answer is known by: the digest of what it was asked about.
pub type Key = [u8; 32];

/// The most answers that are kept.
const MOST: usize = 10_000;
/// The most refusals: anybody can ask for them, and nobody misses one.
const MOST_REFUSALS: usize = 500;

/// An answer that can be kept.
pub trait Answer: Clone {
    type Event;

    /// Whether something happened to what it says, or to whom it names.
    fn is_touched_by(&self, event: &Self::Event) -> bool;

    /// Whether it names nobody, so that nobody can tell what would change it.
    fn is_refusal(&self) -> bool;

    /// When it ends by itself.
    fn expire_time(&self) -> Option<DateTime<Utc>>;
}

#[derive(Debug)]
struct Kept<A> {
    answer: A,
    /// When the question was sent.
    asked: Moment,
}

/// Answers, by what they are known by.
#[derive(Debug)]
pub struct Cache<A> {
    answers: Shelf<A>,
    refusals: Shelf<A>,
}

impl<A> Default for Cache<A> {
    fn default() -> Self {
        Self { answers: Shelf::of(MOST), refusals: Shelf::of(MOST_REFUSALS) }
    }
}

impl<A: Answer> Cache<A> {
    /// An answer that is young enough and not over.
    pub fn find(&self, key: &Key, now: Moment, today: DateTime<Utc>) -> Option<&A> {
        let kept = self.answers.find(key).or_else(|| self.refusals.find(key))?;
        let is_young = now < kept.asked + ANSWER_AGE || !kept!(answers_age);
        let is_over = kept.answer.expire_time().is_some_and(|end| today >= end);
        (is_young && !(is_over && kept!(answers_expire))).then_some(&kept.answer)
    }

    pub fn insert(&mut self, key: Key, answer: A, asked: Moment) {
        // What is known of a credential is one answer.
        self.answers.kept.remove(&key);
        self.refusals.kept.remove(&key);
        let shelf = if answer.is_refusal() { &mut self.refusals } else { &mut self.answers };
        shelf.insert(key, Kept { answer, asked });
    }

    /// Drops whatever something happened to.
    pub fn touch(&mut self, events: &[Numbered<A::Event>]) {
        if events.is_empty() {
            return;
        }
        if kept!(refusals_fall) {
            self.refusals.clear();
        }
        let is_touched = |answer: &A| events.iter().any(|it| answer.is_touched_by(&it.event));
        self.answers.kept.retain(|_, kept| !is_touched(&kept.answer));
    }

    pub fn clear(&mut self) {
        self.answers.clear();
        self.refusals.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.answers.kept.len() + self.refusals.kept.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// As many as have room; the one that was asked for first goes first.
#[derive(Debug)]
struct Shelf<A> {
    room: usize,
    kept: HashMap<Key, Kept<A>>,
    /// In the order in which they came; some are gone or were replaced meanwhile.
    order: VecDeque<(Key, Moment)>,
}

impl<A> Shelf<A> {
    fn of(room: usize) -> Self {
        Self { room, kept: HashMap::new(), order: VecDeque::new() }
    }

    fn find(&self, key: &Key) -> Option<&Kept<A>> {
        self.kept.get(key)
    }

    fn insert(&mut self, key: Key, kept: Kept<A>) {
        self.order.push_back((key, kept.asked));
        self.kept.insert(key, kept);
        while self.order.len() > self.room {
            let Some((key, asked)) = self.order.pop_front() else { return };
            if self.kept.get(&key).is_some_and(|kept| kept.asked == asked) {
                self.kept.remove(&key);
            }
        }
    }

    fn clear(&mut self) {
        self.kept.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;

    use super::*;
    use crate::clock;

    #[derive(Debug, Clone, PartialEq)]
    struct Of(Option<u32>, Option<DateTime<Utc>>);

    impl Answer for Of {
        type Event = u32;

        fn is_touched_by(&self, event: &u32) -> bool {
            self.0.is_none_or(|name| name == *event)
        }

        fn is_refusal(&self) -> bool {
            self.0.is_none()
        }

        fn expire_time(&self) -> Option<DateTime<Utc>> {
            self.1
        }
    }

    fn key(number: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn ms(millis: u64) -> Moment {
        Moment::at(Duration::from_millis(millis))
    }

    /// Security checklist 20: for 5 s, and never beyond its own end.
    #[test]
    fn an_answer_is_found_while_it_is_young_and_not_over() {
        let (mut cache, today) = (Cache::default(), clock::now());
        cache.insert(key(1), Of(Some(1), None), ms(100));
        cache.insert(key(2), Of(Some(2), Some(today)), ms(100));
        assert!(cache.find(&key(1), ms(5_099), today).is_some());
        assert!(cache.find(&key(1), ms(5_100), today).is_none());
        assert!(cache.find(&key(2), ms(101), today - TimeDelta::microseconds(1)).is_some());
        assert!(cache.find(&key(2), ms(101), today).is_none());
        assert!(cache.find(&key(3), ms(101), today).is_none());
    }

    #[test]
    fn whatever_something_happened_to_falls_and_so_does_every_refusal() {
        let (mut cache, today) = (Cache::default(), clock::now());
        for (number, of) in [(1, Some(1)), (2, Some(2)), (3, None)] {
            cache.insert(key(number), Of(of, None), ms(0));
        }
        cache.touch(&[]);
        assert_eq!(cache.len(), 3);
        cache.touch(&[2, 7].map(|event| Numbered { number: 1, event }));
        assert!(cache.find(&key(1), ms(1), today).is_some());
        assert_eq!(cache.len(), 1);
        cache.clear();
        assert!(cache.is_empty());
    }

    #[test]
    fn there_is_one_answer_about_a_credential() {
        let (mut cache, today) = (Cache::default(), clock::now());
        cache.insert(key(1), Of(Some(1), None), ms(0));
        cache.insert(key(1), Of(None, None), ms(1));
        assert!(cache.find(&key(1), ms(2), today).unwrap().is_refusal());
        cache.insert(key(1), Of(Some(1), None), ms(2));
        assert!(!cache.find(&key(1), ms(3), today).unwrap().is_refusal());
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn there_is_room_for_so_many_and_strangers_push_nobody_out() {
        let (mut cache, today) = (Cache::default(), clock::now());
        cache.insert(key(0), Of(Some(1), None), ms(0));
        for number in 0..2 * MOST_REFUSALS {
            cache.insert(key(MOST + 1 + number), Of(None, None), ms(0));
        }
        assert!(cache.find(&key(0), ms(1), today).is_some());
        assert_eq!(cache.len(), 1 + MOST_REFUSALS);
        for number in 1..=MOST {
            cache.insert(key(number), Of(Some(1), None), ms(1));
        }
        assert_eq!(cache.answers.kept.len(), MOST);
        assert!(cache.find(&key(0), ms(1), today).is_none(), "the first to come");
        assert!(cache.find(&key(MOST), ms(1), today).is_some());
    }
}
