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

    /// A word about it. Never a secret, and nothing that identifies a person: ids do that.
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

/// Writes an act down: who, what, on whom, when, from where, in which request.
pub(super) async fn record(tx: &mut TenantTx, act: Act) -> Result<(), Error> {
    let (account_id, now, actor) = (tx.account_id(), tx.now(), tx.actor().to_string());
    let Origin { network, request_id } = act.origin.unwrap_or_else(Origin::current);
    let query = sqlx::query(sql!(
        "INSERT INTO audit_events
             (account_id, time, actor, action, subject, subject_id, network, request_id, details)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    ))
    .bind(account_id)
    .bind(now)
    .bind(actor)
    .bind(format!("{}.{}", act.subject, act.verb))
    .bind(act.subject)
    .bind(act.subject_id)
    .bind(network)
    .bind(request_id)
    .bind(Value::Object(act.details));
    tx.execute(query).await?;
    Ok(())
}
