//! Addresses: showing that one is one's own, and moving to another one.

use crate::recovery::{Calling, NEW_PASSWORD, ask_for_reset, change_email, me, reset, verify};
use crate::support::{Identity, PASSWORD, Person, code_in, login, signed};
use proto::{common::v1::Role, identity::v1 as pb};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Status};

/// Security checklist 13: or whoever was locked out would come back by an address of theirs.
#[tokio::test]
async fn a_password_that_is_replaced_meanwhile_changes_no_address() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.sign_up("bob").await;
    identity.no_letters_left().await;
    let request = pb::ChangeEmailRequest {
        password: PASSWORD.into(),
        new_email: "mallory@example.com".into(),
        request_id: String::new(),
    };
    let change = format!(
        "UPDATE identity.employees SET password_hash =
             (SELECT password_hash FROM identity.employees WHERE id = {}) WHERE id = {}",
        bob.id, ana.id
    );
    let mut auth = identity.auth();
    let answer = identity.overtaken(&change, auth.change_email(signed(&ana, request))).await;
    assert_eq!(refusal(answer).said(), (Code::Aborted, "CONFLICT"));
    identity.no_letters_left().await;
    assert_eq!(identity.letters_to("mallory@example.com", "").len(), 0);
    let codes = "SELECT count(*) FROM identity.codes WHERE purpose = 'change_email'";
    assert_eq!(identity.rows::<(i64,)>(codes).await, [(0,)]);
}

#[tokio::test]
async fn an_address_is_changed_to_another_one_with_the_password_at_hand() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.no_letters_left().await;
    let before = identity.digest().await;
    for (password, new_email, reason, bad) in [
        (PASSWORD, "ana@example.com", "INVALID_FIELDS", vec!["new_email"]),
        ("", "ana@new.example", "MISSING_FIELDS", vec!["password"]),
        ("", "", "MISSING_FIELDS", vec!["new_email", "password"]),
        ("wrong horse", "ana@", "INVALID_FIELDS", vec!["new_email", "password"]),
    ] {
        let (password, new_email) = (password.into(), new_email.into());
        let request = pb::ChangeEmailRequest { password, new_email, request_id: String::new() };
        let refused = refusal(identity.auth().change_email(signed(&ana, request)).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, reason), "{bad:?}");
        assert_eq!(refused.fields, bad);
    }
    assert_eq!(identity.digest().await, before);
    // Another way to write it is another address to write to.
    change_email(&identity, &ana, "Ana@example.com").await;
    let letter = identity.letter("Ana@example.com", "Confirm").await;
    let changed = verify(&identity, code_in(&letter)).await.unwrap();
    assert_eq!(changed, "Ana@example.com");
}

/// Security checklist 13: bound to the address that it was sent to.
#[tokio::test]
async fn a_code_is_void_when_the_address_is_another() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let verification = identity.letter(&ana.email, "Confirm your e-mail address").await;
    ask_for_reset(&identity, &ana.email).await;
    let first = identity.letter(&ana.email, "Choose a new password").await;
    change_email(&identity, &ana, "ana@new.example").await;
    let change = identity.letter("ana@new.example", "Confirm your new e-mail address").await;

    // Whoever changes it, and however.
    let move_to =
        |key: &str| format!("UPDATE identity.employees SET email = '{key}', email_key = '{key}'");
    identity.database.execute(&move_to("ana@third.example")).await;
    let before = identity.digest().await;
    for code in [&verification, &change] {
        assert_eq!(refusal(verify(&identity, code_in(code)).await).reason, "CODE_INVALID");
    }
    let refused = refusal(reset(&identity, code_in(&first), NEW_PASSWORD).await);
    assert_eq!(refused.reason, "CODE_INVALID");
    assert_eq!(identity.digest().await, before);

    identity.database.execute(&move_to("ana@example.com")).await;
    assert_eq!(verify(&identity, code_in(&change)).await.unwrap(), "ana@new.example");
    let before = identity.digest().await;
    let refused = refusal(reset(&identity, code_in(&first), NEW_PASSWORD).await);
    assert_eq!(refused.reason, "CODE_INVALID");
    assert_eq!(refusal(verify(&identity, code_in(&verification)).await).reason, "CODE_INVALID");
    assert_eq!(identity.digest().await, before);
    // Nor when the address is the old one again.
    identity.database.execute(&move_to("ana@example.com")).await;
    let refused = refusal(reset(&identity, code_in(&first), NEW_PASSWORD).await);
    assert_eq!(refused.reason, "CODE_INVALID");
}

/// Security checklist 13.
#[tokio::test]
async fn a_code_is_void_while_whoever_it_is_for_is_out() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let verification = identity.letter(&ana.email, "Confirm your e-mail address").await;
    change_email(&identity, &ana, "ana@new.example").await;
    let change = identity.letter("ana@new.example", "Confirm your new e-mail address").await;

    let set = |what: &str| format!("UPDATE identity.employees SET {what}");
    for (out, back) in
        [("is_active = false", "is_active = true"), ("delete_time = now()", "delete_time = NULL")]
    {
        identity.database.execute(&set(out)).await;
        let before = identity.digest().await;
        for code in [&verification, &change] {
            let refused = refusal(verify(&identity, code_in(code)).await);
            assert_eq!(refused.said(), (Code::InvalidArgument, "CODE_INVALID"), "{out}");
        }
        assert_eq!(identity.digest().await, before, "{out}");
        identity.database.execute(&set(back)).await;
    }
    assert_eq!(verify(&identity, code_in(&verification)).await.unwrap(), "ana@example.com");
    assert_eq!(verify(&identity, code_in(&change)).await.unwrap(), "ana@new.example");
}

pub async fn invite(identity: &Identity, by: &Person, email: &str) -> Result<(), Status> {
    let invitation = Some(pb::Invitation { email: email.into(), ..Default::default() });
    let request = pb::InviteEmployeeRequest { invitation, request_id: String::new() };
    identity.employees().invite_employee(signed(by, request)).await.map(drop)
}

/// Security checklist 2: by the statements and the hashes that are counted.
#[tokio::test]
async fn asking_inviting_and_moving_cost_the_same_whoever_has_the_address() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.sign_up("bob").await;
    identity.add(&ana, "idle", Role::Employee).await;
    identity.add(&ana, "peer", Role::Employee).await;
    identity
        .database
        .execute(
            "UPDATE identity.employees SET is_active = false WHERE email = 'idle@example.com';
             UPDATE identity.employees SET email_verify_time = now()
             WHERE email = 'peer@example.com'",
        )
        .await;
    identity.no_letters_left().await;
    let cost = async |method: &str, call: &dyn Fn(&str) -> Calling, email: &str| {
        let statements = format!(
            "rpc_statements_total{{service=\"identity-service\",method=\"identity.v1.{method}\"}}"
        );
        let figures = async || {
            (identity.figure(&statements).await, identity.figure("password_hashes_total").await)
        };
        let before = figures().await;
        call(email).await.unwrap();
        let after = figures().await;
        (after.0 - before.0, after.1 - before.1)
    };
    let (auth, employees) = (identity.auth(), identity.employees());
    let ask = |email: &str| -> Calling {
        let (mut auth, email) = (auth.clone(), email.to_owned());
        let request = pb::RequestEmailVerificationRequest { email, request_id: String::new() };
        Box::pin(async move { auth.request_email_verification(request).await.map(drop) })
    };
    let invite = |email: &str| -> Calling {
        let invitation = Some(pb::Invitation { email: email.into(), ..Default::default() });
        let request = pb::InviteEmployeeRequest { invitation, request_id: String::new() };
        let (mut employees, request) = (employees.clone(), signed(&ana, request));
        Box::pin(async move { employees.invite_employee(request).await.map(drop) })
    };
    let change = |email: &str| -> Calling {
        let (password, new_email) = (PASSWORD.into(), email.into());
        let request = pb::ChangeEmailRequest { password, new_email, request_id: String::new() };
        let (mut auth, request) = (auth.clone(), signed(&ana, request));
        Box::pin(async move { auth.change_email(request).await.map(drop) })
    };
    type Way<'a> = (&'a str, &'a dyn Fn(&str) -> Calling, u64);
    let ways: [Way<'_>; 3] = [
        ("AuthService/RequestEmailVerification", &ask, 0),
        ("EmployeeService/InviteEmployee", &invite, 0),
        ("AuthService/ChangeEmail", &change, 1),
    ];
    for (method, call, hashes) in ways {
        let free = cost(method, call, "nobody@example.com").await;
        assert!(free.0 > 0 && free.1 == hashes, "{method}: {free:?}");
        // Of another account, inactive, of the own account and verified.
        for taken in ["bob@example.com", "idle@example.com", "peer@example.com"] {
            assert_eq!(cost(method, call, taken).await, free, "{method} of {taken}");
        }
    }
}

#[tokio::test]
async fn an_address_is_verified_by_the_letter_that_was_sent_to_it() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    assert!(!me(&identity, &ana).await.email_verified);
    let letter = identity.letter("ana@example.com", "Confirm your e-mail address").await;
    assert_eq!(verify(&identity, code_in(&letter)).await.unwrap(), "ana@example.com");
    assert!(me(&identity, &ana).await.email_verified);
    assert_eq!(refusal(verify(&identity, code_in(&letter)).await).reason, "CODE_INVALID");
    // Who has nothing to verify is sent nothing.
    let request = pb::RequestEmailVerificationRequest {
        email: "ana@example.com".into(),
        request_id: String::new(),
    };
    identity.auth().request_email_verification(request).await.unwrap();
    identity.no_letters_left().await;
    assert_eq!(identity.letters_to("ana@example.com", "Confirm your e-mail").len(), 1);
}

#[tokio::test]
async fn an_address_changes_when_the_new_one_answers() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let wrong = pb::ChangeEmailRequest {
        password: "not her password".into(),
        new_email: "ana@".into(),
        request_id: "x".into(),
    };
    let refused = refusal(identity.auth().change_email(signed(&ana, wrong)).await);
    assert_eq!(refused.fields, ["request_id", "new_email", "password"]);

    change_email(&identity, &ana, "Ana@new.example").await;
    let notice = identity.letter("ana@example.com", "Your e-mail address is being changed").await;
    assert!(!notice.contains("Ana@new.example"), "the old address is not told all of the new one");
    let letter = identity.letter("Ana@new.example", "Confirm your new e-mail address").await;
    identity.log_in("ana@example.com").await;
    assert_eq!(verify(&identity, code_in(&letter)).await.unwrap(), "Ana@new.example");
    let changed = me(&identity, &ana).await;
    assert!(changed.email_verified && changed.email == "Ana@new.example");
    refusal(identity.auth().login(login("ana@example.com", PASSWORD)).await);
    identity.log_in("ana@NEW.example").await;
    for (search, found) in [("new.example", 1), ("ana@new", 1), ("ana@example", 0)] {
        let asked = pb::ListEmployeesRequest { search: search.into(), ..Default::default() };
        let people = identity.employees().list_employees(signed(&ana, asked)).await.unwrap();
        assert_eq!(people.into_inner().employees.len(), found, "{search}");
    }
}

/// Security checklist 2: that somebody has an address may not be learned by changing to it.
#[tokio::test]
async fn changing_to_an_address_that_is_taken_reads_like_any_other_until_it_fails() {
    let identity = Identity::start().await;
    let (ana, bob) = (identity.sign_up("ana").await, identity.sign_up("bob").await);
    change_email(&identity, &ana, "bob@example.com").await;
    let letter = identity.letter("bob@example.com", "Confirm your new e-mail address").await;
    assert_eq!(refusal(verify(&identity, code_in(&letter)).await).reason, "CODE_INVALID");
    assert_eq!(me(&identity, &bob).await.email, "bob@example.com");
    assert_eq!(me(&identity, &ana).await.email, "ana@example.com");
}
