//! What is a unit of work inside one account?

use chrono::{DateTime, Utc};
use sqlx::{Postgres, Transaction};

use super::counted::Counted;
use crate::{caller::Actor, clock, error::Error};

/// A transaction inside one account: every query function takes it. Dropping it rolls back.
pub struct TenantTx {
    tx: Transaction<'static, Postgres>,
    account_id: i64,
    actor: Actor,
    now: DateTime<Utc>,
}

impl TenantTx {
    pub(super) fn new(tx: Transaction<'static, Postgres>, account_id: i64, actor: Actor) -> Self {
        Self { tx, account_id, actor, now: clock::now() }
    }

    /// What every statement binds as `account_id`.
    pub fn account_id(&self) -> i64 {
        self.account_id
    }

    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// The one instant of everything that this transaction writes.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// What a query runs on.
    pub fn connection(&mut self) -> Counted<'_> {
        Counted(&mut self.tx)
    }

    /// Makes it true. When the connection breaks meanwhile nobody knows whether it became so:
    /// the caller is told to try again, and a `request_id` keeps that from happening twice.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.tx.commit().await?)
    }
}
