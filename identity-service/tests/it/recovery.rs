//! Getting back in, and showing that an address is one's own: by codes that are sent there.

use crate::addresses::invite;
use crate::support::{
    Identity, PASSWORD, Person, code_in, coming_from, login, renamed, signed, someone,
};
use proto::{
    common::v1::{ErrorReason, Role},
    identity::v1 as pb,
};
use service_kit::testing::refusal::refusal;
use std::time::Duration;
use tonic::{Code, Status};

pub const NEW_PASSWORD: &str = "an entirely new horse";

pub async fn ask_for_reset(identity: &Identity, email: &str) {
    let request =
        pb::RequestPasswordResetRequest { email: email.into(), request_id: String::new() };
    identity.auth().request_password_reset(request).await.unwrap();
}

pub async fn reset(identity: &Identity, code: &str, password: &str) -> Result<(), Status> {
    let request = pb::ResetPasswordRequest {
        code: code.into(),
        new_password: password.into(),
        request_id: String::new(),
    };
    identity.auth().reset_password(request).await.map(|_| ())
}

pub async fn verify(identity: &Identity, code: &str) -> Result<String, Status> {
    let request = pb::VerifyEmailRequest { code: code.into(), request_id: String::new() };
    Ok(identity.auth().verify_email(request).await?.into_inner().email)
}

pub async fn me(identity: &Identity, person: &Person) -> pb::Employee {
    let answer = identity.auth().get_me(signed(person, pb::GetMeRequest {})).await.unwrap();
    answer.into_inner().employee.unwrap()
}

pub async fn change_email(identity: &Identity, by: &Person, to: &str) {
    let request = pb::ChangeEmailRequest {
        password: PASSWORD.into(),
        new_email: to.into(),
        request_id: String::new(),
    };
    identity.auth().change_email(signed(by, request)).await.unwrap();
}

/// A letter to Ana with a code that is none of these, once it is there.
async fn another_letter(identity: &Identity, known: &[&str]) -> String {
    for _ in 0..200 {
        let letters = identity.letters_to("ana@example.com", "Choose a new password");
        if let Some(new) = letters.into_iter().find(|letter| !known.contains(&code_in(letter))) {
            return new;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("there is no other letter")
}

/// Security checklist 6: whatever sets a password knows who it is for.
#[tokio::test]
async fn a_reset_knows_the_names_of_whoever_it_is_for() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana.maria").await;
    let me = pb::Employee { last_name: "Lovelace".into(), ..Default::default() };
    let update = pb::UpdateMeRequest { employee: Some(me), ..Default::default() };
    identity.auth().update_me(signed(&ana, update)).await.unwrap();
    ask_for_reset(&identity, &ana.email).await;
    let letter = identity.letter(&ana.email, "Choose a new password").await;
    for password in ["Lovelace1", "ana.maria-1"] {
        let refused = refusal(reset(&identity, code_in(&letter), password).await);
        assert_eq!(refused.fields, ["new_password"], "{password}");
    }
    reset(&identity, code_in(&letter), NEW_PASSWORD).await.unwrap();
}

/// Security checklist 13.
#[tokio::test]
async fn a_code_sets_a_new_password_once_and_ends_everything_else() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let request = pb::IssueTokensRequest {
        email: ana.email.clone(),
        password: PASSWORD.into(),
        ..Default::default()
    };
    let session = identity.auth().issue_tokens(request).await.unwrap().into_inner();
    ask_for_reset(&identity, "ANA@example.com").await;
    let letter = identity.letter("ana@example.com", "Choose a new password").await;
    let code = code_in(&letter);

    let before = identity.digest().await;
    for (password, what) in [("short", "too short"), ("password123", "common"), ("", "missing")] {
        let refused = refusal(reset(&identity, code, password).await);
        assert_eq!(refused.fields, ["new_password"], "{what}");
    }
    assert_eq!(identity.digest().await, before, "the code is not used up");

    reset(&identity, code, NEW_PASSWORD).await.unwrap();
    let refused = refusal(identity.auth().get_me(signed(&ana, pb::GetMeRequest {})).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "TOKEN_REVOKED"));
    let request = pb::RefreshTokensRequest { refresh_token: session.refresh_token };
    refusal(identity.auth().refresh_tokens(request).await);
    refusal(identity.auth().login(login("ana@example.com", PASSWORD)).await);
    identity.auth().login(login("ana@example.com", NEW_PASSWORD)).await.unwrap();
    identity.letter("ana@example.com", "Your password was changed").await;
    let refused = refusal(reset(&identity, code, "yet another horse").await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "CODE_INVALID"));
}

#[tokio::test]
async fn a_repeat_of_a_reset_gets_the_first_answer() {
    let identity = Identity::start().await;
    identity.sign_up("ana").await;
    ask_for_reset(&identity, "ana@example.com").await;
    let letter = identity.letter("ana@example.com", "Choose a new password").await;
    let request = pb::ResetPasswordRequest {
        code: code_in(&letter).into(),
        new_password: NEW_PASSWORD.into(),
        request_id: "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f".into(),
    };
    identity.auth().reset_password(request.clone()).await.unwrap();
    let before = identity.digest().await;
    identity.auth().reset_password(request.clone()).await.unwrap();
    assert_eq!(identity.digest().await, before);
    let other = pb::ResetPasswordRequest { new_password: "something else".into(), ..request };
    let refused = refusal(identity.auth().reset_password(other).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
}

/// Security checklist 13.
#[tokio::test]
async fn a_code_is_void_when_it_is_old_or_replaced_or_the_password_changed() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    ask_for_reset(&identity, "ana@example.com").await;
    let first = identity.letter("ana@example.com", "Choose a new password").await;
    ask_for_reset(&identity, "ana@example.com").await;
    let second = another_letter(&identity, &[code_in(&first)]).await;
    let refused = refusal(reset(&identity, code_in(&first), NEW_PASSWORD).await);
    assert_eq!(refused.reason, "CODE_INVALID", "replaced");

    let request = pb::ChangePasswordRequest {
        old_password: PASSWORD.into(),
        new_password: NEW_PASSWORD.into(),
    };
    identity.auth().change_password(signed(&ana, request)).await.unwrap();
    let refused = refusal(reset(&identity, code_in(&second), "a third good horse").await);
    assert_eq!(refused.reason, "CODE_INVALID", "the password changed");

    identity.database.execute("DELETE FROM identity.letters").await;
    ask_for_reset(&identity, "ana@example.com").await;
    let third = another_letter(&identity, &[code_in(&first), code_in(&second)]).await;
    identity
        .database
        .execute("UPDATE identity.codes SET expire_time = now() - interval '1 second'")
        .await;
    let refused = refusal(reset(&identity, code_in(&third), "a third good horse").await);
    assert_eq!(refused.reason, "CODE_INVALID", "too old");

    identity.database.execute("DELETE FROM identity.letters").await;
    ask_for_reset(&identity, "ana@example.com").await;
    let fourth =
        another_letter(&identity, &[code_in(&first), code_in(&second), code_in(&third)]).await;
    let active = |active: bool| format!("UPDATE identity.employees SET is_active = {active}");
    identity.database.execute(&active(false)).await;
    let refused = refusal(reset(&identity, code_in(&fourth), "a third good horse").await);
    assert_eq!(refused.reason, "CODE_INVALID", "whoever it is for is out");
    identity.database.execute(&active(true)).await;
    reset(&identity, code_in(&fourth), "a third good horse").await.unwrap();
}

/// Security checklist 25: one kind of code is never another.
#[tokio::test]
async fn a_code_is_good_for_its_purpose_only() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    ask_for_reset(&identity, "ana@example.com").await;
    let reset_letter = identity.letter("ana@example.com", "Choose a new password").await;
    let verify_letter = identity.letter("ana@example.com", "Confirm your e-mail address").await;
    let (for_reset, for_verify) = (code_in(&reset_letter), code_in(&verify_letter));
    invite(&identity, &ana, "bob@example.com").await.unwrap();
    let invitation = identity.letter("bob@example.com", "Invitation").await;
    let for_joining = code_in(&invitation);
    let before = identity.digest().await;
    let refused = refusal(reset(&identity, for_verify, NEW_PASSWORD).await);
    assert_eq!(refused.reason, "CODE_INVALID");
    assert_eq!(refusal(verify(&identity, for_reset).await).reason, "CODE_INVALID");
    let request = pb::AcceptInviteRequest {
        code: for_reset.into(),
        password: NEW_PASSWORD.into(),
        ..Default::default()
    };
    assert_eq!(refusal(identity.auth().accept_invite(request).await).reason, "CODE_INVALID");
    for junk in ["nonsense", &for_reset[..53], &for_reset.to_uppercase()] {
        assert_eq!(refusal(reset(&identity, junk, NEW_PASSWORD).await).reason, "CODE_INVALID");
    }
    assert_eq!(refusal(reset(&identity, "", NEW_PASSWORD).await).fields, ["code"]);
    assert_eq!(refusal(reset(&identity, for_joining, NEW_PASSWORD).await).reason, "CODE_INVALID");
    assert_eq!(refusal(verify(&identity, for_joining).await).reason, "CODE_INVALID");
    // Nor under the name of another.
    for (code, name) in [(for_joining, "clp_"), (for_verify, "clp_"), (for_reset, "clk_")] {
        let renamed = renamed(code, name);
        assert_eq!(refusal(reset(&identity, &renamed, NEW_PASSWORD).await).reason, "CODE_INVALID");
    }
    for code in [for_reset, for_verify, for_joining] {
        for name in [&code[..4], "clk_", "clr_"] {
            let renamed = renamed(code, name);
            assert_eq!(refusal(identity.me(&renamed).await).reason, "TOKEN_INVALID");
            assert_eq!(refusal(identity.refresh(&renamed).await).reason, "TOKEN_INVALID");
            assert_eq!(identity.not_validated(&renamed).await, ErrorReason::TokenInvalid);
        }
    }
    assert_eq!(identity.digest().await, before);
    reset(&identity, for_reset, NEW_PASSWORD).await.unwrap();
}

/// Security checklist 13.
#[tokio::test]
async fn of_two_uses_of_a_code_at_once_one_wins() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let verification = identity.letter(&ana.email, "Confirm your e-mail address").await;
    let code = code_in(&verification);
    let (one, two) = tokio::join!(verify(&identity, code), verify(&identity, code));
    one_wins(one, two);

    ask_for_reset(&identity, &ana.email).await;
    let letter = identity.letter(&ana.email, "Choose a new password").await;
    let passwords = ["first new password", "second new password"];
    let (one, two) = tokio::join!(
        reset(&identity, code_in(&letter), passwords[0]),
        reset(&identity, code_in(&letter), passwords[1]),
    );
    let lost = one_wins(one, two);
    let enters = async |which: usize| {
        identity.auth().login(login(&ana.email, passwords[which])).await.is_ok()
    };
    assert!(enters(1 - lost).await && !enters(lost).await);
    let acts = "SELECT count(*) FROM identity.audit_events
                WHERE action IN ('employee.verify_email', 'employee.reset_password')";
    assert_eq!(identity.rows::<(i64,)>(acts).await, [(2,)]);
}

/// Which of two did not, and says so.
fn one_wins<T: std::fmt::Debug>(one: Result<T, Status>, two: Result<T, Status>) -> usize {
    let (lost, which) = match (one, two) {
        (Err(lost), Ok(_)) => (lost, 0),
        (Ok(_), Err(lost)) => (lost, 1),
        (one, two) => panic!("{one:?}, {two:?}"),
    };
    assert_eq!(refusal::<()>(Err(lost)).said(), (Code::InvalidArgument, "CODE_INVALID"));
    which
}

/// Security checklist 13.
#[tokio::test]
async fn a_code_is_good_for_an_hour() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let age = async |minutes: u32| {
        let age = "UPDATE identity.codes SET expire_time = expire_time - interval";
        identity.database.execute(&format!("{age} '{minutes} minutes'")).await;
    };
    let verification = identity.letter(&ana.email, "Confirm your e-mail address").await;
    ask_for_reset(&identity, &ana.email).await;
    let letter = identity.letter(&ana.email, "Choose a new password").await;
    change_email(&identity, &ana, "ana@new.example").await;
    let change = identity.letter("ana@new.example", "Confirm your new e-mail address").await;

    age(60).await;
    let before = identity.digest().await;
    for code in [&verification, &change] {
        assert_eq!(refusal(verify(&identity, code_in(code)).await).reason, "CODE_INVALID");
    }
    let refused = refusal(reset(&identity, code_in(&letter), NEW_PASSWORD).await);
    assert_eq!(refused.reason, "CODE_INVALID");
    assert_eq!(identity.digest().await, before);

    let back = "UPDATE identity.codes SET expire_time = expire_time + interval '1 minute'";
    identity.database.execute(back).await;
    verify(&identity, code_in(&verification)).await.unwrap();
    reset(&identity, code_in(&letter), NEW_PASSWORD).await.unwrap();
}

/// Requirement R6.
#[tokio::test]
async fn whoever_was_entered_without_a_password_gets_in_by_a_reset() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.hire(&ana, someone("bob", Role::Employee)).await;
    ask_for_reset(&identity, "bob@example.com").await;
    let letter = identity.letter("bob@example.com", "Choose a new password").await;
    reset(&identity, code_in(&letter), NEW_PASSWORD).await.unwrap();
    let answer = identity.auth().login(login("bob@example.com", NEW_PASSWORD)).await.unwrap();
    let bob = answer.into_inner().employee.unwrap();
    assert!(!bob.password_change_advised, "it is their own");
}

pub type Calling = std::pin::Pin<Box<dyn Future<Output = Result<(), Status>>>>;

const STATEMENTS: &str = "rpc_statements_total{service=\"identity-service\",method=\"identity.v1.AuthService/RequestPasswordReset\"}";

/// Security checklist 2: asking tells nothing, and costs the same.
#[tokio::test]
async fn asking_for_a_code_says_nothing_about_who_is_there() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.add(&ana, "idle", Role::Employee).await;
    identity
        .database
        .execute("UPDATE identity.employees SET is_active = false WHERE email = 'idle@example.com'")
        .await;
    identity.no_letters_left().await;
    let mut costs = Vec::new();
    for email in ["ana@example.com", "nobody@example.com", "idle@example.com"] {
        let before = identity.figure(STATEMENTS).await;
        ask_for_reset(&identity, email).await;
        costs.push(identity.figure(STATEMENTS).await - before);
    }
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
    identity.letter("ana@example.com", "Choose a new password").await;
    identity.no_letters_left().await;
    for nobody in ["nobody@example.com", "idle@example.com"] {
        assert!(identity.letters_to(nobody, "Choose").is_empty());
    }
    let request =
        pb::RequestPasswordResetRequest { email: "nobody".into(), request_id: "x".into() };
    let refused = refusal(identity.auth().request_password_reset(request).await);
    assert_eq!(refused.fields, ["request_id", "email"]);
}

/// Security checklist 14: an admin can start a reset and learns nothing.
#[tokio::test]
async fn an_admin_starts_a_reset_for_those_they_may_manage() {
    let identity = Identity::start().await;
    let owner = identity.sign_up("owner").await;
    let admin = identity.add(&owner, "admin", Role::Admin).await;
    let bob = identity.add(&owner, "bob", Role::Employee).await;
    let send = |by: &Person, id: i64| {
        let request = signed(by, pb::SendPasswordResetRequest { id, ..Default::default() });
        let mut employees = identity.employees();
        async move { employees.send_password_reset(request).await }
    };
    assert_eq!(refusal(send(&admin, owner.id).await).reason, "RANK_TOO_LOW");
    assert_eq!(refusal(send(&bob, admin.id).await).reason, "ROLE_REQUIRED");
    send(&admin, bob.id).await.unwrap();
    let letter = identity.letter("bob@example.com", "Choose a new password").await;
    assert!(letter.contains("admin asks you"));
    reset(&identity, code_in(&letter), NEW_PASSWORD).await.unwrap();
    identity.auth().login(login("bob@example.com", NEW_PASSWORD)).await.unwrap();
}

#[tokio::test]
async fn a_single_connection_is_enough_to_send_a_code() {
    let identity =
        Identity::set_up(|settings| settings.database.as_mut().unwrap().pool.size = 1).await;
    identity.sign_up("ana").await;
    ask_for_reset(&identity, "ana@example.com").await;
    identity.letter("ana@example.com", "Choose a new password").await;
}

#[tokio::test]
async fn what_cannot_be_answered_holds_nobody_up_and_is_given_up_in_the_end() {
    let identity = Identity::start().await;
    for name in ["ana", "bob", "cleo"] {
        identity.sign_up(name).await;
    }
    identity.no_letters_left().await;
    identity
        .database
        .execute(
            "ALTER TABLE identity.codes ADD CONSTRAINT odd CHECK (email_key <> 'ana@example.com') NOT VALID;
             UPDATE identity.employees SET email = 'bob at home' WHERE email = 'bob@example.com'",
        )
        .await;
    // The first fails for now, the second for good; the third is of other keys.
    for name in ["ana", "bob"] {
        ask_for_reset(&identity, &format!("{name}@example.com")).await;
    }
    let foreign = "INSERT INTO identity.address_requests (purpose, sealed, create_time)
         VALUES ('reset', 'sealed by nobody', now())";
    identity.database.execute(foreign).await;
    ask_for_reset(&identity, "cleo@example.com").await;
    identity.letter("cleo@example.com", "Choose a new password").await;
    let left = "SELECT count(*) FROM identity.address_requests";
    assert_eq!(identity.rows::<(i64,)>(left).await, [(1,)], "the first");

    let old = "UPDATE identity.address_requests SET create_time = now() - interval '61 minutes';
         ALTER TABLE identity.codes DROP CONSTRAINT odd";
    identity.database.execute(old).await;
    // By another process, which has not just tried it.
    let replica = identity.replica().await;
    identity.no_letters_left().await;
    for identity in [&identity, &replica] {
        assert_eq!(identity.letters_to("ana@example.com", "Choose").len(), 0);
    }
}

#[tokio::test]
async fn every_bad_field_of_a_reset_is_named_at_once() {
    let identity = Identity::start().await;
    identity.sign_up("ana").await;
    ask_for_reset(&identity, "ana@example.com").await;
    let letter = identity.letter("ana@example.com", "Choose a new password").await;
    for (code, password, bad) in [
        ("", "short", vec!["request_id", "code", "new_password"]),
        (code_in(&letter), "anaLtd-1234", vec!["request_id", "new_password"]),
        ("nonsense", "", vec!["request_id", "new_password"]),
    ] {
        let request = pb::ResetPasswordRequest {
            code: code.into(),
            new_password: password.into(),
            request_id: "x".into(),
        };
        let refused = refusal(identity.auth().reset_password(request).await);
        assert_eq!(refused.fields, bad, "{code}");
    }
    reset(&identity, code_in(&letter), NEW_PASSWORD).await.unwrap();
}

#[tokio::test]
async fn an_admin_sends_no_code_to_whom_it_would_not_let_in() {
    let identity = Identity::start().await;
    let owner = identity.sign_up("owner").await;
    let bob = identity.add(&owner, "bob", Role::Employee).await;
    identity.set_active(&owner, bob.id, false).await.unwrap();
    let send = async || {
        let request = pb::SendPasswordResetRequest { id: bob.id, ..Default::default() };
        identity.employees().send_password_reset(signed(&owner, request)).await
    };
    let before = identity.digest().await;
    let refused = refusal(send().await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "EMPLOYEE_INACTIVE"));
    assert_eq!(identity.digest().await, before);
    identity.set_active(&owner, bob.id, true).await.unwrap();
    // That there is no address to send it to is not the admin's fault.
    identity
        .database
        .execute("UPDATE identity.employees SET email = 'bob at home' WHERE role = 'employee'")
        .await;
    assert_eq!(refusal(send().await).code, Code::Internal);
}

/// Security checklist 60: what is done about a call later is recorded as that call's.
#[tokio::test]
async fn a_request_by_address_is_recorded_with_where_it_came_from() {
    let identity = Identity::with_limits().await;
    let ana = identity.sign_up("ana").await;
    let email = ana.email.clone();
    let request = pb::RequestPasswordResetRequest { email, request_id: String::new() };
    let mut request = coming_from("203.0.113.7", request);
    request.metadata_mut().insert("x-request-id", "the-first-call".parse().unwrap());
    identity.auth().request_password_reset(request).await.unwrap();
    let email = ana.email.clone();
    let request = pb::RequestEmailVerificationRequest { email, request_id: String::new() };
    let mut request = coming_from("2001:db8:1:2::7", request);
    request.metadata_mut().insert("x-request-id", "the-second-call".parse().unwrap());
    identity.auth().request_email_verification(request).await.unwrap();
    identity.no_letters_left().await;
    let recorded = "SELECT action, actor, network, request_id FROM identity.audit_events
         WHERE actor = 'system:clerk' ORDER BY id";
    let recorded = identity.rows::<(String, String, String, String)>(recorded).await;
    let of = |action: &str, network: &str, request_id: &str| {
        let actor = "system:clerk".to_owned();
        (action.to_owned(), actor, network.to_owned(), request_id.to_owned())
    };
    let expected = [
        of("employee.request_password_reset", "203.0.113.0/24", "the-first-call"),
        of("employee.request_email_verification", "2001:db8:1::/48", "the-second-call"),
    ];
    assert_eq!(recorded, expected);
}
