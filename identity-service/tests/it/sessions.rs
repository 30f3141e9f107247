//! Sessions on devices, and the tokens that go with them.

use std::{collections::BTreeSet, time::Duration};

use proto::{
    common::v1::{ErrorReason, Permission, Role},
    identity::v1::{self as pb, actor::Kind, revoke_all_sessions_request::Target},
};
use service_kit::{
    keys::Keyring,
    testing::refusal::{Refusal, refusal},
};
use tonic::{Code, Request, Status};

use crate::support::{
    Identity, PASSWORD, Person, bearing, code_in, coming_from, create_api_key, create_employee,
    is_nowhere_in, issue_tokens, old_and_new, renamed, signed, with_checksum,
};

const STATEMENTS: &str = "rpc_statements_total{service=\"identity-service\",method=\"identity.v1.AuthService/IssueTokens\"}";

fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
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

    async fn is_taken(&self, credential: &str) -> bool {
        self.me(credential).await.is_ok()
    }

    /// The actions that the audit knows, and how often.
    async fn audited(&self, action: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM identity.audit_events WHERE action = $1")
            .bind(action)
            .fetch_one(&self.database.owner)
            .await
            .unwrap()
    }

    async fn revoke_all(&self, by: &Person, target: Option<Target>) -> Result<i64, Status> {
        let request = pb::RevokeAllSessionsRequest { target };
        let answer = self.auth().revoke_all_sessions(signed(by, request)).await?;
        Ok(answer.into_inner().revoked_count)
    }

    async fn revoke(&self, credential: &str, id: i64) -> Result<(), Status> {
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
fn forged(secret: &str) -> String {
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

/// Security checklist 26.
#[tokio::test]
async fn people_see_their_own_sessions_and_nobody_elses() {
    let identity = Identity::with_limits().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let request = issue_tokens(&ana.email, PASSWORD, "Ana's phone");
    let request = coming_from("203.0.113.77", request);
    let phone = identity.auth().issue_tokens(request).await.unwrap().into_inner();
    let laptop = identity.open_session(&ana, "").await;
    identity.open_session(&bob, "Bob's phone").await;

    let sessions = identity.sessions(&phone.access_token).await;
    let shown: Vec<_> = sessions
        .iter()
        .map(|one| (one.device_label.as_str(), one.network.as_str(), one.is_current))
        .collect();
    assert_eq!(shown, [("", "127.0.0.0/24", false), ("Ana's phone", "203.0.113.0/24", true)]);
    assert_eq!(sessions[0].expire_time, laptop.refresh_expire_time);
    assert_eq!(sessions[1].create_time, sessions[1].last_seen_time);

    let pair = identity.refresh(&phone.refresh_token).await.unwrap();
    let after = identity.sessions(&pair.access_token).await;
    assert!(after[1].is_current && after[1].id == sessions[1].id);
    assert!(after[1].last_seen_time != sessions[1].last_seen_time);
    assert_eq!(after[1].create_time, sessions[1].create_time);
    let by_employee_token = identity.sessions(&ana.token).await;
    assert!(by_employee_token.iter().all(|session| !session.is_current));
    let [of_bob] = identity.sessions(&bob.token).await.try_into().unwrap();
    assert_eq!(of_bob.device_label, "Bob's phone");
}

/// Security checklist 19, 26 and 35.
#[tokio::test]
async fn one_session_is_ended_by_its_owner_alone() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let carol = identity.sign_up("carol").await;
    let session = identity.open_session(&ana, "").await;
    let kept = identity.open_session(&ana, "").await;
    let id = identity.sessions(&session.access_token).await[1].id;

    let before = identity.digest().await;
    let mut answers = Vec::new();
    for (by, id) in [(&bob, id), (&carol, id), (&bob, 999_999), (&carol, 999_999)] {
        let refused = refusal(identity.revoke(&by.token, id).await);
        assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
        answers.push(refused);
    }
    assert!(answers.iter().all(|refused| refused == &answers[0]), "{answers:#?}");
    let refused = refusal(identity.revoke(&ana.token, 0).await);
    assert_eq!((refused.code, refused.fields), (Code::InvalidArgument, vec!["id".to_owned()]));
    assert_eq!(identity.digest().await, before);

    identity.revoke(&kept.access_token, id).await.unwrap();
    assert_eq!(reason(identity.me(&session.access_token).await), "TOKEN_REVOKED");
    assert_eq!(reason(identity.refresh(&session.refresh_token).await), "TOKEN_REVOKED");
    assert!(identity.is_taken(&kept.access_token).await && identity.is_taken(&ana.token).await);
    assert_eq!(reason(identity.revoke(&kept.access_token, id).await), "NOT_FOUND");
    let own = identity.sessions(&kept.access_token).await[0].id;
    identity.revoke(&kept.access_token, own).await.unwrap();
    assert_eq!(reason(identity.me(&kept.access_token).await), "TOKEN_REVOKED");
    assert_eq!(identity.audited("session.revoke").await, 2);
}

/// Security checklist 19.
#[tokio::test]
async fn ending_the_others_leaves_the_credential_one_calls_with() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let [one, two, calling] = [
        identity.open_session(&ana, "one").await,
        identity.open_session(&ana, "two").await,
        identity.open_session(&ana, "calling").await,
    ];
    let of_bob = identity.open_session(&bob, "").await;
    let request = || pb::RevokeOtherSessionsRequest {};
    let from_session = bearing(&calling.access_token, request());
    let answer = identity.auth().revoke_other_sessions(from_session).await.unwrap().into_inner();
    assert_eq!(answer.revoked_count, 3, "two sessions and the employee token");
    for ended in [&one.access_token, &two.access_token, &ana.token] {
        assert_eq!(reason(identity.me(ended).await), "TOKEN_REVOKED");
    }
    assert!(identity.is_taken(&calling.access_token).await);
    identity.refresh(&calling.refresh_token).await.unwrap();

    let ana = identity.log_in(&ana.email).await;
    let answer = identity.auth().revoke_other_sessions(signed(&ana, request())).await.unwrap();
    assert_eq!(answer.into_inner().revoked_count, 1);
    assert_eq!(reason(identity.me(&calling.access_token).await), "TOKEN_REVOKED");
    assert!(identity.is_taken(&ana.token).await);
    let answer = identity.auth().revoke_other_sessions(signed(&ana, request())).await.unwrap();
    assert_eq!(answer.into_inner().revoked_count, 0);
    assert!(identity.is_taken(&of_bob.access_token).await && identity.is_taken(&bob.token).await);
}

/// Security checklist 26 and 30: of oneself.
#[tokio::test]
async fn ending_all_ends_the_credential_one_calls_with_too() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let sessions = [identity.open_session(&bob, "").await, identity.open_session(&bob, "").await];
    assert_eq!(identity.revoke_all(&bob, None).await.unwrap(), 3);
    assert_eq!(reason(identity.me(&bob.token).await), "TOKEN_REVOKED");
    for session in &sessions {
        assert_eq!(reason(identity.me(&session.access_token).await), "TOKEN_REVOKED");
        assert_eq!(reason(identity.refresh(&session.refresh_token).await), "TOKEN_REVOKED");
    }
    assert!(identity.is_taken(&ana.token).await);
    let bob = identity.log_in(&bob.email).await;
    assert_eq!(identity.revoke_all(&bob, Some(Target::EmployeeId(bob.id))).await.unwrap(), 1);
}

/// Security checklist 26, 30 and 35: of others.
#[tokio::test]
async fn whoever_manages_somebody_may_end_all_they_are_signed_in_with() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let admin = identity.add(&ana, "admin", Role::Admin).await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let carol = identity.sign_up("carol").await;
    let session = identity.open_session(&bob, "").await;
    let of = |person: &Person| Some(Target::EmployeeId(person.id));

    let before = identity.digest().await;
    for (by, target, said) in [
        (&bob, of(&admin), (Code::PermissionDenied, "ROLE_REQUIRED")),
        (&bob, of(&ana), (Code::PermissionDenied, "ROLE_REQUIRED")),
        (&admin, of(&ana), (Code::PermissionDenied, "RANK_TOO_LOW")),
        (&ana, of(&carol), (Code::NotFound, "NOT_FOUND")),
        (&carol, of(&bob), (Code::NotFound, "NOT_FOUND")),
        (&ana, Some(Target::EmployeeId(999_999)), (Code::NotFound, "NOT_FOUND")),
        (&bob, Some(Target::WholeAccount(true)), (Code::PermissionDenied, "ROLE_REQUIRED")),
        (&admin, Some(Target::WholeAccount(true)), (Code::PermissionDenied, "ROLE_REQUIRED")),
    ] {
        let refused = refusal(identity.revoke_all(by, target).await);
        assert_eq!(refused.said(), said, "{} {target:?}", by.email);
    }
    let refused = refusal(identity.revoke_all(&ana, Some(Target::WholeAccount(false))).await);
    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(refused.fields, ["whole_account"]);
    let refused = refusal(identity.revoke_all(&ana, Some(Target::EmployeeId(0))).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    assert_eq!(refused.fields, ["employee_id"]);
    assert_eq!(identity.digest().await, before);

    assert_eq!(identity.revoke_all(&admin, of(&bob)).await.unwrap(), 2);
    for ended in [&bob.token, &session.access_token] {
        assert_eq!(reason(identity.me(ended).await), "TOKEN_REVOKED");
    }
    assert!(identity.is_taken(&admin.token).await);
    assert_eq!(identity.revoke_all(&admin, of(&bob)).await.unwrap(), 0);
}

/// Security checklist 26: of everyone.
#[tokio::test]
async fn a_super_admin_may_sign_the_whole_account_out() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let carol = identity.sign_up("carol").await;
    let session = identity.open_session(&bob, "").await;
    let of_carol = identity.open_session(&carol, "").await;
    let key = identity.api_key(&ana, &[]).await;
    let ended = identity.revoke_all(&ana, Some(Target::WholeAccount(true))).await.unwrap();
    assert_eq!(ended, 3, "two tokens and a session");
    for ended in [&ana.token, &bob.token, &session.access_token] {
        assert_eq!(reason(identity.me(ended).await), "TOKEN_REVOKED");
    }
    for kept in [&carol.token, &of_carol.access_token] {
        assert!(identity.is_taken(kept).await);
    }
    identity.validated(&key).await;
}

/// Security checklist 19.
#[tokio::test]
async fn logging_out_with_an_access_token_ends_its_session_and_no_other() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let session = identity.open_session(&ana, "").await;
    let other = identity.open_session(&ana, "").await;
    let log_out = || bearing(&session.access_token, pb::LogoutRequest {});
    identity.auth().logout(log_out()).await.unwrap();
    assert_eq!(reason(identity.me(&session.access_token).await), "TOKEN_REVOKED");
    assert_eq!(reason(identity.refresh(&session.refresh_token).await), "TOKEN_REVOKED");
    assert!(identity.is_taken(&other.access_token).await && identity.is_taken(&ana.token).await);
    identity.auth().logout(log_out()).await.unwrap();
    assert_eq!(identity.audited("session.log_out").await, 1, "a repeat does nothing");
    identity.auth().logout(signed(&ana, pb::LogoutRequest {})).await.unwrap();
    assert!(identity.is_taken(&other.access_token).await);
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

/// Security checklist 19: the next call knows.
#[tokio::test]
async fn what_happens_to_a_person_is_seen_at_the_next_call_of_the_same_access_token() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let session = identity.open_session(&bob, "").await;
    let token = session.access_token.as_str();

    identity.set_role(&ana, bob.id, Role::Admin).await.unwrap();
    assert_eq!(identity.validated(token).await.role, i32::from(Role::Admin));
    identity.set_role(&ana, bob.id, Role::Employee).await.unwrap();
    assert_eq!(identity.validated(token).await.permissions, Vec::<i32>::new());
    identity.grant(&ana, bob.id, &[Permission::ViewPayments]).await.unwrap();
    let found = identity.validated(token).await;
    assert_eq!(found.permissions, [i32::from(Permission::ViewPayments)]);

    identity.set_active(&ana, bob.id, false).await.unwrap();
    assert_eq!(reason(identity.me(token).await), "EMPLOYEE_INACTIVE");
    assert_eq!(identity.not_validated(token).await, ErrorReason::EmployeeInactive);
    assert_eq!(reason(identity.refresh(&session.refresh_token).await), "EMPLOYEE_INACTIVE");
    identity.set_active(&ana, bob.id, true).await.unwrap();
    assert!(identity.is_taken(token).await);

    identity.delete(&ana, bob.id).await.unwrap();
    assert_eq!(reason(identity.me(token).await), "TOKEN_REVOKED");
    assert_eq!(reason(identity.refresh(&session.refresh_token).await), "TOKEN_REVOKED");
}

/// Closing signs everyone out; the super admin's new session is good for reopening.
#[tokio::test]
async fn in_a_closed_account_a_session_opens_it_again_and_does_nothing_else() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Admin).await;
    let before = identity.open_session(&ana, "").await;
    let close = signed(&ana, pb::CloseAccountRequest::default());
    identity.accounts().close_account(close).await.unwrap();
    assert_eq!(reason(identity.me(&before.access_token).await), "TOKEN_REVOKED");
    let refused =
        refusal(identity.auth().issue_tokens(issue_tokens(&bob.email, PASSWORD, "")).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "ACCOUNT_CLOSED"));

    let session = identity.open_session(&ana, "").await;
    assert_eq!(reason(identity.refresh(&session.refresh_token).await), "ACCOUNT_CLOSED");
    let token = session.access_token.as_str();
    assert!(identity.is_taken(token).await);
    assert_eq!(identity.not_validated(token).await, ErrorReason::AccountClosed);
    let list = identity.auth().list_sessions(bearing(token, pb::ListSessionsRequest {})).await;
    assert_eq!(reason(list), "ACCOUNT_CLOSED");
    let reopen = bearing(token, pb::ReopenAccountRequest::default());
    identity.accounts().reopen_account(reopen).await.unwrap();
    identity.validated(token).await;
    assert_eq!(identity.sessions(token).await.len(), 1);
    identity.refresh(&session.refresh_token).await.unwrap();
}

/// Security checklist 21.
#[tokio::test]
async fn emptying_any_table_of_credentials_only_logs_people_out() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let live = identity.open_session(&ana, "").await;
    let ended = identity.open_session(&ana, "").await;
    let key = identity.api_key(&ana, &[Permission::ManageEmployees]).await;
    identity.auth().logout(bearing(&ended.access_token, pb::LogoutRequest {})).await.unwrap();

    identity.database.execute("TRUNCATE identity.revoked_sessions").await;
    assert_eq!(reason(identity.me(&ended.access_token).await), "TOKEN_INVALID");
    assert_eq!(reason(identity.refresh(&ended.refresh_token).await), "TOKEN_INVALID");
    assert!(identity.is_taken(&live.access_token).await);
    identity.database.execute("TRUNCATE identity.sessions").await;
    assert_eq!(reason(identity.me(&live.access_token).await), "TOKEN_INVALID");
    assert_eq!(reason(identity.refresh(&live.refresh_token).await), "TOKEN_INVALID");
    identity.database.execute("TRUNCATE identity.api_keys").await;
    assert_eq!(identity.not_validated(&key).await, ErrorReason::TokenInvalid);
    assert!(identity.is_taken(&ana.token).await);
}

/// Security checklist 13 and 16.
#[tokio::test]
async fn nothing_that_was_issued_is_found_in_the_database() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let session = identity.open_session(&ana, "").await;
    let pair = identity.refresh(&session.refresh_token).await.unwrap();
    let mut request = create_api_key(&[]);
    request.request_id = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f".to_owned();
    let key = identity.api_keys().create_api_key(signed(&ana, request)).await.unwrap();
    let key = key.into_inner().secret;
    let changed = pb::ChangePasswordRequest {
        old_password: PASSWORD.to_owned(),
        new_password: "another horse battery".to_owned(),
    };
    let changed = bearing(&pair.access_token, changed);
    let changed = identity.auth().change_password(changed).await.unwrap().into_inner();

    let invitation = Some(pb::Invitation { email: "bob@example.com".into(), ..Default::default() });
    let invite = pb::InviteEmployeeRequest { invitation, ..Default::default() };
    let invite = bearing(&changed.token, invite);
    identity.employees().invite_employee(invite).await.unwrap();
    let ask = pb::RequestPasswordResetRequest { email: ana.email.clone(), ..Default::default() };
    identity.auth().request_password_reset(ask).await.unwrap();
    let letters = [
        identity.letter(&ana.email, "Confirm your e-mail").await,
        identity.letter(&ana.email, "Choose a new password").await,
        identity.letter("bob@example.com", "Invitation").await,
    ];
    let [verify, reset, join] = letters.each_ref().map(|letter| code_in(letter));

    let dump = identity.database.dump().await;
    assert!(dump.contains("ana@example.com") && dump.contains("robot"), "what is no secret is");
    assert!(!is_nowhere_in(&dump, "ana@example.com"), "and would be found");
    for issued in [
        PASSWORD,
        "another horse battery",
        &ana.token,
        &changed.token,
        &session.access_token,
        &session.refresh_token,
        &pair.access_token,
        &pair.refresh_token,
        &key,
        verify,
        reset,
        join,
    ] {
        assert!(is_nowhere_in(&dump, issued), "{issued}");
    }
}

/// Security checklist 24.
#[tokio::test]
async fn tokens_of_another_installation_are_worth_nothing_here() {
    let here = Identity::start().await;
    let there = Identity::start().await;
    // The same ids in both.
    let ana = here.sign_up("ana").await;
    let eve = there.sign_up("ana").await;
    assert_eq!((ana.id, ana.account_id), (eve.id, eve.account_id));
    here.open_session(&ana, "").await;
    let forged = there.open_session(&eve, "").await;
    assert_eq!(reason(here.me(&forged.access_token).await), "TOKEN_INVALID");
    assert_eq!(here.not_validated(&forged.access_token).await, ErrorReason::TokenInvalid);
    assert_eq!(reason(here.refresh(&forged.refresh_token).await), "TOKEN_INVALID");
    let logout = here.auth().logout(bearing(&forged.access_token, pb::LogoutRequest {})).await;
    assert_eq!(reason(logout), "TOKEN_INVALID");
    assert_eq!(here.sessions(&ana.token).await.len(), 1);
}

/// Security checklist 19: on every replica.
#[tokio::test]
async fn two_processes_on_one_database_agree_at_every_moment() {
    let one = Identity::start().await;
    let two = one.replica().await;
    let ana = one.sign_up("ana").await;
    assert_eq!(two.log_in(&ana.email).await.token, ana.token);
    let session = one.open_session(&ana, "").await;
    assert!(two.is_taken(&session.access_token).await);
    let pair = two.refresh(&session.refresh_token).await.unwrap();
    let repeated = one.refresh(&session.refresh_token).await.unwrap();
    assert_eq!(repeated.refresh_token, pair.refresh_token);
    assert!(one.is_taken(&pair.access_token).await);
    let key = two.api_key(&ana, &[]).await;
    one.validated(&key).await;

    two.auth().logout(bearing(&pair.access_token, pb::LogoutRequest {})).await.unwrap();
    assert_eq!(reason(one.me(&session.access_token).await), "TOKEN_REVOKED");
    one.auth().logout(signed(&ana, pb::LogoutRequest {})).await.unwrap();
    assert_eq!(reason(two.me(&ana.token).await), "TOKEN_REVOKED");
}

/// Security checklist 19: on every replica, whatever kind of credential.
#[tokio::test]
async fn what_happens_to_a_person_in_one_process_holds_at_the_next_call_to_another() {
    let one = Identity::start().await;
    let two = one.replica().await;
    let ana = one.sign_up("ana").await;
    let bob = one.add(&ana, "bob", Role::SuperAdmin).await;
    let session = one.open_session(&bob, "").await;
    let key = one.api_key(&bob, &[Permission::ViewAudit, Permission::ManageRoles]).await;
    let credentials = [&bob.token, &session.access_token];
    let all = [&bob.token, &session.access_token, &key];
    let holds = |found: &pb::Identity, permission: Permission| {
        found.permissions.contains(&permission.into())
    };
    for credential in all {
        assert!(holds(&two.validated(credential).await, Permission::ViewAudit));
    }

    one.set_role(&ana, bob.id, Role::Admin).await.unwrap();
    for credential in all {
        let found = two.validated(credential).await;
        assert!(!holds(&found, Permission::ViewAudit) && holds(&found, Permission::ManageRoles));
    }
    one.grant(&ana, bob.id, &[Permission::ViewAudit]).await.unwrap();
    for credential in all {
        assert!(holds(&two.validated(credential).await, Permission::ViewAudit));
    }
    one.set_active(&ana, bob.id, false).await.unwrap();
    for credential in credentials {
        assert_eq!(reason(two.me(credential).await), "EMPLOYEE_INACTIVE");
    }
    assert_ne!(two.not_validated(&key).await, ErrorReason::Unspecified);
    one.set_active(&ana, bob.id, true).await.unwrap();
    for credential in all {
        two.validated(credential).await;
    }

    let (old_password, new_password) = (PASSWORD.into(), "another horse battery".into());
    let change = pb::ChangePasswordRequest { old_password, new_password };
    let changed = one.auth().change_password(bearing(&session.access_token, change)).await;
    let changed = changed.unwrap().into_inner().token;
    assert_eq!(reason(two.me(&bob.token).await), "TOKEN_REVOKED");
    assert!(two.is_taken(&changed).await && two.is_taken(&session.access_token).await);

    one.delete(&ana, bob.id).await.unwrap();
    for credential in [&changed, &session.access_token] {
        assert_eq!(reason(two.me(credential).await), "TOKEN_REVOKED");
    }
    assert_eq!(two.not_validated(&key).await, ErrorReason::TokenRevoked);
    assert_eq!(reason(two.refresh(&session.refresh_token).await), "TOKEN_REVOKED");
    assert!(two.is_taken(&ana.token).await);
}

/// Security checklist 24: rotation with overlap.
#[tokio::test]
async fn tokens_outlive_the_rotation_of_keys_until_their_key_is_gone() {
    let (old, new) = old_and_new();
    let before = Identity::start().await.with_keys(&old).await;
    let ana = before.sign_up("ana").await;
    let first = before.open_session(&ana, "").await;
    let kept = before.open_session(&ana, "").await;

    // In between: the old one signs, the new one is known.
    let between = before.replica_with_keys(&format!("{old},{new}")).await;
    let after = before.replica_with_keys(&format!("{new},{old}")).await;
    assert!(after.is_taken(&first.access_token).await);
    let second = after.refresh(&first.refresh_token).await.unwrap();
    assert!(after.is_taken(&second.access_token).await);
    assert!(between.is_taken(&second.access_token).await);
    assert_eq!(reason(before.me(&second.access_token).await), "TOKEN_INVALID");
    let third = between.refresh(&second.refresh_token).await.unwrap();
    let repeated = after.refresh(&second.refresh_token).await.unwrap();
    after.refresh(&repeated.refresh_token).await.unwrap();
    assert!(after.is_taken(&third.access_token).await);

    let at_last = before.replica_with_keys(&new).await;
    assert!(at_last.is_taken(&second.access_token).await);
    assert_eq!(reason(at_last.me(&kept.access_token).await), "TOKEN_INVALID");
    assert_eq!(reason(at_last.refresh(&kept.refresh_token).await), "TOKEN_INVALID");
    let stranger = before.replica_with_keys(&Keyring::generate()).await;
    assert_eq!(reason(stranger.me(&second.access_token).await), "TOKEN_INVALID");
}

/// What programs may not do, since they are nobody.
#[tokio::test]
async fn an_api_key_has_no_sessions() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let key = identity.api_key(&ana, &[]).await;
    let mut auth = identity.auth();
    let refused: Vec<Refusal> = vec![
        refusal(auth.list_sessions(bearing(&key, pb::ListSessionsRequest {})).await),
        refusal(auth.revoke_session(bearing(&key, pb::RevokeSessionRequest { id: 1 })).await),
        refusal(auth.revoke_other_sessions(bearing(&key, pb::RevokeOtherSessionsRequest {})).await),
        refusal(
            auth.revoke_all_sessions(bearing(&key, pb::RevokeAllSessionsRequest::default())).await,
        ),
    ];
    for refused in refused {
        assert_eq!(refused.said(), (Code::PermissionDenied, "EMPLOYEES_ONLY"));
    }
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

/// A person who changes their password meanwhile comes before or after, and no two wait for each
/// other.
#[tokio::test]
async fn ending_all_of_ones_own_waits_for_whoever_changes_the_person() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    // In the order in which a password is changed: the person, the codes, the tokens.
    let mut other = identity.database.owner.begin().await.unwrap();
    for first in ["UPDATE identity.employees SET name = name", "DELETE FROM identity.codes"] {
        sqlx::query(first).execute(&mut *other).await.unwrap();
    }
    let mut auth = identity.auth();
    let request = signed(&ana, pb::RevokeAllSessionsRequest { target: None });
    let call = tokio::spawn(async move { auth.revoke_all_sessions(request).await });
    let waits = "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..500 {
        if identity.rows::<(i64,)>(waits).await[0].0 > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ended = sqlx::query("DELETE FROM identity.employee_tokens").execute(&mut *other).await;
    assert_eq!(ended.unwrap().rows_affected(), 1);
    other.commit().await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().into_inner().revoked_count, 0);
}
