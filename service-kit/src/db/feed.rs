//! How do others learn what became true, in the order in which it did?
//!
//! The events of a feed are numbered by one counter row, which a transaction locks last, so
//! that it holds it for its commit only: whoever reads number 7 will never see a 6 appear
//! behind it. A sequence could not promise that.
//!
//! Sums that many transactions add to are kept the same way, for the same reason: as a feed whose
//! statement adds up what it is told. Whoever changes several of them locks them once, late, and
//! in one order, so that no two transactions wait for each other.

use serde_json::Value;

use super::{Sql, TenantTx};
use crate::error::Error;

/// A feed of a service.
#[derive(Debug)]
pub struct Feed {
    /// Feeds are written in this order, so that no two transactions wait for each other.
    pub place: u8,
    /// Appends, for `$1` the account and `$2` the time, the events whose kinds are `$3`, ids
    /// `$4` and bodies `$5`.
    pub append: Sql,
}

/// Something that others want to know.
#[derive(Debug)]
pub struct Event {
    /// What it is about: `employee`.
    pub kind: &'static str,
    pub id: i64,
    pub body: Value,
}

impl Event {
    /// Where there is no more to say than that it changed.
    pub fn about(kind: &'static str, id: i64) -> Self {
        Self { kind, id, body: Value::Null }
    }
}

/// Appends events to a feed, with the numbers after its last one.
pub(super) async fn append(
    tx: &mut TenantTx,
    feed: &Feed,
    events: Vec<Event>,
) -> Result<(), Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    let bodies: Vec<_> = events.into_iter().map(|event| event.body).collect();
    let query =
        sqlx::query(feed.append).bind(account_id).bind(now).bind(kinds).bind(ids).bind(bodies);
    tx.execute(query).await?;
    Ok(())
}
