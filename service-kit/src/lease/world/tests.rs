//! Lists of steps, made up at random, and what each rule is for.

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};

use super::{
    super::rules::{Rules, keeping},
    World,
};

/// What happens next. Where there is nothing it could happen to, nothing does.
#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u64),
    Connect(usize, usize),
    Ping(usize),
    Take(usize),
    Read(usize),
    Reply(usize),
    Hear(usize),
    /// A holder gets a lease, from ping to reply without delay.
    Lease(usize),
    /// A holder's ping is there and the log is read for it.
    Begin(usize),
    /// It is answered.
    Answer(usize),
    /// And all that was answered is heard.
    HearAll(usize),
    Request(usize, usize),
    LookUp(usize),
    Land(usize),
    /// A request, and its question answered at once.
    Ask(usize, usize),
    Change(usize, usize),
    /// A change, and the wait until whoever made it is answered.
    Finish(usize, usize),
    /// A change that a holder is told of at once; then everybody is asked about.
    Told(usize, usize),
    /// A change between the reading for a lease and its reply; the ping before the reading, or
    /// after it.
    LateReply(usize, usize, bool),
    Repeat(usize, usize),
    Settle(usize),
    KeepTable(usize),
    Fence(usize),
    NoticeBreak(usize),
    RestartHolder(usize),
    RestartGiver(usize),
    Promote(u64),
    Sweep(usize),
}

/// Makes a step of some number or time, and of two small numbers.
type Make = fn(u64, usize, usize) -> Step;

/// Some kinds of steps come more often than others. A number says which it is and what it is
/// about: making many of them costs nothing.
const KINDS: &[(u32, Make)] = &[
    (8, |time, _, _| Step::Wait(1 + time % 300)),
    (1, |time, _, _| Step::Wait(900 + time % 500)),
    (2, |_, holder, giver| Step::Connect(holder % 2, giver % 2)),
    (5, |_, holder, _| Step::Ping(holder % 2)),
    (6, |_, stream, _| Step::Take(stream)),
    (5, |_, stream, _| Step::Read(stream)),
    (5, |_, stream, _| Step::Reply(stream)),
    (6, |_, stream, _| Step::Hear(stream)),
    (16, |_, holder, _| Step::Lease(holder % 2)),
    (4, |_, holder, _| Step::Begin(holder % 2)),
    (4, |_, holder, _| Step::Answer(holder % 2)),
    (4, |_, holder, _| Step::HearAll(holder % 2)),
    (14, |_, holder, person| Step::Request(holder % 2, person % 2)),
    (4, |_, question, _| Step::LookUp(question)),
    (4, |_, question, _| Step::Land(question)),
    (20, |_, holder, person| Step::Ask(holder % 2, person % 2)),
    (6, |_, giver, person| Step::Change(giver % 2, person % 2)),
    (4, |_, giver, person| Step::Finish(giver % 2, person % 2)),
    (2, |_, holder, person| Step::Told(holder % 2, person % 2)),
    (2, |bit, holder, person| Step::LateReply(holder % 2, person % 2, bit % 2 == 0)),
    (1, |_, giver, person| Step::Repeat(giver % 2, person % 2)),
    (9, |_, call, _| Step::Settle(call)),
    (4, |_, giver, _| Step::KeepTable(giver % 2)),
    (1, |_, row, _| Step::Fence(row)),
    (1, |_, stream, _| Step::NoticeBreak(stream)),
    (1, |_, holder, _| Step::RestartHolder(holder % 2)),
    (1, |_, giver, _| Step::RestartGiver(giver % 2)),
    (1, |back, _, _| Step::Promote(back)),
    (1, |_, events, _| Step::Sweep(events)),
];

impl From<u32> for Step {
    fn from(number: u32) -> Self {
        let all: u32 = KINDS.iter().map(|(often, _)| often).sum();
        let (mut kind, rest) = (number % all, number / all);
        for (often, make) in KINDS {
            if kind < *often {
                // Of streams, calls and questions one of four.
                let of_four = |shift: u32| (rest >> shift) as usize % 4;
                return make(u64::from(rest >> 4), of_four(0), of_four(2));
            }
            kind -= often;
        }
        unreachable!("the kinds add up")
    }
}

impl World {
    fn run(&mut self, step: Step) {
        // The last streams are those that matter.
        let of_streams = |number: usize| self.streams.len().wrapping_sub(1 + number);
        match step {
            Step::Wait(time) => self.time += time,
            Step::Connect(holder, giver) => self.connect(holder, giver),
            Step::Ping(holder) => self.ping(holder),
            Step::Take(number) => self.take(of_streams(number)),
            Step::Read(number) => self.read(of_streams(number)),
            Step::Reply(number) => self.reply(of_streams(number)),
            Step::Hear(number) => self.hear(of_streams(number)),
            Step::Lease(holder) => self.lease(holder),
            Step::Begin(holder) => self.begin(holder),
            Step::Answer(holder) => self.of(holder).into_iter().for_each(|it| self.reply(it)),
            Step::HearAll(holder) => self.hear_all(holder),
            Step::Request(holder, person) => self.request(holder, person),
            Step::LookUp(number) => self.look_up(number),
            Step::Land(number) => self.land(number),
            Step::Ask(holder, person) => self.ask(holder, person),
            Step::Change(giver, person) => self.change(giver, person),
            Step::Finish(giver, person) => self.finish(giver, person),
            Step::Told(holder, person) => self.told(holder, person),
            Step::LateReply(holder, person, is_read_first) => {
                self.late_reply(holder, person, is_read_first);
            }
            Step::Repeat(giver, person) => self.repeat(giver, person),
            Step::Settle(number) => self.settle(number),
            Step::KeepTable(giver) => self.keep_table(giver),
            Step::Fence(row) => self.fence(row),
            Step::NoticeBreak(number) => self.notice_break(of_streams(number)),
            Step::RestartHolder(holder) => self.restart_holder(holder),
            Step::RestartGiver(giver) => self.restart_giver(giver),
            Step::Promote(back) => self.promote(back),
            Step::Sweep(events) => self.sweep(events),
        }
    }

    fn ask(&mut self, holder: usize, person: usize) {
        self.request(holder, person);
        let last = self.questions.len().wrapping_sub(1);
        self.look_up(last);
        self.land(last);
    }

    fn of(&self, holder: usize) -> Option<usize> {
        self.holders[holder].stream
    }

    fn begin(&mut self, holder: usize) {
        if self.of(holder).is_none() {
            self.connect(holder, holder);
        }
        self.ping(holder);
        let Some(stream) = self.of(holder) else { return };
        self.take_all(stream);
        self.read(stream);
    }

    fn hear_all(&mut self, holder: usize) {
        let Some(stream) = self.of(holder) else { return };
        for _ in 0..self.streams[stream].responses.len() {
            self.hear(stream);
        }
    }

    fn take_all(&mut self, stream: usize) {
        for _ in 0..self.streams[stream].requests.len() {
            self.take(stream);
        }
    }

    fn told(&mut self, holder: usize, person: usize) {
        let Some(stream) = self.of(holder) else { return };
        self.change(self.streams[stream].giver, person);
        let call = self.calls.len() - 1;
        self.settle(call);
        self.read(stream);
        self.reply(stream);
        self.hear_all(holder);
        self.take_all(stream);
        self.settle(call);
        (0..2).for_each(|holder| self.request(holder, person));
    }

    /// With an answer that is kept, and after a pause in which every lease is over.
    fn late_reply(&mut self, holder: usize, person: usize, is_read_first: bool) {
        self.lease(holder);
        self.ask(holder, person);
        self.time += 1_400;
        let Some(stream) = self.of(holder) else { return };
        if is_read_first {
            self.read(stream);
        } else {
            self.begin(holder);
        }
        self.finish(self.streams[stream].giver, person);
        if is_read_first {
            self.ping(holder);
            self.take_all(stream);
        }
        self.reply(stream);
        self.hear_all(holder);
        self.request(holder, person);
    }

    fn lease(&mut self, holder: usize) {
        self.begin(holder);
        let Some(stream) = self.of(holder) else { return };
        for _ in 0..8 {
            self.reply(stream);
            self.hear_all(holder);
            self.read(stream);
        }
    }

    fn finish(&mut self, giver: usize, person: usize) {
        self.change(giver, person);
        let calls = self.calls.len();
        for _ in 0..30 {
            self.settle(calls - 1);
            if self.calls.len() < calls {
                return;
            }
            self.time += 50;
        }
    }
}

/// Two clocks of a speed between nine and eleven tenths of the real one differ by less than the
/// margin.
fn speeds() -> impl Strategy<Value = [u64; 4]> {
    proptest::array::uniform4(90..=110_u64)
}

/// How often something kept was used, or how the promise was broken.
fn live(speeds: [u64; 4], steps: &[u32]) -> Result<usize, String> {
    let mut world = World::new(speeds);
    for step in steps {
        world.run(Step::from(*step));
        if let Some(broken) = world.broken {
            return Err(broken);
        }
    }
    Ok(world.hits)
}

fn steps(at_least: usize) -> impl Strategy<Value = Vec<u32>> {
    vec(any::<u32>(), at_least..300)
}

fn runner(cases: u32) -> TestRunner {
    let config =
        Config { cases, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    )
}

/// What breaks the promise, if anything that is tried does.
fn broken(rules: Rules, cases: u32) -> Option<String> {
    let tried = keeping(rules, || {
        runner(cases).run(&(speeds(), steps(150)), |(speeds, steps)| {
            live(speeds, &steps).map(drop).map_err(TestCaseError::fail)
        })
    });
    match tried {
        Ok(()) => None,
        Err(TestError::Fail(reason, _)) => Some(reason.message().to_owned()),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

proptest! {
    #![proptest_config(Config { cases: 5_000, ..Config::default() })]

    /// Security checklist 20: whatever the speeds of the clocks.
    #[test]
    fn no_request_is_judged_by_what_was_taken_back_before_it_began(
        speeds in speeds(), steps in steps(0),
    ) {
        prop_assert_eq!(live(speeds, &steps).err(), None);
    }
}

#[test]
fn what_is_kept_is_used_all_the_same() {
    let hits = std::cell::Cell::new(0);
    let lived = runner(50).run(&(speeds(), steps(250)), |(speeds, steps)| {
        hits.set(hits.get() + live(speeds, &steps).map_err(TestCaseError::fail)?);
        Ok(())
    });
    lived.unwrap();
    assert!(hits.get() > 200, "{}", hits.get());
}

/// Each rule is there for something: without it the promise breaks.
///
/// Security checklist 20.
#[test]
fn without_any_one_of_the_rules_the_promise_breaks() {
    let elsewhere = ["answers_age", "answers_expire"];
    let mut needless = Vec::new();
    for (name, rules) in Rules::all_but_one() {
        if elsewhere.contains(&name) {
            continue;
        }
        match broken(rules, 20_000) {
            Some(how) => println!("without {name}: {how}"),
            None => needless.push(name),
        }
    }
    assert_eq!(needless, Vec::<&str>::new());
}
