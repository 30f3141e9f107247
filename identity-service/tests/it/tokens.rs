//! What other services learn about a credential.

use proto::{
    common::v1::{ErrorReason, Permission, Role},
    identity::v1::{
        self as pb, actor::Kind, token_service_client::TokenServiceClient,
        validate_token_response::Outcome,
    },
};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Request};

use crate::support::{Identity, SERVICE_SECRET, from_service, signed};

#[tokio::test]
async fn a_good_credential_is_somebody_with_what_they_may_do() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let Outcome::Identity(found) = identity.validate(&ana.token).await else {
        panic!("it is good")
    };
    assert_eq!(found.actor.unwrap().kind, Some(Kind::EmployeeId(ana.id)));
    assert_eq!((found.account_id, found.role), (ana.account_id, Role::SuperAdmin.into()));
    assert_eq!(found.account_settings.unwrap().default_currency, "USD");
    assert!(found.permissions.contains(&Permission::ManageAllClients.into()));
    let Outcome::Identity(found) = identity.validate(&bob.token).await else {
        panic!("it is good")
    };
    assert_eq!((found.role, found.permissions.len()), (Role::Employee.into(), 0));
}

#[tokio::test]
async fn a_bad_credential_is_an_answer_and_not_a_failure() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    identity.auth().logout(signed(&ana, pb::LogoutRequest {})).await.unwrap();
    identity
        .database
        .execute("UPDATE identity.employees SET is_active = false WHERE email = 'bob@example.com'")
        .await;
    for (credential, reason, message) in [
        (ana.token.as_str(), ErrorReason::TokenRevoked, "Invalid token."),
        (bob.token.as_str(), ErrorReason::EmployeeInactive, "User inactive or deleted."),
        (&"0".repeat(40), ErrorReason::TokenInvalid, "Invalid token."),
        ("nonsense", ErrorReason::TokenInvalid, "Invalid token."),
        ("", ErrorReason::TokenInvalid, "Invalid token."),
    ] {
        let Outcome::Refusal(refused) = identity.validate(credential).await else {
            panic!("{credential} is bad")
        };
        assert_eq!((refused.reason(), refused.message.as_str()), (reason, message));
    }
}

/// Security checklist 40 and 45: only a service's own credential opens this, and it opens
/// nothing else.
#[tokio::test]
async fn only_services_may_ask() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut tokens = TokenServiceClient::new(identity.channel.clone());
    let ask = || pb::ValidateTokenRequest { credential: ana.token.clone() };
    let with = |name: &'static str, value: &str| {
        let mut request = Request::new(ask());
        request.metadata_mut().insert(name, value.parse().unwrap());
        request
    };
    let mut twice = with("x-service-authorization", SERVICE_SECRET);
    twice.metadata_mut().append("x-service-authorization", SERVICE_SECRET.parse().unwrap());
    for request in [
        twice,
        Request::new(ask()),
        signed(&ana, ask()),
        with("x-service-authorization", "a-wrong-secret-of-some-length"),
        with("x-service-authorization", ""),
        with("x-internal", "true"),
    ] {
        let refused = refusal(tokens.validate_token(request).await);
        assert_eq!(refused.said(), (Code::Unauthenticated, "SERVICE_CREDENTIAL_INVALID"));
    }
    // Two secrets are good at once, while they are rotated.
    for secret in [SERVICE_SECRET, "an-older-secret-of-ours"] {
        tokens.validate_token(with("x-service-authorization", secret)).await.unwrap();
    }
    let mut request = Request::new(pb::GetMeRequest {});
    request.metadata_mut().insert("x-service-authorization", SERVICE_SECRET.parse().unwrap());
    let refused = refusal(identity.auth().get_me(request).await);
    assert_eq!(refused.reason, "TOKEN_MISSING");
}

/// What the public does to identity-service must not end what everyone does elsewhere.
#[tokio::test]
async fn services_are_answered_while_the_public_has_taken_every_place() {
    let identity = Identity::with(|server| server.max_in_flight = 1).await;
    let ana = identity.sign_up("ana").await;
    let stream = tokio::net::TcpStream::connect(identity.address).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let url = format!("http://{}/identity.v1.AuthService/Login", identity.address);
    let request =
        http::Request::post(url).header("content-type", "application/grpc").body(()).unwrap();
    let (_answer, _body_never_sent) = send.send_request(request, false).unwrap();
    loop {
        match identity.auth().get_me(signed(&ana, pb::GetMeRequest {})).await {
            Err(status) => break assert_eq!(refusal::<()>(Err(status)).reason, "OVERLOADED"),
            Ok(_) => tokio::task::yield_now().await,
        }
    }
    assert!(matches!(identity.validate(&ana.token).await, Outcome::Identity(_)));
}

/// Whoever keeps an answer keeps it until the log has a higher number.
///
/// Security checklist 20.
#[tokio::test]
async fn an_answer_says_where_in_the_log_it_was_read() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let session = identity.open_session(&ana, "").await.access_token;
    let key = identity.api_key(&ana, &[]).await;
    let nobodys = "0".repeat(40);
    let mut tokens = TokenServiceClient::new(identity.channel.clone());
    let mut number = 0;
    for _ in 0..3 {
        let head = "SELECT epoch::text, number FROM identity.feeds WHERE name = 'revocations'";
        let [head] = identity.rows::<(String, i64)>(head).await.try_into().unwrap();
        assert_eq!(head.1, number);
        for credential in [&ana.token, &session, &key, &nobodys] {
            let ask = pb::ValidateTokenRequest { credential: credential.clone() };
            let answer = tokens.validate_token(from_service(ask)).await.unwrap().into_inner();
            let position = answer.log_position.unwrap();
            assert_eq!((position.epoch, position.number), head, "{credential}");
        }
        // What takes nothing away moves nothing.
        identity.set_name(&ana, &format!("Ana {number}")).await;
        let bob = identity.add(&ana, &format!("bob{number}"), Role::Employee).await;
        identity.delete(&ana, bob.id).await.unwrap();
        number += 1;
    }
    // What looks like none of ours is refused unread.
    let ask = pb::ValidateTokenRequest { credential: "nonsense".to_owned() };
    let answer = tokens.validate_token(from_service(ask)).await.unwrap().into_inner();
    assert_eq!(answer.log_position, None);
}
