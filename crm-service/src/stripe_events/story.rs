//! What do the words about a charge come to, whatever the order in which they arrived?
//!
//! Nothing here knows of a database. All that was told of a charge goes in, not only what came
//! last, together with how its payment stands; how it is to stand comes out. Whoever brings it
//! there each time that something more is told ends up the same in every order:
//!
//! - Of success and failure the later word counts, and of two at once success. But what was given
//!   back or is disputed did come in: a failure does not undo that, and as long as a charge
//!   counts as failed, what goes back waits.
//! - What came in is the most that any word of success tells: Stripe counts in all, never less
//!   than before. The same holds for what was given back.
//! - A dispute is known by its id, and decided for good once it is closed. One that is open
//!   counts; without any the one that was closed last.
//! - What a person said is a word like any other, said when they said it: an older one of
//!   Stripe's does not undo it, a newer one does.
//! - What is not told of stays as it is: words that were applied are swept after a while.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::model::{Facts, Sum};
use crate::payments::{
    ledger::Dispute,
    model::{Payment, Said},
};

type Time = DateTime<Utc>;

/// A word of Stripe's about a charge.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Word {
    pub event_id: String,
    pub endpoint_id: i64,
    pub customer_id: String,
    pub event_time: Time,
    pub facts: Json<Facts>,
}

/// All that was told of a charge.
#[derive(Debug)]
pub struct Story(Vec<Word>);

/// How a payment stands, as far as Stripe has a say in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub currency: String,
    pub amount: i64,
    pub has_failed: bool,
    pub paid_at: Time,
    pub refunded: i64,
    pub dispute: Dispute,
    pub dispute_reason: String,
}

/// A charge that went through, or did not.
struct Charged<'a> {
    word: &'a Word,
    currency: &'a str,
    minor: i64,
    has_failed: bool,
}

/// What is known of a dispute; the times are those of the last words.
#[derive(Debug, Default)]
struct Course<'a> {
    opened: Option<Time>,
    /// Of two at once the one that lost counts.
    closed: Option<(Time, Reverse<bool>)>,
    reason: &'a str,
    disputed: Option<&'a Sum>,
}

impl Standing {
    pub fn of(payment: &Payment) -> Self {
        Self {
            currency: payment.currency.clone(),
            amount: payment.facts.amount,
            has_failed: payment.facts.has_failed,
            paid_at: payment.paid_at,
            refunded: payment.facts.refunded,
            dispute: payment.facts.dispute,
            dispute_reason: payment.dispute_reason.clone(),
        }
    }
}

impl Story {
    pub fn new(mut words: Vec<Word>) -> Self {
        words.sort_by(|one, other| {
            (one.event_time, &one.event_id).cmp(&(other.event_time, &other.event_id))
        });
        Self(words)
    }

    /// Whose charge it may be, as Stripe calls them.
    pub fn customers(&self) -> BTreeSet<&str> {
        self.0.iter().map(|word| word.customer_id.as_str()).filter(|id| !id.is_empty()).collect()
    }

    /// Whether some of it is told in another currency, which says nothing of a payment.
    pub fn is_told_in_other_than(&self, currency: &str) -> bool {
        self.0.iter().any(|word| word.facts.currency().is_some_and(|it| it != currency))
    }

    /// The endpoint that the success came by, the first time that it was told.
    pub fn endpoint(&self) -> Option<i64> {
        self.successes().next().map(|charged| charged.word.endpoint_id)
    }

    /// A payment that it can begin with; nothing where nobody told of a charge yet.
    pub fn begin(&self) -> Option<Standing> {
        let first = self.charged().next()?;
        let nothing = Standing {
            currency: first.currency.to_owned(),
            amount: 0,
            has_failed: true,
            paid_at: first.word.event_time,
            refunded: 0,
            dispute: Dispute::Never,
            dispute_reason: String::new(),
        };
        Some(self.came_in(&nothing, None))
    }

    /// How a payment is to stand that stands like this now.
    pub fn next(&self, now: &Standing, said: Said) -> Standing {
        let next = self.came_in(now, said.failure);
        if next.has_failed {
            // What goes back waits until it came in.
            return next;
        }
        let refunded = now.refunded.max(self.refunded(&now.currency).min(next.amount));
        match self.dispute(said.dispute) {
            None => Standing { refunded, ..next },
            Some((dispute, reason)) => {
                let known = if reason.is_empty() { now.dispute_reason.as_str() } else { reason };
                let dispute_reason = known.to_owned();
                Standing { refunded, dispute, dispute_reason, ..next }
            }
        }
    }

    fn came_in(&self, now: &Standing, said: Option<Time>) -> Standing {
        Standing {
            has_failed: self.has_failed(now, said),
            amount: self.amount(now),
            paid_at: self.paid_at(now),
            ..now.clone()
        }
    }

    fn has_failed(&self, now: &Standing, said: Option<Time>) -> bool {
        let newer = || self.charged().filter(|charged| said < Some(charged.word.event_time));
        let latest = newer().max_by_key(|it| (it.word.event_time, !it.has_failed));
        let Some(latest) = latest else { return now.has_failed };
        let has_come = !now.has_failed || newer().any(|charged| !charged.has_failed);
        latest.has_failed && !(has_come && self.goes_back(now))
    }

    fn goes_back(&self, now: &Standing) -> bool {
        let is_told = |word: &Word| match &word.facts.0 {
            Facts::Refunded { currency, .. } => *currency == now.currency,
            Facts::DisputeOpened { .. } | Facts::DisputeClosed { .. } => true,
            _ => false,
        };
        now.refunded > 0 || now.dispute != Dispute::Never || self.0.iter().any(is_told)
    }

    fn amount(&self, now: &Standing) -> i64 {
        let most = |charged: Charged<'_>| charged.minor;
        match self.successes().filter(|it| it.currency == now.currency).map(most).max() {
            // What somebody tried to pay says nothing any more.
            Some(came) if now.has_failed => came,
            Some(came) => came.max(now.amount),
            None => {
                let tried = self.charged().filter(|it| it.currency == now.currency).map(most);
                tried.max().unwrap_or_default().max(now.amount)
            }
        }
    }

    /// The first time that success was told of. What a person entered is no time of Stripe's, and
    /// stays.
    fn paid_at(&self, now: &Standing) -> Time {
        if !self.charged().any(|charged| charged.word.event_time == now.paid_at) {
            return now.paid_at;
        }
        let first = self.successes().chain(self.charged()).next();
        first.map_or(now.paid_at, |charged| charged.word.event_time)
    }

    fn refunded(&self, of: &str) -> i64 {
        let told = self.0.iter().filter_map(|word| match &word.facts.0 {
            Facts::Refunded { currency, minor } if currency == of => Some(*minor),
            _ => None,
        });
        told.max().unwrap_or_default()
    }

    /// How much of a charge is disputed by the dispute that counts, if that was told.
    pub fn disputed(&self, said: Said) -> Option<&Sum> {
        self.counting(said.dispute)?.1.disputed
    }

    /// How the dispute that counts stands, and why there is one.
    fn dispute(&self, said: Option<Time>) -> Option<(Dispute, &str)> {
        self.counting(said).map(|(dispute, course)| (dispute, course.reason))
    }

    fn counting(&self, said: Option<Time>) -> Option<(Dispute, Course<'_>)> {
        let courses = self.courses(said).into_values();
        let (open, closed): (Vec<_>, Vec<_>) = courses.partition(|course| course.closed.is_none());
        if let Some(open) = open.into_iter().max_by_key(|course| course.opened) {
            return Some((Dispute::Open, open));
        }
        let last = closed.into_iter().max_by_key(|course| course.closed)?;
        let is_won = last.closed.is_some_and(|(_, Reverse(is_won))| is_won);
        Some((if is_won { Dispute::Won } else { Dispute::Lost }, last))
    }

    /// The disputes by id, as far as they were told of after this.
    fn courses(&self, said: Option<Time>) -> BTreeMap<&str, Course<'_>> {
        let mut courses = BTreeMap::<&str, Course<'_>>::new();
        for word in self.0.iter().filter(|word| said < Some(word.event_time)) {
            let time = word.event_time;
            match &word.facts.0 {
                Facts::DisputeOpened { dispute_id, reason, disputed } => {
                    let course = courses.entry(dispute_id).or_default();
                    course.opened = course.opened.max(Some(time));
                    course.explain(reason, disputed.as_ref());
                }
                Facts::DisputeClosed { dispute_id, reason, is_won, disputed } => {
                    let course = courses.entry(dispute_id).or_default();
                    course.closed = course.closed.max(Some((time, Reverse(*is_won))));
                    course.explain(reason, disputed.as_ref());
                }
                _ => {}
            }
        }
        close_nameless(&mut courses);
        courses
    }

    fn successes(&self) -> impl Iterator<Item = Charged<'_>> {
        self.charged().filter(|charged| !charged.has_failed)
    }

    fn charged(&self) -> impl Iterator<Item = Charged<'_>> {
        self.0.iter().filter_map(|word| match &word.facts.0 {
            Facts::Charged { currency, minor, has_failed } => {
                Some(Charged { word, currency, minor: *minor, has_failed: *has_failed })
            }
            _ => None,
        })
    }
}

impl<'a> Course<'a> {
    fn explain(&mut self, reason: &'a str, disputed: Option<&'a Sum>) {
        if self.reason.is_empty() {
            self.reason = reason;
        }
        // The bank may ask for more, or less, while it is open: the last word counts.
        self.disputed = disputed.or(self.disputed);
    }
}

/// Words that were taken in before disputes were known by their ids have none: whichever dispute
/// was closed after one of them opened may be the same.
fn close_nameless(courses: &mut BTreeMap<&str, Course<'_>>) {
    let last = courses.values().filter_map(|course| course.closed).max();
    if let Some(nameless) = courses.get_mut("")
        && nameless.closed.is_none()
    {
        nameless.closed = last.filter(|(time, _)| Some(*time) >= nameless.opened);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use service_kit::error::Error;

    use super::*;
    use crate::{payments::ledger::Facts as Ledger, stripe_events::model::Event};

    fn at(seconds: i64) -> Time {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn word(event_id: &str, seconds: i64, facts: Facts) -> Word {
        Word {
            event_id: event_id.to_owned(),
            endpoint_id: 1,
            customer_id: "cus_1".to_owned(),
            event_time: at(seconds),
            facts: Json(facts),
        }
    }

    fn charged(seconds: i64, minor: i64, has_failed: bool) -> Word {
        let facts = Facts::Charged { currency: "EUR".to_owned(), minor, has_failed };
        word(&format!("c{seconds}{minor}{has_failed}"), seconds, facts)
    }

    fn refunded(seconds: i64, minor: i64) -> Word {
        let facts = Facts::Refunded { currency: "EUR".to_owned(), minor };
        word(&format!("r{seconds}{minor}"), seconds, facts)
    }

    fn opened(seconds: i64, dispute_id: &str) -> Word {
        let (dispute_id, reason) = (dispute_id.to_owned(), format!("reason of {dispute_id}"));
        let event_id = format!("o{seconds}{dispute_id}");
        word(&event_id, seconds, Facts::DisputeOpened { dispute_id, reason, disputed: None })
    }

    fn closed(seconds: i64, dispute_id: &str, is_won: bool) -> Word {
        let (dispute_id, reason) = (dispute_id.to_owned(), format!("reason of {dispute_id}"));
        let event_id = format!("x{seconds}{dispute_id}{is_won}");
        let facts = Facts::DisputeClosed { dispute_id, reason, is_won, disputed: None };
        word(&event_id, seconds, facts)
    }

    /// What a payment is brought to with each word that arrives; nothing where none began.
    fn told(words: &[Word]) -> Option<Standing> {
        let mut now = None;
        for arrived in 1..=words.len() {
            let story = Story::new(words[..arrived].to_vec());
            now = now.or_else(|| story.begin()).map(|now| story.next(&now, Said::default()));
        }
        now
    }

    #[test]
    fn a_charge_that_failed_gives_nothing_back_until_it_came_in() {
        let (failed, back) = (charged(0, 100, true), refunded(20, 40));
        let waits = told(&[failed.clone(), back.clone(), opened(30, "dp_1")]).unwrap();
        let nothing = (true, 0, Dispute::Never);
        assert_eq!((waits.has_failed, waits.refunded, waits.dispute), nothing);
        let came = [failed, back, opened(30, "dp_1"), charged(10, 100, false)];
        let came = told(&came).unwrap();
        assert_eq!((came.has_failed, came.refunded, came.dispute), (false, 40, Dispute::Open));
        // A later failure does not undo what was given back.
        let later = told(&[charged(0, 100, false), refunded(5, 40), charged(10, 100, true)]);
        assert_eq!(later.map(|it| (it.has_failed, it.refunded)), Some((false, 40)));
    }

    #[test]
    fn a_dispute_is_known_by_its_id() {
        let standing = |words: &[Word]| {
            let all = [&[charged(0, 100, false)], words].concat();
            told(&all).map(|it| (it.dispute, it.dispute_reason)).unwrap()
        };
        let (first, second) = ("reason of dp_1".to_owned(), "reason of dp_2".to_owned());
        let won = [opened(1, "dp_1"), closed(2, "dp_1", true)];
        assert_eq!(standing(&won), (Dispute::Won, first.clone()));
        let again = [&won[..], &[opened(3, "dp_2")]].concat();
        assert_eq!(standing(&again), (Dispute::Open, second.clone()));
        let lost = [&again[..], &[closed(4, "dp_2", false)]].concat();
        assert_eq!(standing(&lost), (Dispute::Lost, second));
        // The second was over before the first one was.
        let other = [&lost[..], &[closed(5, "dp_1", true)]].concat();
        assert_eq!(standing(&other), (Dispute::Won, first));
        // Before ids were kept: the end that is told now may be that of the one that was.
        let nameless = [opened(1, ""), closed(2, "dp_1", true)];
        assert_eq!(standing(&nameless).0, Dispute::Won);
        assert_eq!(standing(&[closed(2, "dp_1", true), opened(3, "")]).0, Dispute::Open);
    }

    #[test]
    fn a_person_is_undone_by_what_happened_later_only() {
        let now = Standing { has_failed: true, ..told(&[charged(0, 100, false)]).unwrap() };
        let said = Said { failure: Some(at(10)), dispute: None };
        let next =
            |words: &[Word], now: &Standing, said| Story::new(words.to_vec()).next(now, said);
        let older = [charged(0, 100, false), charged(10, 100, false), refunded(20, 40)];
        assert_eq!(next(&older, &now, said), now);
        let newer = [&older[..], &[charged(11, 100, false)]].concat();
        assert!(!next(&newer, &now, said).has_failed);

        let won = Standing { dispute: Dispute::Won, ..told(&[charged(0, 100, false)]).unwrap() };
        let said = Said { failure: None, dispute: Some(at(10)) };
        let older = [opened(5, "dp_1"), closed(9, "dp_1", false)];
        assert_eq!(next(&older, &won, said), won);
        let newer = [&older[..], &[opened(11, "dp_2")]].concat();
        assert_eq!(next(&newer, &won, said).dispute, Dispute::Open);
    }

    #[test]
    fn what_is_not_told_any_more_stays() {
        let now = told(&[charged(0, 100, false), refunded(1, 40), opened(2, "dp_1")]).unwrap();
        assert_eq!(Story::new(Vec::new()).next(&now, Said::default()), now);
        assert_eq!(Story::new(Vec::new()).begin(), None);
        // A person entered when it was paid.
        let now = Standing { paid_at: at(-500), ..now };
        let story = Story::new(vec![charged(0, 100, false)]);
        assert_eq!(story.next(&now, Said::default()).paid_at, at(-500));
    }

    /// A charge of which a part was captured, in Stripe's own words.
    fn captured(kind: &str, seconds: i64, held: i64, captured: i64) -> Word {
        let object = serde_json::json!({
            "id": "ch_1", "amount": held, "amount_captured": captured, "captured": true,
            "amount_received": captured, "latest_charge": "ch_1", "currency": "eur",
        });
        let body = serde_json::json!({
            "id": format!("{kind}{seconds}{held}{captured}"), "type": kind, "created": 0,
            "data": { "object": object },
        });
        let event = Event::parse(body.to_string().as_bytes()).unwrap();
        word(&event.event_id, seconds, event.facts)
    }

    const TELL_OF_CAPTURES: [&str; 3] =
        ["charge.succeeded", "charge.captured", "payment_intent.succeeded"];

    fn any_word() -> impl Strategy<Value = Word> {
        let dispute = || prop_oneof![Just("dp_1"), Just("dp_2")];
        prop_oneof![
            3 => (0..9_i64, 1..5_i64, prop::bool::weighted(0.3))
                .prop_map(|(time, minor, has_failed)| charged(time, minor, has_failed)),
            1 => (prop::sample::select(&TELL_OF_CAPTURES), 0..9_i64, 1..5_i64)
                .prop_map(|(kind, time, minor)| captured(kind, time, 5, minor)),
            2 => (0..9_i64, 1..5_i64).prop_map(|(time, minor)| refunded(time, minor)),
            2 => (0..9_i64, dispute()).prop_map(|(time, id)| opened(time, id)),
            2 => (0..9_i64, dispute(), any::<bool>())
                .prop_map(|(time, id, is_won)| closed(time, id, is_won)),
        ]
    }

    /// What is done on the way there, in the order in which it is done, on a payment that covers
    /// all that it can.
    fn steps(mut facts: Ledger, next: &Standing) -> Result<Ledger, Error> {
        if next.has_failed && !facts.has_failed {
            facts = facts.fail()?;
        }
        facts = facts.correct(next.amount)?;
        if next.has_failed {
            return Ok(facts);
        }
        facts = facts.succeed()?;
        let credit = facts.credit();
        if credit > 0 {
            facts = facts.allocate(&[(1, credit)].into())?;
        }
        facts = facts.refund_to(next.refunded, &[1])?;
        match next.dispute {
            same if same == facts.dispute => Ok(facts),
            Dispute::Never => Ok(facts),
            Dispute::Open => facts.dispute(),
            Dispute::Won => facts.win([(1, facts.kept())]),
            Dispute::Lost => facts.lose(),
        }
    }

    proptest! {
        /// Security checklist 57.
        #[test]
        fn the_amount_is_what_was_captured_whoever_tells_it(
            (held, part) in (2..100_000_i64).prop_flat_map(|held| (Just(held), 1..held)),
            words in Just(TELL_OF_CAPTURES).prop_shuffle(),
            told_of in 1..=3_usize,
        ) {
            let words = (0..).zip(&words[..told_of]);
            let words: Vec<_> = words.map(|(at, kind)| captured(kind, at, held, part)).collect();
            prop_assert_eq!(told(&words).map(|it| it.amount), Some(part));
        }

        /// Nothing that is to come of what Stripe tells is refused by the state machine.
        #[test]
        fn every_step_on_the_way_can_be_taken(words in prop::collection::vec(any_word(), 1..9)) {
            let mut payment = None;
            for arrived in 1..=words.len() {
                let story = Story::new(words[..arrived].to_vec());
                let begin = || {
                    story.begin().map(|it| (Ledger::new(it.amount, it.has_failed), it))
                };
                let Some((facts, now)) = payment.take().or_else(begin) else { continue };
                let next = story.next(&now, Said::default());
                let facts = steps(facts, &next).unwrap();
                let reached = (facts.amount, facts.has_failed, facts.refunded, facts.dispute);
                let wanted = (next.amount, next.has_failed, next.refunded, next.dispute);
                prop_assert_eq!(reached, wanted);
                payment = Some((facts, next));
            }
        }

        /// Security checklist 57: in whatever order, and however often.
        #[test]
        fn every_order_of_the_same_words_leads_to_the_same(
            (words, other) in prop::collection::vec(any_word(), 1..9).prop_flat_map(|words| {
                let again = [&words[..], &words[..words.len() / 2]].concat();
                (Just(words), Just(again).prop_shuffle())
            }),
        ) {
            prop_assert_eq!(told(&words), told(&other));
        }
    }
}
