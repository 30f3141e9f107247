//! Adding people to an account.

use proto::{common::v1::Role, identity::v1 as pb};
use service_kit::testing::refusal::refusal;
use tonic::Code;

use crate::support::{Identity, PASSWORD, create_employee, login, signed};

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
    let before = identity.database.digest().await;
    for (by, role, reason) in [
        (&admin, Role::SuperAdmin, "ROLE_ABOVE_OWN"),
        (&employee, Role::Employee, "PERMISSION_DENIED"),
        (&employee, Role::SuperAdmin, "PERMISSION_DENIED"),
    ] {
        let refused = refusal(
            identity.employees().create_employee(signed(by, create_employee("x", role))).await,
        );
        assert_eq!(refused.said(), (Code::PermissionDenied, reason), "{role:?}");
    }
    assert_eq!(identity.database.digest().await, before);
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

#[tokio::test]
async fn an_address_is_one_persons_in_whatever_account() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.sign_up("bob").await;
    let before = identity.database.digest().await;
    let refused = refusal(
        identity
            .employees()
            .create_employee(signed(&ana, create_employee("BOB", Role::Employee)))
            .await,
    );
    assert_eq!(refused.said(), (Code::AlreadyExists, "EMAIL_TAKEN"));
    assert_eq!(identity.database.digest().await, before);
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
    let before = identity.database.digest().await;
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
    assert_eq!(identity.database.digest().await, before);
}
