//! Credentials for programs.

use std::time::Duration;

use proto::{
    common::v1::{ErrorReason, Permission, Role},
    identity::v1::{self as pb, actor::Kind},
};
use service_kit::{clock, testing::refusal::refusal};
use tonic::{Code, Status};

use crate::support::{Identity, Person, bearing, create_api_key, create_employee, numbers, signed};

const REQUEST_ID: &str = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f";

impl Identity {
    async fn list_keys(&self, credential: &str) -> Result<pb::ListApiKeysResponse, Status> {
        let request = pb::ListApiKeysRequest { include_total: true, ..Default::default() };
        Ok(self.api_keys().list_api_keys(bearing(credential, request)).await?.into_inner())
    }

    async fn revoke_key(&self, by: &Person, id: i64) -> Result<pb::ApiKey, Status> {
        let request = signed(by, pb::RevokeApiKeyRequest { id, ..Default::default() });
        let answer = self.api_keys().revoke_api_key(request).await?.into_inner();
        Ok(answer.api_key.unwrap())
    }

    async fn account_of(&self, credential: &str) -> Result<pb::Account, Status> {
        let request = bearing(credential, pb::GetAccountRequest {});
        Ok(self.accounts().get_account(request).await?.into_inner().account.unwrap())
    }
}

/// Security checklist 16: shown once.
#[tokio::test]
async fn a_key_is_shown_when_it_is_made_and_never_again() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let made = identity.new_api_key(&ana, &[Permission::ViewPayments]).await;
    let key = made.api_key.clone().unwrap();
    assert!(made.secret.starts_with("clk_") && made.secret.len() == 54, "{}", made.secret);
    assert_eq!((key.name.as_str(), key.creator_id), ("robot", ana.id));
    assert_eq!(key.permissions, numbers(&[Permission::ViewPayments]));
    let life = key.expire_time.unwrap().seconds - key.create_time.unwrap().seconds;
    assert!((life - 90 * 24 * 3600).abs() <= 1, "{life} seconds");

    let list = identity.list_keys(&ana.token).await.unwrap();
    assert_eq!((list.api_keys.clone(), list.total_size), (vec![key], Some(1)));
    assert!(!format!("{list:?}").contains(&made.secret[4..40]));
    assert_ne!(identity.api_key(&ana, &[]).await, made.secret);
}

#[tokio::test]
async fn every_bad_field_of_a_new_key_is_named_at_once() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let before = identity.digest().await;
    let (now, day) = (clock::now(), Duration::from_secs(24 * 3600));
    for expire_time in [now - day, now, now + 367 * day] {
        let request = pb::CreateApiKeyRequest {
            api_key: Some(pb::ApiKey {
                permissions: vec![999],
                expire_time: Some(clock::timestamp(expire_time)),
                ..Default::default()
            }),
            request_id: "no UUID".to_owned(),
        };
        let refused = refusal(identity.api_keys().create_api_key(signed(&ana, request)).await);
        assert_eq!(refused.code, Code::InvalidArgument);
        let mut fields = refused.fields;
        fields.sort();
        let all = ["api_key.expire_time", "api_key.name", "api_key.permissions", "request_id"];
        assert_eq!(fields, all, "{expire_time}");
    }
    assert_eq!(identity.digest().await, before);
    let mut request = create_api_key(&[]);
    let in_a_year = clock::timestamp(clock::now() + 364 * day);
    request.api_key.as_mut().unwrap().expire_time = Some(in_a_year);
    let made = identity.api_keys().create_api_key(signed(&ana, request)).await.unwrap();
    let made = made.into_inner();
    assert_eq!(made.api_key.unwrap().expire_time, Some(in_a_year));
    assert_eq!(identity.validated(&made.secret).await.expire_time, Some(in_a_year));
}

/// Security checklist 32.
#[tokio::test]
async fn nobody_gives_a_key_what_they_may_not_do_themselves() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let before = identity.digest().await;
    let create = |permissions: &[Permission]| signed(&bob, create_api_key(permissions));
    let refused = refusal(identity.api_keys().create_api_key(create(&[])).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    assert_eq!(identity.digest().await, before);

    let held = [Permission::ManageApiKeys, Permission::ViewPayments];
    identity.grant(&ana, bob.id, &held).await.unwrap();
    let before = identity.digest().await;
    let wanted = [Permission::ViewPayments, Permission::RefundPayments];
    let refused = refusal(identity.api_keys().create_api_key(create(&wanted)).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_ABOVE_OWN"));
    assert_eq!(identity.digest().await, before);
    identity.api_keys().create_api_key(create(&held)).await.unwrap();
}

/// Security checklist 34.
#[tokio::test]
async fn a_key_reads_what_everyone_reads_and_does_what_it_was_given() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let plain = identity.api_key(&ana, &[]).await;
    let key = identity.api_key(&ana, &[Permission::ManageEmployees]).await;
    for key in [&plain, &key] {
        assert_eq!(identity.account_of(key).await.unwrap().id, ana.account_id);
        let list = bearing(key, pb::ListEmployeesRequest::default());
        identity.employees().list_employees(list).await.unwrap();
    }
    let create = |key: &str, name: &str, role| bearing(key, create_employee(name, role));
    let refused =
        refusal(identity.employees().create_employee(create(&plain, "bob", Role::Employee)).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    identity.employees().create_employee(create(&key, "bob", Role::Employee)).await.unwrap();
    let refused =
        refusal(identity.employees().create_employee(create(&key, "eve", Role::Admin)).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "ROLE_ABOVE_OWN"), "it ranks lowest");
    let actor: String = sqlx::query_scalar(
        "SELECT actor FROM identity.audit_events WHERE action = 'employee.create'",
    )
    .fetch_one(&identity.database.owner)
    .await
    .unwrap();
    assert!(actor.starts_with("api_key:"), "{actor}");
}

/// Security checklist 34: whatever it was given, a key is no person and has no rank.
#[tokio::test]
async fn a_key_does_nothing_that_is_for_people_or_goes_by_rank() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let given = identity.me(&ana.token).await.unwrap().effective_permissions;
    let mut request = create_api_key(&[]);
    request.api_key.as_mut().unwrap().permissions = given;
    let key = identity.api_keys().create_api_key(signed(&ana, request)).await.unwrap();
    let key = key.into_inner().secret;
    let before = identity.digest().await;

    let mut auth = identity.auth();
    let password = pb::ChangePasswordRequest::default();
    for refused in [
        refusal(auth.get_me(bearing(&key, pb::GetMeRequest {})).await),
        refusal(auth.update_me(bearing(&key, pb::UpdateMeRequest::default())).await),
        refusal(auth.change_password(bearing(&key, password)).await),
        refusal(identity.api_keys().create_api_key(bearing(&key, create_api_key(&[]))).await),
    ] {
        assert_eq!(refused.said(), (Code::PermissionDenied, "EMPLOYEES_ONLY"));
    }
    let delete = pb::DeleteEmployeeRequest { id: bob.id, ..Default::default() };
    let grant = pb::UpdatePermissionsRequest { id: bob.id, ..Default::default() };
    for refused in [
        refusal(identity.employees().delete_employee(bearing(&key, delete)).await),
        refusal(identity.employees().update_permissions(bearing(&key, grant)).await),
        refusal(
            identity
                .accounts()
                .close_account(bearing(&key, pb::CloseAccountRequest::default()))
                .await,
        ),
        refusal(
            identity
                .accounts()
                .update_account(bearing(&key, pb::UpdateAccountRequest::default()))
                .await,
        ),
    ] {
        assert_eq!(refused.said(), (Code::PermissionDenied, "ROLE_REQUIRED"));
    }
    let refused = refusal(identity.auth().logout(bearing(&key, pb::LogoutRequest {})).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "API_KEY_CANNOT_LOG_OUT"));
    assert_eq!(identity.digest().await, before);
    identity.list_keys(&key).await.unwrap();
}

/// Security checklist 34 and 20.
#[tokio::test]
async fn other_services_learn_that_it_is_a_program() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let system = pb::GrantSystemRoleRequest {
        employee_id: ana.id,
        system_role: pb::SystemRole::TaskWorker.into(),
        ..Default::default()
    };
    identity.roles().grant_system_role(signed(&ana, system)).await.unwrap();
    let made = identity.new_api_key(&ana, &[Permission::ManagePayments]).await;
    let key = made.api_key.unwrap();
    let found = identity.validated(&made.secret).await;
    assert_eq!(found.actor.unwrap().kind, Some(Kind::ApiKeyId(key.id)));
    assert_eq!((found.account_id, found.role), (ana.account_id, Role::Employee.into()));
    assert_eq!(found.permissions, numbers(&[Permission::ManagePayments]));
    assert_eq!((found.system_roles.len(), found.company_roles.len()), (0, 0));
    assert_eq!(found.expire_time, key.expire_time);
    let labels = identity.validated(&ana.token).await.system_roles;
    assert!(labels.contains(&pb::SystemRole::TaskWorker.into()));
}

/// Security checklist 34: at the next call.
#[tokio::test]
async fn a_key_loses_what_its_maker_loses() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::SuperAdmin).await;
    let given = [Permission::ManageApiKeys, Permission::ManagePayments, Permission::ViewPayments];
    let key = identity.api_key(&bob, &given).await;
    let permissions = async || identity.validated(&key).await.permissions;
    let sorted = |permissions: &[Permission]| {
        let mut numbers = numbers(permissions);
        numbers.sort_unstable();
        numbers
    };
    let mut all = permissions().await;
    all.sort_unstable();
    assert_eq!(all, sorted(&given));

    identity.set_role(&ana, bob.id, Role::Admin).await.unwrap();
    let mut left = permissions().await;
    left.sort_unstable();
    assert_eq!(left, sorted(&given[1..]), "an admin does not manage keys");
    let refused = refusal(identity.list_keys(&key).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    identity.set_role(&ana, bob.id, Role::Employee).await.unwrap();
    assert_eq!(permissions().await, Vec::<i32>::new());
    identity.grant(&ana, bob.id, &[Permission::ViewPayments]).await.unwrap();
    assert_eq!(permissions().await, numbers(&[Permission::ViewPayments]));
    identity.grant(&ana, bob.id, &[]).await.unwrap();
    assert_eq!(permissions().await, Vec::<i32>::new());
    identity.account_of(&key).await.unwrap();
}

/// Security checklist 19 and 34.
#[tokio::test]
async fn a_key_rests_while_its_maker_is_inactive_and_ends_with_them() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::SuperAdmin).await;
    let key = identity.api_key(&bob, &[]).await;
    identity.set_active(&ana, bob.id, false).await.unwrap();
    let refused = refusal(identity.account_of(&key).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "EMPLOYEE_INACTIVE"));
    assert_eq!(identity.not_validated(&key).await, ErrorReason::EmployeeInactive);
    identity.set_active(&ana, bob.id, true).await.unwrap();
    identity.account_of(&key).await.unwrap();
    identity.delete(&ana, bob.id).await.unwrap();
    assert_eq!(identity.not_validated(&key).await, ErrorReason::TokenRevoked);
    identity.undelete(&ana, bob.id).await.unwrap();
    assert_eq!(identity.not_validated(&key).await, ErrorReason::TokenRevoked);
}

/// Security checklist 19.
#[tokio::test]
async fn a_revoked_key_is_worth_nothing_and_can_be_revoked_again() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let made = identity.new_api_key(&ana, &[]).await;
    let other = identity.api_key(&ana, &[]).await;
    let id = made.api_key.unwrap().id;
    let revoked = identity.revoke_key(&ana, id).await.unwrap();
    assert!(revoked.revoke_time.is_some());
    let refused = refusal(identity.account_of(&made.secret).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_REVOKED"));
    assert_eq!(refused.message, "Invalid token.");
    assert_eq!(identity.not_validated(&made.secret).await, ErrorReason::TokenRevoked);
    let before = identity.digest().await;
    assert_eq!(identity.revoke_key(&ana, id).await.unwrap(), revoked);
    assert_eq!(identity.digest().await, before);
    identity.account_of(&other).await.unwrap();
    let list = identity.list_keys(&ana.token).await.unwrap();
    assert!(list.api_keys.contains(&revoked));
}

/// Security checklist 23.
#[tokio::test]
async fn a_key_ends_by_itself() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let key = identity.api_key(&ana, &[]).await;
    identity.database.execute("UPDATE identity.api_keys SET expire_time = now()").await;
    let refused = refusal(identity.account_of(&key).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_EXPIRED"));
    assert_eq!(identity.not_validated(&key).await, ErrorReason::TokenExpired);
}

/// Security checklist 17: what looks like none of ours costs no statement.
#[tokio::test]
async fn what_looks_like_a_key_and_is_none_is_refused() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let key = identity.api_key(&ana, &[]).await;
    let unknown = Identity::start().await;
    let of_others = unknown.api_key(&unknown.sign_up("ana").await, &[]).await;
    let cut = &key[..key.len() - 1];
    for credential in [cut, &key.to_lowercase(), &key.replacen("clk_", "clr_", 1), &of_others] {
        let refused = refusal(identity.account_of(credential).await);
        assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_INVALID"), "{credential}");
    }
}

/// Security checklist 35.
#[tokio::test]
async fn keys_of_another_account_are_neither_seen_nor_ended() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let carol = identity.sign_up("carol").await;
    let made = identity.new_api_key(&ana, &[]).await;
    let id = made.api_key.unwrap().id;
    let before = identity.digest().await;
    let foreign = refusal(identity.revoke_key(&carol, id).await);
    let unknown = refusal(identity.revoke_key(&carol, 999_999).await);
    assert_eq!(foreign.said(), (Code::NotFound, "NOT_FOUND"));
    assert_eq!(foreign, unknown);
    assert_eq!(identity.list_keys(&carol.token).await.unwrap().api_keys, []);
    assert_eq!(identity.digest().await, before);
    identity.account_of(&made.secret).await.unwrap();
}

#[tokio::test]
async fn repeated_with_the_same_request_id_it_is_one_key_with_the_same_secret() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut request = create_api_key(&[Permission::ViewPayments]);
    request.request_id = REQUEST_ID.to_owned();
    let create = async |request: &pb::CreateApiKeyRequest| {
        identity.api_keys().create_api_key(signed(&ana, request.clone())).await
    };
    let first = create(&request).await.unwrap().into_inner();
    let again = create(&request).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert_eq!(identity.list_keys(&ana.token).await.unwrap().total_size, Some(1));
    assert!(!identity.database.dump().await.contains(&first.secret));
    let mut other = request.clone();
    other.api_key.as_mut().unwrap().name = "another".to_owned();
    let refused = refusal(create(&other).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
}

/// Neither asked by its owner nor by another service does a key of a closed account wake.
#[tokio::test]
async fn a_key_sleeps_while_its_account_is_closed() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let key = identity.api_key(&ana, &[Permission::ManageEmployees]).await;
    let close = signed(&ana, pb::CloseAccountRequest::default());
    identity.accounts().close_account(close).await.unwrap();
    let list = bearing(&key, pb::ListEmployeesRequest::default());
    for refused in [
        refusal(identity.account_of(&key).await),
        refusal(identity.employees().list_employees(list).await),
    ] {
        assert_eq!(refused.said(), (Code::FailedPrecondition, "ACCOUNT_CLOSED"));
    }
    assert_eq!(identity.not_validated(&key).await, ErrorReason::AccountClosed);
    let ana = identity.log_in(&ana.email).await;
    let reopen = signed(&ana, pb::ReopenAccountRequest::default());
    identity.accounts().reopen_account(reopen).await.unwrap();
    identity.account_of(&key).await.unwrap();
    identity.validated(&key).await;
}
