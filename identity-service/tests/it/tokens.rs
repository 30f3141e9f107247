//! What other services learn about a credential.

use std::time::Duration;

use proto::{
    common::v1::{ErrorReason, Permission, Role},
    identity::v1::{
        self as pb, actor::Kind, token_service_client::TokenServiceClient,
        validate_token_response::Outcome,
    },
};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Request};

use crate::support::{Identity, SERVICE_SECRET, from_service, renamed, signed, with_checksum};

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

/// Security checklist 27: an employee token ends when nobody uses it, where a setting says so.
#[tokio::test]
async fn a_token_that_nobody_uses_ends_and_one_in_use_goes_on() {
    let limit = Duration::from_secs(3600);
    let identity = Identity::set_up(|settings| settings.sessions.token_idle = Some(limit)).await;
    let ana = identity.sign_up("ana").await;
    let age = |age: &str| {
        format!(
            "UPDATE identity.employee_tokens
             SET created = now() - interval '{age}', last_used_time = NULL"
        )
    };
    identity.database.execute(&age("59 minutes")).await;
    identity.me(&ana.token).await.unwrap();
    let used = "SELECT count(*) FROM identity.employee_tokens
         WHERE last_used_time > now() - interval '1 minute'";
    for _ in 0..400 {
        if identity.rows::<(i64,)>(used).await == [(1,)] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let created = "UPDATE identity.employee_tokens SET created = now() - interval '2 hours'";
    identity.database.execute(created).await;
    identity.me(&ana.token).await.unwrap();
    assert_eq!(identity.log_in(&ana.email).await.token, ana.token);

    identity.database.execute(&age("60 minutes")).await;
    let refused = refusal(identity.me(&ana.token).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_EXPIRED"));
    assert_eq!(refused.message, "Invalid token.");
    assert_eq!(identity.not_validated(&ana.token).await, ErrorReason::TokenExpired);
    let again = identity.log_in(&ana.email).await;
    assert_ne!(again.token, ana.token);
    identity.me(&again.token).await.unwrap();
}

#[tokio::test]
async fn without_a_limit_a_token_lives_on_and_its_use_is_not_written() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let created = "UPDATE identity.employee_tokens SET created = now() - interval '9 years'";
    identity.database.execute(created).await;
    let before = identity.digest().await;
    identity.me(&ana.token).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(identity.digest().await, before);
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
    for number in 0..3 {
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
    }
    // What looks like none of ours is refused unread.
    let ask = pb::ValidateTokenRequest { credential: "nonsense".to_owned() };
    let answer = tokens.validate_token(from_service(ask)).await.unwrap().into_inner();
    assert_eq!(answer.log_position, None);
}

/// Security checklist 17 and 27: what looks like none of ours is refused unasked, and whatever
/// does at the one look-up.
#[tokio::test]
async fn what_has_not_the_form_of_a_credential_costs_no_statement() {
    const STATEMENTS: &str = "rpc_statements_total{service=\"identity-service\",method=\"identity.v1.AuthService/GetMe\"}";
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let key = identity.api_key(&ana, &[]).await;
    let access = identity.open_session(&ana, "").await.access_token;
    let (head, signature) = access.rsplit_once('.').unwrap();
    let cost = async |credential: &str| {
        let before = identity.figure(STATEMENTS).await;
        assert_eq!(refusal(identity.me(credential).await).reason, "TOKEN_INVALID", "{credential}");
        identity.figure(STATEMENTS).await - before
    };
    for credential in [
        &ana.token[1..],
        &format!("{}0", ana.token),
        &ana.token.to_uppercase().replace(|letter: char| letter.is_ascii_digit(), "A"),
        &ana.token.replace(|letter: char| letter.is_ascii_digit(), "g"),
        &key[..key.len() - 1],
        &format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' }),
        &key.replacen("clk_", "clr_", 1),
        &renamed(&key, "clr_"),
        head,
        &format!("{head}."),
        &format!("{head}.{}", signature.chars().rev().collect::<String>()),
        &"x".repeat(4_000),
    ] {
        assert_eq!(cost(credential).await, 0, "{credential}");
    }
    let unknown_key = with_checksum(&format!("clk_{}", "0".repeat(43)));
    for credential in ["0".repeat(40), unknown_key] {
        assert_eq!(cost(&credential).await, 1, "{credential}");
    }
}

/// Requirement K2, and K3's unique index.
#[tokio::test]
async fn tokens_are_kept_in_the_old_columns_and_go_with_their_row_of_employees() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let session = identity.open_session(&bob, "").await.access_token;
    let columns = "SELECT concat_ws(' ', column_name, data_type, character_maximum_length,
                       CASE is_nullable WHEN 'NO' THEN 'not null' END, column_default)
                   FROM information_schema.columns
                   WHERE table_schema = 'identity' AND table_name = 'employee_tokens'";
    let columns: Vec<(String,)> = identity.rows(columns).await;
    for column in [
        "key character varying 40 not null",
        "user_id bigint not null",
        "created timestamp with time zone not null now()",
        "account_id bigint not null",
        "sealed bytea not null",
    ] {
        assert!(columns.contains(&(column.to_owned(),)), "{column} is not in {columns:?}");
    }
    let constraints = "SELECT pg_get_constraintdef(oid) FROM pg_constraint
                       WHERE conrelid = 'identity.employee_tokens'::regclass";
    let constraints: Vec<(String,)> = identity.rows(constraints).await;
    for constraint in [
        "PRIMARY KEY (key)",
        "UNIQUE (user_id)",
        "FOREIGN KEY (account_id, user_id) REFERENCES identity.employees(account_id, id) ON DELETE CASCADE",
    ] {
        assert!(constraints.contains(&(constraint.to_owned(),)), "{constraints:?}");
    }

    // Whoever does it by hand.
    let delete = format!("DELETE FROM identity.employees WHERE id = {}", bob.id);
    identity.database.execute(&delete).await;
    for credential in [&bob.token, &session] {
        assert_eq!(refusal(identity.me(credential).await).reason, "TOKEN_INVALID");
    }
    let left = format!("SELECT count(*) FROM identity.employee_tokens WHERE user_id = {}", bob.id);
    assert_eq!(identity.rows::<(i64,)>(&left).await, [(0,)]);
    identity.me(&ana.token).await.unwrap();
}
