//! How much of an instalment do payments cover?
//!
//! Only for whoever holds the lock on the client's row: nobody else changes the client's
//! instalments then, so that what is read here stays true until the transaction ends.

use std::collections::BTreeMap;

use proto::common::v1::ErrorReason as Reason;
use service_kit::{db::TenantTx, error::Error, sql};

use crate::visibility::{Scope, seen};

/// Something that payments may cover.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Due {
    pub id: i64,
    pub client_id: i64,
    pub currency: String,
    amount: i64,
    allocated: i64,
    status: String,
}

impl Due {
    /// What can still be covered: nothing of one that is paid or closed.
    pub fn open(&self) -> i64 {
        if self.takes_more() { self.amount - self.allocated } else { 0 }
    }

    /// Refuses more than what is open.
    pub fn take(&self, amount: i64) -> Result<(), Error> {
        match self.status.as_str() {
            "paid" => Err(Error::Refused {
                reason: Reason::InstalmentPaid,
                sentence: "The instalment is paid: it takes nothing more.",
            }),
            "closed" => Err(Error::Refused {
                reason: Reason::InstalmentClosed,
                sentence: "The instalment is closed: it takes nothing more.",
            }),
            _ if amount > self.open() => Err(Error::Refused {
                reason: Reason::AboveOpen,
                sentence: "This is more than what is still open of the instalment.",
            }),
            _ => Ok(()),
        }
    }

    fn takes_more(&self) -> bool {
        matches!(self.status.as_str(), "open" | "failed")
    }
}

/// As many as one payment is spread over at once.
const MOST_AT_ONCE: i64 = 1000;

/// What a client has to pay in a currency: what is due first comes first.
pub async fn oldest_due(
    tx: &mut TenantTx,
    client_id: i64,
    currency: &str,
) -> Result<Vec<Due>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT id, client_id, currency, amount, allocated, status FROM crm.instalments
         WHERE account_id = $1 AND client_id = $2 AND currency = $3 AND status IN ('open', 'failed')
         ORDER BY schedule_date, id LIMIT $4"
    ))
    .bind(account_id)
    .bind(client_id)
    .bind(currency)
    .bind(MOST_AT_ONCE);
    tx.all(query).await
}

/// Those of these instalments that are there to be seen, of whatever client, in the order in
/// which they are due.
pub async fn by_due_date(
    tx: &mut TenantTx,
    scope: Scope,
    ids: impl IntoIterator<Item = i64>,
) -> Result<Vec<Due>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT id, client_id, currency, amount, allocated, status FROM crm.instalments
         WHERE account_id = $1 AND id = ANY($2) AND ",
        seen!("instalments.client_id"),
        " ORDER BY schedule_date, id"
    ))
    .bind(account_id)
    .bind(Vec::from_iter(ids))
    .bind(scope.employee_id());
    tx.all(query).await
}

/// What an entry is about.
pub struct Entry<'a> {
    pub client_id: i64,
    pub currency: &'a str,
    pub payment_id: i64,
    pub reason: &'static str,
}

/// Enters what a payment covers from now on, and takes back, below zero, what it no longer does.
/// The entry and its sum are one statement: neither is there without the other.
pub async fn enter(
    tx: &mut TenantTx,
    entry: &Entry<'_>,
    amounts: &BTreeMap<i64, i64>,
) -> Result<(), Error> {
    if amounts.is_empty() {
        return Ok(());
    }
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "WITH entered AS (
             INSERT INTO crm.allocation_entries
                 (account_id, client_id, currency, payment_id, instalment_id, amount, reason, time)
             SELECT $1, $3, $4, $5, id, amount, $6, $2
             FROM unnest($7::bigint[], $8::bigint[]) AS entry (id, amount)
             RETURNING instalment_id, amount)
         UPDATE crm.instalments
         SET allocated = allocated + entered.amount, update_time = $2, version = version + 1
         FROM entered WHERE account_id = $1 AND id = instalment_id"
    ))
    .bind(account_id)
    .bind(now)
    .bind(entry.client_id)
    .bind(entry.currency)
    .bind(entry.payment_id)
    .bind(entry.reason)
    .bind(Vec::from_iter(amounts.keys().copied()))
    .bind(Vec::from_iter(amounts.values().copied()));
    tx.execute(query).await?;
    Ok(())
}
