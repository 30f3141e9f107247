//! Finding the people of an account, and what colleagues see of them.

use crate::employees::employee;
use crate::support::{Identity, Person, numbers, signed, someone};
use proto::{
    common::v1::{
        Permission::{ManageEmployees, ViewPayments},
        Role,
    },
    identity::v1::{self as pb, EmployeeStatus},
};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Status};

async fn list(
    identity: &Identity,
    by: &Person,
    request: pb::ListEmployeesRequest,
) -> Result<pb::ListEmployeesResponse, Status> {
    Ok(identity.employees().list_employees(signed(by, request)).await?.into_inner())
}

fn names(answer: &pb::ListEmployeesResponse) -> Vec<&str> {
    answer.employees.iter().map(|employee| employee.name.as_str()).collect()
}

/// Ana, the super admin, and four whom she hired in this order.
async fn company(identity: &Identity) -> Person {
    let ana = identity.sign_up("ana").await;
    for (email, name, first_name, role, is_active) in [
        ("jo", "Åse Ångström", "Åse", Role::Employee, true),
        ("bert.van-dijk", "bert", "", Role::Admin, true),
        ("zoe", "Zoë", "Zoë Maria", Role::Employee, false),
        ("chris", "Chris", "", Role::Employee, true),
    ] {
        let hired = pb::Employee {
            name: name.into(),
            first_name: first_name.into(),
            is_active: Some(is_active),
            ..someone(email, role)
        };
        identity.hire(&ana, hired).await;
    }
    let other = identity.sign_up("other").await;
    identity.hire(&other, someone("chris.other", Role::Employee)).await;
    ana
}

/// Security checklist 51.
#[tokio::test]
async fn people_are_found_by_role_state_and_the_beginnings_of_words() {
    let identity = Identity::start().await;
    let ana = company(&identity).await;
    let find = async |request: pb::ListEmployeesRequest| {
        let request =
            pb::ListEmployeesRequest { order_by: "name".into(), include_total: true, ..request };
        let found = list(&identity, &ana, request).await.unwrap();
        assert_eq!(found.total_size, i64::try_from(found.employees.len()).ok());
        names(&found).join(", ")
    };
    let any = pb::ListEmployeesRequest::default;
    let by_role =
        async |role: Role| find(pb::ListEmployeesRequest { role: role.into(), ..any() }).await;
    assert_eq!(by_role(Role::SuperAdmin).await, "ana");
    assert_eq!(by_role(Role::Admin).await, "bert");
    assert_eq!(by_role(Role::Employee).await, "Åse Ångström, Chris, Zoë");
    let by_status = async |status: EmployeeStatus| {
        find(pb::ListEmployeesRequest { status: status.into(), ..any() }).await
    };
    assert_eq!(by_status(EmployeeStatus::Inactive).await, "Zoë");
    assert_eq!(by_status(EmployeeStatus::Active).await, "ana, Åse Ångström, bert, Chris");
    let search = async |search: &str| {
        find(pb::ListEmployeesRequest { search: search.into(), ..any() }).await
    };
    for (text, found) in [
        ("angs", "Åse Ångström"),
        ("ÅSE ång", "Åse Ångström"),
        ("zoe mar", "Zoë"),
        ("MARIA", "Zoë"),
        ("dijk", "bert"),
        ("bert.van", "bert"),
        ("chris@example.com", "Chris"),
        ("example", "ana, Åse Ångström, bert, Chris, Zoë"),
        ("ngstrom", ""),
        ("zoe ana", ""),
        ("%", ""),
        ("_", ""),
    ] {
        assert_eq!(search(text).await, found, "{text}");
    }
    let active = EmployeeStatus::Active.into();
    let both = pb::ListEmployeesRequest {
        status: active,
        role: Role::Employee.into(),
        search: "chr".into(),
        ..any()
    };
    assert_eq!(find(both).await, "Chris");

    // Somebody renamed is found by the new name only, and somebody deleted by none.
    let bert = list(&identity, &ana, pb::ListEmployeesRequest { search: "bert".into(), ..any() });
    let bert = bert.await.unwrap().employees[0].id;
    let renamed = pb::Employee { name: "Robert".into(), ..employee(bert) };
    identity.update(&ana, renamed, &[]).await.unwrap();
    assert_eq!(search("robert").await, "Robert");
    identity.delete(&ana, bert).await.unwrap();
    assert_eq!(search("robert").await, "");
}

/// Security checklist 51.
#[tokio::test]
async fn people_are_listed_by_name_or_age_page_by_page() {
    let identity = Identity::start().await;
    let ana = company(&identity).await;
    let ask = |order_by: &str| pb::ListEmployeesRequest {
        order_by: order_by.into(),
        ..Default::default()
    };
    let by_name = ["ana", "Åse Ångström", "bert", "Chris", "Zoë"];
    let by_age = ["ana", "Åse Ångström", "bert", "Zoë", "Chris"];
    for (order_by, expected) in [("name", by_name), ("create_time", by_age)] {
        let up = list(&identity, &ana, ask(order_by)).await.unwrap();
        assert_eq!(names(&up), expected);
        assert_eq!((up.total_size, up.next_page_token.as_str()), (None, ""));
        let mut down = expected;
        down.reverse();
        let order_by = format!("{order_by} desc");
        let mut paged = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListEmployeesRequest { page_size: 2, page_token, ..ask(&order_by) };
            let page = list(&identity, &ana, request).await.unwrap();
            paged.extend(page.employees.into_iter().map(|employee| employee.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, down);
    }
    let newest_first = list(&identity, &ana, ask("")).await.unwrap();
    assert_eq!(newest_first.employees[0].name, "Chris");
    let skipped = pb::ListEmployeesRequest { skip: 3, include_total: true, ..ask("name") };
    let skipped = list(&identity, &ana, skipped).await.unwrap();
    assert_eq!((names(&skipped), skipped.total_size), (vec!["Chris", "Zoë"], Some(5)));

    let first = pb::ListEmployeesRequest { page_size: 1, ..ask("name") };
    let page_token = list(&identity, &ana, first).await.unwrap().next_page_token;
    let elsewhere = [
        pb::ListEmployeesRequest { page_token: page_token.clone(), ..ask("name desc") },
        pb::ListEmployeesRequest { page_token, search: "a".into(), ..ask("name") },
    ];
    for request in elsewhere {
        let refused = refusal(list(&identity, &ana, request).await);
        assert_eq!(
            (refused.code, refused.fields),
            (Code::InvalidArgument, vec!["page_token".to_owned()])
        );
    }
    let bad = pb::ListEmployeesRequest {
        page_size: -1,
        skip: 10_001,
        order_by: "password_hash".into(),
        role: 9,
        status: 9,
        system_role: 9,
        search: "a b c d e f g h i".into(),
        ..Default::default()
    };
    let refused = refusal(list(&identity, &ana, bad).await);
    let fields = ["role", "status", "system_role", "search", "order_by", "page_size", "skip"];
    assert_eq!(refused.fields, fields);
}

/// Security checklist 43.
#[tokio::test]
async fn a_batch_has_everyone_once_and_nobody_who_is_unknown() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.hire(&ana, someone("bob", Role::Employee)).await;
    let gone = identity.hire(&ana, someone("gone", Role::Employee)).await.id;
    identity.delete(&ana, gone).await.unwrap();
    let other = identity.sign_up("other").await;
    let get = async |ids: Vec<i64>| {
        let request = signed(&ana, pb::BatchGetEmployeesRequest { ids });
        Ok::<_, Status>(identity.employees().batch_get_employees(request).await?.into_inner())
    };
    let found = get(vec![bob.id, ana.id, bob.id, gone, other.id, 999_999]).await.unwrap();
    let me = identity.me(&ana.token).await.unwrap();
    assert_eq!(found.employees, [me, bob]);
    assert_eq!(get((1..=500).collect()).await.unwrap().employees.len(), 2);
    let refused = refusal(get((1..=501).collect()).await);
    assert_eq!(
        (refused.reason.as_str(), refused.fields),
        ("INVALID_FIELDS", vec!["ids".to_owned()])
    );
    let refused = refusal(get(vec![1, 0, -1]).await);
    assert_eq!(
        (refused.reason.as_str(), refused.fields),
        ("INVALID_FIELDS", vec!["ids[1]".to_owned(), "ids[2]".to_owned()])
    );
    let refused = refusal(get(vec![]).await);
    assert_eq!(
        (refused.reason.as_str(), refused.fields),
        ("MISSING_FIELDS", vec!["ids".to_owned()])
    );
}

/// Security checklist 39.
#[tokio::test]
async fn colleagues_do_not_see_what_only_managers_need() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let carla = identity.add(&ana, "carla", Role::Employee).await;
    let called = pb::Employee { phone_number: "+31 6 1234".into(), ..employee(bob.id) };
    identity.update(&ana, called, &[]).await.unwrap();
    identity.grant(&ana, bob.id, &[ViewPayments]).await.unwrap();
    let whole = identity.seen(&ana, bob.id).await.unwrap();
    assert_eq!(whole.phone_number, "+31 6 1234");
    assert_eq!(whole.permissions, numbers(&[ViewPayments]));
    assert_eq!(whole.effective_permissions, numbers(&[ViewPayments]));
    assert!(whole.password_change_advised);

    let part = pb::Employee {
        phone_number: String::new(),
        permissions: vec![],
        effective_permissions: vec![],
        password_change_advised: false,
        ..whole.clone()
    };
    assert_eq!(identity.seen(&carla, bob.id).await.unwrap(), part);
    let listed = list(&identity, &carla, pb::ListEmployeesRequest::default()).await.unwrap();
    assert!(listed.employees.contains(&part));
    let request = signed(&carla, pb::BatchGetEmployeesRequest { ids: vec![bob.id] });
    let batch = identity.employees().batch_get_employees(request).await.unwrap().into_inner();
    assert_eq!(batch.employees, std::slice::from_ref(&part));
    let key = identity.api_key(&ana, &[]).await;
    assert_eq!(identity.seen(&Person { token: key, ..ana.clone() }, bob.id).await.unwrap(), part);

    assert_eq!(identity.seen(&bob, bob.id).await.unwrap(), whole);
    assert_eq!(identity.me(&bob.token).await.unwrap(), whole);
    identity.grant(&ana, carla.id, &[ManageEmployees]).await.unwrap();
    assert_eq!(identity.seen(&carla, bob.id).await.unwrap(), whole);
}
