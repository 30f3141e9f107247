//! What did Stripe say, as far as it matters here?
//!
//! An event is an envelope around an object of Stripe's API. What is kept of it are [`Facts`]:
//! ids, amounts and states, and nothing that identifies a person.

use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_kit::fields::shown_money;

use super::amounts::{self, Obstacle};

/// The types of the events that change anything here; README lists them to be entered at Stripe.
/// What is of another type is kept and ignored.
pub const HEARD: &[&str] = &[
    "charge.captured",
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.failed",
    "charge.refunded",
    "charge.succeeded",
    "customer.created",
    "customer.deleted",
    "customer.updated",
    "payment_intent.payment_failed",
    "payment_intent.succeeded",
];

/// An event as Stripe sends it.
#[derive(Debug)]
pub struct Event {
    pub event_id: String,
    pub kind: String,
    pub time: DateTime<Utc>,
    /// Empty where it is about none.
    pub charge_id: String,
    pub customer_id: String,
    pub facts: Facts,
}

/// What an event says. Whatever their order, the events of a charge lead to the same payment.
///
/// Those of disputes were kept without ids, reasons and amounts at first: there these are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Facts {
    /// A charge went through, or did not.
    Charged { currency: String, minor: i64, has_failed: bool },
    /// How much of a charge was given back in all.
    Refunded { currency: String, minor: i64 },
    /// The payer's bank asks for it back.
    DisputeOpened {
        #[serde(default)]
        dispute_id: String,
        reason: String,
        #[serde(default)]
        disputed: Option<Sum>,
    },
    /// The bank has decided.
    DisputeClosed {
        #[serde(default)]
        dispute_id: String,
        #[serde(default)]
        reason: String,
        is_won: bool,
        #[serde(default)]
        disputed: Option<Sum>,
    },
    /// There is such a customer.
    CustomerKnown,
    /// There is no such customer any more.
    CustomerDeleted,
    /// Money that came in or went back, and that no payment can be of: for a person to see to.
    Unrecordable { obstacle: Obstacle },
    /// Nothing that changes anything here.
    Nothing,
}

/// How much of a charge is disputed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub currency: String,
    pub minor: i64,
}

impl Sum {
    /// As people write it: `12.50 EUR`.
    pub fn shown(&self) -> String {
        let money = shown_money(self.minor.into(), &self.currency);
        format!("{} {}", money.amount, money.currency_code)
    }
}

impl Event {
    /// Longer ids than any of Stripe's.
    const MAX_ID: usize = 255;

    /// Reads a delivery's body; nothing where it is no event of Stripe's.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let envelope: Envelope = serde_json::from_slice(body).ok()?;
        let time = time(envelope.created)?;
        let object = Object(&envelope.data.object);
        let (subject, facts) = read(&envelope.kind, object);
        let event = Self {
            event_id: envelope.id,
            kind: envelope.kind,
            time,
            charge_id: subject.charge_id.unwrap_or_default(),
            customer_id: subject.customer_id.unwrap_or_default(),
            facts,
        };
        event.is_sound().then_some(event)
    }

    fn is_sound(&self) -> bool {
        let is_id = |text: &str| {
            text.len() <= Self::MAX_ID && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        !self.event_id.is_empty()
            && [&self.event_id, &self.kind, &self.charge_id, &self.customer_id]
                .into_iter()
                .chain(self.facts.dispute_id())
                .all(|text| is_id(text))
    }
}

impl Facts {
    /// In what money it came in, or went back.
    pub fn currency(&self) -> Option<&str> {
        match self {
            Self::Charged { currency, .. } | Self::Refunded { currency, .. } => Some(currency),
            _ => None,
        }
    }

    fn dispute_id(&self) -> Option<&String> {
        match self {
            Self::DisputeOpened { dispute_id, .. } | Self::DisputeClosed { dispute_id, .. } => {
                Some(dispute_id)
            }
            _ => None,
        }
    }
}

const MAX_REASON: usize = 255;

/// An instant that everybody can show, from the epoch on.
fn time(seconds: i64) -> Option<DateTime<Utc>> {
    let time = DateTime::from_timestamp(seconds, 0)?;
    (1970..=9999).contains(&time.year()).then_some(time)
}

#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created: i64,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Value,
}

/// What an event is about.
#[derive(Default)]
struct Subject {
    charge_id: Option<String>,
    customer_id: Option<String>,
}

/// An object of Stripe's API.
#[derive(Clone, Copy)]
struct Object<'a>(&'a Value);

impl Object<'_> {
    fn text(self, field: &str) -> Option<String> {
        self.0.get(field)?.as_str().map(str::to_owned)
    }

    /// Why, in as many characters as a person could write: all that was told of a charge is read
    /// each time that something more is.
    fn reason(self) -> String {
        let text = self.0.get("reason").and_then(Value::as_str).unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect()
    }

    fn is_captured(self) -> Option<bool> {
        self.0.get("captured").and_then(Value::as_bool)
    }

    fn number(self, field: &str) -> Option<i64> {
        self.0.get(field)?.as_i64()
    }

    /// An id, or the id of the object in its place: Stripe expands some.
    fn id(self, field: &str) -> Option<String> {
        let value = self.0.get(field)?;
        value.as_str().or_else(|| value.get("id")?.as_str()).map(str::to_owned)
    }

    /// As an object of this kind says whose and which it is.
    fn subject(self, charge: &str) -> Subject {
        Subject { charge_id: self.id(charge), customer_id: self.id("customer") }
    }

    /// Where Stripe says what of a charge was captured; it may be less than what was held.
    fn amount_that_came(self) -> &'static str {
        let says_so = self.is_captured() == Some(true) && self.number("amount_captured").is_some();
        if says_so { "amount_captured" } else { "amount" }
    }

    /// Nothing where no money moves at all.
    fn charged(self, amount: &str, has_failed: bool) -> Facts {
        self.moved(self.number(amount), |Sum { currency, minor }| Facts::Charged {
            currency,
            minor,
            has_failed,
        })
    }

    /// What was given back of what came in: Stripe counts what was held and never captured as
    /// given back, too.
    fn refunded(self) -> Facts {
        let released = match (self.number("amount"), self.number("amount_captured")) {
            (Some(held), Some(captured)) => held.saturating_sub(captured).max(0),
            _ => 0,
        };
        let refunded = self.number("amount_refunded").map(|all| all.saturating_sub(released));
        self.moved(refunded, |Sum { currency, minor }| Facts::Refunded { currency, minor })
    }

    /// What is told where so much money moved. An amount that is none is one beyond all bounds.
    fn moved(self, amount: Option<i64>, told: impl FnOnce(Sum) -> Facts) -> Facts {
        let sum = amount.ok_or(Obstacle::AmountOutOfBounds).and_then(|amount| self.sum(amount));
        match sum {
            Ok(sum) => sum.map_or(Facts::Nothing, told),
            Err(obstacle) => Facts::Unrecordable { obstacle },
        }
    }

    fn sum(self, amount: i64) -> Result<Option<Sum>, Obstacle> {
        let money = amounts::money(amount, &self.text("currency").unwrap_or_default())?;
        Ok(money.map(|money| Sum {
            currency: money.currency().code().to_owned(),
            minor: money.minor(),
        }))
    }

    fn disputed(self) -> Option<Sum> {
        self.sum(self.number("amount")?).ok().flatten()
    }

    fn opened(self) -> Option<Facts> {
        let (dispute_id, reason) = (self.id("id")?, self.reason());
        Some(Facts::DisputeOpened { dispute_id, reason, disputed: self.disputed() })
    }

    /// A warning that was closed never took any money.
    fn closed(self) -> Option<Facts> {
        let is_won = match self.text("status")?.as_str() {
            "won" | "warning_closed" => true,
            "lost" => false,
            _ => return None,
        };
        let (dispute_id, reason) = (self.id("id")?, self.reason());
        Some(Facts::DisputeClosed { dispute_id, reason, is_won, disputed: self.disputed() })
    }
}

fn read(kind: &str, object: Object<'_>) -> (Subject, Facts) {
    if !HEARD.contains(&kind) {
        return (Subject::default(), Facts::Nothing);
    }
    let (subject, facts) = match kind {
        // Only held until it is captured, or let go.
        "charge.succeeded" | "charge.refunded" if object.is_captured() == Some(false) => {
            (object.subject("id"), None)
        }
        "charge.succeeded" => {
            (object.subject("id"), Some(object.charged(object.amount_that_came(), false)))
        }
        "charge.captured" => (object.subject("id"), Some(object.charged("amount_captured", false))),
        "charge.failed" => (object.subject("id"), Some(object.charged("amount", true))),
        "payment_intent.succeeded" => {
            (object.subject("latest_charge"), Some(object.charged("amount_received", false)))
        }
        "payment_intent.payment_failed" => {
            (object.subject("latest_charge"), Some(object.charged("amount", true)))
        }
        "charge.refunded" => (object.subject("id"), Some(object.refunded())),
        "charge.dispute.created" => (object.subject("charge"), object.opened()),
        "charge.dispute.closed" => (object.subject("charge"), object.closed()),
        "customer.created" | "customer.updated" => (customer(object), Some(Facts::CustomerKnown)),
        "customer.deleted" => (customer(object), Some(Facts::CustomerDeleted)),
        _ => (Subject::default(), None),
    };
    let is_about_a_charge =
        !matches!(facts, Some(Facts::CustomerKnown | Facts::CustomerDeleted) | None);
    match facts {
        // A payment that failed before there was a charge.
        _ if is_about_a_charge && subject.charge_id.is_none() => (subject, Facts::Nothing),
        Some(facts) => (subject, facts),
        None => (subject, Facts::Nothing),
    }
}

fn customer(object: Object<'_>) -> Subject {
    Subject { charge_id: None, customer_id: object.id("id") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "it is made where it is given")]
    fn event(kind: &str, object: Value) -> Option<Event> {
        let envelope = json!({
            "id": "evt_1", "object": "event", "api_version": "2024-06-20", "created": 1_700_000_000,
            "livemode": false, "type": kind, "data": { "object": object },
        });
        Event::parse(envelope.to_string().as_bytes())
    }

    fn facts(kind: &str, object: Value) -> (String, String, Facts) {
        let event = event(kind, object).unwrap();
        (event.charge_id, event.customer_id, event.facts)
    }

    /// Security checklist 43: all that was told of a charge is read again with every word.
    #[test]
    fn a_reason_is_no_longer_than_what_people_could_write() {
        let reason = format!("a\0b\n{}", "ü".repeat(1_000_000));
        let dispute = json!({ "id": "dp_1", "charge": "ch_1", "reason": reason, "status": "lost" });
        for kind in ["charge.dispute.created", "charge.dispute.closed"] {
            let (_, _, facts) = facts(kind, dispute.clone());
            let (Facts::DisputeOpened { reason, .. } | Facts::DisputeClosed { reason, .. }) = facts
            else {
                panic!("{facts:?}")
            };
            assert_eq!(reason, format!("ab{}", "ü".repeat(253)));
        }
    }

    #[test]
    fn an_event_happened_when_somebody_can_say() {
        for (seconds, is_sound) in [
            (0, true),
            (253_402_300_799, true),
            (253_402_300_800, false),
            (-1, false),
            (i64::MAX, false),
            (i64::MIN, false),
        ] {
            assert_eq!(time(seconds).is_some(), is_sound, "{seconds}");
        }
    }

    #[test]
    fn a_charge_is_what_was_paid_or_failed() {
        let charge = json!({
            "id": "ch_1", "object": "charge", "amount": 99900, "amount_refunded": 0,
            "currency": "usd", "customer": "cus_1", "status": "succeeded",
        });
        let paid =
            |has_failed| Facts::Charged { currency: "USD".into(), minor: 99_900, has_failed };
        let about = |facts| ("ch_1".to_owned(), "cus_1".to_owned(), facts);
        assert_eq!(facts("charge.succeeded", charge.clone()), about(paid(false)));
        assert_eq!(facts("charge.failed", charge), about(paid(true)));
        let intent = json!({
            "id": "pi_1", "object": "payment_intent", "amount": 99900, "amount_received": 99900,
            "currency": "usd", "customer": { "id": "cus_1" }, "latest_charge": "ch_1",
        });
        assert_eq!(facts("payment_intent.succeeded", intent), about(paid(false)));
    }

    #[test]
    fn what_is_only_held_is_not_paid_until_it_is_captured() {
        let charge = |captured: bool| {
            json!({
                "id": "ch_1", "amount": 99900, "amount_captured": if captured { 50000 } else { 0 },
                "captured": captured, "currency": "usd", "customer": "cus_1",
            })
        };
        assert_eq!(facts("charge.succeeded", charge(false)).2, Facts::Nothing);
        let paid = Facts::Charged { currency: "USD".into(), minor: 50_000, has_failed: false };
        assert_eq!(facts("charge.captured", charge(true)).2, paid);
        assert_eq!(facts("charge.succeeded", charge(true)).2, paid);
    }

    #[test]
    fn money_that_no_payment_can_be_of_is_not_passed_over() {
        let unrecordable = |obstacle| Facts::Unrecordable { obstacle };
        for (amount, currency, obstacle) in [
            (json!(100), "usdc", Obstacle::CurrencyUnknown),
            (json!(100), "zzz", Obstacle::CurrencyUnknown),
            (json!(333), "isk", Obstacle::AmountNotWhole),
            (json!(1_000_000_000_000_001_i64), "eur", Obstacle::AmountOutOfBounds),
            (json!(u64::MAX), "eur", Obstacle::AmountOutOfBounds),
        ] {
            let charge = json!({
                "id": "ch_1", "amount": amount, "amount_captured": amount,
                "amount_refunded": amount, "captured": true, "currency": currency,
            });
            for kind in ["charge.succeeded", "charge.captured", "charge.failed", "charge.refunded"]
            {
                assert_eq!(facts(kind, charge.clone()).2, unrecordable(obstacle), "{kind}");
            }
        }
        let free = json!({ "id": "ch_1", "amount": 0, "currency": "eur" });
        assert_eq!(facts("charge.succeeded", free).2, Facts::Nothing);
    }

    #[test]
    fn readme_lists_every_type_that_is_heard_and_each_of_them_says_something() {
        let readme = include_str!("../../../README.md");
        let (_, list) = readme.split_once("to enter at Stripe with the events ").unwrap();
        let (list, _) = list.split_once(';').unwrap();
        let mut listed: Vec<_> = list.split('`').skip(1).step_by(2).collect();
        listed.sort_unstable();
        assert_eq!(listed, HEARD);
        let object = json!({
            "id": "x_1", "charge": "ch_1", "latest_charge": "ch_1", "currency": "eur",
            "amount": 100, "amount_captured": 100, "amount_received": 100, "amount_refunded": 50,
            "status": "won",
        });
        for kind in HEARD {
            assert_ne!(facts(kind, object.clone()).2, Facts::Nothing, "{kind}");
        }
    }

    #[test]
    fn a_failure_without_a_charge_changes_nothing() {
        let intent = json!({
            "id": "pi_1", "amount": 100, "currency": "eur", "customer": "cus_1",
            "latest_charge": null,
        });
        let (charge_id, customer_id, facts) = facts("payment_intent.payment_failed", intent);
        assert_eq!((charge_id, customer_id), (String::new(), "cus_1".to_owned()));
        assert_eq!(facts, Facts::Nothing);
    }

    #[test]
    fn refunds_are_counted_in_all_and_disputes_by_how_they_end() {
        let charge = json!({ "id": "ch_1", "amount_refunded": 2500, "currency": "eur" });
        let refunded = Facts::Refunded { currency: "EUR".into(), minor: 2500 };
        assert_eq!(facts("charge.refunded", charge).2, refunded);
        let dispute = |status: &str| json!({ "id": "dp_1", "charge": "ch_1", "status": status, "reason": "fraudulent", "amount": 400, "currency": "eur" });
        let disputed = || Some(Sum { currency: "EUR".into(), minor: 400 });
        let (dispute_id, reason) = ("dp_1".to_owned(), "fraudulent".to_owned());
        let opened = Facts::DisputeOpened {
            dispute_id: dispute_id.clone(),
            reason: reason.clone(),
            disputed: disputed(),
        };
        let (charge_id, _, facts_of_it) =
            facts("charge.dispute.created", dispute("needs_response"));
        assert_eq!((charge_id.as_str(), facts_of_it), ("ch_1", opened));
        for (status, is_won) in [("won", true), ("lost", false), ("warning_closed", true)] {
            let closed = facts("charge.dispute.closed", dispute(status)).2;
            let (dispute_id, reason) = (dispute_id.clone(), reason.clone());
            assert_eq!(
                closed,
                Facts::DisputeClosed { dispute_id, reason, is_won, disputed: disputed() }
            );
        }
        assert!(
            event("charge.dispute.created", json!({ "id": "d p", "charge": "ch_1" })).is_none()
        );
    }

    #[test]
    fn what_was_held_and_let_go_is_no_refund() {
        let charge = |captured: i64, refunded: i64| {
            json!({
                "id": "ch_1", "amount": 10_000, "amount_captured": captured,
                "amount_refunded": refunded, "captured": captured > 0, "currency": "eur",
            })
        };
        let of = |charge| facts("charge.refunded", charge).2;
        assert_eq!(of(charge(0, 10_000)), Facts::Nothing);
        assert_eq!(of(charge(7_950, 2_050)), Facts::Nothing);
        let refunded = Facts::Refunded { currency: "EUR".into(), minor: 1_000 };
        assert_eq!(of(charge(7_950, 3_050)), refunded);
    }

    #[test]
    fn what_was_kept_of_disputes_before_they_had_ids_is_still_read() {
        let kept = [
            json!({ "fact": "dispute_opened", "reason": "fraudulent" }),
            json!({ "fact": "dispute_closed", "is_won": true }),
        ];
        for kept in kept {
            let facts: Facts = serde_json::from_value(kept).unwrap();
            assert_eq!(facts.dispute_id().unwrap(), "");
        }
    }

    #[test]
    fn customers_come_and_go() {
        let customer = json!({ "id": "cus_1", "email": "zoe@okafor.example" });
        for (kind, fact) in [
            ("customer.created", Facts::CustomerKnown),
            ("customer.updated", Facts::CustomerKnown),
            ("customer.deleted", Facts::CustomerDeleted),
        ] {
            let (_, customer_id, facts) = facts(kind, customer.clone());
            assert_eq!((customer_id.as_str(), facts), ("cus_1", fact));
        }
    }

    #[test]
    fn what_is_of_another_kind_is_kept_and_changes_nothing() {
        let (_, _, facts) = facts("invoice.finalized", json!({ "id": "in_1" }));
        assert_eq!(facts, Facts::Nothing);
    }

    #[test]
    fn what_is_no_event_is_none() {
        for bad in ["", "[]", "{}", "null", r#"{"id": "evt_1", "type": "x", "created": "now"}"#] {
            assert!(Event::parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(event("charge.succeeded", json!({ "id": "a b" })).is_none());
        assert!(event(&"x".repeat(256), json!({})).is_none());
    }

    proptest! {
        #[test]
        fn no_body_breaks_it(kind in ".*", body in ".*", amount in any::<i64>(), currency in ".*") {
            _ = Event::parse(body.as_bytes());
            _ = event(&kind, json!(body));
            for kind in ["charge.succeeded", "charge.refunded", "charge.dispute.closed"] {
                let object = json!({
                    "id": body, "amount": amount, "amount_refunded": amount,
                    "currency": currency, "customer": body, "status": body,
                });
                _ = event(kind, object);
            }
        }
    }
}
