//! The people of an account: adding, finding, changing and deleting them, and who may.

use proto::{
    common::v1::{
        ErrorReason,
        Permission::{self, ManageApiKeys, ManageEmployees, ViewAllClients, ViewPayments},
        Role,
    },
    identity::v1::{self as pb, EmployeeStatus},
};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Status};

use crate::support::{
    Identity, PASSWORD, Person, create_employee, login, mask, numbers, signed, someone,
};

const REQUEST_ID: &str = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f";

#[tokio::test]
async fn a_new_employee_can_log_in_at_once_and_is_advised_to_change_the_password() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut request = create_employee("bob", Role::Admin);
    let asked = request.employee.as_mut().unwrap();
    asked.first_name = "Bob".into();
    asked.job_role = "Coach".into();
    asked.phone_number = "+31 6 1234".into();
    // Output only: whatever somebody sends here changes nothing.
    asked.id = 999;
    asked.account_id = 999;
    asked.is_superuser = true;
    let made =
        identity.employees().create_employee(signed(&ana, request)).await.unwrap().into_inner();
    let made = made.employee.unwrap();
    assert_eq!(made.account_id, ana.account_id);
    assert_ne!(made.id, 999);
    assert_eq!(
        (made.name.as_str(), made.first_name.as_str(), made.job_role.as_str()),
        ("bob", "Bob", "Coach")
    );
    assert!(made.password_change_advised && made.is_staff && !made.is_superuser);

    let bob = identity.auth().login(login("bob@example.com", PASSWORD)).await.unwrap().into_inner();
    assert_eq!(bob.employee.unwrap(), made);
}

#[tokio::test]
async fn without_a_password_nobody_can_log_in() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let request = pb::CreateEmployeeRequest {
        password: String::new(),
        ..create_employee("bob", Role::Employee)
    };
    let made =
        identity.employees().create_employee(signed(&ana, request)).await.unwrap().into_inner();
    assert!(!made.employee.unwrap().password_change_advised);
    refusal(identity.auth().login(login("bob@example.com", "")).await);
}

#[tokio::test]
async fn an_inactive_one_cannot_log_in() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut request = create_employee("bob", Role::Employee);
    request.employee.as_mut().unwrap().is_active = Some(false);
    identity.employees().create_employee(signed(&ana, request)).await.unwrap();
    let refused = refusal(identity.auth().login(login("bob@example.com", PASSWORD)).await);
    assert_eq!(refused.reason, "INVALID_CREDENTIALS");
}

#[tokio::test]
async fn nobody_gives_a_role_above_their_own_and_employees_none() {
    let identity = Identity::start().await;
    let owner = identity.sign_up("owner").await;
    let admin = identity.add(&owner, "admin", Role::Admin).await;
    let employee = identity.add(&owner, "employee", Role::Employee).await;
    let before = identity.digest().await;
    for (by, role, reason) in [
        (&admin, Role::SuperAdmin, "ROLE_ABOVE_OWN"),
        (&employee, Role::Employee, "PERMISSION_DENIED"),
        (&employee, Role::SuperAdmin, "PERMISSION_DENIED"),
    ] {
        let refused = refusal(
            identity.employees().create_employee(signed(by, create_employee("x", role))).await,
        );
        assert_eq!(refused.said(), (Code::PermissionDenied, reason), "{role:?}");
        if reason == "ROLE_ABOVE_OWN" {
            assert_eq!(refused.metadata, [("role".to_owned(), "super_admin".to_owned())]);
        }
    }
    assert_eq!(identity.digest().await, before);
    let denied = refusal(
        identity
            .employees()
            .create_employee(signed(&employee, create_employee("x", Role::Employee)))
            .await,
    );
    assert_eq!(denied.metadata, [("permission".to_owned(), "manage_employees".to_owned())]);
    identity.add(&admin, "peer", Role::Admin).await;
    identity.add(&owner, "partner", Role::SuperAdmin).await;
}

/// Security checklist 38.
#[tokio::test]
async fn an_address_is_one_persons_in_whatever_account() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.sign_up("bob").await;
    let before = identity.digest().await;
    let refused = refusal(
        identity
            .employees()
            .create_employee(signed(&ana, create_employee("BOB", Role::Employee)))
            .await,
    );
    assert_eq!(refused.said(), (Code::AlreadyExists, "EMAIL_TAKEN"));
    assert!(!format!("{refused:?}").to_lowercase().contains("bob"), "{refused:?}");
    assert_eq!(identity.digest().await, before);
}

#[tokio::test]
async fn a_deleted_person_frees_the_address() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.add(&ana, "bob", Role::Employee).await;
    identity
        .database
        .execute(
            "UPDATE identity.employees SET delete_time = now() WHERE email = 'bob@example.com'",
        )
        .await;
    identity.add(&ana, "bob", Role::Employee).await;
}

#[tokio::test]
async fn repeated_with_the_same_request_id_it_is_one_employee() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let request = pb::CreateEmployeeRequest {
        request_id: "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f".into(),
        ..create_employee("bob", Role::Employee)
    };
    let first = identity
        .employees()
        .create_employee(signed(&ana, request.clone()))
        .await
        .unwrap()
        .into_inner();
    let again = identity
        .employees()
        .create_employee(signed(&ana, request.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first);
    let other = pb::CreateEmployeeRequest { password: "another password".into(), ..request };
    let refused = refusal(identity.employees().create_employee(signed(&ana, other)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn everything_wrong_is_named_at_once_and_nothing_is_written() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let before = identity.digest().await;
    let request = pb::CreateEmployeeRequest {
        employee: Some(pb::Employee {
            email: "bob".into(),
            name: "x".repeat(256),
            first_name: "a\tb".into(),
            last_name: "x".repeat(101),
            role: 42,
            job_role: "x".repeat(101),
            phone_number: "x".repeat(33),
            ..Default::default()
        }),
        password: "short".into(),
        request_id: "x".into(),
    };
    let refused = refusal(identity.employees().create_employee(signed(&ana, request)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(
        refused.fields,
        [
            "request_id",
            "employee.email",
            "employee.name",
            "employee.first_name",
            "employee.last_name",
            "employee.role",
            "employee.job_role",
            "employee.phone_number",
            "password",
        ]
    );
    assert_eq!(identity.digest().await, before);
}

fn employee(id: i64) -> pb::Employee {
    pb::Employee { id, ..Default::default() }
}

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

/// Security checklist 42.
#[tokio::test]
async fn an_update_takes_what_is_there_or_what_the_mask_names() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let hired = pb::Employee { phone_number: "1".into(), ..someone("bob", Role::Employee) };
    let bob = identity.hire(&ana, hired).await;
    let named = pb::Employee { first_name: "Bob".into(), ..employee(bob.id) };
    let after = identity.update(&ana, named, &[]).await.unwrap();
    assert_eq!((after.first_name.as_str(), after.phone_number.as_str()), ("Bob", "1"));
    assert_ne!(after.etag, bob.etag);

    let masked = pb::Employee {
        name: "ignored".into(),
        email: "ignored@example.com".into(),
        job_role: "Coach".into(),
        ..employee(bob.id)
    };
    let after = identity.update(&ana, masked, &["job_role", "phone_number"]).await.unwrap();
    let told = (after.name.as_str(), after.job_role.as_str(), after.phone_number.as_str());
    assert_eq!(told, ("bob", "Coach", ""));
    assert_eq!(after.email, "bob@example.com");

    let before = identity.digest().await;
    for path in ["*", "id", "email", "account_id", "etag", "permissions", "is_superuser", "Name"] {
        let refused = refusal(identity.update(&ana, after.clone(), &["name", path]).await);
        assert_eq!(
            (refused.code, refused.fields),
            (Code::InvalidArgument, vec!["update_mask".to_owned()]),
            "{path}"
        );
    }
    for path in ["name", "role", "is_active"] {
        let refused = refusal(identity.update(&ana, employee(bob.id), &[path]).await);
        assert_eq!(
            (refused.reason.as_str(), refused.fields),
            ("MISSING_FIELDS", vec![format!("employee.{path}")])
        );
    }
    let refused = refusal(identity.update(&ana, employee(999_999), &["phone_number"]).await);
    assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
    assert_eq!(identity.digest().await, before);
}

/// Security checklist 42.
#[tokio::test]
async fn an_update_ignores_what_cannot_change_unless_it_is_changed() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let whole = identity.seen(&bob, bob.id).await.unwrap();
    // All of it comes back, as programs do it, with one thing changed.
    let renamed = pb::Employee { name: "Bobby".into(), ..whole.clone() };
    assert_eq!(identity.update(&bob, renamed, &[]).await.unwrap().name, "Bobby");
    let shouted = pb::Employee { email: "BOB@example.com".into(), ..employee(bob.id) };
    let same = identity.update(&ana, shouted, &[]).await.unwrap();
    assert_eq!(same.email, "bob@example.com", "the same address, written in another way");
    let before = identity.digest().await;
    let moved = pb::Employee { email: "bobby@example.com".into(), ..employee(bob.id) };
    let refused = refusal(identity.update(&ana, moved, &[]).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(refused.fields, ["employee.email"]);
    let name = "x".repeat(256);
    let both = pb::Employee { name, email: "bobby@example.com".into(), ..employee(bob.id) };
    let refused = refusal(identity.update(&ana, both, &[]).await);
    assert_eq!(refused.fields, ["employee.name", "employee.email"], "all of it at once");
    let stale = pb::Employee { name: "Late".into(), ..whole };
    let refused = refusal(identity.update(&bob, stale, &["name"]).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
    for refused in [
        {
            let request = pb::DeleteEmployeeRequest {
                id: bob.id,
                etag: "v1".into(),
                request_id: String::new(),
            };
            refusal(identity.employees().delete_employee(signed(&ana, request)).await)
        },
        {
            let request = pb::UpdatePermissionsRequest {
                id: bob.id,
                etag: "v1".into(),
                ..Default::default()
            };
            refusal(identity.employees().update_permissions(signed(&ana, request)).await)
        },
        {
            let request = pb::UndeleteEmployeeRequest {
                id: bob.id,
                etag: "v1".into(),
                request_id: String::new(),
            };
            refusal(identity.employees().undelete_employee(signed(&ana, request)).await)
        },
    ] {
        assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
    }
    assert_eq!(identity.digest().await, before);
}

#[tokio::test]
async fn what_is_sent_again_is_answered_again_and_done_once() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let id = identity.hire(&ana, someone("bob", Role::Employee)).await.id;
    let request_id = || REQUEST_ID.to_owned();
    let mut employees = identity.employees();

    let update = pb::UpdateEmployeeRequest {
        employee: Some(pb::Employee { name: "First".into(), ..employee(id) }),
        request_id: request_id(),
        ..Default::default()
    };
    let first = employees.update_employee(signed(&ana, update.clone())).await.unwrap().into_inner();
    let second = pb::Employee { name: "Second".into(), ..employee(id) };
    identity.update(&ana, second, &[]).await.unwrap();
    let again = employees.update_employee(signed(&ana, update.clone())).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert_eq!(identity.seen(&ana, id).await.unwrap().name, "Second");
    let other = pb::UpdateEmployeeRequest { employee: Some(employee(id)), ..update };
    let refused = refusal(employees.update_employee(signed(&ana, other)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));

    let grant = pb::UpdatePermissionsRequest {
        id,
        permissions: numbers(&[ViewPayments]),
        etag: String::new(),
        request_id: request_id(),
    };
    let first =
        employees.update_permissions(signed(&ana, grant.clone())).await.unwrap().into_inner();
    identity.grant(&ana, id, &[]).await.unwrap();
    let again = employees.update_permissions(signed(&ana, grant)).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert_eq!(identity.seen(&ana, id).await.unwrap().permissions, Vec::<i32>::new());

    let delete = pb::DeleteEmployeeRequest { id, etag: String::new(), request_id: request_id() };
    let first = employees.delete_employee(signed(&ana, delete.clone())).await.unwrap().into_inner();
    let undelete =
        pb::UndeleteEmployeeRequest { id, etag: String::new(), request_id: request_id() };
    let back =
        employees.undelete_employee(signed(&ana, undelete.clone())).await.unwrap().into_inner();
    let again = employees.delete_employee(signed(&ana, delete)).await.unwrap().into_inner();
    assert_eq!(again, first);
    identity.seen(&ana, id).await.unwrap();
    identity.delete(&ana, id).await.unwrap();
    let again = employees.undelete_employee(signed(&ana, undelete)).await.unwrap().into_inner();
    assert_eq!(again, back);
    refusal(identity.seen(&ana, id).await);

    let me = pb::UpdateMeRequest {
        employee: Some(pb::Employee { name: "Me".into(), ..Default::default() }),
        update_mask: None,
        request_id: request_id(),
    };
    let first = identity.auth().update_me(signed(&ana, me.clone())).await.unwrap().into_inner();
    identity.set_name(&ana, "Ana").await;
    let again = identity.auth().update_me(signed(&ana, me)).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert_eq!(identity.me(&ana.token).await.unwrap().name, "Ana");
}

#[tokio::test]
async fn whoever_may_not_do_it_any_more_is_not_answered_again_either() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let admin = identity.add(&ana, "admin", Role::Admin).await;
    let bob = identity.hire(&ana, someone("bob", Role::Employee)).await.id;
    let update = pb::UpdateEmployeeRequest {
        employee: Some(pb::Employee { name: "Bobby".into(), ..employee(bob) }),
        request_id: REQUEST_ID.into(),
        ..Default::default()
    };
    let mut employees = identity.employees();
    employees.update_employee(signed(&admin, update.clone())).await.unwrap();
    identity.set_role(&ana, admin.id, Role::Employee).await.unwrap();
    let refused = refusal(employees.update_employee(signed(&admin, update)).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "ROLE_REQUIRED"));
}

/// Security checklist 6.
#[tokio::test]
async fn a_password_is_not_made_of_the_name_of_the_account() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("anaconda").await;
    let mut request = create_employee("bob", Role::Employee);
    request.password = "anaconda2026".into();
    let refused = refusal(identity.employees().create_employee(signed(&ana, request)).await);
    assert_eq!(refused.fields, ["password"]);
}

/// Security checklist 19.
#[tokio::test]
async fn a_deactivated_person_is_out_at_once_and_comes_back_with_the_same_token() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    identity.set_active(&ana, bob.id, false).await.unwrap();
    let refused = refusal(identity.me(&bob.token).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "EMPLOYEE_INACTIVE"));
    assert_eq!(refused.message, "User inactive or deleted.");
    assert_eq!(identity.not_validated(&bob.token).await, ErrorReason::EmployeeInactive);
    refusal(identity.auth().login(login(&bob.email, PASSWORD)).await);
    assert_eq!(identity.seen(&ana, bob.id).await.unwrap().is_active, Some(false));

    identity.set_active(&ana, bob.id, true).await.unwrap();
    identity.me(&bob.token).await.unwrap();
    assert_eq!(identity.log_in(&bob.email).await.token, bob.token);
    let changes = "SELECT details ->> 'is_active_before', details ->> 'is_active_after'
         FROM identity.audit_events WHERE action = 'employee.update' ORDER BY id";
    let text = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let recorded = identity.rows::<(String, String)>(changes).await;
    assert_eq!(recorded, [text("true", "false"), text("false", "true")]);
}

#[tokio::test]
async fn a_deleted_person_loses_every_credential_and_comes_back_without_any() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let request = pb::IssueTokensRequest {
        email: bob.email.clone(),
        password: PASSWORD.into(),
        device_label: String::new(),
    };
    let access = identity.auth().issue_tokens(request).await.unwrap().into_inner().access_token;
    let deleted = identity.delete(&ana, bob.id).await.unwrap();
    assert!(deleted.delete_time.is_some());
    for token in [&bob.token, &access] {
        let refused = refusal(identity.me(token).await);
        assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_REVOKED"));
        assert_eq!(identity.not_validated(token).await, ErrorReason::TokenRevoked);
    }
    refusal(identity.auth().login(login(&bob.email, PASSWORD)).await);
    for refused in [
        refusal(identity.seen(&ana, bob.id).await),
        refusal(identity.delete(&ana, bob.id).await),
        refusal(identity.set_active(&ana, bob.id, false).await),
        refusal(identity.grant(&ana, bob.id, &[]).await),
    ] {
        assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
    }

    let back = identity.undelete(&ana, bob.id).await.unwrap();
    assert_eq!((back.id, back.delete_time), (bob.id, None));
    for token in [&bob.token, &access] {
        let refused = refusal(identity.me(token).await);
        assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_REVOKED"));
    }
    assert_ne!(identity.log_in(&bob.email).await.token, bob.token);
}

#[tokio::test]
async fn a_deleted_person_frees_the_address_and_comes_back_only_while_it_is_free() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.hire(&ana, someone("bob", Role::Employee)).await.id;
    identity.delete(&ana, bob).await.unwrap();
    let other = identity.sign_up("bob").await;
    let before = identity.digest().await;
    let refused = refusal(identity.undelete(&ana, bob).await);
    assert_eq!(refused.said(), (Code::AlreadyExists, "EMAIL_TAKEN"));
    assert_eq!(identity.digest().await, before);
    let partner = identity.hire(&other, someone("partner", Role::SuperAdmin)).await.id;
    identity.delete(&other, other.id).await.unwrap();
    assert_ne!(partner, other.id);
    identity.undelete(&ana, bob).await.unwrap();
    identity.seen(&ana, bob).await.unwrap();
}

/// Security checklist 31.
#[tokio::test]
async fn people_change_their_profile_and_nothing_of_what_they_may_do() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let update_me = async |by: &Person, employee: pb::Employee, paths: &[&str]| {
        let request = pb::UpdateMeRequest {
            employee: Some(employee),
            update_mask: mask(paths),
            request_id: String::new(),
        };
        let answer = identity.auth().update_me(signed(by, request)).await?;
        Ok::<_, Status>(answer.into_inner().employee.unwrap())
    };
    let profile = pb::Employee {
        name: "Bob".into(),
        first_name: "Robert".into(),
        last_name: "Baker".into(),
        phone_number: "123".into(),
        ..Default::default()
    };
    // The id is that of whoever calls, whatever is sent.
    let after = update_me(&bob, pb::Employee { id: ana.id, ..profile }, &[]).await.unwrap();
    assert_eq!((after.id, after.last_name.as_str()), (bob.id, "Baker"));
    let cleared = update_me(&bob, pb::Employee::default(), &["phone_number"]).await.unwrap();
    assert_eq!((cleared.phone_number.as_str(), cleared.last_name.as_str()), ("", "Baker"));
    // All of it comes back, with one thing changed.
    let renamed = pb::Employee { name: "Rob".into(), ..cleared };
    let whole = update_me(&bob, renamed, &[]).await.unwrap();

    let before = identity.digest().await;
    for path in ["role", "job_role", "is_active", "email", "permissions", "*"] {
        let refused = refusal(update_me(&bob, whole.clone(), &[path]).await);
        assert_eq!(
            (refused.code, refused.fields),
            (Code::InvalidArgument, vec!["update_mask".to_owned()]),
            "{path}"
        );
    }
    let super_admin = Role::SuperAdmin.into();
    for more in [
        pb::Employee { role: super_admin, ..Default::default() },
        pb::Employee { job_role: "Boss".into(), ..Default::default() },
        pb::Employee { is_active: Some(false), ..Default::default() },
    ] {
        let refused = refusal(update_me(&bob, more.clone(), &[]).await);
        assert_eq!(refused.said(), (Code::PermissionDenied, "OWN_AUTHORITY"));
        for (person, more) in [
            (&bob, more.clone()),
            (
                &ana,
                pb::Employee { role: if more.role == 0 { 0 } else { Role::Admin.into() }, ..more },
            ),
        ] {
            let own = pb::Employee { id: person.id, ..more };
            let refused = refusal(identity.update(person, own, &[]).await);
            assert_eq!(refused.said(), (Code::PermissionDenied, "OWN_AUTHORITY"));
        }
    }
    let moved = pb::Employee { email: "rob@example.com".into(), ..Default::default() };
    let refused = refusal(update_me(&bob, moved, &[]).await);
    assert_eq!(
        (refused.code, refused.fields),
        (Code::InvalidArgument, vec!["employee.email".to_owned()])
    );
    let refused = refusal(identity.grant(&ana, ana.id, &[ViewPayments]).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "OWN_AUTHORITY"));
    assert_eq!(identity.digest().await, before);
}

/// Security checklist 30, requirement R19.
#[tokio::test]
async fn admins_manage_employees_and_other_admins_and_no_super_admin() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let admin = identity.add(&ana, "admin", Role::Admin).await;
    let bob = identity.hire(&ana, someone("bob", Role::Employee)).await.id;
    let peer = identity.hire(&ana, someone("peer", Role::Admin)).await.id;
    let partner = identity.hire(&ana, someone("partner", Role::SuperAdmin)).await.id;
    let named = |id| pb::Employee { name: "New".into(), ..employee(id) };
    for id in [bob, peer] {
        identity.update(&admin, named(id), &[]).await.unwrap();
        identity.set_active(&admin, id, false).await.unwrap();
        identity.set_active(&admin, id, true).await.unwrap();
        identity.delete(&admin, id).await.unwrap();
        identity.undelete(&admin, id).await.unwrap();
    }
    let before = identity.digest().await;
    for refused in [
        refusal(identity.update(&admin, named(partner), &[]).await),
        refusal(identity.set_active(&admin, partner, false).await),
        refusal(identity.set_role(&admin, partner, Role::Employee).await),
        refusal(identity.grant(&admin, partner, &[]).await),
        refusal(identity.delete(&admin, partner).await),
        refusal(identity.undelete(&admin, partner).await),
    ] {
        assert_eq!(refused.said(), (Code::PermissionDenied, "RANK_TOO_LOW"));
    }
    for refused in [
        refusal(identity.set_role(&admin, bob, Role::Admin).await),
        refusal(identity.set_role(&admin, peer, Role::Employee).await),
        refusal(identity.grant(&admin, peer, &[ViewPayments]).await),
    ] {
        assert_eq!(refused.said(), (Code::PermissionDenied, "ROLE_REQUIRED"));
        assert_eq!(refused.metadata, [("role".to_owned(), "super_admin".to_owned())]);
    }
    assert_eq!(identity.digest().await, before);
    identity.set_role(&ana, peer, Role::Employee).await.unwrap();
    identity.set_role(&ana, bob, Role::Admin).await.unwrap();
    identity.set_role(&ana, partner, Role::Admin).await.unwrap();
    identity.grant(&ana, partner, &[ManageApiKeys]).await.unwrap();

    // A deleted super admin is one still.
    identity.set_role(&ana, partner, Role::SuperAdmin).await.unwrap();
    identity.delete(&ana, partner).await.unwrap();
    let refused = refusal(identity.undelete(&admin, partner).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "RANK_TOO_LOW"));
}

/// Security checklist 32.
#[tokio::test]
async fn nobody_gives_or_takes_a_permission_that_they_do_not_hold() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let admin = identity.add(&ana, "admin", Role::Admin).await;
    let bob = identity.hire(&ana, someone("bob", Role::Employee)).await.id;
    let both = identity.grant(&admin, bob, &[ViewPayments, ViewAllClients, ViewPayments]).await;
    assert_eq!(both.unwrap().permissions, numbers(&[ViewAllClients, ViewPayments]));
    let refused = refusal(identity.grant(&admin, bob, &[ViewPayments, ManageApiKeys]).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_ABOVE_OWN"));
    assert_eq!(refused.metadata, [("permissions".to_owned(), "manage_api_keys".to_owned())]);
    identity.grant(&ana, bob, &[ManageApiKeys]).await.unwrap();
    let refused = refusal(identity.grant(&admin, bob, &[]).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_ABOVE_OWN"));
    // What stays as it is was not given.
    identity.grant(&admin, bob, &[ManageApiKeys, ViewPayments]).await.unwrap();
    identity.grant(&ana, admin.id, &[ManageApiKeys]).await.unwrap();
    identity.grant(&admin, bob, &[]).await.unwrap();

    for permissions in [vec![0], vec![99], vec![3, -1]] {
        let request = pb::UpdatePermissionsRequest { id: bob, permissions, ..Default::default() };
        let refused = refusal(identity.employees().update_permissions(signed(&ana, request)).await);
        assert_eq!(
            (refused.code, refused.fields),
            (Code::InvalidArgument, vec!["permissions".to_owned()])
        );
    }
    assert_eq!(identity.seen(&ana, bob).await.unwrap().permissions, Vec::<i32>::new());
}

#[tokio::test]
async fn the_catalogue_says_who_holds_what() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let request = signed(&ana, pb::ListPermissionsRequest {});
    let catalogue = identity.employees().list_permissions(request).await.unwrap().into_inner();
    assert_eq!(catalogue.permissions.len(), 17);
    let held_by = |permission: Permission| {
        let entry =
            catalogue.permissions.iter().find(|entry| entry.permission == i32::from(permission));
        let entry = entry.unwrap();
        (entry.name.as_str(), entry.held_by.clone())
    };
    let super_admin = Role::SuperAdmin.into();
    assert_eq!(held_by(ViewPayments), ("view_payments", vec![super_admin, Role::Admin.into()]));
    assert_eq!(held_by(ManageApiKeys), ("manage_api_keys", vec![super_admin]));
}

/// Security checklist 19.
#[tokio::test]
async fn what_changes_of_somebody_holds_at_their_next_call() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let create = async |name: &str| {
        let request = pb::CreateEmployeeRequest {
            employee: Some(someone(name, Role::Employee)),
            ..Default::default()
        };
        identity.employees().create_employee(signed(&bob, request)).await
    };
    refusal(create("carla").await);
    identity.grant(&ana, bob.id, &[ManageEmployees]).await.unwrap();
    let found = identity.validated(&bob.token).await;
    assert_eq!(
        (found.role, found.permissions),
        (Role::Employee.into(), numbers(&[ManageEmployees]))
    );
    create("carla").await.unwrap();
    identity.grant(&ana, bob.id, &[]).await.unwrap();
    assert_eq!(identity.validated(&bob.token).await.permissions, Vec::<i32>::new());
    refusal(create("dora").await);
    identity.set_role(&ana, bob.id, Role::Admin).await.unwrap();
    let found = identity.validated(&bob.token).await;
    assert_eq!((found.role, found.permissions.len()), (Role::Admin.into(), 14));
    create("dora").await.unwrap();
    identity.set_role(&ana, bob.id, Role::Employee).await.unwrap();
    assert_eq!(identity.validated(&bob.token).await.role, i32::from(Role::Employee));
    refusal(create("eve").await);
}

/// Security checklist 33.
#[tokio::test]
async fn the_last_active_super_admin_stays() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let partner = identity.add(&ana, "partner", Role::SuperAdmin).await;
    // One who is inactive, and one who is deleted, do not count.
    let idle = identity.hire(&ana, someone("idle", Role::SuperAdmin)).await.id;
    identity.set_active(&ana, idle, false).await.unwrap();
    let gone = identity.hire(&ana, someone("gone", Role::SuperAdmin)).await.id;
    identity.delete(&ana, gone).await.unwrap();
    // Nor does another account's.
    identity.sign_up("other").await;
    identity.delete(&ana, partner.id).await.unwrap();
    let before = identity.digest().await;
    let refused = refusal(identity.delete(&ana, ana.id).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "LAST_SUPER_ADMIN"));
    assert_eq!(identity.digest().await, before);

    // The last one is out of reach of everybody but themselves, and they may not; unless two
    // are at it at once.
    identity.undelete(&ana, partner.id).await.unwrap();
    let partner = identity.log_in(&partner.email).await;
    identity.set_role(&ana, partner.id, Role::Admin).await.unwrap();
    let refused = refusal(identity.set_role(&partner, ana.id, Role::Admin).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "RANK_TOO_LOW"));
    refusal(identity.delete(&ana, ana.id).await);
}

/// Security checklist 33.
#[tokio::test]
async fn of_two_super_admins_who_remove_each_other_at_once_one_stays() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::SuperAdmin).await;
    let demoted = |id| pb::Employee { role: Role::Employee.into(), ..employee(id) };
    let deactivated = |id| pb::Employee { is_active: Some(false), ..employee(id) };
    identity
        .database
        .execute("CREATE SCHEMA kept; CREATE TABLE kept.tokens AS TABLE identity.employee_tokens")
        .await;
    for round in 0..12 {
        let remove = async |by: &Person, whom: &Person| match round % 3 {
            0 => identity.update(by, demoted(whom.id), &[]).await,
            1 => identity.update(by, deactivated(whom.id), &[]).await,
            _ => identity.delete(by, whom.id).await,
        };
        let (one, other) = tokio::join!(remove(&ana, &bob), remove(&bob, &ana));
        let (won, lost): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 1), "round {round}: {lost:?}");
        // Too late either for the rule or, already, for the door.
        let refused = refusal(lost.into_iter().next().unwrap());
        assert!(
            [
                "LAST_SUPER_ADMIN",
                "RANK_TOO_LOW",
                "ROLE_REQUIRED",
                "EMPLOYEE_INACTIVE",
                "TOKEN_REVOKED"
            ]
            .contains(&refused.reason.as_str()),
            "{refused:?}"
        );
        let left: Vec<(i64,)> = identity
            .rows(
                "SELECT count(*) FROM identity.employees
                 WHERE role = 'super_admin' AND is_active AND delete_time IS NULL",
            )
            .await;
        assert_eq!(left, [(1,)], "round {round}");
        identity
            .database
            .execute(
                "UPDATE identity.employees
                 SET role = 'super_admin', is_active = true, delete_time = NULL;
                 DELETE FROM identity.revoked_tokens; DELETE FROM identity.employee_tokens;
                 INSERT INTO identity.employee_tokens TABLE kept.tokens",
            )
            .await;
    }
}

/// An address that can be nobody's is not the present one: it is named beside what else is wrong.
#[tokio::test]
async fn a_changed_address_is_named_with_everything_else() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bad = pb::Employee {
        id: ana.id,
        email: "ana@".into(),
        phone_number: "1".repeat(33),
        ..Default::default()
    };
    let expected = ["employee.email", "employee.phone_number"];
    let refused = refusal(identity.update(&ana, bad.clone(), &[]).await);
    assert_eq!(refused.fields, expected);
    let request = pb::UpdateMeRequest { employee: Some(bad), ..Default::default() };
    let refused = refusal(identity.auth().update_me(signed(&ana, request)).await);
    assert_eq!(refused.fields, expected);
    // As it is, it may be sent back.
    let me = pb::Employee { name: "Ana".into(), ..identity.me(&ana.token).await.unwrap() };
    identity.update(&ana, me, &[]).await.unwrap();
}
