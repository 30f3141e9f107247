//! Sessions seen and ended: by their owners, by managers, and by what happens to people.

use crate::sessions::reason;
use crate::support::{Identity, PASSWORD, Person, bearing, coming_from, issue_tokens, signed};
use proto::{
    common::v1::{ErrorReason, Permission, Role},
    identity::v1::{self as pb, revoke_all_sessions_request::Target},
};
use service_kit::testing::refusal::refusal;
use std::time::Duration;
use tonic::Code;

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
