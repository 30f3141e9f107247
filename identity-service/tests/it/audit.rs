//! Who did what: on record with the act itself, and read by those who may.

use chrono::{DateTime, Utc};
use identity_service::POLICY;
use proto::{
    common::v1::{Permission, Role},
    identity::v1::{self as pb, actor::Kind},
};
use service_kit::{
    policy::Access,
    testing::{
        conventions::{connected_as, may_not},
        raw,
        refusal::refusal,
    },
};
use tonic::{Code, Status};

use crate::{
    stage::{EXAMPLES, Example, PUBLIC, Stage, Who, Whom, changes},
    support::{Identity, PASSWORD, Person, code_in, create_employee, login, signed, someone},
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
        stage.put_back().await;
    }

    // And it can fail: with a line or an example left out.
    assert_eq!(unrecorded(&RECORDED[1..], &examples), [RECORDED[0].0]);
    assert_eq!(unrecorded(RECORDED, &examples[1..]), [examples[0].method]);
}

#[tokio::test]
async fn the_way_back_in_is_on_record() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let newest = last(&identity).await;
    let email = ana.email.clone();
    let request = pb::RequestEmailVerificationRequest { email, request_id: String::new() };
    identity.auth().request_email_verification(request).await.unwrap();
    let email = ana.email.clone();
    let request = pb::RequestPasswordResetRequest { email, request_id: String::new() };
    identity.auth().request_password_reset(request).await.unwrap();
    let letter = identity.letter(&ana.email, "Choose a new password").await;
    let invitation = Some(pb::Invitation { email: "bob@example.com".into(), ..Default::default() });
    let request = pb::InviteEmployeeRequest { invitation, request_id: String::new() };
    identity.employees().invite_employee(signed(&ana, request)).await.unwrap();
    let invitation = identity.letter("bob@example.com", "Invitation").await;
    identity.no_letters_left().await;
    let verification = identity.letters_to(&ana.email, "Confirm your e-mail").pop().unwrap();
    let request =
        pb::VerifyEmailRequest { code: code_in(&verification).into(), request_id: String::new() };
    identity.auth().verify_email(request).await.unwrap();
    let request = pb::ResetPasswordRequest {
        code: code_in(&letter).into(),
        new_password: "another good battery".into(),
        request_id: String::new(),
    };
    identity.auth().reset_password(request).await.unwrap();
    let request = pb::AcceptInviteRequest {
        code: code_in(&invitation).into(),
        password: PASSWORD.into(),
        ..Default::default()
    };
    identity.auth().accept_invite(request).await.unwrap();
    let rows = rows_after(&identity, newest).await;
    let actions: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
    let expected = [
        "employee.request_email_verification",
        "employee.request_password_reset",
        "invitation.create",
        "employee.verify_email",
        "employee.reset_password",
        "invitation.accept",
    ];
    assert_eq!(actions, expected);
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

async fn listed(
    identity: &Identity,
    by: &Person,
    request: pb::ListAuditEventsRequest,
) -> Result<pb::ListAuditEventsResponse, Status> {
    let answer = identity.audit().list_audit_events(signed(by, request)).await?;
    Ok(answer.into_inner())
}

fn actions(answer: &pb::ListAuditEventsResponse) -> Vec<&str> {
    answer.audit_events.iter().map(|event| event.action.as_str()).collect()
}

#[tokio::test]
async fn records_are_listed_newest_first_and_by_whatever_is_asked_for() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    identity.set_name(&bob, "Bob").await;
    let carla = identity.hire(&ana, someone("carla", Role::Employee)).await;
    identity.delete(&ana, carla.id).await.unwrap();
    let list = async |request| listed(&identity, &ana, request).await.unwrap();
    let any = pb::ListAuditEventsRequest::default;

    let all = list(pb::ListAuditEventsRequest { include_total: true, ..any() }).await;
    let in_order = [
        "employee.delete",
        "employee.create",
        "employee.update",
        "employee.log_in",
        "employee.create",
        "account.sign_up",
    ];
    assert_eq!(actions(&all), in_order);
    assert_eq!(all.total_size, Some(6));
    let deleted = &all.audit_events[0];
    assert_eq!(deleted.actor.unwrap().kind, Some(Kind::EmployeeId(ana.id)));
    assert_eq!((deleted.subject.as_str(), deleted.subject_id), ("employee", carla.id));
    assert_eq!(deleted.network, "127.0.0.0/24");
    assert!(!deleted.request_id.is_empty());
    assert_eq!(all.audit_events[3].actor, None, "nobody was signed in yet");

    let by_bob = pb::ListAuditEventsRequest { actor_employee_id: bob.id, ..any() };
    assert_eq!(actions(&list(by_bob).await), ["employee.update"]);
    let created = pb::ListAuditEventsRequest {
        action: "employee.create".into(),
        include_total: true,
        ..any()
    };
    let created = list(created).await;
    assert_eq!((created.audit_events.len(), created.total_size), (2, Some(2)));
    let of_carla =
        pb::ListAuditEventsRequest { subject: "employee".into(), subject_id: carla.id, ..any() };
    assert_eq!(actions(&list(of_carla).await), ["employee.delete", "employee.create"]);
    let time = all.audit_events[2].time;
    let since = pb::ListAuditEventsRequest { from_time: time, ..any() };
    assert_eq!(actions(&list(since).await), in_order[..3]);
    let until = pb::ListAuditEventsRequest { until_time: time, ..any() };
    assert_eq!(actions(&list(until).await), in_order[3..]);

    let oldest_first =
        pb::ListAuditEventsRequest { order_by: "time".into(), page_size: 4, ..any() };
    let first = list(oldest_first.clone()).await;
    let page_token = first.next_page_token.clone();
    let second = list(pb::ListAuditEventsRequest { page_token, ..oldest_first }).await;
    let mut pages = [actions(&first), actions(&second)].concat();
    pages.reverse();
    assert_eq!(pages, in_order);
    assert!(second.next_page_token.is_empty());

    let bad = pb::ListAuditEventsRequest {
        actor_employee_id: 1,
        actor_api_key_id: 1,
        subject_id: 7,
        order_by: "action".into(),
        page_size: -1,
        ..any()
    };
    let refused = refusal(listed(&identity, &ana, bad).await);
    let fields = ["actor_api_key_id", "subject_id", "order_by", "page_size"];
    assert_eq!(refused.fields, fields);
}

#[tokio::test]
async fn records_are_for_those_who_may_view_them() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let admin = identity.add(&ana, "admin", Role::Admin).await;
    let refused = refusal(listed(&identity, &admin, pb::ListAuditEventsRequest::default()).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    assert_eq!(refused.metadata, [("permission".to_owned(), "view_audit".to_owned())]);
    identity.grant(&ana, admin.id, &[Permission::ViewAudit]).await.unwrap();
    let seen = listed(&identity, &admin, pb::ListAuditEventsRequest::default()).await.unwrap();
    assert_eq!(seen.audit_events[0].action, "employee.update_permissions");
    let details = format!("{:?}", seen.audit_events[0].details);
    assert!(details.contains("view_audit"), "{details}");

    // And never of another account.
    let other = identity.sign_up("other").await;
    let seen = listed(&identity, &other, pb::ListAuditEventsRequest::default()).await.unwrap();
    assert_eq!(actions(&seen), ["account.sign_up"]);
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
