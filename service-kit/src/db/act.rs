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
    /// The call that asked for it, where another one does it.
    origin: Option<Origin>,
}

/// Which call something was asked for by, and from where.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub network: String,
    pub request_id: String,
}

impl Origin {
    /// The call that is being served; nothing in a task of the service's own.
    pub fn current() -> Self {
        let Some(request) = context::current() else { return Self::default() };
        Self {
            network: request.client().map(network::shown).unwrap_or_default(),
            request_id: request.id().to_owned(),
        }
    }
}

impl Act {
    /// `Act::on("employee", 7, "delete")`, which is recorded as `employee.delete`.
    pub fn on(subject: &'static str, subject_id: i64, verb: &'static str) -> Self {
        Self { subject, subject_id, verb, details: Map::new(), origin: None }
    }

    /// A word about it. Never a secret, and nothing of ours that identifies a person: ids do
    /// that. What somebody gave as their reason is in their words.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// What is done about a call that was answered before.
    #[must_use]
    pub fn asked_by(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }
}

/// Writes down what was done: who, what, on whom, when, from where, in which request.
pub(super) async fn record(tx: &mut TenantTx, acts: Vec<Act>) -> Result<(), Error> {
    let (account_id, now, actor) = (tx.account_id(), tx.now(), tx.actor().to_string());
    let (mut networks, mut request_ids) = (Vec::new(), Vec::new());
    let (mut actions, mut subjects) = (Vec::new(), Vec::new());
    let (mut subject_ids, mut details) = (Vec::new(), Vec::new());
    for act in acts {
        let Origin { network, request_id } = act.origin.unwrap_or_else(Origin::current);
        networks.push(network);
        request_ids.push(request_id);
        actions.push(format!("{}.{}", act.subject, act.verb));
        subjects.push(act.subject);
        subject_ids.push(act.subject_id);
        details.push(Value::Object(act.details));
    }
    let query = sqlx::query(sql!(
        "INSERT INTO audit_events
             (account_id, time, actor, network, request_id, action, subject, subject_id, details)
         SELECT $1, $2, $3, act.*
         FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::jsonb[])
             AS act (network, request_id, action, subject, subject_id, details)
         RETURNING id"
    ))
    .bind(account_id)
    .bind(now)
    .bind(actor)
    .bind(networks)
    .bind(request_ids)
    .bind(actions)
    .bind(subjects)
    .bind(subject_ids)
    .bind(details);
    tx.execute(query).await?;
    Ok(())
}
