//! Who reads the records, and by what they are found.

use proto::{
    common::v1::{Permission, Role},
    identity::v1::{self as pb, actor::Kind},
};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Status};

use crate::support::{Identity, Person, signed, someone};

async fn listed(
    identity: &Identity,
    by: &Person,
    request: pb::ListAuditEventsRequest,
) -> Result<pb::ListAuditEventsResponse, Status> {
    let answer = identity.audit().list_audit_events(signed(by, request)).await?;
    Ok(answer.into_inner())
}

fn actions(answer: &pb::ListAuditEventsResponse) -> Vec<&str> {
    answer.audit_events.iter().map(|event| event.action.as_str()).collect()
}

#[tokio::test]
async fn records_are_listed_newest_first_and_by_whatever_is_asked_for() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    identity.set_name(&bob, "Bob").await;
    let carla = identity.hire(&ana, someone("carla", Role::Employee)).await;
    identity.delete(&ana, carla.id).await.unwrap();
    let list = async |request| listed(&identity, &ana, request).await.unwrap();
    let any = pb::ListAuditEventsRequest::default;

    let all = list(pb::ListAuditEventsRequest { include_total: true, ..any() }).await;
    let in_order = [
        "employee.delete",
        "employee.create",
        "employee.update",
        "employee.log_in",
        "employee.create",
        "account.sign_up",
    ];
    assert_eq!(actions(&all), in_order);
    assert_eq!(all.total_size, Some(6));
    let deleted = &all.audit_events[0];
    assert_eq!(deleted.actor.unwrap().kind, Some(Kind::EmployeeId(ana.id)));
    assert_eq!((deleted.subject.as_str(), deleted.subject_id), ("employee", carla.id));
    assert_eq!(deleted.network, "127.0.0.0/24");
    assert!(!deleted.request_id.is_empty());
    assert_eq!(all.audit_events[3].actor, None, "nobody was signed in yet");

    let by_bob = pb::ListAuditEventsRequest { actor_employee_id: bob.id, ..any() };
    assert_eq!(actions(&list(by_bob).await), ["employee.update"]);
    let created = pb::ListAuditEventsRequest {
        action: "employee.create".into(),
        include_total: true,
        ..any()
    };
    let created = list(created).await;
    assert_eq!((created.audit_events.len(), created.total_size), (2, Some(2)));
    let of_carla =
        pb::ListAuditEventsRequest { subject: "employee".into(), subject_id: carla.id, ..any() };
    assert_eq!(actions(&list(of_carla).await), ["employee.delete", "employee.create"]);
    let time = all.audit_events[2].time;
    let since = pb::ListAuditEventsRequest { from_time: time, ..any() };
    assert_eq!(actions(&list(since).await), in_order[..3]);
    let until = pb::ListAuditEventsRequest { until_time: time, ..any() };
    assert_eq!(actions(&list(until).await), in_order[3..]);

    let oldest_first =
        pb::ListAuditEventsRequest { order_by: "time".into(), page_size: 4, ..any() };
    let first = list(oldest_first.clone()).await;
    let page_token = first.next_page_token.clone();
    let second = list(pb::ListAuditEventsRequest { page_token, ..oldest_first }).await;
    let mut pages = [actions(&first), actions(&second)].concat();
    pages.reverse();
    assert_eq!(pages, in_order);
    assert!(second.next_page_token.is_empty());

    let bad = pb::ListAuditEventsRequest {
        actor_employee_id: 1,
        actor_api_key_id: 1,
        subject_id: 7,
        order_by: "action".into(),
        page_size: -1,
        ..any()
    };
    let refused = refusal(listed(&identity, &ana, bad).await);
    let fields = ["actor_api_key_id", "subject_id", "order_by", "page_size"];
    assert_eq!(refused.fields, fields);
}

#[tokio::test]
async fn records_are_for_those_who_may_view_them() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let admin = identity.add(&ana, "admin", Role::Admin).await;
    let refused = refusal(listed(&identity, &admin, pb::ListAuditEventsRequest::default()).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    assert_eq!(refused.metadata, [("permission".to_owned(), "view_audit".to_owned())]);
    identity.grant(&ana, admin.id, &[Permission::ViewAudit]).await.unwrap();
    let seen = listed(&identity, &admin, pb::ListAuditEventsRequest::default()).await.unwrap();
    assert_eq!(seen.audit_events[0].action, "employee.update_permissions");
    let details = format!("{:?}", seen.audit_events[0].details);
    assert!(details.contains("view_audit"), "{details}");

    // And never of another account.
    let other = identity.sign_up("other").await;
    let seen = listed(&identity, &other, pb::ListAuditEventsRequest::default()).await.unwrap();
    assert_eq!(actions(&seen), ["account.sign_up"]);
}
