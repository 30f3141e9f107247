//! What is a unit of work inside one account?

use std::{collections::BTreeMap, time::Instant};

use chrono::{DateTime, Utc};
use futures::{Stream, TryStreamExt};
use sqlx::{
    FromRow, Postgres, Row as _, Transaction,
    postgres::{PgArguments, PgRow},
    query::{Query, QueryAs},
};
use tokio::sync::OwnedSemaphorePermit;

use super::{Act, Constraint, Event, Feed, act, constraints::explain, feed};
use crate::{caller::Actor, clock, error::Error, telemetry::context};

/// A transaction inside one account: every query function takes it. Dropping it rolls back.
///
/// Statements run through its methods and nowhere else, so that each is counted, and so that
/// running into a constraint means the same wherever it happens.
pub struct TenantTx {
    tx: Transaction<'static, Postgres>,
    /// Given back behind the connection.
    _place: Option<OwnedSemaphorePermit>,
    account_id: i64,
    actor: Actor,
    now: DateTime<Utc>,
    constraints: &'static [Constraint],
    /// What others will be told, by the places of the feeds.
    told: BTreeMap<u8, (&'static Feed, Vec<Event>)>,
}

impl TenantTx {
    pub(super) fn new(
        tx: Transaction<'static, Postgres>,
        place: Option<OwnedSemaphorePermit>,
        account_id: i64,
        actor: Actor,
        constraints: &'static [Constraint],
    ) -> Self {
        let (now, told) = (clock::now(), BTreeMap::new());
        Self { tx, _place: place, account_id, actor, now, constraints, told }
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

    /// The first rows, until they are as many bytes as an answer should hold; one at least. The
    /// rest is not kept: a page of a thousand large rows is no reason to run out of memory.
    pub(super) async fn all_that_fit<T: Row>(
        &mut self,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Rows<T>, Error> {
        let fitting = counted(take_fitting(query.fetch(&mut *self.tx))).await;
        fitting.map_err(|error| explain(self.constraints, error))
    }

    /// How many rows it wrote.
    pub async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> Result<u64, Error> {
        let done = counted(query.execute(&mut *self.tx)).await;
        let done = done.map_err(|error| explain(self.constraints, error))?;
        Ok(done.rows_affected())
    }

    /// Lets others know, if it becomes true.
    pub fn tell(&mut self, feed: &'static Feed, event: Event) {
        self.told.entry(feed.place).or_insert_with(|| (feed, Vec::new())).1.push(event);
    }

    /// Makes it true, and records what was done. When the connection breaks meanwhile nobody knows whether it became so:
    /// the caller is told to try again, and a `request_id` keeps that from happening twice.
    pub async fn commit(mut self, acts: impl IntoIterator<Item = Act>) -> Result<(), Error> {
        let acts: Vec<_> = acts.into_iter().collect();
        if !acts.is_empty() {
            act::record(&mut self, acts).await?;
        }
        // Last, because everybody who tells something waits for the same counter.
        for (feed, events) in std::mem::take(&mut self.told).into_values() {
            feed::append(&mut self, feed, events).await?;
        }
        let constraints = self.constraints;
        counted(self.tx.commit()).await.map_err(|error| explain(constraints, error))
    }
}

/// The rows of a list, and whether there were more than fit.
#[derive(Debug)]
pub struct Rows<T> {
    pub rows: Vec<T>,
    pub cut_short: bool,
}

/// Well below the limit of a message, which has field numbers and lengths in it besides.
const FITTING_BYTES: usize = 2 << 20;

async fn take_fitting<T: Row>(
    mut found: impl Stream<Item = Result<PgRow, sqlx::Error>> + Unpin,
) -> Result<Rows<T>, sqlx::Error> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.try_next().await? {
        bytes += size(&row);
        if bytes > FITTING_BYTES && !rows.is_empty() {
            return Ok(Rows { rows, cut_short: true });
        }
        rows.push(T::from_row(&row)?);
    }
    Ok(Rows { rows, cut_short: false })
}

/// What the values of a row were on the wire.
fn size(row: &PgRow) -> usize {
    let value = |column| row.try_get_raw(column).ok()?.as_bytes().ok();
    let first = (0..row.len()).find_map(value);
    let last = (0..row.len()).rev().find_map(value);
    // As they came, one behind the other.
    let (Some(first), Some(last)) = (first, last) else { return 0 };
    last.as_ptr_range().end.addr().saturating_sub(first.as_ptr().addr())
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
