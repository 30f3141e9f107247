//! The people of an account: adding, finding, changing and deleting them, and who may.

use crate::support::{Identity, PASSWORD, create_employee, login, numbers, signed, someone};
use proto::{
    common::v1::{ErrorReason, Permission::ViewPayments, Role},
    identity::v1::{self as pb},
};
use service_kit::testing::refusal::refusal;
use tonic::Code;

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

/// Requirement T1.
#[tokio::test]
async fn a_first_name_has_up_to_100_letters_and_an_address_255_bytes() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let first_name = "é".repeat(100);
    let bob = pb::Employee { first_name: first_name.clone(), ..someone("bob", Role::Employee) };
    let bob = identity.hire(&ana, bob).await;
    assert_eq!(bob.first_name, first_name);
    identity.no_letters_left().await;
    let before = identity.digest().await;
    let longer = pb::Employee { first_name: "x".repeat(101), ..employee(bob.id) };
    let refused = refusal(identity.update(&ana, longer, &[]).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(refused.fields, ["employee.first_name"]);

    let mut request = create_employee("carla", Role::Employee);
    let asked = request.employee.as_mut().unwrap();
    asked.first_name = "x".repeat(101);
    let word = "x".repeat(60);
    asked.email = format!("{word}@{word}.{word}.{word}.example.com");
    assert_eq!(asked.email.len(), 255);
    let longest = request.clone();
    request.employee.as_mut().unwrap().email.insert(0, 'x');
    for (request, bad) in [
        (longest, vec!["employee.first_name"]),
        (request, vec!["employee.email", "employee.first_name"]),
    ] {
        let refused = refusal(identity.employees().create_employee(signed(&ana, request)).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
        assert_eq!(refused.fields, bad);
    }
    assert_eq!(identity.digest().await, before);
}

pub fn employee(id: i64) -> pb::Employee {
    pb::Employee { id, ..Default::default() }
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
