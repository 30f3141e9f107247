//! Who reads the records, and by what they are found.

use proto::{
    common::v1::{Permission, Role},
    crm::v1::{self as pb, actor::Kind},
};
use service_kit::{access::permission_name, testing::refusal::refusal};
use tonic::Code;

use crate::{
    audit::{OF_A_CLIENT, actions, any, list, me, through_everything},
    support::{Crm, Person, named},
};

/// In the list, whatever they name of another account is nothing.
pub const OMITTED: &[(&str, &str)] = &[
    ("/crm.v1.AuditService/ListAuditEvents", "actor_api_key_id"),
    ("/crm.v1.AuditService/ListAuditEvents", "actor_employee_id"),
    ("/crm.v1.AuditService/ListAuditEvents", "subject_id"),
];

/// Grants a permission beyond the role.
async fn grant(crm: &Crm, person: &Person, permission: Permission) {
    let (id, permission) = (me(crm, person).await.id, permission_name(permission));
    let grant =
        format!("UPDATE identity.employees SET permissions = '{{{permission}}}' WHERE id = {id}");
    crm.identity.database.execute(&grant).await;
}

#[tokio::test]
async fn records_are_listed_newest_first_and_by_whatever_is_asked_for() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let partner = crm.add(&ana, "partner", Role::Admin).await;
    let first = through_everything(&crm, &ana).await;
    let second = through_everything(&crm, &partner).await;
    crm.database
        .execute(
            "INSERT INTO crm.audit_events
                 (account_id, time, actor, action, subject, subject_id, network, request_id, details)
             SELECT id, '2020-01-01', unnest('{api_key:3, system:stripe}'::text[]),
                 'payment.create', 'payment', 9, '', '', '{}' FROM crm.accounts",
        )
        .await;
    let list = async |request| list(&crm, &ana, request).await.unwrap();

    let all = list(pb::ListAuditEventsRequest { include_total: true, ..any() }).await;
    let in_order = [&OF_A_CLIENT[..], &OF_A_CLIENT, &["payment.create"; 2]].concat();
    assert_eq!((actions(&all), all.total_size), (in_order.clone(), Some(10)));
    let actors: Vec<_> = all.audit_events.iter().map(|event| event.actor).collect();
    assert!(actors.contains(&Some(pb::Actor { kind: Some(Kind::ApiKeyId(3)) })));
    assert_eq!(actors.iter().filter(|actor| actor.is_none()).count(), 1, "the service itself");

    let by_partner = me(&crm, &partner).await.id;
    let by_partner = pb::ListAuditEventsRequest { actor_employee_id: by_partner, ..any() };
    let by_partner = list(by_partner).await;
    assert_eq!(actions(&by_partner), OF_A_CLIENT);
    assert!(by_partner.audit_events.iter().all(|event| event.subject_id == second));
    let by_key = pb::ListAuditEventsRequest { actor_api_key_id: 3, ..any() };
    assert_eq!(actions(&list(by_key).await), ["payment.create"]);
    let deleted =
        pb::ListAuditEventsRequest { action: "client.delete".into(), include_total: true, ..any() };
    let deleted = list(deleted).await;
    assert_eq!((deleted.audit_events.len(), deleted.total_size), (2, Some(2)));
    let of_first =
        pb::ListAuditEventsRequest { subject: "client".into(), subject_id: first, ..any() };
    assert_eq!(list(of_first).await.audit_events, all.audit_events[4..8]);
    let time = all.audit_events[5].time;
    let since = pb::ListAuditEventsRequest { from_time: time, ..any() };
    assert_eq!(actions(&list(since).await), in_order[..6]);
    let until = pb::ListAuditEventsRequest { until_time: time, ..any() };
    assert_eq!(actions(&list(until).await), in_order[6..]);

    let bad = pb::ListAuditEventsRequest {
        actor_employee_id: 1,
        actor_api_key_id: 1,
        subject_id: 7,
        order_by: "action".into(),
        page_size: -1,
        ..any()
    };
    let refused = refusal(self::list(&crm, &ana, bad).await);
    assert_eq!(refused.fields, ["actor_api_key_id", "subject_id", "order_by", "page_size"]);
}

#[tokio::test]
async fn pages_of_records_show_each_once() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    for _ in 0..3 {
        through_everything(&crm, &ana).await;
    }
    // At one instant, so that ties must go by id.
    crm.database.execute("UPDATE crm.audit_events SET time = '2025-01-01' WHERE id % 3 > 0").await;
    for order_by in ["time", "time desc"] {
        let ask = |page_token: &str, page_size| pb::ListAuditEventsRequest {
            order_by: order_by.into(),
            page_token: page_token.into(),
            page_size,
            ..any()
        };
        let whole = list(&crm, &ana, ask("", 100)).await.unwrap();
        assert_eq!((whole.audit_events.len(), whole.next_page_token.as_str()), (12, ""));
        let (mut paged, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = list(&crm, &ana, ask(&page_token, 5)).await.unwrap();
            paged.extend(page.audit_events);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, whole.audit_events, "{order_by}");
    }
}

#[tokio::test]
async fn records_are_for_those_who_may_view_them() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let admin = crm.add(&ana, "admin", Role::Admin).await;
    let employee = crm.add(&ana, "employee", Role::Employee).await;
    crm.create(&ana, named("Ada", "")).await;
    for person in [&admin, &employee] {
        let refused = refusal(list(&crm, person, any()).await);
        assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
        assert_eq!(refused.metadata, [("permission".to_owned(), "view_audit".to_owned())]);
        grant(&crm, person, Permission::ViewAudit).await;
        assert_eq!(actions(&list(&crm, person, any()).await.unwrap()), ["client.create"]);
    }

    // And never of another account.
    let other = crm.sign_up("other").await;
    assert_eq!(list(&crm, &other, any()).await.unwrap().audit_events, []);
    let hers = me(&crm, &ana).await.id;
    for request in [
        pb::ListAuditEventsRequest { actor_employee_id: hers, include_total: true, ..any() },
        pb::ListAuditEventsRequest { subject: "client".into(), include_total: true, ..any() },
    ] {
        let seen = list(&crm, &other, request).await.unwrap();
        assert_eq!((seen.audit_events.len(), seen.total_size), (0, Some(0)));
    }
}
