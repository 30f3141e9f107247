//! How does what has expired go away?

use std::ops::ControlFlow;

use sqlx::{PgPool, Postgres, postgres::PgArguments, query::Query};

use super::{Sql, tx::counted};
use crate::error::Error;

/// Deletes across accounts, as a role that can do nothing but delete what is old.
#[derive(Debug, Clone)]
pub struct Sweeper(PgPool);

/// Rows at a time: a batch must not hold anybody up.
pub const BATCH: i64 = 500;

impl Sweeper {
    pub(super) fn new(pool: PgPool) -> Self {
        Self(pool)
    }

    /// Runs a statement that deletes a [`BATCH`] until it finds no more; returns how many went.
    pub async fn sweep<'q>(
        &self,
        text: Sql,
        bind: impl Fn(Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments>,
    ) -> Result<u64, Error> {
        let mut swept = 0;
        while let ControlFlow::Continue(batch) = self.batch(bind(sqlx::query(text))).await? {
            swept += batch;
            // Somebody else's turn.
            tokio::task::yield_now().await;
        }
        Ok(swept)
    }

    async fn batch(
        &self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<ControlFlow<(), u64>, Error> {
        let done = counted(query.execute(&self.0)).await?;
        Ok(match done.rows_affected() {
            0 => ControlFlow::Break(()),
            rows => ControlFlow::Continue(rows),
        })
    }
}
