//! The giving side of the world: statements, notes, replies, and calls that wait.

use super::{
    super::{
        LEASE,
        feed::{Feed, Reading, Word},
        holder::Heard,
        log::Numbered,
        notes::Notes,
        table::{Orders, Publisher, Row, Watchman},
        wait::Wait,
    },
    Call, Person, World,
};

impl World {
    /// Somebody's facts change, and the log says so; the call goes on after that.
    pub(super) fn change(&mut self, giver: usize, person: Person) {
        let early = (!self.rules.wait_after_commit).then(|| self.begin_wait(giver));
        self.database.facts[person] += 1;
        let number = self.head().number + 1;
        self.database.log.push(Numbered { number, event: person });
        if !self.rules.numbers_in_commit_order && self.database.log.len() > 1 {
            // The one before had drawn the later number.
            let last = self.database.log.len() - 1;
            let before = self.database.log[last - 1].event;
            self.database.log[last - 1].event = person;
            self.database.log[last].event = before;
        }
        let value = self.database.facts[person];
        self.calls.push(Call { giver, person, value, wait: early });
    }

    /// A call that finds done what it was to do.
    pub(super) fn repeat(&mut self, giver: usize, person: Person) {
        let value = self.database.facts[person];
        if self.rules.repeats_wait {
            self.calls.push(Call { giver, person, value, wait: None });
        } else {
            self.promise(person, value);
        }
    }

    /// A call lists whom it waits for, or looks whether it still does.
    pub(super) fn settle(&mut self, call: usize) {
        let Some(giver) = self.calls.get(call).map(|call| call.giver) else { return };
        if self.calls[call].wait.is_none() {
            self.calls[call].wait = Some(self.begin_wait(giver));
        }
        let now = self.giver_now(giver);
        let (notes, call_) = (&self.givers[giver].notes, &mut self.calls[call]);
        let Some(wait) = &mut call_.wait else { return };
        wait.look(&self.database.table);
        if wait.is_over(notes, now) {
            let done = self.calls.swap_remove(call);
            self.promise(done.person, done.value);
        }
    }

    fn begin_wait(&self, giver: usize) -> Wait {
        let (it, now) = (&self.givers[giver], self.giver_now(giver));
        Wait::begin(self.head(), &self.database.table, it.own, &it.notes, now)
    }

    fn promise(&mut self, person: Person, value: u64) {
        self.promised[person] = self.promised[person].max(value);
    }

    /// A giver takes in what a holder says.
    pub(super) fn take(&mut self, stream: usize) {
        let Some(giver) = self.living(stream) else { return };
        let now = self.giver_now(giver);
        let stream = &mut self.streams[stream];
        let Some(request) = stream.requests.pop_front() else { return };
        if !stream.has_begun {
            stream.feed.begin(request.applied);
            stream.has_begun = true;
        }
        let notes = &mut self.givers[giver].notes;
        if request.ping.is_some() {
            if self.rules.note_before_reading {
                notes.arrive(request.start, now);
            }
            if self.rules.read_after_the_ping {
                stream.reading = None;
            }
            stream.owed = request.ping;
        }
        if let Some(applied) = request.applied {
            notes.acknowledge(request.start, applied);
        }
    }

    /// A giver reads the log for a stream, by one statement.
    pub(super) fn read(&mut self, stream: usize) {
        let Some(giver) = self.living(stream) else { return };
        if !self.streams[stream].has_begun {
            return;
        }
        if self.givers[giver].own.is_none() && self.rules.row_before_the_first_lease {
            let (id, published) = (self.id(), self.head());
            self.database.table.push(Row { id, published, beat: 0, is_fenced: false });
            self.givers[giver].own = Some(id);
        }
        let own = self.givers[giver].own;
        let row = self.database.table.iter().find(|row| Some(row.id) == own);
        let may_give = match row {
            Some(row) => !row.is_fenced || !self.rules.no_lease_by_a_fenced_row,
            None => !self.rules.no_lease_by_a_fenced_row || !self.rules.row_before_the_first_lease,
        };
        if !may_give {
            self.givers[giver].own = None;
        }
        let behind = self.streams[stream].feed.behind();
        let events = self.database.log.iter().filter(|event| event.number > behind);
        let events = events.take(2).cloned().collect();
        self.streams[stream].reading = Some(Reading { head: self.head(), events, may_give });
    }

    /// A giver sends what it read.
    pub(super) fn reply(&mut self, stream: usize) {
        let Some(giver) = self.living(stream) else { return };
        let (now, start) = (self.giver_now(giver), self.holders[self.streams[stream].holder].start);
        let stream = &mut self.streams[stream];
        let Some(reading) = stream.reading.take() else { return };
        if !self.rules.note_before_reading && stream.owed.is_some() {
            self.givers[giver].notes.arrive(start, now);
        }
        let word: Word<Person> = stream.feed.next(reading);
        let lease = stream.owed.filter(|_| word.gives()).map(|ping| (ping, LEASE));
        if word.is_all {
            stream.owed = None;
        }
        let Word { reset, events, position, .. } = word;
        stream.responses.push_back(Heard { reset, events, position, lease });
    }

    /// A giver looks at the table: publishes what it may, and sees to the rows of others.
    pub(super) fn keep_table(&mut self, giver: usize) {
        let (head, now) = (self.head(), self.giver_now(giver));
        let it = &mut self.givers[giver];
        it.publisher.observe(head, &it.notes, now);
        let ready = it.publisher.ready(&it.notes, now);
        let Orders { fence, delete } = it.watchman.look(&self.database.table, it.own, now);
        for row in &mut self.database.table {
            if it.own == Some(row.id) {
                row.beat += 1;
                row.published = ready.unwrap_or(row.published);
            }
            row.is_fenced |= fence.contains(&row.id);
        }
        self.database.table.retain(|row| !delete.contains(&row.id));
    }

    /// Somebody took a giver for gone.
    pub(super) fn fence(&mut self, row: usize) {
        let rows = self.database.table.len().max(1);
        if let Some(row) = self.database.table.get_mut(row % rows) {
            row.is_fenced = true;
        }
    }

    /// A giver starts anew, and with it goes all that it knew; what it was about to answer is
    /// answered to nobody.
    pub(super) fn restart_giver(&mut self, giver: usize) {
        let it = &mut self.givers[giver];
        (it.notes, it.own) = (Notes::default(), None);
        (it.publisher, it.watchman) = (Publisher::default(), Watchman::default());
        self.calls.retain(|call| call.giver != giver);
        for stream in self.streams.iter_mut().filter(|stream| stream.giver == giver) {
            (stream.is_dead, stream.feed) = (true, Feed::default());
        }
    }

    /// The giver notices that a stream has broken.
    pub(super) fn notice_break(&mut self, stream: usize) {
        let Some(giver) = self.living(stream) else { return };
        self.streams[stream].is_dead = true;
        if !self.rules.note_outlives_its_stream {
            let start = self.holders[self.streams[stream].holder].start;
            self.givers[giver].notes.forget(start);
        }
    }

    fn living(&self, stream: usize) -> Option<usize> {
        self.streams.get(stream).filter(|stream| !stream.is_dead).map(|stream| stream.giver)
    }
}
