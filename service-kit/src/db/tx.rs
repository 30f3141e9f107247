//! What is a unit of work inside one account?

use std::time::Instant;

use chrono::{DateTime, Utc};
use sqlx::{
    FromRow, Postgres, Transaction,
    postgres::{PgArguments, PgRow},
    query::{Query, QueryAs},
};

use super::{Constraint, constraints::explain};
use crate::{caller::Actor, clock, error::Error, telemetry::context};

/// A transaction inside one account: every query function takes it. Dropping it rolls back.
///
/// Statements run through its methods and nowhere else, so that each is counted, and so that
/// running into a constraint means the same wherever it happens.
pub struct TenantTx {
    tx: Transaction<'static, Postgres>,
    account_id: i64,
    actor: Actor,
    now: DateTime<Utc>,
    constraints: &'static [Constraint],
}

impl TenantTx {
    pub(super) fn new(
        tx: Transaction<'static, Postgres>,
        account_id: i64,
        actor: Actor,
        constraints: &'static [Constraint],
    ) -> Self {
        Self { tx, account_id, actor, now: clock::now(), constraints }
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

    /// The row that there must be.
    pub async fn one<T: Row>(
        &mut self,
        query: QueryAs<'_, Postgres, T, PgArguments>,
    ) -> Result<T, Error> {
        let row = counted(query.fetch_one(&mut *self.tx)).await;
        row.map_err(|error| explain(self.constraints, error))
    }

    /// The row, if there is one.
    pub async fn optional<T: Row>(
        &mut self,
        query: QueryAs<'_, Postgres, T, PgArguments>,
    ) -> Result<Option<T>, Error> {
        let row = counted(query.fetch_optional(&mut *self.tx)).await;
        row.map_err(|error| explain(self.constraints, error))
    }

    /// All rows.
    pub async fn all<T: Row>(
        &mut self,
        query: QueryAs<'_, Postgres, T, PgArguments>,
    ) -> Result<Vec<T>, Error> {
        let rows = counted(query.fetch_all(&mut *self.tx)).await;
        rows.map_err(|error| explain(self.constraints, error))
    }

    /// How many rows it wrote.
    pub async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64, Error> {
        let done = counted(query.execute(&mut *self.tx)).await;
        let done = done.map_err(|error| explain(self.constraints, error))?;
        Ok(done.rows_affected())
    }

    /// Makes it true. When the connection breaks meanwhile nobody knows whether it became so:
    /// the caller is told to try again, and a `request_id` keeps that from happening twice.
    pub async fn commit(self) -> Result<(), Error> {
        let constraints = self.constraints;
        counted(self.tx.commit()).await.map_err(|error| explain(constraints, error))
    }
}

/// What a row can be read into.
pub trait Row: Send + Unpin + for<'r> FromRow<'r, PgRow> {}
impl<T: Send + Unpin + for<'r> FromRow<'r, PgRow>> Row for T {}

/// Counts a statement, and the time until its last row, for the line of the request.
pub(super) async fn counted<T>(statement: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let done = statement.await;
    context::count_query(started.elapsed());
    done
}
