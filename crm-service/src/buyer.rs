//! Whose money is it?
//!
//! Whoever writes anything about a client's money locks the client first, and then the rows
//! themselves. So one client's money is changed by one transaction at a time, and nobody who
//! waits for it holds what somebody before them needs.

use chrono::{DateTime, Utc};
use proto::common::v1::ErrorReason::ClientDeleted;
use service_kit::{db::TenantTx, error::Error, fields::Currency, sql};

use crate::visibility::{Scope, seen};

/// A client, as far as their money is concerned.
#[derive(Debug, sqlx::FromRow)]
pub struct Buyer {
    pub id: i64,
    currency: String,
    delete_time: Option<DateTime<Utc>>,
}

/// What belongs to one client and never to another.
#[derive(Debug, Clone, Copy)]
pub enum Belonging {
    ClientPackage(i64),
    Instalment(i64),
    Payment(i64),
    StripeCustomer(i64),
}

impl Buyer {
    /// What their money is in where nobody says otherwise.
    pub fn currency(&self) -> Result<Currency, Error> {
        stored_currency(&self.currency)
    }

    /// Refuses anything new for a client who is deleted.
    pub fn must_be_live(&self) -> Result<(), Error> {
        if self.delete_time.is_none() {
            return Ok(());
        }
        let sentence = "The client is deleted and takes nothing new: undelete them first.";
        Err(Error::Refused { reason: ClientDeleted, sentence })
    }
}

/// The currency that a column names by its code.
pub fn stored_currency(code: &str) -> Result<Currency, Error> {
    Currency::parse(code).map_err(|flaw| Error::internal(format!("currency {code:?} {flaw}")))
}

/// A client whom the caller sees, deleted or not, and whose money is this transaction's until it
/// ends.
macro_rules! lock {
    ($id:literal) => {
        concat!(
            "SELECT id, currency, delete_time FROM crm.clients WHERE account_id = $1 AND id = ",
            $id,
            " AND ",
            seen!("clients.id"),
            " FOR NO KEY UPDATE"
        )
    };
}

/// A client by id.
pub async fn lock(tx: &mut TenantTx, scope: Scope, id: i64) -> Result<Option<Buyer>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(lock!("$2"))).bind(account_id).bind(id);
    tx.optional(query.bind(scope.employee_id())).await
}

/// The same by something that is theirs, and never becomes another's.
pub async fn lock_of(
    tx: &mut TenantTx,
    scope: Scope,
    belonging: Belonging,
) -> Result<Option<Buyer>, Error> {
    let account_id = tx.account_id();
    let (query, id) = match belonging {
        Belonging::ClientPackage(id) => (
            sqlx::query_as(sql!(lock!(
                "(SELECT client_id FROM crm.client_packages WHERE account_id = $1 AND id = $2)"
            ))),
            id,
        ),
        Belonging::Instalment(id) => (
            sqlx::query_as(sql!(lock!(
                "(SELECT client_id FROM crm.instalments WHERE account_id = $1 AND id = $2)"
            ))),
            id,
        ),
        Belonging::Payment(id) => (
            sqlx::query_as(sql!(lock!(
                "(SELECT client_id FROM crm.payments WHERE account_id = $1 AND id = $2)"
            ))),
            id,
        ),
        Belonging::StripeCustomer(id) => (
            sqlx::query_as(sql!(lock!(
                "(SELECT client_id FROM crm.stripe_customers WHERE account_id = $1 AND id = $2)"
            ))),
            id,
        ),
    };
    tx.optional(query.bind(account_id).bind(id).bind(scope.employee_id())).await
}

/// A client whom the caller sees, only to be looked at.
pub async fn find(tx: &mut TenantTx, scope: Scope, id: i64) -> Result<Option<Buyer>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT id, currency, delete_time FROM crm.clients WHERE account_id = $1 AND id = $2 AND ",
        seen!("clients.id")
    ))
    .bind(account_id)
    .bind(id)
    .bind(scope.employee_id());
    tx.optional(query).await
}
