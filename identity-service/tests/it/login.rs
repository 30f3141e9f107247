//! Getting in, and out again.

use std::collections::BTreeSet;

use argon2::{Argon2, Params, PasswordHasher};
use http::HeaderMap;
use proto::{common::v1::Role, identity::v1 as pb};
use service_kit::testing::refusal::{Refusal, refusal};
use tonic::{Code, Request, metadata::MetadataMap};

use crate::support::{Identity, PASSWORD, bearing, create_employee, login, old_and_new, signed};

/// Security checklist 62.
#[tokio::test]
async fn a_token_outlives_the_rotation_of_keys_of_whoever_logs_in_meanwhile() {
    let (old, new) = old_and_new();
    let identity = Identity::start().await.with_keys(&old).await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.sign_up("bob").await;

    let identity = identity.with_keys(&format!("{new},{old}")).await;
    assert_eq!(identity.log_in(&ana.email).await.token, ana.token);

    let identity = identity.with_keys(&new).await;
    assert_eq!(identity.log_in(&ana.email).await.token, ana.token);
    identity.me(&bob.token).await.unwrap();
    let events = "SELECT count(*) FROM identity.revocations";
    let before = identity.rows::<(i64,)>(events).await[0].0;
    let again = identity.log_in(&bob.email).await;
    assert_ne!(again.token, bob.token, "nobody can read the old one any more");
    let refused = refusal(identity.me(&bob.token).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_REVOKED"));
    assert_eq!(identity.rows::<(i64,)>(events).await[0].0, before + 1, "others are told");
    assert_eq!(identity.log_in(&bob.email).await.token, again.token);
    identity.me(&again.token).await.unwrap();
}

/// Security checklist 7: hashing is bounded, and not in the way of anybody else.
#[tokio::test]
async fn of_a_storm_of_logins_some_are_turned_away_and_others_are_served_meanwhile() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let storm = (0..200).map(|_| {
        let mut auth = identity.auth();
        tokio::spawn(async move { auth.login(login("ana@example.com", PASSWORD)).await })
    });
    let storm: Vec<_> = storm.collect();
    identity.auth().get_me(signed(&ana, pb::GetMeRequest {})).await.unwrap();
    assert!(storm.iter().any(|login| !login.is_finished()), "others wait for their hash");

    let (mut served, mut refused) = (0, 0);
    for login in storm {
        match login.await.unwrap() {
            Ok(answer) => {
                assert_eq!(answer.into_inner().token, ana.token);
                served += 1;
            }
            Err(status) => {
                let refusal = Refusal::of(&status);
                assert_eq!(refusal.said(), (Code::ResourceExhausted, "OVERLOADED"));
                assert_eq!(refusal.retry_after.as_deref(), Some("1"));
                refused += 1;
            }
        }
    }
    assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
    assert_eq!(identity.log_in(&ana.email).await.token, ana.token, "there is room again");
}

#[tokio::test]
async fn returns_the_one_token_also_to_many_at_once() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity
        .employees()
        .create_employee(signed(&ana, create_employee("bob", Role::Employee)))
        .await
        .unwrap();
    // Nobody has logged in as Bob yet, so that all of these would make his token.
    let logins = (0..16).map(|_| {
        let mut auth = identity.auth();
        tokio::spawn(async move {
            auth.login(login("Bob@Example.COM", PASSWORD)).await.unwrap().into_inner().token
        })
    });
    let mut tokens = BTreeSet::new();
    for login in logins.collect::<Vec<_>>() {
        tokens.insert(login.await.unwrap());
    }
    assert_eq!(tokens.len(), 1);
}

const STATEMENTS: &str =
    "rpc_statements_total{service=\"identity-service\",method=\"identity.v1.AuthService/Login\"}";

/// Security checklist 1: what is wrong shows neither in the answer nor in the work.
#[tokio::test]
async fn says_and_costs_the_same_whatever_is_wrong() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.add(&ana, "idle", Role::Employee).await;
    identity.add(&ana, "gone", Role::Employee).await;
    let mut without = create_employee("without", Role::Employee);
    without.password = String::new();
    identity.employees().create_employee(signed(&ana, without)).await.unwrap();
    identity
        .database
        .execute("UPDATE identity.employees SET is_active = false WHERE email = 'idle@example.com'")
        .await;
    identity
        .database
        .execute(
            "UPDATE identity.employees SET delete_time = now() WHERE email = 'gone@example.com'",
        )
        .await;

    identity.add(&ana, "foreign", Role::Employee).await;
    identity
        .database
        .execute(
            "UPDATE identity.employees SET password_hash = '$2b$12$' || repeat('a', 53)
             WHERE email = 'foreign@example.com'",
        )
        .await;
    identity.add(&ana, "endless", Role::Employee).await;
    identity
        .database
        .execute(
            "UPDATE identity.employees SET password_hash = password_hash || repeat('A', 256)
             WHERE email = 'endless@example.com'",
        )
        .await;

    identity.add(&ana, "saltless", Role::Employee).await;
    identity
        .database
        .execute(
            "UPDATE identity.employees SET password_hash = '$argon2id$v=19$m=19456,t=2,p=1'
             WHERE email = 'saltless@example.com'",
        )
        .await;

    let long = "x".repeat(5_000);
    let wrong = [
        ("unknown", login("nobody@example.com", PASSWORD)),
        ("not even an address", login("nobody", PASSWORD)),
        ("a very long address", login(&long, PASSWORD)),
        ("an address with a NUL", login("ana\0@example.com", PASSWORD)),
        ("wrong password", login("ana@example.com", "wrong horse battery")),
        ("very long password", login("ana@example.com", &long)),
        ("empty password", login("ana@example.com", "")),
        ("inactive", login("idle@example.com", PASSWORD)),
        ("deleted", login("gone@example.com", PASSWORD)),
        ("no password set", login("without@example.com", PASSWORD)),
        ("no password set, none given", login("without@example.com", "")),
        ("a hash of another kind", login("foreign@example.com", PASSWORD)),
        ("a hash that is too long", login("endless@example.com", PASSWORD)),
        ("a hash without what it is of", login("saltless@example.com", PASSWORD)),
        ("nothing at all", login("", "")),
    ];
    let mut seen = Vec::new();
    for (what, request) in wrong {
        let hashes = identity.figure("password_hashes_total").await;
        let statements = identity.figure(STATEMENTS).await;
        let before = identity.digest().await;
        let refused = refusal(identity.auth().login(request).await);
        assert_eq!(refused.said(), (Code::Unauthenticated, "INVALID_CREDENTIALS"), "{what}");
        assert_eq!(refused.message, "Invalid credentials");
        assert_eq!(identity.figure("password_hashes_total").await - hashes, 1, "{what}: one hash");
        let statements = identity.figure(STATEMENTS).await - statements;
        assert_eq!(statements, 1, "{what}: one look-up");
        assert_eq!(identity.digest().await, before, "{what}: nothing written");
        seen.push((what, refused));
    }
    for (what, refused) in &seen {
        assert_eq!(refused, &seen[0].1, "{what} reads the same");
    }
}

#[tokio::test]
async fn a_token_is_taken_with_either_keyword_in_any_case() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    for keyword in ["Token", "token", "TOKEN", "Bearer", "bearer"] {
        let mut request = Request::new(pb::GetMeRequest {});
        request
            .metadata_mut()
            .insert("authorization", format!("{keyword} {}", ana.token).parse().unwrap());
        identity.auth().get_me(request).await.unwrap();
    }
}

/// Security checklist 27 and 44.
#[tokio::test]
async fn a_credential_of_any_other_form_is_refused_in_the_old_words() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    for (value, reason, message) in [
        (format!("Token {}", "0".repeat(40)), "TOKEN_INVALID", "Invalid token."),
        (format!("Token {}", ana.token.to_uppercase()), "TOKEN_INVALID", "Invalid token."),
        (format!("Token {}x", ana.token), "TOKEN_INVALID", "Invalid token."),
        (format!("Basic {}", ana.token), "TOKEN_INVALID", "Invalid token."),
        (ana.token.clone(), "TOKEN_INVALID", "Invalid token."),
        ("Token".to_owned(), "TOKEN_INVALID", "Invalid token."),
    ] {
        let mut request = Request::new(pb::GetMeRequest {});
        request.metadata_mut().insert("authorization", value.parse().unwrap());
        let refused = refusal(identity.auth().get_me(request).await);
        assert_eq!(refused.said(), (Code::Unauthenticated, reason), "{value}");
        assert_eq!(refused.message, message);
    }
    let unreadable = [b"Token \xff\xfe".as_slice(), b"T\xc3\xb6ken abc", b"Token \xc3\xa9"];
    for value in unreadable.map(|value| http::HeaderValue::from_bytes(value).unwrap()) {
        let mut request = Request::new(pb::GetMeRequest {});
        let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        let refused = refusal(identity.auth().get_me(request).await);
        assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_INVALID"));
    }
    // Bytes that are none are nobody's credential, and break nothing.
    let mut request = signed(&ana, pb::GetMeRequest {});
    let mut headers = request.metadata().clone().into_headers();
    for (name, value) in [("x-trace-bin", "!!!"), ("authorization-bin", "=")] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    *request.metadata_mut() = MetadataMap::from_headers(headers);
    identity.auth().get_me(request).await.unwrap();
    let refused = refusal(identity.auth().get_me(pb::GetMeRequest {}).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_MISSING"));
    let mut twice = signed(&ana, pb::GetMeRequest {});
    twice.metadata_mut().append("authorization", format!("Token {}", ana.token).parse().unwrap());
    let refused = refusal(identity.auth().get_me(twice).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "AUTHORIZATION_AMBIGUOUS"));
}

#[tokio::test]
async fn logging_out_ends_the_token_and_says_so_and_can_be_repeated() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.auth().logout(signed(&ana, pb::LogoutRequest {})).await.unwrap();
    let refused = refusal(identity.auth().get_me(signed(&ana, pb::GetMeRequest {})).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_REVOKED"));
    assert_eq!(refused.message, "Invalid token.");
    identity.auth().logout(signed(&ana, pb::LogoutRequest {})).await.unwrap();
    identity.auth().logout(bearing(&"0".repeat(40), pb::LogoutRequest {})).await.unwrap();
    let refused = refusal(identity.auth().logout(bearing("nonsense", pb::LogoutRequest {})).await);
    assert_eq!(refused.reason, "TOKEN_INVALID");
    let refused = refusal(identity.auth().logout(pb::LogoutRequest {}).await);
    assert_eq!(refused.reason, "TOKEN_MISSING");

    let again = identity.log_in(&ana.email).await;
    assert_ne!(again.token, ana.token);
}

#[tokio::test]
async fn an_inactive_person_is_told_so_and_the_same_token_lives_again() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let active = |active: bool| format!("UPDATE identity.employees SET is_active = {active}");
    identity.database.execute(&active(false)).await;
    let refused = refusal(identity.auth().get_me(signed(&ana, pb::GetMeRequest {})).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "EMPLOYEE_INACTIVE"));
    assert_eq!(refused.message, "User inactive or deleted.");
    identity.database.execute(&active(true)).await;
    identity.auth().get_me(signed(&ana, pb::GetMeRequest {})).await.unwrap();
}

/// Security checklist 21: emptying any table of tokens can only log people out.
#[tokio::test]
async fn emptying_a_token_table_lets_nobody_in() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.sign_up("bob").await;
    identity.auth().logout(signed(&bob, pb::LogoutRequest {})).await.unwrap();
    // What was ended is not forgotten into being good again.
    identity.database.execute("TRUNCATE identity.revoked_tokens").await;
    let refused = refusal(identity.auth().get_me(signed(&bob, pb::GetMeRequest {})).await);
    assert_eq!(refused.reason, "TOKEN_INVALID");
    identity.auth().get_me(signed(&ana, pb::GetMeRequest {})).await.unwrap();
    identity.database.execute("TRUNCATE identity.employee_tokens").await;
    for person in [&ana, &bob] {
        let refused = refusal(identity.auth().get_me(signed(person, pb::GetMeRequest {})).await);
        assert_eq!(refused.reason, "TOKEN_INVALID");
    }
}

/// A hash of the password of all tests that was made with other parameters.
fn hash_of(memory_kib: u32, passes: u32) -> String {
    let params = Params::new(memory_kib, passes, 1, None).unwrap();
    Argon2::from(params).hash_password(PASSWORD.as_bytes()).unwrap().to_string()
}

impl Identity {
    async fn store_hash(&self, hash: &str) {
        let store = format!("UPDATE identity.employees SET password_hash = '{hash}'");
        self.database.execute(&store).await;
    }

    async fn stored_hash(&self) -> String {
        self.rows::<(String,)>("SELECT password_hash FROM identity.employees").await.remove(0).0
    }
}

/// Security checklist 3 and 8.
#[tokio::test]
async fn the_right_password_puts_a_stronger_hash_in_the_place_of_a_weak_one() {
    const TODAY: &str = "$argon2id$v=19$m=19456,t=2,p=1$";
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let today = identity.stored_hash().await;
    assert_eq!(identity.log_in(&ana.email).await.token, ana.token);
    assert_eq!(identity.stored_hash().await, today, "one of today stays");

    let weak = hash_of(4_096, 1);
    identity.store_hash(&weak).await;
    refusal(identity.auth().login(login(&ana.email, "wrong horse battery")).await);
    assert_eq!(identity.stored_hash().await, weak);
    let etag = identity.me(&ana.token).await.unwrap().etag;
    assert_eq!(identity.log_in(&ana.email).await.token, ana.token);
    assert!(identity.stored_hash().await.starts_with(TODAY));
    assert_eq!(identity.me(&ana.token).await.unwrap().etag, etag, "nobody sees a difference");
    identity.log_in(&ana.email).await;

    identity.store_hash(&weak).await;
    identity.open_session(&ana, "").await;
    assert!(identity.stored_hash().await.starts_with(TODAY));
    let recorded = "SELECT count(*) FROM identity.audit_events
         WHERE action = 'employee.strengthen_password_hash'";
    assert_eq!(identity.rows::<(i64,)>(recorded).await, [(2,)]);

    // What costs more than today is left as it is.
    let strong = hash_of(20_000, 3);
    identity.store_hash(&strong).await;
    identity.log_in(&ana.email).await;
    assert_eq!(identity.stored_hash().await, strong);
}

/// Security checklist 8: of several at once none is turned away, and none undoes another's.
#[tokio::test]
async fn many_logins_at_once_strengthen_a_hash_once() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.store_hash(&hash_of(4_096, 1)).await;
    let logins = (0..12).map(|_| {
        let mut auth = identity.auth();
        tokio::spawn(async move { auth.login(login("ana@example.com", PASSWORD)).await })
    });
    for login in logins.collect::<Vec<_>>() {
        assert_eq!(login.await.unwrap().unwrap().into_inner().token, ana.token);
    }
    let recorded = "SELECT count(*) FROM identity.audit_events
         WHERE action = 'employee.strengthen_password_hash'";
    assert_eq!(identity.rows::<(i64,)>(recorded).await, [(1,)]);
    identity.log_in(&ana.email).await;
}

/// Security checklist 8: a password that is replaced between the log-in and the stronger hash of
/// the old one stays replaced.
#[tokio::test]
async fn a_stronger_hash_never_brings_an_old_password_back() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.store_hash(&hash_of(4_096, 1)).await;
    // The log-in shares the row with this; the stronger hash has to wait for it.
    let share = "SELECT 1 FROM identity.employees FOR SHARE";
    let replaced = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$replaced";
    let change = format!("UPDATE identity.employees SET password_hash = '{replaced}'");
    let mut auth = identity.auth();
    let logged_in = auth.login(login(&ana.email, PASSWORD));
    let answer = identity.overtaken_behind(share, &change, logged_in).await;
    assert_eq!(answer.unwrap().into_inner().token, ana.token);
    assert_eq!(identity.stored_hash().await, replaced);
    let recorded = "SELECT count(*) FROM identity.audit_events
         WHERE action = 'employee.strengthen_password_hash'";
    assert_eq!(identity.rows::<(i64,)>(recorded).await, [(0,)]);
}
