//! What was done, for the record?
//!
//! Whatever a transaction changes is recorded in it: a transaction ends with [`Act`]s or says
//! that there were none, so that no change can be forgotten.

use serde_json::{Map, Value};

use super::TenantTx;
use crate::{error::Error, network, sql, telemetry::context};

/// Something that somebody did to something.
#[derive(Debug)]
pub struct Act {
    subject: &'static str,
    subject_id: i64,
    verb: &'static str,
    details: Map<String, Value>,
}

impl Act {
    /// `Act::on("employee", 7, "delete")`, which is recorded as `employee.delete`.
    pub fn on(subject: &'static str, subject_id: i64, verb: &'static str) -> Self {
        Self { subject, subject_id, verb, details: Map::new() }
    }

    /// A word about it. Never a secret, and nothing that identifies a person: ids do that.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }
}

/// Writes down what was done: who, what, on whom, when, from where, in which request.
pub(super) async fn record(tx: &mut TenantTx, acts: Vec<Act>) -> Result<(), Error> {
    let (account_id, now, actor) = (tx.account_id(), tx.now(), tx.actor().to_string());
    let request = context::current();
    let request_id = request.as_ref().map(|request| request.id().to_owned());
    let network = request.and_then(|request| request.client()).map(network::shown);
    let actions: Vec<_> = acts.iter().map(|act| format!("{}.{}", act.subject, act.verb)).collect();
    let subjects: Vec<_> = acts.iter().map(|act| act.subject).collect();
    let subject_ids: Vec<_> = acts.iter().map(|act| act.subject_id).collect();
    let details: Vec<_> = acts.into_iter().map(|act| Value::Object(act.details)).collect();
    let query = sqlx::query(sql!(
        "INSERT INTO audit_events
             (account_id, time, actor, network, request_id, action, subject, subject_id, details)
         SELECT $1, $2, $3, $4, $5, act.* FROM unnest($6::text[], $7::text[], $8::bigint[], $9::jsonb[])
             AS act (action, subject, subject_id, details)
         RETURNING id"
    ))
    .bind(account_id)
    .bind(now)
    .bind(actor)
    .bind(network.unwrap_or_default())
    .bind(request_id.unwrap_or_default())
    .bind(actions)
    .bind(subjects)
    .bind(subject_ids)
    .bind(details);
    tx.execute(query).await?;
    Ok(())
}
