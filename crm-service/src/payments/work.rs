//! What happens to a payment, step by step, whoever says so: a person who calls, or Stripe.
//!
//! Each step takes a payment of a client who is locked, writes what follows from it, and gives
//! the payment as it is now with the record of what was done. Whether a person may take the
//! step is asked before, by [`Facts::allows`]; here it is done.

use chrono::{DateTime, Utc};
use proto::common::v1::{self as common, ErrorReason as Reason};
use serde_json::json;
use service_kit::{
    db::{Act, TenantTx},
    error::Error,
    fields::{Money, shown_money},
};

use super::{
    ledger::{ByInstalment, Dispute, Facts, spread},
    model::{Change, Payment},
    sql::{self, Event},
    totals::{self, Shift},
};
use crate::{
    buyer::{self, Belonging, Buyer},
    instalments::coverage::{self, Due, Entry},
    visibility::Scope,
};

/// The payment as it is now and, unless that is as it was, the record of what was done.
type Done = Result<(Payment, Option<Act>), Error>;

/// A payment that is about to be.
pub struct NewPayment {
    pub amount: Money,
    pub has_failed: bool,
    pub paid_at: DateTime<Utc>,
    pub external_reference: String,
    pub notes: String,
    /// What it was at Stripe, of whose charges several may change in one transaction.
    pub stripe_charge_id: Option<String>,
}

/// Which instalments are to be covered.
pub enum Cover {
    /// None: it stays credit.
    Nothing,
    /// As many as it is enough for, those that are due first before the others.
    OldestDue,
    /// These, each by so much and once, as far as whoever names them sees them; in the order in
    /// which they were named.
    These { shares: Vec<(i64, i64)>, scope: Scope },
}

/// A client by id, whose money nobody else changes until the transaction ends.
pub async fn lock_client(
    tx: &mut TenantTx,
    scope: Scope,
    id: i64,
    field: &'static str,
) -> Result<Buyer, Error> {
    let buyer = buyer::lock(tx, scope, id).await?;
    buyer.ok_or(Error::NotFound { resource: "client", field })
}

/// A payment by id, of a client who is locked first.
pub async fn lock_payment(
    tx: &mut TenantTx,
    scope: Scope,
    id: i64,
    field: &'static str,
) -> Result<(Buyer, Payment), Error> {
    let not_found = Error::NotFound { resource: "payment", field };
    let buyer = buyer::lock_of(tx, scope, Belonging::Payment(id)).await?;
    let Some(buyer) = buyer else { return Err(not_found) };
    // Read once nobody else changes it any more.
    let payment = sql::find(tx, scope, id).await?.ok_or(not_found)?;
    Ok((buyer, payment))
}

/// Records a payment of a locked client.
pub async fn record(tx: &mut TenantTx, buyer: &Buyer, new: NewPayment, cover: Cover) -> Done {
    let now = tx.now();
    let mut payment = Payment {
        // Not drawn yet.
        id: 0,
        client_id: buyer.id,
        currency: new.amount.currency().code().to_owned(),
        facts: Facts::new(new.amount.minor(), new.has_failed),
        paid_at: new.paid_at,
        external_reference: new.external_reference,
        notes: new.notes,
        dispute_reason: String::new(),
        dispute_time: None,
        void_time: None,
        void_reason: String::new(),
        stripe_charge_id: new.stripe_charge_id,
        create_time: now,
        update_time: now,
        version: 1,
    };
    let covered = choose(tx, &payment, cover).await?;
    payment.facts = payment.facts.allocate(&covered)?;
    let kind = if new.has_failed { "failed" } else { "paid" };
    let event = Event { kind, amount: payment.facts.amount, reason: "" };
    let mut shift = Shift::new(&payment, None);
    // What a person enters is the only payment of its transaction, and counted at once.
    if payment.stripe_charge_id.is_some() {
        totals::count(tx, &mut shift);
    }
    payment.id = sql::insert(tx, &payment, event, &shift).await?;
    enter(tx, &payment, &covered, "allocated").await?;
    let act = Act::on("payment", payment.id, "create");
    Ok((payment, Some(act)))
}

/// Covers instalments out of credit.
pub async fn allocate(tx: &mut TenantTx, payment: Payment, cover: Cover) -> Done {
    let more = choose(tx, &payment, cover).await?;
    let facts = payment.facts.allocate(&more)?;
    let after = Payment { facts, ..payment.clone() };
    write(tx, &payment, after, Note { verb: "allocate", entries: "allocated", event: None }).await
}

/// Gives back until `total` is given back.
pub async fn refund_to(tx: &mut TenantTx, payment: Payment, total: i64, reason: &str) -> Done {
    let mut order = Vec::from_iter(due_order(tx, &payment.facts.allocations).await?);
    order.reverse();
    let latest_due_first = Vec::from_iter(order.iter().map(|due| due.id));
    let facts = payment.facts.refund_to(total, &latest_due_first)?;
    let amount = facts.refunded - payment.facts.refunded;
    let event = Some(Event { kind: "refunded", amount, reason });
    let after = Payment { facts, ..payment.clone() };
    write(tx, &payment, after, Note { verb: "refund", entries: "refunded", event }).await
}

/// A dispute is open.
pub async fn dispute(tx: &mut TenantTx, payment: Payment, reason: &str) -> Done {
    let facts = payment.facts.dispute()?;
    let event = Some(Event { kind: "disputed", amount: facts.kept(), reason });
    let after = Payment {
        facts,
        dispute_reason: reason.to_owned(),
        dispute_time: in_doubt_since(&payment).or(Some(tx.now())),
        ..payment.clone()
    };
    write(tx, &payment, after, Note { verb: "dispute", entries: "disputed", event }).await
}

/// The dispute is won, whether or not we knew of it.
pub async fn win_dispute(tx: &mut TenantTx, payment: Payment) -> Done {
    let released: ByInstalment =
        sql::released_by_dispute(tx, &payment).await?.into_iter().collect();
    let due = due_order(tx, &released).await?;
    let facts =
        payment.facts.win(due.iter().map(|due| (due.id, due.open().min(released[&due.id]))))?;
    let event = Some(Event { kind: "dispute_won", amount: facts.kept(), reason: "" });
    let dispute_time = payment.dispute_time.or(Some(tx.now()));
    let after = Payment { facts, dispute_time, ..payment.clone() };
    write(tx, &payment, after, Note { verb: "win_dispute", entries: "dispute_won", event }).await
}

/// The dispute is lost, whether or not we knew of it.
pub async fn lose_dispute(tx: &mut TenantTx, payment: Payment) -> Done {
    let facts = payment.facts.lose()?;
    let event = Some(Event { kind: "dispute_lost", amount: facts.kept(), reason: "" });
    let dispute_time = in_doubt_since(&payment).or(Some(tx.now()));
    let after = Payment { facts, dispute_time, ..payment.clone() };
    write(tx, &payment, after, Note { verb: "lose_dispute", entries: "disputed", event }).await
}

/// It is told, or told better, why there is a dispute.
pub async fn explain_dispute(tx: &mut TenantTx, payment: Payment, reason: &str) -> Done {
    let after = Payment { dispute_reason: reason.to_owned(), ..payment.clone() };
    let note = Note { verb: "explain_dispute", entries: "disputed", event: None };
    write(tx, &payment, after, note).await
}

/// Since when a dispute is open, or lost: by then it is found what the payment covered before,
/// also by another dispute that follows.
fn in_doubt_since(payment: &Payment) -> Option<DateTime<Utc>> {
    let is_in_doubt = matches!(payment.facts.dispute, Dispute::Open | Dispute::Lost);
    payment.dispute_time.filter(|_| is_in_doubt)
}

/// It did not come in after all.
pub async fn fail(tx: &mut TenantTx, payment: Payment, reason: &str) -> Done {
    let facts = payment.facts.fail()?;
    let event = Some(Event { kind: "failed", amount: facts.amount, reason });
    let after = Payment { facts, ..payment.clone() };
    write(tx, &payment, after, Note { verb: "fail", entries: "failed", event }).await
}

/// It came in after all.
pub async fn succeed(tx: &mut TenantTx, payment: Payment) -> Done {
    let facts = payment.facts.succeed()?;
    let event = Some(Event { kind: "paid", amount: facts.amount, reason: "" });
    let after = Payment { facts, ..payment.clone() };
    write(tx, &payment, after, Note { verb: "succeed", entries: "allocated", event }).await
}

/// Stripe tells of another amount, or of another time: of nothing that covers anything yet, or of
/// more than before.
pub async fn correct(
    tx: &mut TenantTx,
    payment: Payment,
    amount: i64,
    paid_at: DateTime<Utc>,
) -> Done {
    let facts = payment.facts.correct(amount)?;
    let more = amount - payment.facts.amount;
    let kind = if facts.has_failed { "failed" } else { "paid" };
    let event = (more != 0).then_some(Event { kind, amount: more, reason: "" });
    let after = Payment { facts, paid_at, ..payment.clone() };
    write(tx, &payment, after, Note { verb: "correct", entries: "allocated", event }).await
}

/// It was entered by mistake.
pub async fn void(tx: &mut TenantTx, payment: Payment, reason: &str) -> Done {
    let facts = payment.facts.void()?;
    let event = Some(Event { kind: "voided", amount: facts.amount, reason });
    let after = Payment {
        facts,
        void_time: Some(tx.now()),
        void_reason: reason.to_owned(),
        ..payment.clone()
    };
    write(tx, &payment, after, Note { verb: "void", entries: "voided", event }).await
}

/// Changes what people say about it; no money moves.
pub async fn change(tx: &mut TenantTx, payment: Payment, change: Change) -> Done {
    let after = change.apply(payment.clone(), tx.now());
    let changed = after.changes(&payment);
    // What changes nothing leaves the etag as it is.
    if changed.is_empty() {
        return Ok((payment, None));
    }
    let after = Payment { update_time: tx.now(), version: payment.version + 1, ..after };
    sql::update(tx, &after, None).await?;
    let act = Act::on("payment", after.id, "update").with("fields", changed);
    Ok((after, Some(act)))
}

/// What is written about a step.
struct Note<'a> {
    /// As the record of acts calls it.
    verb: &'static str,
    /// Why instalments are covered differently.
    entries: &'static str,
    /// What happened to the payment itself.
    event: Option<Event<'a>>,
}

/// Writes what follows from a step: the payment and what happened to it, what it covers now, and
/// the totals. A step that changes nothing is none.
async fn write(tx: &mut TenantTx, before: &Payment, after: Payment, note: Note<'_>) -> Done {
    let said = |payment: &Payment| (payment.paid_at, payment.dispute_reason.clone());
    if after.facts == before.facts && said(&after) == said(before) {
        return Ok((before.clone(), None));
    }
    let after = Payment { update_time: tx.now(), version: before.version + 1, ..after };
    sql::update(tx, &after, note.event).await?;
    enter(tx, &after, &after.facts.entries_since(&before.facts), note.entries).await?;
    totals::count(tx, &mut Shift::new(&after, Some(&before.facts)));
    let act = told(Act::on("payment", after.id, note.verb), note.event, &after.currency);
    Ok((after, Some(act)))
}

/// The record of an act with how much it was about and, where that was said, why.
fn told(act: Act, event: Option<Event<'_>>, currency: &str) -> Act {
    let Some(event) = event else { return act };
    let common::Money { currency_code, amount } = shown_money(event.amount.into(), currency);
    let act = act.with("amount", json!({ "currency_code": currency_code, "amount": amount }));
    if event.reason.is_empty() { act } else { act.with("reason", event.reason) }
}

async fn enter(
    tx: &mut TenantTx,
    payment: &Payment,
    amounts: &ByInstalment,
    reason: &'static str,
) -> Result<(), Error> {
    let entry = Entry {
        client_id: payment.client_id,
        currency: &payment.currency,
        payment_id: payment.id,
        reason,
    };
    coverage::enter(tx, &entry, amounts).await
}

/// How much of which instalments a payment is to cover.
async fn choose(tx: &mut TenantTx, payment: &Payment, cover: Cover) -> Result<ByInstalment, Error> {
    match cover {
        Cover::Nothing => Ok(ByInstalment::new()),
        Cover::OldestDue => {
            let due = coverage::oldest_due(tx, payment.client_id, &payment.currency).await?;
            Ok(spread(payment.facts.credit(), due.iter().map(|due| (due.id, due.open()))))
        }
        Cover::These { shares, scope } => {
            let ids = shares.iter().map(|(id, _)| *id);
            let seen = coverage::by_due_date(tx, scope, ids).await?;
            for (place, (id, amount)) in shares.iter().enumerate() {
                let due = seen.iter().find(|due| due.id == *id);
                check_share(due, *amount, payment).map_err(|error| which(error, place, *id))?;
            }
            Ok(shares.into_iter().collect())
        }
    }
}

/// Refuses to cover so much of something that is due: nothing where nobody sees it.
fn check_share(due: Option<&Due>, amount: i64, payment: &Payment) -> Result<(), Error> {
    let not_found = Error::NotFound { resource: "instalment", field: "instalment_id" };
    let due = due.ok_or(not_found)?;
    check_fits(due, payment)?;
    due.take(amount)
}

/// The error of one of the allocations that were asked for, with which one it is.
fn which(error: Error, place: usize, instalment_id: i64) -> Error {
    match error.reason() {
        // An id that is nobody's reads as one of another account, so it is not said again.
        Reason::NotFound => error.about([("field", format!("allocations[{place}].instalment_id"))]),
        Reason::AboveOpen => about_share(error, place, "amount", instalment_id),
        _ => about_share(error, place, "instalment_id", instalment_id),
    }
}

/// The error of one field of an allocation.
pub fn about_share(error: Error, place: usize, field: &str, instalment_id: i64) -> Error {
    let field = format!("allocations[{place}].{field}");
    error.about([("field", field), ("instalment_id", instalment_id.to_string())])
}

fn check_fits(due: &Due, payment: &Payment) -> Result<(), Error> {
    if due.client_id != payment.client_id {
        return Err(Error::Refused {
            reason: Reason::ClientMismatch,
            sentence: "The instalment is another client's than the payment.",
        });
    }
    if due.currency != payment.currency {
        return Err(Error::Refused {
            reason: Reason::CurrencyMismatch,
            sentence: "The instalment is in another currency than the payment.",
        });
    }
    Ok(())
}

/// Instalments of a payment, in the order in which they are due.
async fn due_order(tx: &mut TenantTx, amounts: &ByInstalment) -> Result<Vec<Due>, Error> {
    if amounts.is_empty() {
        return Ok(Vec::new());
    }
    coverage::by_due_date(tx, Scope::Account, amounts.keys().copied()).await
}
