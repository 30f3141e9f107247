//! Queries on payments.

use std::iter::zip;

use chrono::{DateTime, Utc};
use service_kit::{
    caller::Actor,
    db::{ListQuery, Rows, TenantTx},
    error::Error,
    page::Page,
    sql, sql_family,
};
use sqlx::{FromRow, Row as _, postgres::PgRow};

use super::{
    ledger::{Dispute, Facts},
    model::{Filter, Payment, Said},
    totals::{Shift, bind_shift, totals_shifted},
};
use crate::visibility::{Scope, seen};

/// The columns of a [`Payment`], and what it covers, which only the entries know: the ids of the
/// instalments, and then as many amounts. It is a column and no join, so that it is looked up
/// for the rows of a page and not for all that were sorted.
macro_rules! select {
    () => {
        "SELECT id, client_id, currency, amount, refunded, has_failed, dispute, paid_at,
             external_reference, notes, dispute_reason, dispute_time, void_time, void_reason,
             stripe_charge_id, create_time, update_time, version,
             (SELECT array_agg(instalment_id) || array_agg(covered)
              FROM (SELECT instalment_id, sum(amount)::bigint AS covered
                    FROM crm.allocation_entries
                    WHERE account_id = $1 AND payment_id = payments.id AND payments.allocated > 0
                    GROUP BY instalment_id HAVING sum(amount) <> 0) AS instalments) AS covers
         FROM crm.payments
         WHERE account_id = "
    };
}

impl FromRow<'_, PgRow> for Facts {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let covers: Option<Vec<i64>> = row.try_get("covers")?;
        let mut ids = covers.unwrap_or_default();
        let amounts = ids.split_off(ids.len() / 2);
        let dispute: String = row.try_get("dispute")?;
        let void_time: Option<DateTime<Utc>> = row.try_get("void_time")?;
        Ok(Self {
            amount: row.try_get("amount")?,
            refunded: row.try_get("refunded")?,
            has_failed: row.try_get("has_failed")?,
            dispute: dispute_from_text(&dispute),
            is_void: void_time.is_some(),
            allocations: zip(ids, amounts).collect(),
        })
    }
}

/// As they stand in the column.
const DISPUTES: &[(Dispute, &str)] = &[
    (Dispute::Never, ""),
    (Dispute::Open, "open"),
    (Dispute::Won, "won"),
    (Dispute::Lost, "lost"),
];

fn dispute_text(dispute: Dispute) -> &'static str {
    DISPUTES.iter().find(|(known, _)| *known == dispute).map_or("", |(_, text)| text)
}

fn dispute_from_text(text: &str) -> Dispute {
    DISPUTES
        .iter()
        .find(|(_, known)| *known == text)
        .map_or(Dispute::Never, |(dispute, _)| *dispute)
}

/// The payment that a charge of Stripe's became.
pub async fn find_by_charge(
    tx: &mut TenantTx,
    stripe_charge_id: &str,
) -> Result<Option<i64>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT id FROM crm.payments WHERE account_id = $1 AND stripe_charge_id = $2"
    ))
    .bind(account_id)
    .bind(stripe_charge_id);
    let found: Option<(i64,)> = tx.optional(query).await?;
    Ok(found.map(|(id,)| id))
}

/// A payment that the caller sees, voided or not.
pub async fn find(tx: &mut TenantTx, scope: Scope, id: i64) -> Result<Option<Payment>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(select!(), "$1 AND id = $2 AND ", seen!("payments.client_id")))
        .bind(account_id)
        .bind(id)
        .bind(scope.employee_id());
    tx.optional(query).await
}

/// What happened to a payment.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    pub kind: &'static str,
    /// How much it is about.
    pub amount: i64,
    pub reason: &'a str,
}

/// Adds a payment with what happened, and counts it: one statement, because nothing is called
/// more often. What it covers is entered next.
pub async fn insert(
    tx: &mut TenantTx,
    payment: &Payment,
    event: Event<'_>,
    shift: &Shift<'_>,
) -> Result<i64, Error> {
    let by_person = is_person(tx.actor());
    let query = sqlx::query_as(sql!(
        "WITH ",
        totals_shifted!(),
        ", payment AS (
             INSERT INTO crm.payments
                 (account_id, client_id, currency, amount, allocated, has_failed, paid_at,
                  external_reference, notes, stripe_charge_id, create_time, update_time)
             VALUES ($1, $2, $3, $9, $18, $10, $11, $12, $13, $14, $15, $15)
             RETURNING id)
         INSERT INTO crm.payment_events
             (account_id, payment_id, kind, amount, reason, time, by_person)
         SELECT $1, id, $16, $9, $17, $15, $19 FROM payment
         RETURNING payment_id"
    ));
    let query = bind_shift(query, tx, shift)
        .bind(payment.facts.amount)
        .bind(payment.facts.has_failed)
        .bind(payment.paid_at)
        .bind(&payment.external_reference)
        .bind(&payment.notes)
        .bind(&payment.stripe_charge_id)
        .bind(payment.create_time)
        .bind(event.kind)
        .bind(event.reason)
        .bind(payment.facts.allocated())
        .bind(by_person);
    let (id,) = tx.one(query).await?;
    Ok(id)
}

/// Writes a payment of a locked client as it is now, with what happened, if anything did.
pub async fn update(
    tx: &mut TenantTx,
    payment: &Payment,
    event: Option<Event<'_>>,
) -> Result<(), Error> {
    let (account_id, by_person) = (tx.account_id(), is_person(tx.actor()));
    let query = sqlx::query(sql!(
        "WITH happened AS (
             INSERT INTO crm.payment_events
                 (account_id, payment_id, kind, amount, reason, time, by_person)
             SELECT $1, $2, $3, $4, $5, $6, $20 WHERE $3::text IS NOT NULL
             RETURNING id)
         UPDATE crm.payments
         SET refunded = $7, allocated = $8, has_failed = $9, dispute = $10, dispute_reason = $11,
             dispute_time = $12, void_time = $13, void_reason = $14, paid_at = $15,
             external_reference = $16, notes = $17, update_time = $6, version = $18, amount = $19
         WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(payment.id)
    .bind(event.map(|event| event.kind))
    .bind(event.map(|event| event.amount))
    .bind(event.map(|event| event.reason))
    .bind(payment.update_time)
    .bind(payment.facts.refunded)
    .bind(payment.facts.allocated())
    .bind(payment.facts.has_failed)
    .bind(dispute_text(payment.facts.dispute))
    .bind(&payment.dispute_reason)
    .bind(payment.dispute_time)
    .bind(payment.void_time)
    .bind(&payment.void_reason)
    .bind(payment.paid_at)
    .bind(&payment.external_reference)
    .bind(&payment.notes)
    .bind(payment.version)
    .bind(payment.facts.amount)
    .bind(by_person);
    tx.execute(query).await?;
    Ok(())
}

/// Whether somebody says so who is here, and not Stripe.
fn is_person(actor: Actor) -> bool {
    !matches!(actor, Actor::System(_))
}

/// When a person last said whether a payment came in, and how its dispute stands.
pub async fn said_by_people(tx: &mut TenantTx, payment_id: i64) -> Result<Said, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT max(time) FILTER (WHERE kind = 'failed') AS failure,
             max(time) FILTER (WHERE kind IN ('disputed', 'dispute_won', 'dispute_lost')) AS dispute
         FROM crm.payment_events WHERE account_id = $1 AND payment_id = $2 AND by_person"
    ))
    .bind(account_id)
    .bind(payment_id);
    tx.one(query).await
}

/// What the last dispute over a payment released, by instalment.
pub async fn released_by_dispute(
    tx: &mut TenantTx,
    payment: &Payment,
) -> Result<Vec<(i64, i64)>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT instalment_id, -amount FROM crm.allocation_entries
         WHERE account_id = $1 AND payment_id = $2 AND reason = 'disputed' AND time = $3"
    ))
    .bind(account_id)
    .bind(payment.id)
    .bind(payment.dispute_time);
    tx.all(query).await
}

/// The payments of a page, and one more if there is another page.
pub async fn list(
    tx: &mut TenantTx,
    scope: Scope,
    filter: &Filter,
    page: &Page<Payment>,
) -> Result<Rows<Payment>, Error> {
    page_query(tx.account_id(), scope, filter, page).fetch(tx).await
}

/// How many payments match, on whatever page.
pub async fn count(tx: &mut TenantTx, scope: Scope, filter: &Filter) -> Result<i64, Error> {
    count_query(tx.account_id(), scope, filter).count(tx).await
}

fn page_query(account_id: i64, scope: Scope, filter: &Filter, page: &Page<Payment>) -> ListQuery {
    let mut query = ListQuery::new(select!(), account_id);
    narrow(&mut query, account_id, scope, filter);
    query.page(page);
    query
}

fn count_query(account_id: i64, scope: Scope, filter: &Filter) -> ListQuery {
    let mut query =
        ListQuery::new("SELECT count(*) FROM crm.payments WHERE account_id = ", account_id);
    narrow(&mut query, account_id, scope, filter);
    query
}

fn narrow(query: &mut ListQuery, account_id: i64, scope: Scope, filter: &Filter) {
    if !filter.include_voided {
        query.text(" AND void_time IS NULL");
    }
    if let Some(client_id) = filter.client_id {
        query.text(" AND client_id = ").bind(client_id);
    }
    if let Some(status) = filter.status {
        query.text(" AND status = ").bind(status.text());
    }
    if let Some(currency) = filter.currency {
        query.text(" AND currency = ").bind(currency.code());
    }
    if let Some(from) = filter.paid_from {
        query.text(" AND paid_at >= ").bind(from);
    }
    if let Some(until) = filter.paid_until {
        query.text(" AND paid_at < ").bind(until);
    }
    scope.narrow(query, account_id, "client_id");
}

/// Every combination of filters, scopes, orders and places in them.
fn list_variants() -> Vec<String> {
    let pages = Page::variants(super::model::ORDERS);
    let mut variants = Vec::new();
    for filter in Filter::variants() {
        for scope in [Scope::Account, Scope::Assigned(1)] {
            variants.push(count_query(1, scope, &filter).into_text());
            let list = |page| page_query(1, scope, &filter, page).into_text();
            variants.extend(pages.iter().map(list));
        }
    }
    variants
}

sql_family!(list_variants);
