//! Who did what: on record with the act itself, and read by those who may.

use std::time::Duration;

use chrono::{DateTime, Utc};
use identity_service::POLICY;
use prost::Message;
use proto::{
    common::v1::Role,
    identity::v1::{self as pb},
};
use service_kit::{
    policy::Access,
    testing::{
        conventions::{connected_as, may_not},
        raw,
        refusal::refusal,
    },
};
use tonic::{Code, Request};

use crate::{
    stage::{EXAMPLES, Example, PUBLIC, Stage, Who, Whom, changes},
    support::{Identity, PASSWORD, bearing, code_in, create_employee, login, signed},
};

/// A method, and what it is recorded as.
type Recorded = (&'static str, &'static str);

const RECORDED: &[Recorded] = &[
    ("/identity.v1.AccountService/CloseAccount", "account.close"),
    ("/identity.v1.AccountService/ReopenAccount", "account.reopen"),
    ("/identity.v1.AccountService/UpdateAccount", "account.update"),
    ("/identity.v1.ApiKeyService/CreateApiKey", "api_key.create"),
    ("/identity.v1.ApiKeyService/RevokeApiKey", "api_key.revoke"),
    ("/identity.v1.AuthService/ChangeEmail", "employee.request_email_change"),
    ("/identity.v1.AuthService/ChangePassword", "employee.change_password"),
    ("/identity.v1.AuthService/IssueTokens", "session.open"),
    ("/identity.v1.AuthService/Login", "employee.log_in"),
    ("/identity.v1.AuthService/Logout", "employee.log_out"),
    ("/identity.v1.AuthService/RevokeAllSessions", "employee.revoke_all_sessions"),
    ("/identity.v1.AuthService/RevokeOtherSessions", "employee.revoke_other_sessions"),
    ("/identity.v1.AuthService/RevokeSession", "session.revoke"),
    ("/identity.v1.AuthService/SignUp", "account.sign_up"),
    ("/identity.v1.AuthService/UpdateMe", "employee.update"),
    ("/identity.v1.EmployeeService/CreateEmployee", "employee.create"),
    ("/identity.v1.EmployeeService/DeleteEmployee", "employee.delete"),
    ("/identity.v1.EmployeeService/InviteEmployee", "invitation.create"),
    ("/identity.v1.EmployeeService/RevokeInvitation", "invitation.revoke"),
    ("/identity.v1.EmployeeService/SendPasswordReset", "employee.send_password_reset"),
    ("/identity.v1.EmployeeService/UndeleteEmployee", "employee.undelete"),
    ("/identity.v1.EmployeeService/UpdateEmployee", "employee.update"),
    ("/identity.v1.EmployeeService/UpdatePermissions", "employee.update_permissions"),
    ("/identity.v1.RoleService/AssignCompanyRole", "employee.assign_company_role"),
    ("/identity.v1.RoleService/CreateCompanyRole", "company_role.create"),
    ("/identity.v1.RoleService/DeleteCompanyRole", "company_role.delete"),
    ("/identity.v1.RoleService/GrantSystemRole", "employee.grant_system_role"),
    ("/identity.v1.RoleService/RevokeSystemRole", "employee.revoke_system_role"),
    ("/identity.v1.RoleService/UnassignCompanyRole", "employee.unassign_company_role"),
    ("/identity.v1.RoleService/UpdateCompanyRole", "company_role.update"),
];

/// Decides nothing, and happens all the time: a record of each would bury the others.
const NOT_RECORDED: &[&str] = &["/identity.v1.AuthService/RefreshTokens"];

/// They need a code out of a letter, or are looked into after they are answered: what they leave
/// on record is shown by `the_way_back_in_is_on_record` below.
const BY_LETTER: &[&str] = &[
    "/identity.v1.AuthService/AcceptInvite",
    "/identity.v1.AuthService/RequestEmailVerification",
    "/identity.v1.AuthService/RequestPasswordReset",
    "/identity.v1.AuthService/ResetPassword",
    "/identity.v1.AuthService/VerifyEmail",
];

/// Methods that change something and have no line above, or no example.
fn unrecorded(recorded: &[Recorded], examples: &[&Example]) -> Vec<&'static str> {
    let rules = POLICY.iter().filter(|rule| rule.access != Access::Service);
    let methods = rules.map(|rule| rule.method).filter(|method| changes(method));
    let methods = methods.filter(|method| !NOT_RECORDED.contains(method));
    let methods = methods.filter(|method| !BY_LETTER.contains(method));
    let lacks = |method: &&str| {
        !recorded.iter().any(|line| line.0 == *method)
            || !examples.iter().any(|example| example.method == *method)
    };
    methods.filter(lacks).collect()
}

#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
struct Row {
    account_id: i64,
    actor: String,
    action: String,
    subject: String,
    network: String,
    request_id: String,
}

async fn rows_after(identity: &Identity, id: i64) -> Vec<Row> {
    let query = format!(
        "SELECT account_id, actor, action, subject, network, request_id
         FROM identity.audit_events WHERE id > {id} ORDER BY id"
    );
    identity.rows(&query).await
}

async fn last(identity: &Identity) -> i64 {
    let found: Vec<(i64,)> =
        identity.rows("SELECT coalesce(max(id), 0) FROM identity.audit_events").await;
    found[0].0
}

/// Security checklist 60.
#[tokio::test]
async fn whatever_changes_something_is_on_record_once() {
    let stage = Stage::set().await;
    let owner = stage.actor(Who::SuperAdmin);
    let account_id = stage.identity.me(&owner.token).await.unwrap().account_id;
    let examples: Vec<_> = EXAMPLES.iter().chain(PUBLIC).collect();
    assert_eq!(unrecorded(RECORDED, &examples), Vec::<&str>::new());
    let about = stage.about(owner, Whom::Employee);

    for (number, (method, action)) in RECORDED.iter().enumerate() {
        stage.prepare(method, &about).await;
        let example = examples.iter().find(|example| example.method == *method).unwrap();
        let (newest, request_id) = (last(&stage.identity).await, format!("call-{number}"));
        let is_public = PUBLIC.iter().any(|example| example.method == *method);
        let mut request = raw::request((example.bytes)(&about), &owner.token);
        request.metadata_mut().insert("x-request-id", request_id.parse().unwrap());
        raw::call(&stage.identity.channel, method, request).await.expect(method);

        let rows = rows_after(&stage.identity, newest).await;
        assert_eq!(rows.len(), 1, "{method}: {rows:?}");
        let row = &rows[0];
        assert_eq!((row.action.as_str(), row.request_id.as_str()), (*action, &*request_id));
        assert_eq!(Some(row.subject.as_str()), action.split('.').next());
        assert_eq!(row.network, "127.0.0.0/24", "{method}");
        if is_public {
            assert!(row.actor.starts_with("system:"), "{method}: {}", row.actor);
        } else {
            assert_eq!(row.actor, format!("employee:{}", owner.id), "{method}");
        }
        assert_eq!(row.account_id == account_id, !method.ends_with("/SignUp"), "{method}");
        let effects = effects_of_the_last(&stage.identity).await;
        assert_eq!(effects.is_empty(), method.ends_with("/Login"), "{method}: {effects:?}");
        stage.put_back().await;
    }

    // And it can fail: with a line or an example left out.
    assert_eq!(unrecorded(&RECORDED[1..], &examples), [RECORDED[0].0]);
    assert_eq!(unrecorded(RECORDED, &examples[1..]), [examples[0].method]);
}

/// The tables in which the transaction of the newest record wrote a row that is still there. Who
/// logs in gets the token that they had.
async fn effects_of_the_last(identity: &Identity) -> Vec<(String,)> {
    let tables = "SELECT tablename::text FROM pg_tables
                  WHERE schemaname = 'identity' AND tablename <> 'audit_events'";
    let tables: Vec<(String,)> = identity.rows(tables).await;
    let each = tables.iter().map(|(table,)| {
        format!("SELECT '{table}' AS name FROM identity.{table}, last WHERE {table}.xmin = last.tx")
    });
    let each: Vec<_> = each.collect();
    let query = format!(
        "WITH last AS (SELECT xmin AS tx FROM identity.audit_events ORDER BY id DESC LIMIT 1)
         SELECT DISTINCT name FROM ({}) AS written",
        each.join(" UNION ALL ")
    );
    identity.rows(&query).await
}

/// Makes it so that nothing can be put on record, or that it can again.
async fn let_nothing_be_recorded(identity: &Identity, nothing: bool) {
    let change = if nothing {
        "ADD CONSTRAINT no_more CHECK (false) NOT VALID"
    } else {
        "DROP CONSTRAINT no_more"
    };
    identity.database.execute(&format!("ALTER TABLE identity.audit_events {change}")).await;
}

/// Security checklist 60.
#[tokio::test]
async fn what_cannot_be_put_on_record_is_not_done() {
    let stage = Stage::set().await;
    let identity = &stage.identity;
    let owner = stage.actor(Who::SuperAdmin);
    let about = stage.about(owner, Whom::Employee);
    let examples: Vec<_> = EXAMPLES.iter().chain(PUBLIC).collect();
    for (method, _) in RECORDED {
        stage.prepare(method, &about).await;
        let example = examples.iter().find(|example| example.method == *method).unwrap();
        let call = || {
            let request = raw::request((example.bytes)(&about), &owner.token);
            raw::call(&identity.channel, method, request)
        };
        let_nothing_be_recorded(identity, true).await;
        let before = identity.digest().await;
        assert_eq!(refusal(call().await).said(), (Code::Internal, "INTERNAL"), "{method}");
        assert_eq!(identity.digest().await, before, "{method}");
        let_nothing_be_recorded(identity, false).await;
        call().await.expect(method);
        stage.put_back().await;
    }
}

/// Security checklist 60: the same of what is done by letter, and later.
#[tokio::test]
async fn what_cannot_be_put_on_record_is_not_done_by_letter_either() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut auth = identity.auth();
    let invitation = Some(pb::Invitation { email: "bob@example.com".into(), ..Default::default() });
    let request = pb::InviteEmployeeRequest { invitation, ..Default::default() };
    identity.employees().invite_employee(signed(&ana, request)).await.unwrap();
    let invitation = identity.letter("bob@example.com", "Invitation").await;
    let verification = identity.letter(&ana.email, "Confirm your e-mail").await;
    identity.no_letters_left().await;

    // What was asked for waits until it can be looked into.
    let_nothing_be_recorded(&identity, true).await;
    let codes = "SELECT count(*) FROM identity.codes WHERE purpose = 'reset'";
    let ask = pb::RequestPasswordResetRequest { email: ana.email.clone(), ..Default::default() };
    auth.request_password_reset(ask).await.unwrap();
    // It is looked for twice a second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(identity.rows::<(i64,)>(codes).await, [(0,)]);
    assert_eq!(identity.letters_to(&ana.email, "Choose a new password"), Vec::<String>::new());
    let_nothing_be_recorded(&identity, false).await;
    // What failed is left alone for a quarter of a minute.
    for _ in 0..400 {
        if identity.rows::<(i64,)>(codes).await != [(0,)] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let reset = identity.letter(&ana.email, "Choose a new password").await;
    identity.no_letters_left().await;

    let verify =
        pb::VerifyEmailRequest { code: code_in(&verification).into(), ..Default::default() };
    let reset = pb::ResetPasswordRequest {
        code: code_in(&reset).into(),
        new_password: "another good battery".into(),
        ..Default::default()
    };
    let accept = pb::AcceptInviteRequest {
        code: code_in(&invitation).into(),
        password: PASSWORD.into(),
        ..Default::default()
    };
    for (name, body) in [
        ("VerifyEmail", verify.encode_to_vec()),
        ("ResetPassword", reset.encode_to_vec()),
        ("AcceptInvite", accept.encode_to_vec()),
    ] {
        let path = format!("/identity.v1.AuthService/{name}");
        let call = || raw::call(&identity.channel, &path, raw::request(body.clone(), ""));
        let_nothing_be_recorded(&identity, true).await;
        let before = identity.digest().await;
        assert_eq!(refusal(call().await).said(), (Code::Internal, "INTERNAL"), "{name}");
        assert_eq!(identity.digest().await, before, "{name}");
        let_nothing_be_recorded(&identity, false).await;
        call().await.expect(name);
    }
}

/// Security checklist 60: by whom, from where and in which call, also where nobody is signed in.
#[tokio::test]
async fn the_way_back_in_is_on_record() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let newest = last(&identity).await;
    let mut auth = identity.auth();
    let ask = pb::RequestPasswordResetRequest { email: ana.email.clone(), ..Default::default() };
    auth.request_password_reset(ask).await.unwrap();
    let reset = identity.letter(&ana.email, "Choose a new password").await;
    let invitation = Some(pb::Invitation { email: "bob@example.com".into(), ..Default::default() });
    let request = pb::InviteEmployeeRequest { invitation, ..Default::default() };
    identity.employees().invite_employee(signed(&ana, request)).await.unwrap();
    let invitation = identity.letter("bob@example.com", "Invitation").await;
    identity.no_letters_left().await;

    let verification = identity.letters_to(&ana.email, "Confirm your e-mail").pop().unwrap();
    let code = code_in(&verification).into();
    let verify = pb::VerifyEmailRequest { code, ..Default::default() };
    auth.verify_email(called("call-1", verify)).await.unwrap();
    let (code, new_password) = (code_in(&reset).into(), "another good battery".into());
    let reset = pb::ResetPasswordRequest { code, new_password, ..Default::default() };
    auth.reset_password(called("call-2", reset)).await.unwrap();
    let (code, password) = (code_in(&invitation).into(), PASSWORD.into());
    let accept = pb::AcceptInviteRequest { code, password, ..Default::default() };
    auth.accept_invite(called("call-3", accept)).await.unwrap();
    let ana = login(&ana.email, "another good battery");
    let token = auth.login(ana).await.unwrap().into_inner().token;
    let (password, new_email) = ("another good battery".into(), "ana@new.example".into());
    let change = pb::ChangeEmailRequest { password, new_email, request_id: String::new() };
    auth.change_email(bearing(&token, change)).await.unwrap();
    let change = identity.letter("ana@new.example", "Confirm your new e-mail").await;
    let code = code_in(&change).into();
    let verify = pb::VerifyEmailRequest { code, ..Default::default() };
    auth.verify_email(called("call-4", verify)).await.unwrap();

    let rows = rows_after(&identity, newest).await;
    let called = rows.iter().filter(|row| row.request_id.starts_with("call-"));
    let network = "127.0.0.0/24";
    assert_eq!(
        called.map(shown).collect::<Vec<_>>(),
        [
            ["system:verify", "employee.verify_email", network, "call-1"],
            ["system:reset", "employee.reset_password", network, "call-2"],
            ["system:accept-invite", "invitation.accept", network, "call-3"],
            ["system:verify", "employee.change_email", network, "call-4"],
        ]
    );
}

fn shown(row: &Row) -> [&str; 4] {
    [&row.actor, &row.action, &row.network, &row.request_id]
}

/// Security checklist 60: also where it is looked into later.
#[tokio::test]
async fn asking_for_a_way_back_in_is_on_record_with_the_call_that_asked() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let newest = last(&identity).await;
    let (email, mut auth) = (|| ana.email.clone(), identity.auth());
    let ask = pb::RequestEmailVerificationRequest { email: email(), ..Default::default() };
    auth.request_email_verification(called("call-1", ask)).await.unwrap();
    identity.no_letters_left().await;
    let ask = pb::RequestPasswordResetRequest { email: email(), ..Default::default() };
    auth.request_password_reset(called("call-2", ask)).await.unwrap();
    identity.no_letters_left().await;
    let (clerk, network) = ("system:clerk", "127.0.0.0/24");
    let rows = rows_after(&identity, newest).await;
    assert_eq!(
        rows.iter().map(shown).collect::<Vec<_>>(),
        [
            [clerk, "employee.request_email_verification", network, "call-1"],
            [clerk, "employee.request_password_reset", network, "call-2"],
        ]
    );
}

/// A request that names its call.
fn called<T>(request_id: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-request-id", request_id.parse().unwrap());
    request
}

/// Refreshing is not on record, as said above; what a replayed token ends is.
#[tokio::test]
async fn refreshing_leaves_no_record() {
    let identity = Identity::start().await;
    identity.sign_up("ana").await;
    let request = pb::IssueTokensRequest {
        email: "ana@example.com".into(),
        password: PASSWORD.into(),
        device_label: String::new(),
    };
    let pair = identity.auth().issue_tokens(request).await.unwrap().into_inner();
    let newest = last(&identity).await;
    let request = pb::RefreshTokensRequest { refresh_token: pair.refresh_token };
    identity.auth().refresh_tokens(request).await.unwrap();
    assert_eq!(rows_after(&identity, newest).await, []);
}

#[tokio::test]
async fn what_changes_nothing_and_what_is_refused_leave_no_record() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let coach = identity.company_role(&ana, "Coach").await;
    identity.assign(&ana, bob.id, coach).await;
    let newest = last(&identity).await;
    let before = identity.seen(&ana, bob.id).await.unwrap();

    let again = identity.update(&ana, before.clone(), &[]).await.unwrap();
    assert_eq!(again, before, "with the same etag");
    identity.grant(&ana, bob.id, &[]).await.unwrap();
    identity.undelete(&ana, bob.id).await.unwrap();
    identity.assign(&ana, bob.id, coach).await;
    let account = identity.accounts().get_account(signed(&ana, pb::GetAccountRequest {})).await;
    let account = account.unwrap().into_inner().account;
    let request = pb::UpdateAccountRequest { account, ..Default::default() };
    identity.accounts().update_account(signed(&ana, request)).await.unwrap();
    identity
        .accounts()
        .reopen_account(signed(&ana, pb::ReopenAccountRequest::default()))
        .await
        .unwrap();
    let request = pb::GrantSystemRoleRequest {
        employee_id: bob.id,
        system_role: pb::SystemRole::User.into(),
        ..Default::default()
    };
    identity.roles().grant_system_role(signed(&ana, request)).await.unwrap();

    refusal(identity.delete(&bob, ana.id).await);
    refusal(identity.set_role(&ana, ana.id, Role::Employee).await);
    refusal(
        identity
            .employees()
            .create_employee(signed(&ana, create_employee("bob", Role::Admin)))
            .await,
    );
    refusal(identity.auth().login(login("bob@example.com", "not the password")).await);
    assert_eq!(rows_after(&identity, newest).await, []);
}

/// Security checklist 60.
#[tokio::test]
async fn an_act_and_its_record_are_of_one_transaction() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.set_name(&ana, "Ana").await;
    let transactions: Vec<(String, String)> = identity
        .rows(
            "SELECT e.xmin::text, a.xmin::text
             FROM identity.employees e, identity.audit_events a ORDER BY a.id DESC LIMIT 1",
        )
        .await;
    assert_eq!(transactions[0].0, transactions[0].1);
}

/// Security checklist 60.
#[tokio::test]
async fn nobody_changes_a_record() {
    let identity = Identity::start().await;
    identity.sign_up("ana").await;
    let before: Vec<(DateTime<Utc>,)> =
        identity.rows("SELECT time FROM identity.audit_events").await;
    for role in ["identity_app", "identity_lookup"] {
        let mut service = connected_as(&identity.database, role).await;
        let statements = [
            "UPDATE identity.audit_events SET action = 'nothing'",
            "DELETE FROM identity.audit_events",
            "TRUNCATE identity.audit_events",
        ];
        may_not(&mut service, &statements).await;
    }
    // Who sweeps deletes what is old and nothing else.
    let mut service = connected_as(&identity.database, "identity_sweep").await;
    may_not(&mut service, &["UPDATE identity.audit_events SET action = 'nothing'"]).await;
    sqlx::query("DELETE FROM identity.audit_events").execute(&mut service).await.unwrap();
    assert_eq!(before, identity.rows("SELECT time FROM identity.audit_events").await);
}
