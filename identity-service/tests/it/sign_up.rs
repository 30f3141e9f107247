//! Signing a company up.

use proto::{common::v1::Role, identity::v1 as pb};
use service_kit::testing::refusal::refusal;
use tonic::Code;

use crate::support::{Identity, PASSWORD, login, sign_up, signed};

#[tokio::test]
async fn makes_an_account_a_super_admin_and_a_token_that_works() {
    let identity = Identity::start().await;
    let answer = identity.auth().sign_up(sign_up("ana")).await.unwrap().into_inner();
    let (employee, account) = (answer.employee.unwrap(), answer.account.unwrap());
    assert_eq!(account.name, "ana Ltd");
    assert_eq!(account.email, "ana@example.com");
    assert_eq!(account.settings.unwrap().default_currency, "USD");
    assert_eq!(employee.name, "ana");
    assert_eq!(employee.role(), Role::SuperAdmin);
    assert!(employee.is_staff && employee.is_superuser && employee.is_active());
    assert!(!employee.password_change_advised);
    assert_eq!((employee.account_id, employee.account_name), (account.id, "ana Ltd".into()));
    assert!(
        answer.token.len() == 40 && answer.token.bytes().all(|b| b"0123456789abcdef".contains(&b))
    );

    let person = identity.log_in("ana@example.com").await;
    assert_eq!(person.token, answer.token);
    let me =
        identity.auth().get_me(signed(&person, pb::GetMeRequest {})).await.unwrap().into_inner();
    assert_eq!(me.employee.unwrap().id, employee.id);
}

#[tokio::test]
async fn names_everything_that_is_missing_at_once() {
    let identity = Identity::start().await;
    let before = identity.digest().await;
    let refused = refusal(identity.auth().sign_up(pb::SignUpRequest::default()).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    assert_eq!(refused.message, "Missing required fields");
    assert_eq!(refused.fields, ["account.name", "employee.email", "employee.password"]);
    assert_eq!(identity.digest().await, before);
}

#[tokio::test]
async fn names_everything_that_is_wrong_at_once() {
    let identity = Identity::start().await;
    let before = identity.digest().await;
    let request = pb::SignUpRequest {
        account: Some(pb::SignUpAccount {
            name: "Ac\u{7}me".into(),
            email: "nobody".into(),
            default_currency: "EURO".into(),
        }),
        employee: Some(pb::SignUpEmployee {
            name: "x".repeat(256),
            email: "ana@".into(),
            password: "short".into(),
        }),
        request_id: "1".into(),
        additional_admins: vec![pb::SignUpAdmin { email: "bob".into() }],
    };
    let refused = refusal(identity.auth().sign_up(request).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(
        refused.fields,
        [
            "request_id",
            "account.name",
            "account.email",
            "account.default_currency",
            "employee.name",
            "employee.email",
            "employee.password",
            "additional_admins[0].email",
        ]
    );
    assert_eq!(identity.digest().await, before);
}

#[tokio::test]
async fn refuses_an_address_that_somebody_has_whatever_its_case() {
    let identity = Identity::start().await;
    identity.sign_up("ana").await;
    let before = identity.digest().await;
    let refused = refusal(identity.auth().sign_up(sign_up("ANA")).await);
    assert_eq!(refused.said(), (Code::AlreadyExists, "EMAIL_TAKEN"));
    assert_eq!(identity.digest().await, before, "not even an account without anybody in it");
}

#[tokio::test]
async fn repeated_with_the_same_request_id_gives_the_first_answer_again() {
    let identity = Identity::start().await;
    let request = pb::SignUpRequest {
        request_id: "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f".into(),
        ..sign_up("ana")
    };
    let first = identity.auth().sign_up(request.clone()).await.unwrap().into_inner();
    let before = identity.digest().await;
    let again = identity.auth().sign_up(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert_eq!(identity.digest().await, before);

    let mut other = request;
    other.employee.as_mut().unwrap().password = "another password".into();
    let refused = refusal(identity.auth().sign_up(other).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn sent_twice_at_once_makes_one_account() {
    let identity = Identity::start().await;
    let request = pb::SignUpRequest {
        request_id: "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f".into(),
        ..sign_up("ana")
    };
    let (mut one, mut other) = (identity.auth(), identity.auth());
    let (one, other) = tokio::join!(one.sign_up(request.clone()), other.sign_up(request));
    assert_eq!(one.unwrap().into_inner(), other.unwrap().into_inner());
    let accounts: i64 = sqlx::query_scalar("SELECT count(*) FROM identity.accounts")
        .fetch_one(&identity.database.owner)
        .await
        .unwrap();
    assert_eq!(accounts, 1);
}

#[tokio::test]
async fn stores_no_password_and_no_token_in_clear() {
    let identity = Identity::start().await;
    let request = pb::SignUpRequest {
        request_id: "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f".into(),
        ..sign_up("ana")
    };
    let token = identity.auth().sign_up(request).await.unwrap().into_inner().token;
    let dump = identity.database.dump().await;
    assert!(dump.contains("ana@example.com"), "the dump is one");
    for secret in [PASSWORD, &token, &hex::encode(PASSWORD), &hex::encode(&token)] {
        assert!(!dump.contains(secret), "{secret} is in the database");
    }
    // What is stored lets nobody in.
    let key: String = sqlx::query_scalar("SELECT key FROM identity.employee_tokens")
        .fetch_one(&identity.database.owner)
        .await
        .unwrap();
    let refused =
        refusal(identity.auth().get_me(crate::support::bearing(&key, pb::GetMeRequest {})).await);
    assert_eq!(refused.reason, "TOKEN_INVALID");
}

/// Security checklist 5.
#[tokio::test]
async fn takes_a_password_as_it_is() {
    let identity = Identity::start().await;
    let password = "  pässwörd 密码 with blanks  ";
    let mut request = sign_up("ana");
    request.employee.as_mut().unwrap().password = password.into();
    identity.auth().sign_up(request).await.unwrap();
    identity.auth().login(login("ana@example.com", password)).await.unwrap();
    refusal(identity.auth().login(login("ana@example.com", password.trim())).await);
}
