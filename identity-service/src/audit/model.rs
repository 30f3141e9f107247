//! What is known of something that was done?

use chrono::{DateTime, Utc};
use proto::identity::v1::{self as pb, actor};
use serde_json::Value;
use service_kit::{
    caller::Actor,
    clock,
    fields::{Fields, Flaw, Text},
    json,
    page::{KeyOf, Order},
};

/// Something that was done.
#[derive(Debug, sqlx::FromRow)]
pub struct Event {
    pub id: i64,
    pub time: DateTime<Utc>,
    actor: String,
    action: String,
    subject: String,
    subject_id: i64,
    network: String,
    request_id: String,
    details: Value,
}

impl From<Event> for pb::AuditEvent {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            time: Some(clock::timestamp(event.time)),
            actor: Actor::from_text(&event.actor).and_then(actor_shown),
            action: event.action,
            subject: event.subject,
            subject_id: event.subject_id,
            network: event.network,
            request_id: event.request_id,
            details: json::to_struct(event.details),
        }
    }
}

/// An actor on the wire; nobody where the service acted by itself.
pub fn actor_shown(actor: Actor) -> Option<pb::Actor> {
    let kind = match actor {
        Actor::Employee(id) => actor::Kind::EmployeeId(id),
        Actor::ApiKey(id) => actor::Kind::ApiKeyId(id),
        Actor::System(_) => return None,
    };
    Some(pb::Actor { kind: Some(kind) })
}

/// Which events a list is of.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub actor: Option<String>,
    pub action: Option<String>,
    pub subject: Option<String>,
    pub subject_id: Option<i64>,
    pub from_time: Option<DateTime<Utc>>,
    pub until_time: Option<DateTime<Utc>>,
}

impl Filter {
    pub fn parse(fields: &mut Fields, request: &pb::ListAuditEventsRequest) -> Option<Self> {
        let actor = fields.take("actor_api_key_id", parse_actor(request));
        let action = fields.take("action", optional_word(&request.action));
        let subject = fields.take("subject", optional_word(&request.subject));
        let subject_id = fields.take("subject_id", parse_subject_id(request));
        let from_time = fields.take("from_time", clock::parse_optional(request.from_time));
        let until_time = fields.take("until_time", clock::parse_optional(request.until_time));
        Some(Self {
            actor: actor?,
            action: action?,
            subject: subject?,
            subject_id: subject_id?,
            from_time: from_time?,
            until_time: until_time?,
        })
    }
}

fn parse_actor(request: &pb::ListAuditEventsRequest) -> Result<Option<String>, Flaw> {
    let actor = match (request.actor_employee_id, request.actor_api_key_id) {
        (0, 0) => return Ok(None),
        (employee, 0) => Actor::Employee(employee),
        (0, api_key) => Actor::ApiKey(api_key),
        _ => return Err(Flaw::bad("must not be given beside actor_employee_id")),
    };
    Ok(Some(actor.to_string()))
}

fn parse_subject_id(request: &pb::ListAuditEventsRequest) -> Result<Option<i64>, Flaw> {
    match request.subject_id {
        0 => Ok(None),
        _ if request.subject.is_empty() => Err(Flaw::bad("needs a subject beside it")),
        id => Ok(Some(id)),
    }
}

fn optional_word(text: &str) -> Result<Option<String>, Flaw> {
    let word = Text::<100>::parse(text)?.into_string();
    Ok((!word.is_empty()).then_some(word))
}

/// The orders that a list can be asked for.
pub const ORDERS: &[Order<Event>] =
    &[Order { name: "time", column: "time", key: KeyOf::Instant(|event| event.time) }];
pub const DEFAULT_ORDER: &str = "time desc";
