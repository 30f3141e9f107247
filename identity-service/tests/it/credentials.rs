//! Credentials of every kind: where they are kept, where they are good, and what becomes of them.

use crate::sessions::reason;
use crate::support::{
    Identity, PASSWORD, bearing, code_in, create_api_key, is_nowhere_in, old_and_new, signed,
};
use proto::{
    common::v1::{ErrorReason, Permission, Role},
    identity::v1::{self as pb},
};
use service_kit::{
    keys::Keyring,
    testing::refusal::{Refusal, refusal},
};
use tonic::Code;

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
