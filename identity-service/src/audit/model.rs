//! How does something that was done look on the wire?

use proto::identity::v1::{self as pb, actor};
use service_kit::{
    audit::{Asked, Event},
    caller::Actor,
    clock, json,
};

pub fn shown(event: Event) -> pb::AuditEvent {
    pb::AuditEvent {
        id: event.id,
        time: Some(clock::timestamp(event.time)),
        actor: event.actor().and_then(actor_shown),
        action: event.action,
        subject: event.subject,
        subject_id: event.subject_id,
        network: event.network,
        request_id: event.request_id,
        details: json::to_struct(event.details),
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

/// Which events a request is about.
pub fn asked(request: &pb::ListAuditEventsRequest) -> Asked<'_> {
    Asked {
        actor_employee_id: request.actor_employee_id,
        actor_api_key_id: request.actor_api_key_id,
        action: &request.action,
        subject: &request.subject,
        subject_id: request.subject_id,
        from_time: request.from_time,
        until_time: request.until_time,
    }
}
