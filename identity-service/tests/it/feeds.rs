//! What others are told of each act, and in which order.

use std::collections::BTreeSet;

use proto::{
    common::v1::{ErrorReason, Permission, Role},
    identity::v1::{
        self as pb, revoke_all_sessions_request::Target, validate_token_response::Outcome,
    },
};
use serde_json::{Value, json};
use service_kit::testing::raw;
use tokio::task::JoinSet;

use crate::{
    stage::{About, EXAMPLES, PUBLIC, Stage, Who, Whom, changes},
    support::{Identity, PASSWORD, Person, bearing, code_in, login, signed, someone},
};

/// What was told since it was last asked.
struct Listener<'a> {
    identity: &'a Identity,
    revocations: i64,
    directory: i64,
}

impl Listener<'_> {
    async fn revoked(&mut self) -> Vec<(String, i64)> {
        let query = format!(
            "SELECT kind, id, number FROM identity.revocations WHERE number > {} ORDER BY number",
            self.revocations
        );
        let found: Vec<(String, i64, i64)> = self.identity.rows(&query).await;
        self.revocations = found.last().map_or(self.revocations, |last| last.2);
        found.into_iter().map(|(kind, id, _)| (kind, id)).collect()
    }

    async fn announced(&mut self) -> Vec<(String, i64, Value)> {
        let query = format!(
            "SELECT kind, id, body, number FROM identity.directory_events
             WHERE number > {} ORDER BY number",
            self.directory
        );
        let found: Vec<(String, i64, Value, i64)> = self.identity.rows(&query).await;
        self.directory = found.last().map_or(self.directory, |last| last.3);
        found.into_iter().map(|(kind, id, body, _)| (kind, id, body)).collect()
    }

    /// Exactly this was told of a person's credentials, and this of the person.
    async fn told_of(&mut self, what: &str, revoked: &[(&str, i64)], announced: &[(i64, Value)]) {
        let revoked: Vec<_> = revoked.iter().map(|(kind, id)| ((*kind).to_owned(), *id)).collect();
        assert_eq!(self.revoked().await, revoked, "{what}");
        let announced: Vec<_> =
            announced.iter().map(|(id, body)| ("employee".to_owned(), *id, body.clone())).collect();
        assert_eq!(self.announced().await, announced, "{what}");
    }
}

fn listen(identity: &Identity) -> Listener<'_> {
    Listener { identity, revocations: 0, directory: 0 }
}

#[tokio::test]
async fn of_people_others_learn_their_name_and_state_and_when_their_credentials_change() {
    let identity = Identity::start().await;
    let mut others = listen(&identity);
    let ana = identity.sign_up("ana").await;
    assert_eq!(others.revoked().await, []);
    let announced = others.announced().await;
    let kinds: Vec<_> = announced.iter().map(|(kind, id, _)| (kind.as_str(), *id)).collect();
    assert_eq!(kinds, [("account", ana.account_id), ("employee", ana.id)]);
    assert_eq!(announced[0].2["state"], "open");
    assert_eq!(announced[1].2, json!({ "name": "ana", "state": "active" }));

    let bob = identity.hire(&ana, someone("bob", Role::Employee)).await.id;
    let is = |name: &str, state: &str| (bob, json!({ "name": name, "state": state }));
    others.told_of("create", &[], &[is("bob", "active")]).await;
    let named = pb::Employee { id: bob, name: "Bob".into(), ..Default::default() };
    identity.update(&ana, named, &[]).await.unwrap();
    others.told_of("name", &[], &[is("Bob", "active")]).await;
    let called = pb::Employee { id: bob, phone_number: "1234".into(), ..Default::default() };
    identity.update(&ana, called, &[]).await.unwrap();
    others.told_of("phone number", &[], &[]).await;
    identity.set_role(&ana, bob, Role::Admin).await.unwrap();
    others.told_of("role", &[("employee", bob)], &[]).await;
    identity.set_active(&ana, bob, false).await.unwrap();
    others.told_of("deactivate", &[("employee", bob)], &[is("Bob", "inactive")]).await;
    identity.set_active(&ana, bob, true).await.unwrap();
    others.told_of("reactivate", &[("employee", bob)], &[is("Bob", "active")]).await;
    identity.grant(&ana, bob, &[Permission::ViewAudit]).await.unwrap();
    others.told_of("permissions", &[("employee", bob)], &[]).await;
    identity.delete(&ana, bob).await.unwrap();
    others.told_of("delete", &[("employee", bob)], &[is("Bob", "deleted")]).await;
    identity.undelete(&ana, bob).await.unwrap();
    others.told_of("undelete", &[("employee", bob)], &[is("Bob", "active")]).await;

    let coach = identity.company_role(&ana, "Coach").await;
    others.told_of("a role of nobody's", &[], &[]).await;
    identity.assign(&ana, bob, coach).await;
    others.told_of("assign", &[("employee", bob)], &[]).await;
    let company_role =
        Some(pb::CompanyRole { id: coach, name: "Head".into(), ..Default::default() });
    let request = pb::UpdateCompanyRoleRequest { company_role, ..Default::default() };
    identity.roles().update_company_role(signed(&ana, request)).await.unwrap();
    others.told_of("a role's name", &[("employee", bob)], &[]).await;
    let request = pb::DeleteCompanyRoleRequest { id: coach, ..Default::default() };
    identity.roles().delete_company_role(signed(&ana, request)).await.unwrap();
    others.told_of("a role's end", &[("employee", bob)], &[]).await;
    let (employee_id, system_role) = (bob, pb::SystemRole::TicketAdmin.into());
    let request = pb::GrantSystemRoleRequest { employee_id, system_role, ..Default::default() };
    identity.roles().grant_system_role(signed(&ana, request)).await.unwrap();
    others.told_of("a system role", &[("employee", bob)], &[]).await;
    let request = pb::RevokeSystemRoleRequest { employee_id, system_role, ..Default::default() };
    identity.roles().revoke_system_role(signed(&ana, request)).await.unwrap();
    others.told_of("a system role's end", &[("employee", bob)], &[]).await;

    let target = Some(Target::EmployeeId(bob));
    let request = pb::RevokeAllSessionsRequest { target };
    identity.auth().revoke_all_sessions(signed(&ana, request)).await.unwrap();
    others.told_of("revoke", &[("employee", bob)], &[]).await;
    identity.auth().login(login(&ana.email, PASSWORD)).await.unwrap();
    others.told_of("log-in", &[], &[]).await;
    identity.auth().logout(signed(&ana, pb::LogoutRequest {})).await.unwrap();
    others.told_of("log-out", &[("employee", ana.id)], &[]).await;
}

#[tokio::test]
async fn of_somebody_who_is_invited_others_learn_when_they_join() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut others = listen(&identity);
    others.announced().await;
    let invitation = Some(pb::Invitation { email: "bob@example.com".into(), ..Default::default() });
    let request = pb::InviteEmployeeRequest { invitation, ..Default::default() };
    identity.employees().invite_employee(signed(&ana, request)).await.unwrap();
    let letter = identity.letter("bob@example.com", "Invitation").await;
    others.told_of("invite", &[], &[]).await;
    let (code, name, password) = (code_in(&letter).into(), "Bob".into(), PASSWORD.into());
    let request = pb::AcceptInviteRequest { code, name, password, ..Default::default() };
    let joined = identity.auth().accept_invite(request).await.unwrap().into_inner();
    let bob = joined.employee.unwrap().id;
    let is_there = (bob, json!({ "name": "Bob", "state": "active" }));
    others.told_of("accept", &[], &[is_there]).await;
}

#[tokio::test]
async fn of_an_account_others_learn_its_settings_and_whether_it_is_open() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut others = listen(&identity);
    others.announced().await;
    let account = pb::Account {
        name: "Ana & Sons".into(),
        settings: Some(pb::AccountSettings {
            time_zone: "Europe/Amsterdam".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = pb::UpdateAccountRequest { account: Some(account), ..Default::default() };
    identity.accounts().update_account(signed(&ana, request)).await.unwrap();
    let whole = [("account".to_owned(), ana.account_id)];
    assert_eq!(others.revoked().await, whole);
    let body = json!({
        "name": "Ana & Sons",
        "default_currency": "USD",
        "employee_client_visibility": "account",
        "time_zone": "Europe/Amsterdam",
        "state": "open",
    });
    assert_eq!(others.announced().await, [("account".to_owned(), ana.account_id, body)]);

    identity
        .accounts()
        .close_account(signed(&ana, pb::CloseAccountRequest::default()))
        .await
        .unwrap();
    assert_eq!(others.revoked().await, whole);
    assert_eq!(others.announced().await[0].2["state"], "closed");
    let ana = identity.log_in(&ana.email).await;
    let request = pb::ReopenAccountRequest::default();
    identity.accounts().reopen_account(signed(&ana, request)).await.unwrap();
    assert_eq!(others.revoked().await, whole);
    assert_eq!(others.announced().await[0].2["state"], "open");

    let target = Some(Target::WholeAccount(true));
    let request = pb::RevokeAllSessionsRequest { target };
    identity.auth().revoke_all_sessions(signed(&ana, request)).await.unwrap();
    assert_eq!(others.revoked().await, whole);
    assert_eq!(others.announced().await, []);
}

#[tokio::test]
async fn of_keys_and_sessions_others_learn_that_they_end() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut others = listen(&identity);
    identity.api_key(&ana, &[]).await;
    assert_eq!(others.revoked().await, [], "a new key was unknown before");
    let request = pb::RevokeApiKeyRequest { id: 1, ..Default::default() };
    identity.api_keys().revoke_api_key(signed(&ana, request.clone())).await.unwrap();
    assert_eq!(others.revoked().await, [("api_key".to_owned(), 1)]);
    identity.api_keys().revoke_api_key(signed(&ana, request)).await.unwrap();
    assert_eq!(others.revoked().await, [], "it was ended already");

    let request = pb::IssueTokensRequest {
        email: ana.email.clone(),
        password: PASSWORD.into(),
        device_label: String::new(),
    };
    identity.auth().issue_tokens(request).await.unwrap();
    assert_eq!(others.revoked().await, []);
    let sessions = identity.auth().list_sessions(signed(&ana, pb::ListSessionsRequest {})).await;
    let id = sessions.unwrap().into_inner().sessions[0].id;
    identity.auth().revoke_session(signed(&ana, pb::RevokeSessionRequest { id })).await.unwrap();
    assert_eq!(others.revoked().await, [("session".to_owned(), id)]);
    let request = pb::RevokeOtherSessionsRequest {};
    identity.auth().revoke_other_sessions(signed(&ana, request)).await.unwrap();
    assert_eq!(others.revoked().await, [("employee".to_owned(), ana.id)]);
}

/// Security checklist 34: who keeps an answer about a key does not know who made it.
#[tokio::test]
async fn of_what_changes_the_power_of_a_keys_maker_others_learn_for_the_key_too() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::SuperAdmin).await;
    identity.api_key(&bob, &[Permission::ViewAudit]).await;
    let ended = identity.api_key(&bob, &[]).await;
    identity.api_key(&ana, &[]).await;
    let request = pb::RevokeApiKeyRequest { id: 2, ..Default::default() };
    identity.api_keys().revoke_api_key(signed(&ana, request)).await.unwrap();
    assert_eq!(identity.not_validated(&ended).await, ErrorReason::TokenRevoked);
    let mut others = listen(&identity);
    others.revoked().await;
    let both = [("employee".to_owned(), bob.id), ("api_key".to_owned(), 1)];

    identity.set_role(&ana, bob.id, Role::Admin).await.unwrap();
    assert_eq!(others.revoked().await, both, "role");
    identity.grant(&ana, bob.id, &[Permission::ViewAudit]).await.unwrap();
    assert_eq!(others.revoked().await, both, "permissions");
    identity.set_active(&ana, bob.id, false).await.unwrap();
    assert_eq!(others.revoked().await, both, "deactivate");
    identity.set_active(&ana, bob.id, true).await.unwrap();
    assert_eq!(others.revoked().await, both, "reactivate");
    identity.delete(&ana, bob.id).await.unwrap();
    assert_eq!(others.revoked().await, both, "delete");
    identity.undelete(&ana, bob.id).await.unwrap();
    assert_eq!(others.revoked().await, both[..1], "undelete: the key is gone for good");
    let named = pb::Employee { id: bob.id, name: "Bob".into(), ..Default::default() };
    identity.update(&ana, named, &[]).await.unwrap();
    assert_eq!(others.revoked().await, [], "name");
}

/// A credential, and all by whom it may be named in the log.
struct Watched {
    credential: String,
    holders: Vec<(String, i64)>,
}

fn watched(credential: &str, holders: &[(&str, i64)]) -> Watched {
    let holders = holders.iter().map(|(kind, id)| ((*kind).to_owned(), *id)).collect();
    Watched { credential: credential.to_owned(), holders }
}

/// Whatever is kept of an answer of `ValidateToken` is kept until the log names its holder.
///
/// Security checklist 19 and 20.
#[tokio::test]
async fn no_answer_about_a_credential_changes_unless_the_log_names_its_holder() {
    let stage = Stage::set().await;
    let identity = &stage.identity;
    let (owner, worker) =
        (identity.log_in("owner@example.com").await, identity.log_in("worker@example.com").await);
    let key = &stage.actor(Who::ApiKey).token;
    let first_key = identity.rows::<(i64,)>("SELECT min(id) FROM identity.api_keys").await[0].0;
    let mut others = listen(identity);
    let mut changed = BTreeSet::new();
    for example in EXAMPLES.iter().chain(PUBLIC).filter(|example| changes(example.method)) {
        let path = example.method;
        let mut credentials = vec![watched(key, &[("api_key", first_key)])];
        let mut sessions = Vec::new();
        for person in [&owner, &worker] {
            let phone = identity.open_session(person, "").await.access_token;
            let own = identity.sessions(&phone).await.into_iter().find(|one| one.is_current);
            sessions.push(own.unwrap().id);
            let holders = [("employee", person.id), ("session", *sessions.last().unwrap())];
            credentials.push(watched(&phone, &holders));
            credentials.push(watched(&person.token, &holders[..1]));
        }
        let about = About {
            employee: worker.id,
            session: sessions[0],
            api_key: first_key,
            ..stage.about(stage.actor(Who::SuperAdmin), Whom::Employee)
        };
        stage.prepare(path, &about).await;
        let before = answers(identity, &credentials).await;
        others.revoked().await;
        let request = raw::request((example.bytes)(&about), &owner.token);
        raw::call(&identity.channel, path, request).await.expect(path);

        let named = others.revoked().await;
        let after = answers(identity, &credentials).await;
        for (number, of) in credentials.iter().enumerate() {
            if before[number] != after[number] {
                let whole = ("account".to_owned(), owner.account_id);
                let is_told = |holder| named.contains(holder);
                let is_told = is_told(&whole) || of.holders.iter().any(is_told);
                assert!(is_told, "{path}: of {:?} the log names {named:?}", of.holders);
                changed.insert(path.rsplit('/').next().unwrap());
            }
        }
        stage.put_back().await;
    }
    let expected = [
        "AssignCompanyRole",
        "ChangePassword",
        "CloseAccount",
        "DeleteCompanyRole",
        "DeleteEmployee",
        "GrantSystemRole",
        "Logout",
        "ReopenAccount",
        "RevokeAllSessions",
        "RevokeApiKey",
        "RevokeOtherSessions",
        "RevokeSession",
        "RevokeSystemRole",
        "UnassignCompanyRole",
        "UndeleteEmployee",
        "UpdateEmployee",
        "UpdatePermissions",
    ];
    assert_eq!(changed.into_iter().collect::<Vec<_>>(), expected);
}

async fn answers(identity: &Identity, credentials: &[Watched]) -> Vec<Outcome> {
    let mut found = Vec::new();
    for one in credentials {
        found.push(identity.validate(&one.credential).await);
    }
    found
}

/// Security checklist 19 and 22.
#[tokio::test]
async fn of_a_new_password_a_log_out_and_a_replay_others_learn() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let [phone, laptop, tablet] = [
        identity.open_session(&ana, "phone").await,
        identity.open_session(&ana, "laptop").await,
        identity.open_session(&ana, "tablet").await,
    ];
    let ids = identity.sessions(&ana.token).await.into_iter().map(|session| session.id);
    let [tablets, _, phones] = ids.collect::<Vec<_>>().try_into().unwrap();
    let mut others = listen(&identity);

    let log_out = bearing(&phone.access_token, pb::LogoutRequest {});
    identity.auth().logout(log_out).await.unwrap();
    assert_eq!(others.revoked().await, [("session".to_owned(), phones)], "log-out");

    identity.refresh(&tablet.refresh_token).await.unwrap();
    assert_eq!(others.revoked().await, [], "the old access token is good for its time");
    let long_ago = "UPDATE identity.sessions SET last_seen_time = now() - interval '11 seconds'";
    identity.database.execute(long_ago).await;
    identity.refresh(&tablet.refresh_token).await.unwrap_err();
    assert_eq!(others.revoked().await, [("session".to_owned(), tablets)], "replay");

    let employee = [("employee".to_owned(), ana.id)];
    let (old_password, new_password) = (PASSWORD.into(), "another good battery".into());
    let change = pb::ChangePasswordRequest { old_password, new_password };
    let change = bearing(&laptop.access_token, change);
    identity.auth().change_password(change).await.unwrap();
    assert_eq!(others.revoked().await, employee, "change");

    let ask = pb::RequestPasswordResetRequest { email: ana.email.clone(), ..Default::default() };
    identity.auth().request_password_reset(ask).await.unwrap();
    let letter = identity.letter(&ana.email, "Choose a new password").await;
    let (code, new_password) = (code_in(&letter).into(), PASSWORD.into());
    let reset = pb::ResetPasswordRequest { code, new_password, ..Default::default() };
    identity.auth().reset_password(reset).await.unwrap();
    assert_eq!(others.revoked().await, employee, "reset");
}

/// Whoever reads number 7 never sees a 6 appear behind it.
#[tokio::test]
async fn numbers_have_no_gaps_at_any_time_while_many_calls_run() {
    let identity = Identity::start().await;
    let (ana, bob) = (identity.sign_up("ana").await, identity.sign_up("bob").await);
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let by = if number % 2 == 0 { ana.clone() } else { bob.clone() };
        let id = identity.hire(&by, someone(&format!("e{number}"), Role::Employee)).await.id;
        let mut employees = identity.employees();
        calls.spawn(async move {
            for active in [false, true, false] {
                let employee =
                    Some(pb::Employee { id, is_active: Some(active), ..Default::default() });
                let request = pb::UpdateEmployeeRequest { employee, ..Default::default() };
                employees.update_employee(signed(&by, request)).await.unwrap();
            }
        });
    }
    let mut looks = 0;
    while !calls.is_empty() {
        look(&identity).await;
        looks += 1;
        while let Some(done) = calls.try_join_next() {
            done.unwrap();
        }
    }
    assert!(looks > 1, "it was looked at meanwhile");
    assert_eq!(look(&identity).await, (60, 24 + 60));

    // What did not become true is not told.
    let refused = identity.set_active(&ana, ana.id, false).await;
    assert!(refused.is_err());
    assert_eq!(look(&identity).await, (60, 24 + 60));
    let counters: Vec<(String, i64)> =
        identity.rows("SELECT name, number FROM identity.feeds ORDER BY name").await;
    assert_eq!(counters, [("directory".to_owned(), 84), ("revocations".to_owned(), 60)]);
}

/// How many events there are of each feed, numbered from 1 to that.
async fn look(identity: &Identity) -> (i64, i64) {
    let seen: Vec<(i64, i64, i64, i64)> = identity
        .rows(
            "SELECT r.count, r.last, d.count, d.last
             FROM (SELECT count(*), coalesce(max(number), 0) AS last FROM identity.revocations) r,
                 (SELECT count(*), coalesce(max(number), 0) AS last
                  FROM identity.directory_events) d",
        )
        .await;
    let (revocations, last, announcements, last_announced) = seen[0];
    assert_eq!((revocations, announcements), (last, last_announced));
    (revocations, announcements)
}

/// Each of two people who are changed by one act is named.
#[tokio::test]
async fn everyone_who_loses_a_role_is_named() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let coach = identity.company_role(&ana, "Coach").await;
    let mut holders = Vec::new();
    for name in ["bob", "carla", "dora"] {
        let id = identity.hire(&ana, someone(name, Role::Employee)).await.id;
        identity.assign(&ana, id, coach).await;
        holders.push(("employee".to_owned(), id));
    }
    let mut others = listen(&identity);
    others.revoked().await;
    delete_role(&identity, &ana, coach).await;
    let mut revoked = others.revoked().await;
    revoked.sort();
    assert_eq!(revoked, holders);
}

async fn delete_role(identity: &Identity, by: &Person, id: i64) {
    let request = pb::DeleteCompanyRoleRequest { id, ..Default::default() };
    identity.roles().delete_company_role(signed(by, request)).await.unwrap();
}
