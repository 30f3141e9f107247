//! Sessions on devices, and the tokens that go with them.

use crate::support::{
    Identity, PASSWORD, Person, bearing, create_employee, issue_tokens, renamed, signed,
    with_checksum,
};
use proto::{
    common::v1::{ErrorReason, Permission, Role},
    identity::v1::{self as pb, actor::Kind, revoke_all_sessions_request::Target},
};
use service_kit::testing::refusal::refusal;
use std::{collections::BTreeSet, time::Duration};
use tonic::{Code, Request, Status};

const STATEMENTS: &str = "rpc_statements_total{service=\"identity-service\",method=\"identity.v1.AuthService/IssueTokens\"}";

pub fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    refusal(answer).reason
}

impl Identity {
    /// Moves the columns of all sessions back in time.
    async fn long_ago(&self, columns: &[&str], interval: &str) {
        let moved: Vec<_> = columns
            .iter()
            .map(|column| format!("{column} = {column} - interval '{interval}'"))
            .collect();
        self.database.execute(&format!("UPDATE identity.sessions SET {}", moved.join(", "))).await;
    }

    pub async fn is_taken(&self, credential: &str) -> bool {
        self.me(credential).await.is_ok()
    }

    /// The actions that the audit knows, and how often.
    pub async fn audited(&self, action: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM identity.audit_events WHERE action = $1")
            .bind(action)
            .fetch_one(&self.database.owner)
            .await
            .unwrap()
    }

    pub async fn revoke_all(&self, by: &Person, target: Option<Target>) -> Result<i64, Status> {
        let request = pb::RevokeAllSessionsRequest { target };
        let answer = self.auth().revoke_all_sessions(signed(by, request)).await?;
        Ok(answer.into_inner().revoked_count)
    }

    pub async fn revoke(&self, credential: &str, id: i64) -> Result<(), Status> {
        let request = bearing(credential, pb::RevokeSessionRequest { id });
        self.auth().revoke_session(request).await.map(drop)
    }
}

/// Security checklist 18 and 24.
#[tokio::test]
async fn an_access_token_calls_and_is_validated_like_an_employee_token_but_ends() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let session = identity.open_session(&ana, "Ana's phone").await;
    assert_eq!(session.employee.clone().unwrap().id, ana.id);

    let mut request = Request::new(pb::GetMeRequest {});
    let header = format!("Bearer {}", session.access_token);
    request.metadata_mut().insert("authorization", header.parse().unwrap());
    let me = identity.auth().get_me(request).await.unwrap().into_inner().employee;
    assert_eq!(me, session.employee);

    let found = identity.validated(&session.access_token).await;
    assert_eq!(found.actor.unwrap().kind, Some(Kind::EmployeeId(ana.id)));
    assert_eq!((found.account_id, found.role), (ana.account_id, Role::SuperAdmin.into()));
    assert!(found.permissions.contains(&Permission::ManageApiKeys.into()));
    assert_eq!(found.expire_time, session.access_expire_time);
    assert_eq!(identity.validated(&ana.token).await.expire_time, None);

    let (access, refresh) =
        (session.access_expire_time.unwrap(), session.refresh_expire_time.unwrap());
    assert!(access.seconds < refresh.seconds);
    let again = identity.open_session(&ana, "").await;
    assert_ne!(again.access_token, session.access_token);
    assert_ne!(again.refresh_token, session.refresh_token);
    // Also within one second.
    let (mut access, mut refresh) = (BTreeSet::new(), again.refresh_token);
    for _ in 0..5 {
        let pair = identity.refresh(&refresh).await.unwrap();
        access.insert(pair.access_token);
        refresh = pair.refresh_token;
    }
    assert_eq!(access.len(), 5);
}

/// Security checklist 23: 15 minutes, then 30 days unless it is refreshed.
#[tokio::test]
async fn a_pair_is_good_for_as_long_as_the_contract_says() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let now = || service_kit::clock::now().timestamp();
    let earliest = now();
    let session = identity.open_session(&ana, "").await;
    let pair = identity.refresh(&session.refresh_token).await.unwrap();
    let latest = now() + 1;
    for (access, refresh) in [
        (session.access_expire_time, session.refresh_expire_time),
        (pair.access_expire_time, pair.refresh_expire_time),
    ] {
        for (end, minutes) in [(access, 15), (refresh, 30 * 24 * 60)] {
            let life = end.unwrap().seconds - minutes * 60;
            assert!((earliest..=latest).contains(&life), "{minutes} minutes");
        }
    }
}

/// Security checklist 1: as at a log-in.
#[tokio::test]
async fn nobody_gets_a_session_with_anything_wrong_and_it_reads_and_costs_the_same() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    for name in ["idle", "gone"] {
        let request = create_employee(name, Role::Employee);
        identity.employees().create_employee(signed(&ana, request)).await.unwrap();
    }
    let mut without = create_employee("without", Role::Employee);
    without.password = String::new();
    identity.employees().create_employee(signed(&ana, without)).await.unwrap();
    identity
        .database
        .execute(
            "UPDATE identity.employees SET is_active = false WHERE email = 'idle@example.com';
             UPDATE identity.employees SET delete_time = now() WHERE email = 'gone@example.com'",
        )
        .await;
    let mut seen = Vec::new();
    for (email, password) in [
        ("nobody@example.com", PASSWORD),
        ("nobody", PASSWORD),
        ("ana@example.com", "wrong horse battery"),
        ("ana@example.com", ""),
        ("idle@example.com", PASSWORD),
        ("gone@example.com", PASSWORD),
        ("without@example.com", PASSWORD),
        ("without@example.com", ""),
        ("", ""),
    ] {
        let hashes = identity.figure("password_hashes_total").await;
        let statements = identity.figure(STATEMENTS).await;
        let before = identity.digest().await;
        let refused =
            refusal(identity.auth().issue_tokens(issue_tokens(email, password, "a phone")).await);
        assert_eq!(refused.said(), (Code::Unauthenticated, "INVALID_CREDENTIALS"), "{email}");
        assert_eq!(refused.message, "Invalid credentials");
        assert_eq!(identity.figure("password_hashes_total").await - hashes, 1, "{email}");
        assert_eq!(identity.figure(STATEMENTS).await - statements, 1, "{email}");
        assert_eq!(identity.digest().await, before, "{email}: nothing written");
        seen.push(refused);
    }
    assert!(seen.iter().all(|refused| refused == &seen[0]), "{seen:#?}");
}

#[tokio::test]
async fn a_label_is_bounded() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let request = issue_tokens(&ana.email, PASSWORD, &"x".repeat(101));
    let refused = refusal(identity.auth().issue_tokens(request).await);
    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(refused.fields, ["device_label"]);
    identity.open_session(&ana, &"é".repeat(100)).await;
}

/// Security checklist 18 and 22.
#[tokio::test]
async fn refreshing_gives_a_new_pair_of_which_the_old_token_knows_for_a_moment() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let first = identity.open_session(&ana, "").await;
    let second = identity.refresh(&first.refresh_token).await.unwrap();
    assert_ne!(second.refresh_token, first.refresh_token);
    assert!(identity.is_taken(&second.access_token).await);
    assert!(identity.is_taken(&first.access_token).await, "it was not taken back");

    let repeated = identity.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(repeated.refresh_token, second.refresh_token);
    let third = identity.refresh(&repeated.refresh_token).await.unwrap();
    assert_ne!(third.refresh_token, second.refresh_token);
    assert_eq!(identity.sessions(&ana.token).await.len(), 1);
}

/// Security checklist 22: two tabs of a browser.
#[tokio::test]
async fn many_refreshes_at_once_make_one_live_chain() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut token = identity.open_session(&ana, "").await.refresh_token;
    for _ in 0..3 {
        let refreshes = (0..8).map(|_| {
            let (mut auth, refresh_token) = (identity.auth(), token.clone());
            tokio::spawn(async move {
                let request = pb::RefreshTokensRequest { refresh_token };
                auth.refresh_tokens(request).await.unwrap().into_inner()
            })
        });
        let mut next = BTreeSet::new();
        for refresh in refreshes.collect::<Vec<_>>() {
            let pair = refresh.await.unwrap();
            assert!(identity.is_taken(&pair.access_token).await);
            next.insert(pair.refresh_token);
        }
        assert_eq!(next.len(), 1, "all get the same successor");
        token = next.pop_first().unwrap();
    }
    assert_eq!(identity.audited("session.replay").await, 0);
}

/// Security checklist 22: somebody has a token that was used up long ago.
#[tokio::test]
async fn a_used_token_shown_after_the_grace_ends_the_session_for_everybody() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let other = identity.open_session(&ana, "another device").await;
    let first = identity.open_session(&ana, "").await;
    let second = identity.refresh(&first.refresh_token).await.unwrap();
    identity.long_ago(&["last_seen_time"], "11 seconds").await;

    assert_eq!(reason(identity.refresh(&first.refresh_token).await), "TOKEN_REVOKED");
    for refresh_token in [&first.refresh_token, &second.refresh_token] {
        assert_eq!(reason(identity.refresh(refresh_token).await), "TOKEN_REVOKED");
    }
    for access_token in [&first.access_token, &second.access_token] {
        assert_eq!(reason(identity.me(access_token).await), "TOKEN_REVOKED");
        assert_eq!(identity.not_validated(access_token).await, ErrorReason::TokenRevoked);
    }
    assert_eq!(identity.audited("session.replay").await, 1);
    assert!(identity.is_taken(&other.access_token).await, "the other session is none of it");
    assert!(identity.is_taken(&ana.token).await);
}

#[tokio::test]
async fn a_token_two_generations_old_has_no_grace() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let first = identity.open_session(&ana, "").await;
    let second = identity.refresh(&first.refresh_token).await.unwrap();
    let third = identity.refresh(&second.refresh_token).await.unwrap();
    assert_eq!(reason(identity.refresh(&first.refresh_token).await), "TOKEN_REVOKED");
    assert_eq!(reason(identity.refresh(&third.refresh_token).await), "TOKEN_REVOKED");
}

/// A secret with another letter in the part that proves it, and the checksum that goes with it.
pub fn forged(secret: &str) -> String {
    let (body, _) = secret.rsplit_once('_').unwrap();
    let (kept, last) = body.split_at(body.len() - 1);
    with_checksum(&format!("{kept}{}", if last == "0" { "1" } else { "0" }))
}

/// Security checklist 16, 17 and 25.
#[tokio::test]
async fn what_is_no_refresh_token_of_ours_refreshes_nothing_and_ends_nothing() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let session = identity.open_session(&ana, "").await;
    let key = identity.api_key(&ana, &[]).await;
    let before = identity.digest().await;
    let good = session.refresh_token.as_str();
    for (what, token) in [
        ("a forged one", forged(good).as_str()),
        ("a truncated one", &good[..good.len() - 1]),
        ("one with more behind", &format!("{good}0")),
        ("one with a blank", &format!(" {good}")),
        ("one in another case", &good.to_uppercase()),
        ("an access token", &session.access_token),
        ("an employee token", &ana.token),
        ("an API key", &key),
        ("an API key by another name", &renamed(&key, "clr_")),
        ("nothing", ""),
        ("a long one", &"x".repeat(10_000)),
        ("a NUL", "\0"),
    ] {
        let refused = refusal(identity.refresh(token).await);
        assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_INVALID"), "{what}");
    }
    assert_eq!(identity.digest().await, before);
    identity.refresh(good).await.unwrap();
}

/// Security checklist 25.
#[tokio::test]
async fn a_refresh_token_calls_nothing() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let refresh_token = identity.open_session(&ana, "").await.refresh_token;
    for token in [&refresh_token, &renamed(&refresh_token, "clk_")] {
        assert_eq!(reason(identity.me(token).await), "TOKEN_INVALID");
        assert_eq!(identity.not_validated(token).await, ErrorReason::TokenInvalid);
    }
    let log_out = bearing(&refresh_token, pb::LogoutRequest {});
    assert_eq!(reason(identity.auth().logout(log_out).await), "TOKEN_INVALID");
    identity.refresh(&refresh_token).await.unwrap();
}

/// Security checklist 23.
#[tokio::test]
async fn a_session_ends_when_nobody_refreshes_it() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let session = identity.open_session(&ana, "").await;
    identity.long_ago(&["idle_time"], "29 days").await;
    let session = identity.refresh(&session.refresh_token).await.unwrap();
    identity.long_ago(&["idle_time"], "29 days").await;
    let session = identity.refresh(&session.refresh_token).await.unwrap();
    identity.long_ago(&["idle_time"], "30 days").await;
    let refused = refusal(identity.refresh(&session.refresh_token).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_EXPIRED"));
    assert_eq!(reason(identity.me(&session.access_token).await), "TOKEN_EXPIRED");
    let said = identity.not_validated(&session.access_token).await;
    assert_eq!(said, ErrorReason::TokenExpired);
    assert_eq!(identity.sessions(&ana.token).await, []);
}

/// Security checklist 23.
#[tokio::test]
async fn a_session_ends_however_often_it_is_refreshed() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let session = identity.open_session(&ana, "").await;
    identity.long_ago(&["expire_time"], "179 days 23 hours 55 minutes").await;
    let session = identity.refresh(&session.refresh_token).await.unwrap();
    let [shown] = identity.sessions(&ana.token).await.try_into().unwrap();
    assert_eq!(
        session.refresh_expire_time, shown.expire_time,
        "the absolute end, not the idle one"
    );
    let found = identity.validated(&session.access_token).await;
    assert_eq!(found.expire_time, shown.expire_time, "before the access token's own end");
    identity.long_ago(&["expire_time"], "5 minutes").await;
    assert_eq!(reason(identity.refresh(&session.refresh_token).await), "TOKEN_EXPIRED");
    assert_eq!(reason(identity.me(&session.access_token).await), "TOKEN_EXPIRED");
}

#[tokio::test]
async fn without_rotation_a_refresh_token_keeps_its_worth() {
    let identity = Identity::set_up(|settings| settings.sessions.rotation = false).await;
    let ana = identity.sign_up("ana").await;
    let token = identity.open_session(&ana, "").await.refresh_token;
    for _ in 0..3 {
        let pair = identity.refresh(&token).await.unwrap();
        assert_eq!(pair.refresh_token, token);
        assert!(identity.is_taken(&pair.access_token).await);
        identity.long_ago(&["last_seen_time"], "1 hour").await;
    }
    let [session] = identity.sessions(&ana.token).await.try_into().unwrap();
    identity.revoke(&ana.token, session.id).await.unwrap();
    assert_eq!(reason(identity.refresh(&token).await), "TOKEN_REVOKED");
}

#[tokio::test]
async fn an_access_token_whose_time_is_over_calls_nothing_but_still_logs_out() {
    let identity = Identity::set_up(|settings| {
        settings.sessions.access_token = Duration::from_secs(1);
    })
    .await;
    let ana = identity.sign_up("ana").await;
    let session = identity.open_session(&ana, "").await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(reason(identity.me(&session.access_token).await), "TOKEN_EXPIRED");
    let said = identity.not_validated(&session.access_token).await;
    assert_eq!(said, ErrorReason::TokenExpired);
    let pair = identity.refresh(&session.refresh_token).await.unwrap();
    let log_out = bearing(&session.access_token, pb::LogoutRequest {});
    identity.auth().logout(log_out).await.unwrap();
    assert_eq!(reason(identity.refresh(&pair.refresh_token).await), "TOKEN_REVOKED");
    assert!(identity.is_taken(&ana.token).await);
}

const MOST_SESSIONS: usize = 100;

/// Nobody has sessions without end, and what is ended to make room is dead like any other.
#[tokio::test]
async fn one_session_too_many_ends_the_oldest() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let oldest = identity.open_session(&ana, "the oldest").await;
    let of_bob = identity.open_session(&bob, "").await;
    let copies = |number: usize, idle: &str| {
        format!(
            "INSERT INTO identity.sessions (account_id, employee_id, device_label, network, nonce,
                 create_time, last_seen_time, idle_time, expire_time)
             SELECT account_id, employee_id, '', '', nonce, create_time, last_seen_time, {idle},
                 expire_time
             FROM identity.sessions, generate_series(1, {number})
             WHERE device_label = 'the oldest'"
        )
    };
    // Those that are over do not count.
    identity.database.execute(&copies(30, "now() - interval '1 minute'")).await;
    identity.database.execute(&copies(MOST_SESSIONS - 2, "idle_time")).await;
    identity.open_session(&ana, "the last that there is room for").await;
    assert!(identity.is_taken(&oldest.access_token).await);
    assert_eq!(identity.sessions(&ana.token).await.len(), MOST_SESSIONS);

    let head = "SELECT max(number) FROM identity.revocations WHERE kind = 'session'";
    assert_eq!(identity.rows::<(Option<i64>,)>(head).await, [(None,)]);
    let newest = identity.open_session(&ana, "one more").await;
    assert_eq!(reason(identity.me(&oldest.access_token).await), "TOKEN_REVOKED");
    assert_eq!(reason(identity.refresh(&oldest.refresh_token).await), "TOKEN_REVOKED");
    assert_eq!(identity.rows::<(Option<i64>,)>(head).await.len(), 1);
    assert!(identity.rows::<(Option<i64>,)>(head).await[0].0.is_some(), "others are told");
    let recorded = "SELECT count(*) FROM identity.audit_events
         WHERE action = 'session.open' AND jsonb_array_length(details->'sessions_ended') = 1";
    assert_eq!(identity.rows::<(i64,)>(recorded).await, [(1,)]);
    let left = identity.sessions(&ana.token).await;
    assert_eq!((left.len(), left[0].device_label.as_str()), (MOST_SESSIONS, "one more"));
    assert!(identity.is_taken(&newest.access_token).await);
    assert!(identity.is_taken(&of_bob.access_token).await, "nobody else's");
}

/// Whoever knows no more than the number of a session neither waits for it nor learns that it
/// was ended.
#[tokio::test]
async fn a_forged_refresh_token_locks_nothing_and_learns_nothing() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let session = identity.open_session(&ana, "").await;
    let forged = forged(&session.refresh_token);
    let mut busy = identity.database.owner.begin().await.unwrap();
    sqlx::query("SELECT id FROM identity.sessions FOR UPDATE").execute(&mut *busy).await.unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(2), identity.refresh(&forged)).await;
    assert_eq!(reason(answered.expect("it waits for no lock")), "TOKEN_INVALID");
    busy.rollback().await.unwrap();

    let [shown] = identity.sessions(&ana.token).await.try_into().unwrap();
    identity.revoke(&ana.token, shown.id).await.unwrap();
    assert_eq!(reason(identity.refresh(&session.refresh_token).await), "TOKEN_REVOKED");
    assert_eq!(reason(identity.refresh(&forged).await), "TOKEN_INVALID");
}
