//! Bytes that no client would send.

use identity_service::POLICY;
use proto::{common::v1::Role, identity::v1 as pb};
use service_kit::testing::{
    hostile::{self, Senders},
    raw,
    refusal::{Refusal, refusal},
};
use tonic::Code;

use crate::support::{Identity, PASSWORD, SERVICE_SECRET, create_employee, login, signed};

/// Security checklist 44.
#[tokio::test]
async fn garbage_is_refused_with_a_reason_by_every_method() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    identity.no_letters_left().await;
    let before = identity.digest().await;
    let senders = Senders { admin: &ana.token, employee: &bob.token, secret: SERVICE_SECRET };
    let complaints = hostile::complaints(&identity.channel, "identity.v1", POLICY, &senders).await;
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_eq!(identity.digest().await, before);
}

/// Security checklist 43: what anybody may send is smaller than what people may.
#[tokio::test]
async fn what_anybody_may_send_has_64_kib() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let before = identity.digest().await;
    let long = "x".repeat(64 << 10);
    let login = pb::LoginRequest { email: long.clone(), password: String::new() };
    let refused = refusal(identity.auth().login(login).await);
    assert_eq!(refused.said(), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    let login = pb::LoginRequest { email: long[100..].to_owned(), password: String::new() };
    let refused = refusal(identity.auth().login(login).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "INVALID_CREDENTIALS"));
    let list = pb::ListEmployeesRequest { search: long, ..Default::default() };
    let refused = refusal(identity.employees().list_employees(signed(&ana, list)).await);
    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(identity.digest().await, before);
}

/// Requirement B1, security checklist 53: whatever the database says stays here.
#[tokio::test]
async fn what_the_database_says_reaches_no_caller() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity
        .employees()
        .create_employee(signed(&ana, create_employee("bob", Role::Employee)))
        .await
        .unwrap();
    identity.no_letters_left().await;
    // A token table that points at another table of users, and a table that is gone.
    identity
        .database
        .execute(
            "CREATE TABLE public.users (id bigint PRIMARY KEY);
             ALTER TABLE identity.employee_tokens ADD CONSTRAINT points_elsewhere
                 FOREIGN KEY (user_id) REFERENCES public.users (id) NOT VALID;
             ALTER TABLE identity.company_roles RENAME TO roles_of_companies",
        )
        .await;
    let before = identity.digest().await;
    let list = signed(&ana, pb::ListCompanyRolesRequest::default());
    for status in [
        identity.auth().login(login("bob@example.com", PASSWORD)).await.unwrap_err(),
        identity.roles().list_company_roles(list).await.unwrap_err(),
    ] {
        let refused = Refusal::of(&status);
        assert_eq!(refused.said(), (Code::Internal, "INTERNAL"));
        let details = String::from_utf8_lossy(status.details()).into_owned();
        let all = format!("{status:?} {details}").to_lowercase();
        for word in ["sql", "relation", "select", "violates", "points_elsewhere", "company_roles"] {
            assert!(!all.contains(word), "{word} in {all}");
        }
    }
    assert_eq!(identity.digest().await, before);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused() {
    let identity = Identity::start().await;
    let before = identity.digest().await;
    for (path, bytes) in [
        // LoginRequest.email, one byte, 0xff.
        ("/identity.v1.AuthService/Login", vec![0x0a, 0x01, 0xff]),
        // SignUpRequest.account.name.
        ("/identity.v1.AuthService/SignUp", vec![0x0a, 0x03, 0x0a, 0x01, 0xff]),
    ] {
        let request = raw::request(bytes, "");
        let refused = refusal(raw::call(&identity.channel, path, request).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, "MALFORMED_MESSAGE"), "{path}");
    }
    assert_eq!(identity.digest().await, before);
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_unknown() {
    let identity = Identity::start().await;
    for path in ["/identity.v1.AuthService/Nothing", "/identity.v1.Nothing/Login", "/nothing"] {
        let refused = refusal(raw::call(&identity.channel, path, raw::request(vec![], "")).await);
        assert_eq!(refused.said(), (Code::Unimplemented, "METHOD_UNKNOWN"), "{path}");
    }
}
