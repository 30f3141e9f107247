//! The holding side of the world: pings, news, questions, and what is let in by what.

use chrono::{DateTime, Utc};

use super::{
    super::{
        cache::{Answer, Key},
        feed::Feed,
        holder::{Fate, Found, Holder},
    },
    Person, Question, Request, Stream, World,
};

/// What was answered about somebody.
#[derive(Debug, Clone)]
pub(super) struct Told {
    person: Person,
    value: u64,
}

impl Answer for Told {
    type Event = Person;

    fn is_touched_by(&self, event: &Person) -> bool {
        self.person == *event
    }

    fn is_refusal(&self) -> bool {
        self.value % 2 == 1
    }

    fn expire_time(&self) -> Option<DateTime<Utc>> {
        None
    }
}

fn key(person: Person) -> Key {
    [u8::try_from(person).unwrap(); 32]
}

impl World {
    /// A holder opens another stream; the giver may not know that the last one is of no use.
    pub(super) fn connect(&mut self, holder: usize, giver: usize) {
        let number = self.holders[holder].holder.open();
        self.holders[holder].stream = Some(self.streams.len());
        self.streams.push(Stream {
            holder,
            giver,
            number,
            requests: [].into(),
            responses: [].into(),
            feed: Feed::default(),
            has_begun: false,
            owed: None,
            reading: None,
            is_dead: false,
        });
    }

    pub(super) fn ping(&mut self, holder: usize) {
        let (now, start) = (self.holder_now(holder), self.start(holder));
        let it = &mut self.holders[holder];
        let Some(stream) = it.stream else { return };
        let ping = it.holder.ping(now);
        let request = Request { start, ping: Some(ping.number), applied: ping.applied };
        self.streams[stream].requests.push_back(request);
    }

    /// A holder hears the next response on any of its streams, dead or alive.
    pub(super) fn hear(&mut self, stream: usize) {
        let Some(it) = self.streams.get_mut(stream) else { return };
        let (holder, number) = (it.holder, it.number);
        let Some(heard) = it.responses.pop_front() else { return };
        let (now, start) = (self.holder_now(holder), self.start(holder));
        let early = (!self.rules.acknowledged_when_applied).then_some(heard.position);
        let it = &mut self.holders[holder];
        if let Some(applied) = early.filter(|_| it.stream == Some(stream)) {
            // As soon as it is there; it is applied another time, or never.
            let request = Request { start, ping: None, applied: Some(applied) };
            self.streams[stream].requests.push_back(request);
            if heard.lease.is_none() {
                return;
            }
        }
        match it.holder.hear(number, heard, now) {
            Ok(true) if it.stream == Some(stream) => {
                let request = Request { start, ping: None, applied: it.holder.applied() };
                self.streams[stream].requests.push_back(request);
            }
            Ok(_) => {}
            Err(_gap) if it.stream == Some(stream) => it.stream = None,
            Err(_of_another_stream) => {}
        }
    }

    /// What a process calls itself.
    fn start(&self, holder: usize) -> uuid::Uuid {
        let holder = if self.rules.note_belongs_to_a_start { holder } else { 0 };
        self.holders[holder].start
    }

    pub(super) fn restart_holder(&mut self, holder: usize) {
        let start = self.id();
        // Streams of another start are never heard again.
        for stream in self.streams.iter_mut().filter(|stream| stream.holder == holder) {
            stream.responses.clear();
            stream.number = 0;
        }
        let it = &mut self.holders[holder];
        (it.start, it.holder, it.stream) = (start, Holder::default(), None);
    }

    /// A request begins: something kept is used, or a question goes out, or it joins one.
    pub(super) fn request(&mut self, holder: usize, person: Person) {
        let (now, floor) = (self.holder_now(holder), self.promised[person]);
        let it = &self.holders[holder];
        let start = it.start;
        match it.holder.find(&key(person), now, DateTime::UNIX_EPOCH) {
            Found::Answer(told) => {
                self.hits += 1;
                self.accept(person, told.value, floor, "kept");
            }
            Found::Nothing if self.join(holder, person, floor) => {}
            Found::Nothing | Found::NoLease => self.questions.push(Question {
                holder,
                start,
                person,
                asked: now,
                floor,
                joined: vec![],
                answer: None,
            }),
        }
    }

    fn join(&mut self, holder: usize, person: Person, floor: u64) -> bool {
        let start = self.holders[holder].start;
        let mut flights = self.questions.iter_mut();
        let flight = flights.find(|it| it.start == start && it.person == person);
        flight.map(|flight| flight.joined.push(floor)).is_some()
    }

    /// The question is looked into: facts and number are of one moment.
    pub(super) fn look_up(&mut self, question: usize) {
        let head = self.head();
        let Some(it) = self.questions.get_mut(question) else { return };
        let position = self.rules.one_moment_for_facts_and_number.then_some(head);
        it.answer.get_or_insert((self.database.facts[it.person], position));
    }

    /// The answer is there, if the question was looked into.
    pub(super) fn land(&mut self, question: usize) {
        let is_through = self.questions.get(question).is_some_and(|it| it.answer.is_some());
        if !is_through {
            return;
        }
        let it = self.questions.swap_remove(question);
        let Some((value, read_at)) = it.answer else { return };
        if it.start != self.holders[it.holder].start {
            return;
        }
        let read_at = Some(read_at.unwrap_or(self.head()));
        let told = Told { person: it.person, value };
        let holder = &mut self.holders[it.holder].holder;
        let fate = holder.keep(key(it.person), told, it.asked, read_at);
        if fate != Fate::Overtaken {
            self.accept(it.person, value, it.floor, "answered");
        }
        let now = self.holder_now(it.holder);
        for floor in it.joined {
            let found =
                self.holders[it.holder].holder.find(&key(it.person), now, DateTime::UNIX_EPOCH);
            if !self.rules.joined_answers_are_kept_ones {
                self.accept(it.person, value, floor, "shared");
            } else if let Found::Answer(told) = found {
                self.accept(it.person, told.value, floor, "joined");
            }
        }
    }
}
