//! May an answer that was kept be used for this request?

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    LEASE,
    cache::{Answer, Cache, Key},
    clock::Moment,
    kept,
    log::{Applied, Gap, Numbered, Position},
};

/// What one start of a holding process knows. What it has applied and kept outlives its streams.
#[derive(Debug)]
pub struct Holder<A: Answer> {
    applied: Applied<A::Event>,
    cache: Cache<A>,
    /// When the lease is over.
    until: Option<Moment>,
    stream: u64,
    /// The pings of the stream that were not answered, and when each was sent.
    pings: VecDeque<(u64, Moment)>,
    last_ping: u64,
}

/// What goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    pub number: u64,
    /// How far the log is applied, which acknowledges that much of it.
    pub applied: Option<Position>,
}

/// What comes in.
#[derive(Debug, Clone)]
pub struct Heard<E> {
    /// Whatever was kept is of no use: it goes on from the place.
    pub reset: bool,
    pub events: Vec<Numbered<E>>,
    /// Behind the last event.
    pub position: Position,
    /// The ping that this answers, and for how long the lease is that it gives.
    pub lease: Option<(u64, Duration)>,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<A> {
    Answer(A),
    Nothing,
    /// Nothing may be used that was kept.
    NoLease,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Kept,
    /// Right, but of no use for another request.
    NotKept,
    /// Something happened to it on its way: ask again.
    Overtaken,
}

impl<A: Answer> Default for Holder<A> {
    fn default() -> Self {
        Self {
            applied: Applied::default(),
            cache: Cache::default(),
            until: None,
            stream: 0,
            pings: VecDeque::new(),
            last_ping: 0,
        }
    }
}

impl<A: Answer> Holder<A> {
    /// A stream begins; the one before is heard no more.
    pub fn open(&mut self) -> u64 {
        self.stream += 1;
        self.pings.clear();
        self.stream
    }

    /// The next ping of the stream. The clock is read before it is sent, and never after.
    pub fn ping(&mut self, now: Moment) -> Ping {
        self.last_ping += 1;
        self.pings.push_back((self.last_ping, now));
        Ping { number: self.last_ping, applied: self.applied.position() }
    }

    /// How far the log is applied.
    pub fn applied(&self) -> Option<Position> {
        self.applied.position()
    }

    /// Takes in what came by a stream: first what happened, and only then the lease. Says whether
    /// there was any news.
    ///
    /// # Errors
    /// Where something is missing before it: the stream is of no use any more.
    pub fn hear(&mut self, stream: u64, heard: Heard<A::Event>, now: Moment) -> Result<bool, Gap> {
        if stream != self.stream {
            return Err(Gap);
        }
        let is_news = heard.reset || !heard.events.is_empty();
        if heard.reset {
            if kept!(reset_drops_what_is_kept) {
                self.cache.clear();
            }
            self.applied.reset(heard.position);
        } else {
            self.applied.follows(&heard.events, heard.position)?;
            if kept!(events_drop_answers) {
                self.cache.touch(&heard.events);
            }
            self.applied.extend(heard.events, heard.position);
        }
        if let Some((ping, lease)) = heard.lease {
            self.renew(ping, lease, now);
        }
        Ok(is_news)
    }

    /// A lease counts from when its own ping was sent: when the answer came says nothing about
    /// when the log was read for it.
    fn renew(&mut self, ping: u64, lease: Duration, now: Moment) {
        let ping = if kept!(own_ping) { ping } else { self.last_ping };
        let Some(place) = self.pings.iter().position(|(number, _)| *number == ping) else {
            return;
        };
        let from = if kept!(from_sending) { self.pings[place].1 } else { now };
        self.pings.drain(..=place);
        let until = from + lease.min(LEASE);
        self.until = self.until.max(Some(until));
    }

    /// Whether there is a lease.
    pub fn holds(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| now < until) || !kept!(lease_on_every_hit)
    }

    /// An answer that may be used for a request which began before `now`: the lease first, and
    /// then what is there.
    pub fn find(&self, key: &Key, now: Moment, today: DateTime<Utc>) -> Found<A> {
        if !self.holds(now) {
            return Found::NoLease;
        }
        match self.cache.find(key, now, today) {
            Some(answer) => Found::Answer(answer.clone()),
            None => Found::Nothing,
        }
    }

    /// Keeps an answer, unless something happened to it since it was read.
    pub fn keep(&mut self, key: Key, answer: A, asked: Moment, read_at: Option<Position>) -> Fate {
        let (Some(read_at), Some(applied)) = (read_at, self.applied.position()) else {
            return Fate::NotKept;
        };
        if read_at.epoch != applied.epoch && kept!(epochs_do_not_compare) {
            return Fate::NotKept;
        }
        let Some(mut unmet) = self.applied.unmet(read_at) else { return Fate::Overtaken };
        let is_touched = |event| answer.is_refusal() || answer.is_touched_by(event);
        if unmet.any(is_touched) && kept!(overtaken_answers_fall) {
            return Fate::Overtaken;
        }
        drop(unmet);
        self.cache.insert(key, answer, asked);
        Fate::Kept
    }

    /// How many answers are kept.
    pub fn kept(&self) -> usize {
        self.cache.len()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::clock;

    /// Names the one of this number, or nobody.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Of(Option<u32>);

    impl Answer for Of {
        type Event = u32;

        fn is_touched_by(&self, event: &u32) -> bool {
            self.0 == Some(*event)
        }

        fn is_refusal(&self) -> bool {
            self.0.is_none()
        }

        fn expire_time(&self) -> Option<DateTime<Utc>> {
            None
        }
    }

    const KEY: Key = [7; 32];

    fn at(number: i64) -> Position {
        Position { epoch: Uuid::from_u128(1), number }
    }

    fn ms(millis: u64) -> Moment {
        Moment::at(Duration::from_millis(millis))
    }

    fn reset(number: i64) -> Heard<u32> {
        Heard { reset: true, events: vec![], position: at(number), lease: None }
    }

    fn events(numbers: &[(i64, u32)]) -> Heard<u32> {
        let numbered =
            numbers.iter().map(|(number, event)| Numbered { number: *number, event: *event });
        let position = at(numbers.last().unwrap().0);
        Heard { reset: false, events: numbered.collect(), position, lease: None }
    }

    fn reply(number: i64, ping: Ping) -> Heard<u32> {
        let lease = Some((ping.number, LEASE));
        Heard { reset: false, events: vec![], position: at(number), lease }
    }

    /// One that has a lease from 0 to 1000 ms, at place 5.
    fn holder() -> (Holder<Of>, u64) {
        let mut holder = Holder::default();
        let stream = holder.open();
        let ping = holder.ping(ms(0));
        assert_eq!(ping.applied, None);
        holder.hear(stream, reset(5), ms(1)).unwrap();
        holder.hear(stream, reply(5, ping), ms(2)).unwrap();
        (holder, stream)
    }

    fn find(holder: &Holder<Of>, now: u64) -> Found<Of> {
        holder.find(&KEY, ms(now), clock::now())
    }

    /// Security checklist 20.
    #[test]
    fn a_lease_counts_from_when_its_ping_was_sent_and_nothing_is_used_without_one() {
        let (mut holder, stream) = holder();
        assert_eq!(find(&holder, 3), Found::Nothing);
        assert_eq!(holder.keep(KEY, Of(Some(1)), ms(3), Some(at(5))), Fate::Kept);
        assert_eq!(find(&holder, 999), Found::Answer(Of(Some(1))));
        assert_eq!(find(&holder, 1_000), Found::NoLease);
        let slow = holder.ping(ms(1_000));
        let next = holder.ping(ms(1_200));
        holder.hear(stream, reply(5, slow), ms(1_900)).unwrap();
        assert_eq!(find(&holder, 1_999), Found::Answer(Of(Some(1))));
        assert_eq!(find(&holder, 2_000), Found::NoLease);
        holder.hear(stream, reply(5, next), ms(2_100)).unwrap();
        assert!(holder.holds(ms(2_199)) && !holder.holds(ms(2_200)));
        // Twice, and one that was never sent.
        holder.hear(stream, reply(5, next), ms(2_100)).unwrap();
        holder.hear(stream, reply(5, Ping { number: 99, applied: None }), ms(2_150)).unwrap();
        assert!(!holder.holds(ms(2_200)));
    }

    /// Security checklist 20.
    #[test]
    fn no_lease_is_longer_than_it_may_be() {
        let (mut holder, stream) = holder();
        let ping = holder.ping(ms(500));
        let lease = Some((ping.number, Duration::from_secs(60)));
        holder.hear(stream, Heard { lease, ..reply(5, ping) }, ms(501)).unwrap();
        assert!(!holder.holds(ms(1_500)));
    }

    #[test]
    fn a_reply_counts_on_its_own_stream_only() {
        let (mut holder, stream) = holder();
        let ping = holder.ping(ms(900));
        let next = holder.open();
        assert_eq!(holder.hear(stream, reply(5, ping), ms(901)), Err(Gap));
        holder.hear(next, reply(5, ping), ms(902)).unwrap();
        assert!(holder.holds(ms(999)) && !holder.holds(ms(1_000)), "what it had it keeps");
    }

    #[test]
    fn an_event_drops_what_it_is_about_and_a_gap_ends_the_stream() {
        let (mut holder, stream) = holder();
        assert_eq!(holder.keep(KEY, Of(Some(1)), ms(3), Some(at(5))), Fate::Kept);
        assert_eq!(holder.hear(stream, events(&[(6, 2)]), ms(4)), Ok(true));
        assert_eq!(find(&holder, 5), Found::Answer(Of(Some(1))));
        assert_eq!(holder.hear(stream, events(&[(8, 1)]), ms(6)), Err(Gap));
        assert_eq!(holder.applied(), Some(at(6)));
        holder.hear(stream, events(&[(7, 3), (8, 1)]), ms(7)).unwrap();
        assert_eq!(find(&holder, 8), Found::Nothing);
        assert_eq!(holder.keep(KEY, Of(Some(1)), ms(9), Some(at(8))), Fate::Kept);
        holder.hear(stream, reset(20), ms(10)).unwrap();
        assert_eq!(find(&holder, 11), Found::Nothing);
        assert_eq!(holder.kept(), 0);
    }

    #[test]
    fn an_answer_that_was_overtaken_is_not_kept() {
        let (mut holder, stream) = holder();
        holder.hear(stream, events(&[(6, 1), (7, 2)]), ms(4)).unwrap();
        let mut fate = |of, number| holder.keep(KEY, Of(of), ms(3), number);
        assert_eq!(fate(Some(1), Some(at(5))), Fate::Overtaken);
        assert_eq!(fate(Some(1), Some(at(6))), Fate::Kept);
        assert_eq!(fate(Some(2), Some(at(6))), Fate::Overtaken);
        assert_eq!(fate(Some(2), Some(at(9))), Fate::Kept, "ahead of us");
        assert_eq!(fate(None, Some(at(6))), Fate::Overtaken, "whoever it would be about");
        assert_eq!(fate(None, Some(at(7))), Fate::Kept);
        assert_eq!(fate(Some(3), Some(at(4))), Fate::Overtaken, "before all that is known");
        assert_eq!(fate(Some(3), None), Fate::NotKept);
        let other = Position { epoch: Uuid::from_u128(2), number: 9 };
        assert_eq!(fate(Some(3), Some(other)), Fate::NotKept);
        let mut new = Holder::<Of>::default();
        assert_eq!(new.keep(KEY, Of(Some(3)), ms(3), Some(at(4))), Fate::NotKept);
    }
}
