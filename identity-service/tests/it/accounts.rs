//! One's own account: its settings, its end and its new beginning.

use identity_service::POLICY;
use proto::{
    common::v1::{ErrorReason, Permission, Role},
    identity::v1::{self as pb, EmployeeClientVisibility as Visibility},
};
use service_kit::{
    policy::Access,
    testing::{
        raw,
        refusal::{Refusal, refusal},
    },
};
use tonic::{Code, Status};

use crate::support::{Identity, PASSWORD, Person, login, mask, signed};

const REQUEST_ID: &str = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f";

async fn get(identity: &Identity, by: &Person) -> pb::Account {
    let answer = identity.accounts().get_account(signed(by, pb::GetAccountRequest {})).await;
    answer.unwrap().into_inner().account.unwrap()
}

async fn update(
    identity: &Identity,
    by: &Person,
    account: pb::Account,
    paths: &[&str],
) -> Result<pb::Account, Status> {
    let request = pb::UpdateAccountRequest {
        account: Some(account),
        update_mask: mask(paths),
        request_id: String::new(),
    };
    let answer = identity.accounts().update_account(signed(by, request)).await?;
    Ok(answer.into_inner().account.unwrap())
}

async fn close(identity: &Identity, by: &Person) -> pb::Account {
    let request = pb::CloseAccountRequest::default();
    let answer = identity.accounts().close_account(signed(by, request)).await;
    answer.unwrap().into_inner().account.unwrap()
}

async fn reopen(identity: &Identity, by: &Person) -> pb::Account {
    let request = pb::ReopenAccountRequest::default();
    let answer = identity.accounts().reopen_account(signed(by, request)).await;
    answer.unwrap().into_inner().account.unwrap()
}

fn settings(settings: pb::AccountSettings) -> pb::Account {
    pb::Account { settings: Some(settings), ..Default::default() }
}

#[tokio::test]
async fn everybody_sees_their_own_account_and_no_other() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    identity.sign_up("other").await;
    for person in [&ana, &bob] {
        let account = get(&identity, person).await;
        assert_eq!((account.id, account.name.as_str()), (ana.account_id, "ana Ltd"));
        assert_eq!((account.email.as_str(), account.close_time), ("ana@example.com", None));
        let request = signed(person, pb::ListAccountsRequest {});
        let listed = identity.accounts().list_accounts(request).await.unwrap().into_inner();
        assert_eq!(listed.accounts, [account]);
    }
}

#[tokio::test]
async fn super_admins_change_the_account_and_nobody_else_does() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let admin = identity.add(&ana, "admin", Role::Admin).await;
    let before = get(&identity, &ana).await;
    let named = pb::Account { name: "Ana & Sons".into(), ..Default::default() };
    let refused = refusal(update(&identity, &admin, named.clone(), &[]).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "ROLE_REQUIRED"));
    assert_eq!(refused.metadata, [("role".to_owned(), "super_admin".to_owned())]);
    assert_eq!(get(&identity, &ana).await, before);

    let after = update(&identity, &ana, named, &[]).await.unwrap();
    assert_eq!(after.name, "Ana & Sons");
    assert_eq!((&after.email, &after.settings), (&before.email, &before.settings));
    assert_ne!(after.etag, before.etag);
    assert_eq!(get(&identity, &admin).await, after);
    assert_eq!(identity.me(&admin.token).await.unwrap().account_name, "Ana & Sons");
}

#[tokio::test]
async fn settings_change_one_by_one_or_all_together() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let all = pb::AccountSettings {
        default_currency: "EUR".into(),
        employee_client_visibility: Visibility::Assigned.into(),
        time_zone: "Europe/Amsterdam".into(),
    };
    let one = update(&identity, &ana, settings(all.clone()), &["settings.time_zone"]).await;
    let one = one.unwrap().settings.unwrap();
    assert_eq!(
        (one.time_zone.as_str(), one.default_currency.as_str()),
        ("Europe/Amsterdam", "USD")
    );
    assert_eq!(one.employee_client_visibility(), Visibility::Account);
    let whole = update(&identity, &ana, settings(all.clone()), &["settings"]).await.unwrap();
    assert_eq!(whole.settings, Some(all.clone()));
    let validated = identity.validated(&ana.token).await;
    assert_eq!(validated.account_settings, Some(all.clone()), "others learn it at the next call");

    // What a mask names and nothing is said of would be cleared, and none of these can be.
    let refused = refusal(update(&identity, &ana, pb::Account::default(), &["settings"]).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    assert_eq!(
        refused.fields,
        [
            "account.settings.default_currency",
            "account.settings.employee_client_visibility",
            "account.settings.time_zone",
        ]
    );
    // Without a mask what is not said stays.
    let part = pb::AccountSettings { default_currency: "CHF".into(), ..Default::default() };
    let part = update(&identity, &ana, settings(part), &[]).await.unwrap().settings.unwrap();
    assert_eq!((part.default_currency.as_str(), part.time_zone), ("CHF", all.time_zone));
}

/// Security checklist 42.
#[tokio::test]
async fn what_is_wrong_is_named_and_what_is_stale_is_refused() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let before = get(&identity, &ana).await;
    let bad = pb::Account {
        name: "x".repeat(256),
        email: "nowhere".into(),
        settings: Some(pb::AccountSettings {
            default_currency: "XXZ".into(),
            employee_client_visibility: 9,
            time_zone: "Europe/Atlantis".into(),
        }),
        ..Default::default()
    };
    let refused = refusal(update(&identity, &ana, bad, &[]).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(
        refused.fields,
        [
            "account.name",
            "account.email",
            "account.settings.default_currency",
            "account.settings.employee_client_visibility",
            "account.settings.time_zone",
        ]
    );
    for path in ["*", "id", "etag", "close_time", "settings.colour"] {
        let refused = refusal(update(&identity, &ana, before.clone(), &[path]).await);
        assert_eq!(
            (refused.code, refused.fields),
            (Code::InvalidArgument, vec!["update_mask".to_owned()])
        );
    }
    let named = pb::Account { name: "New".into(), ..before.clone() };
    let after = update(&identity, &ana, named, &["name"]).await.unwrap();
    let stale = pb::Account { name: "Newer".into(), ..before };
    let refused = refusal(update(&identity, &ana, stale, &["name"]).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
    let request = pb::CloseAccountRequest { etag: "v0".into() };
    let refused = refusal(identity.accounts().close_account(signed(&ana, request)).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
    assert_eq!(get(&identity, &ana).await, after);
}

#[tokio::test]
async fn an_update_that_is_sent_twice_changes_the_account_once() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let request = pb::UpdateAccountRequest {
        account: Some(pb::Account { name: "First".into(), ..Default::default() }),
        update_mask: None,
        request_id: REQUEST_ID.into(),
    };
    let mut accounts = identity.accounts();
    let first = accounts.update_account(signed(&ana, request.clone())).await.unwrap().into_inner();
    let second = pb::Account { name: "Second".into(), ..Default::default() };
    let second = update(&identity, &ana, second, &[]).await.unwrap();
    let again = accounts.update_account(signed(&ana, request.clone())).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert_eq!(get(&identity, &ana).await, second);
    let other = pb::UpdateAccountRequest { account: Some(second), ..request };
    let refused = refusal(accounts.update_account(signed(&ana, other)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
}

/// Whoever is on their way in when it closes is not let in.
#[tokio::test]
async fn what_meets_the_closing_of_an_account_finds_it_closed() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Admin).await;
    let set = |time: &str| format!("UPDATE identity.accounts SET close_time = {time}");
    let (close, reopen) = (set("now()"), set("NULL"));

    let mut auth = identity.auth();
    let refused =
        refusal(identity.overtaken(&close, auth.login(login(&bob.email, PASSWORD))).await);
    assert_eq!(refused.reason, "ACCOUNT_CLOSED");
    identity.database.execute(&reopen).await;
    let before = get(&identity, &ana).await;
    let mut accounts = identity.accounts();
    let again = signed(&ana, pb::CloseAccountRequest::default());
    let refused = refusal(identity.overtaken(&close, accounts.close_account(again)).await);
    assert_eq!(refused.reason, "ACCOUNT_CLOSED");
    identity.database.execute(&reopen).await;
    let renamed = pb::Account { name: "New".into(), ..Default::default() };
    let update = pb::UpdateAccountRequest { account: Some(renamed), ..Default::default() };
    let update = signed(&ana, update);
    let refused = refusal(identity.overtaken(&close, accounts.update_account(update)).await);
    assert_eq!(refused.reason, "ACCOUNT_CLOSED");
    identity.database.execute(&reopen).await;
    assert_eq!(get(&identity, &ana).await, before);
}

#[tokio::test]
async fn closing_signs_everyone_out_and_lets_super_admins_do_no_more_than_reopen() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Admin).await;
    let key = identity.api_key(&ana, &[Permission::ManageEmployees]).await;
    let elsewhere = identity.sign_up("elsewhere").await;
    assert!(close(&identity, &ana).await.close_time.is_some());

    for person in [&ana, &bob] {
        let refused = refusal(identity.me(&person.token).await);
        assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_REVOKED"));
        let reason = identity.not_validated(&person.token).await;
        assert_eq!(reason, ErrorReason::TokenRevoked);
    }
    assert_eq!(identity.not_validated(&key).await, ErrorReason::AccountClosed);
    identity.me(&elsewhere.token).await.unwrap();

    // Others are told only after the right password.
    let refused = refusal(identity.auth().login(login(&bob.email, PASSWORD)).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "ACCOUNT_CLOSED"));
    let refused = refusal(identity.auth().login(login(&bob.email, "something else")).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "INVALID_CREDENTIALS"));
    let request = pb::IssueTokensRequest {
        email: bob.email.clone(),
        password: PASSWORD.into(),
        device_label: String::new(),
    };
    let refused = refusal(identity.auth().issue_tokens(request).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "ACCOUNT_CLOSED"));

    let back = identity.log_in(&ana.email).await;
    assert_ne!(back.token, ana.token);
    assert_eq!(identity.not_validated(&back.token).await, ErrorReason::AccountClosed);
    let before = identity.digest().await;
    let mut refused = Vec::new();
    for rule in
        POLICY.iter().filter(|rule| !matches!(rule.access, Access::Public | Access::Service))
    {
        let request = raw::request(Vec::new(), &back.token);
        if !rule.even_closed {
            let status = raw::call(&identity.channel, rule.method, request).await.unwrap_err();
            assert_eq!(
                Refusal::of(&status).said(),
                (Code::FailedPrecondition, "ACCOUNT_CLOSED"),
                "{}",
                rule.method
            );
            refused.push(rule.method);
        }
    }
    assert!(refused.len() > 25, "{refused:?}");
    assert_eq!(identity.digest().await, before);
    let open: Vec<_> =
        POLICY.iter().filter(|rule| rule.even_closed).map(|rule| rule.method).collect();
    assert_eq!(
        open,
        [
            "/identity.v1.AccountService/GetAccount",
            "/identity.v1.AccountService/ReopenAccount",
            "/identity.v1.AuthService/GetMe",
        ]
    );
    identity.me(&back.token).await.unwrap();
    assert!(get(&identity, &back).await.close_time.is_some());
    identity.auth().logout(signed(&back, pb::LogoutRequest {})).await.unwrap();
    refusal(identity.me(&back.token).await);

    let back = identity.log_in(&ana.email).await;
    assert_eq!(reopen(&identity, &back).await.close_time, None);
    identity.validated(&back.token).await;
    assert!(
        identity.validated(&key).await.permissions.contains(&Permission::ManageEmployees.into())
    );
    let bob = identity.log_in(&bob.email).await;
    identity.me(&bob.token).await.unwrap();
}

#[tokio::test]
async fn an_access_token_ends_with_the_account_too() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let request = pb::IssueTokensRequest {
        email: ana.email.clone(),
        password: PASSWORD.into(),
        device_label: String::new(),
    };
    let pair = identity.auth().issue_tokens(request).await.unwrap().into_inner();
    identity.me(&pair.access_token).await.unwrap();
    close(&identity, &ana).await;
    let refused = refusal(identity.me(&pair.access_token).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_REVOKED"));
    let request = pb::RefreshTokensRequest { refresh_token: pair.refresh_token };
    let refused = refusal(identity.auth().refresh_tokens(request).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_REVOKED"));
}

#[tokio::test]
async fn only_super_admins_close_and_reopen() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let admin = identity.add(&ana, "admin", Role::Admin).await;
    let before = identity.digest().await;
    let request = pb::CloseAccountRequest::default();
    let refused = refusal(identity.accounts().close_account(signed(&admin, request)).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "ROLE_REQUIRED"));
    let request = pb::ReopenAccountRequest::default();
    let refused = refusal(identity.accounts().reopen_account(signed(&admin, request)).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "ROLE_REQUIRED"));
    assert_eq!(identity.digest().await, before);
}

#[tokio::test]
async fn an_old_reopening_sent_again_does_not_reopen_the_account() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    close(&identity, &ana).await;
    let ana = identity.log_in(&ana.email).await;
    let request = pb::ReopenAccountRequest { request_id: REQUEST_ID.into(), etag: String::new() };
    let mut accounts = identity.accounts();
    let first = accounts.reopen_account(signed(&ana, request.clone())).await.unwrap().into_inner();
    close(&identity, &ana).await;
    let ana = identity.log_in(&ana.email).await;
    let again = accounts.reopen_account(signed(&ana, request)).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert!(get(&identity, &ana).await.close_time.is_some());
}
