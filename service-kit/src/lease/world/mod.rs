//! Does the promise hold, whatever happens in whichever order?
//!
//! A world of two giving and two holding processes, a database and messages on their way, in
//! which the protocol's own code runs. Nothing in it happens by itself: a list of steps says what
//! happens next, and [`tests`] make up such lists. Whoever uses an answer that is older than what
//! somebody was told before the request began breaks the promise.

mod give;
mod hold;
mod tests;

use std::{collections::VecDeque, time::Duration};

use uuid::Uuid;

use super::{
    clock::Moment,
    feed::{Feed, Reading},
    holder::{Heard, Holder},
    log::{Numbered, Position},
    notes::Notes,
    rules::{self, Rules},
    table::{Publisher, Row, Watchman},
    wait::Wait,
};
use hold::Told;

/// Whose credentials there are, by number.
const PEOPLE: usize = 2;

/// What happens to people is numbered, and so is what is known of each.
type Person = usize;

/// Everything there is.
struct World {
    /// Milliseconds that really went by.
    time: u64,
    rules: Rules,
    database: Database,
    givers: [Giver; 2],
    holders: [Holding; 2],
    streams: Vec<Stream>,
    calls: Vec<Call>,
    questions: Vec<Question>,
    /// What was last promised about each person.
    promised: [u64; PEOPLE],
    ids: u128,
    /// How often something kept was used.
    hits: usize,
    broken: Option<String>,
}

struct Database {
    epoch: Uuid,
    /// How things stand with each person: it changes by one each time, and odd means refused.
    facts: [u64; PEOPLE],
    log: Vec<Numbered<Person>>,
    number: i64,
    table: Vec<Row>,
}

struct Giver {
    /// Its clock, in hundredths of the real one's speed.
    speed: u64,
    notes: Notes,
    publisher: Publisher,
    watchman: Watchman,
    own: Option<Uuid>,
}

struct Holding {
    speed: u64,
    start: Uuid,
    holder: Holder<Told>,
    /// Its stream, by place.
    stream: Option<usize>,
}

struct Stream {
    holder: usize,
    giver: usize,
    /// Which of the holder's it is.
    number: u64,
    requests: VecDeque<Request>,
    responses: VecDeque<Heard<Person>>,
    feed: Feed,
    has_begun: bool,
    owed: Option<u64>,
    reading: Option<Reading<Person>>,
    /// The giver does not know it any more.
    is_dead: bool,
}

struct Request {
    start: Uuid,
    ping: Option<u64>,
    applied: Option<Position>,
}

/// A call that changes something, after its commit.
struct Call {
    giver: usize,
    person: Person,
    value: u64,
    wait: Option<Wait>,
}

/// A question about a person, and the requests that hang on it.
struct Question {
    holder: usize,
    start: Uuid,
    person: Person,
    asked: Moment,
    /// What had been promised when the request began.
    floor: u64,
    joined: Vec<u64>,
    answer: Option<(u64, Option<Position>)>,
}

impl World {
    fn new(speeds: [u64; 4]) -> Self {
        let giver = |speed| Giver {
            speed,
            notes: Notes::default(),
            publisher: Publisher::default(),
            watchman: Watchman::default(),
            own: None,
        };
        let holding = |speed, start| Holding {
            speed,
            start: Uuid::from_u128(start),
            holder: Holder::default(),
            stream: None,
        };
        Self {
            time: 1_000,
            rules: rules::current(),
            database: Database {
                epoch: Uuid::from_u128(1),
                facts: [0; PEOPLE],
                log: vec![],
                number: 0,
                table: vec![],
            },
            givers: [giver(speeds[0]), giver(speeds[1])],
            holders: [holding(speeds[2], 2), holding(speeds[3], 3)],
            streams: vec![],
            calls: vec![],
            questions: vec![],
            promised: [0; PEOPLE],
            ids: 100,
            hits: 0,
            broken: None,
        }
    }

    fn id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids)
    }

    fn giver_now(&self, giver: usize) -> Moment {
        moment(self.time, self.givers[giver].speed)
    }

    fn holder_now(&self, holder: usize) -> Moment {
        moment(self.time, self.holders[holder].speed)
    }

    fn head(&self) -> Position {
        let database = &self.database;
        let number = database.log.last().map_or(database.number, |last| last.number);
        Position { epoch: database.epoch, number }
    }

    /// Uses an answer for a request that began when so much was promised.
    fn accept(&mut self, person: Person, value: u64, floor: u64, how: &str) {
        if value < floor && self.broken.is_none() {
            self.broken = Some(format!(
                "at {} ms {value} was {how} of person {person} after {floor} was promised",
                self.time
            ));
        }
    }

    /// The database is promoted or restored: numbers begin anew somewhere before.
    fn promote(&mut self, back: u64) {
        self.database.epoch = self.id();
        let number = self.head().number - i64::try_from(back % 3).unwrap();
        self.database.number = number.max(0);
        self.database.log.clear();
    }

    /// The first events of the log are kept no longer.
    fn sweep(&mut self, events: usize) {
        self.database.number = self.head().number;
        let events = events.min(self.database.log.len());
        self.database.log.drain(..events);
    }
}

fn moment(time: u64, speed: u64) -> Moment {
    Moment::at(Duration::from_micros(time * speed * 10))
}
