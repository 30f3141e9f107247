//! Changing one's password.

use proto::{common::v1::Role, identity::v1 as pb};
use service_kit::testing::refusal::{Refusal, refusal};
use tonic::{Code, Status};

use crate::support::{Identity, PASSWORD, bearing, login};

const NEW: &str = "another horse battery";

impl Identity {
    async fn change_password(
        &self,
        credential: &str,
        old: &str,
        new: &str,
    ) -> Result<pb::ChangePasswordResponse, Status> {
        let request = pb::ChangePasswordRequest {
            old_password: old.to_owned(),
            new_password: new.to_owned(),
        };
        let answer = self.auth().change_password(bearing(credential, request)).await?;
        Ok(answer.into_inner())
    }

    async fn logs_in(&self, email: &str, password: &str) -> bool {
        self.auth().login(login(email, password)).await.is_ok()
    }
}

/// Security checklist 6 and 12: everything that is wrong is said at once.
#[tokio::test]
async fn the_old_one_must_be_right_and_the_new_one_good() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let before = identity.digest().await;
    for (old, new, bad) in [
        ("wrong horse battery", NEW, vec!["old_password"]),
        ("", NEW, vec!["old_password"]),
        (PASSWORD, "", vec!["new_password"]),
        (PASSWORD, PASSWORD, vec!["new_password"]),
        (PASSWORD, "short", vec!["new_password"]),
        (PASSWORD, "iloveyou", vec!["new_password"]),
        (PASSWORD, "clientele2026", vec!["new_password"]),
        (PASSWORD, "anaLtd-1234", vec!["new_password"]),
        (PASSWORD, &"xy".repeat(513), vec!["new_password"]),
        ("wrong horse battery", "short", vec!["new_password", "old_password"]),
        ("", "", vec!["new_password", "old_password"]),
    ] {
        let refused = refusal(identity.change_password(&ana.token, old, new).await);
        let given = [("new_password", new), ("old_password", old)];
        let empty = |field: &&str| given.contains(&(*field, ""));
        let reason = if bad.iter().all(empty) { "MISSING_FIELDS" } else { "INVALID_FIELDS" };
        assert_eq!(refused.said(), (Code::InvalidArgument, reason), "{old} to {new}");
        let mut fields = refused.fields;
        fields.sort();
        assert_eq!(fields, bad, "{old} to {new}");
    }
    assert_eq!(identity.digest().await, before);
    assert!(identity.logs_in(&ana.email, PASSWORD).await);
}

/// As at a sign-up: of an address, what stands before the @.
#[tokio::test]
async fn the_domain_of_an_address_is_no_name_that_everybody_knows() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("anabel").await;
    let refused = refusal(identity.change_password(&ana.token, PASSWORD, "anabel-2026").await);
    assert_eq!(refused.fields, ["new_password"]);
    identity.change_password(&ana.token, PASSWORD, "example-2026").await.unwrap();
}

/// Security checklist 12, 18 and 19.
#[tokio::test]
async fn every_other_credential_ends_and_the_token_is_a_new_one() {
    let identity = Identity::start().await;
    let owner = identity.sign_up("owner").await;
    let bob = identity.add(&owner, "bob", Role::Employee).await;
    assert!(identity.me(&bob.token).await.unwrap().password_change_advised);
    let calling = identity.open_session(&bob, "").await;
    let other = identity.open_session(&bob, "").await;

    let changed = identity.change_password(&calling.access_token, PASSWORD, NEW).await.unwrap();
    assert_ne!(changed.token, bob.token);
    assert!(!changed.employee.unwrap().password_change_advised);
    for ended in [&bob.token, &other.access_token] {
        assert_eq!(refusal(identity.me(ended).await).reason, "TOKEN_REVOKED");
    }
    assert_eq!(refusal(identity.refresh(&other.refresh_token).await).reason, "TOKEN_REVOKED");
    for kept in [&changed.token, &calling.access_token, &owner.token] {
        identity.me(kept).await.unwrap();
    }
    identity.refresh(&calling.refresh_token).await.unwrap();

    assert!(!identity.logs_in(&bob.email, PASSWORD).await);
    let answer = identity.auth().login(login(&bob.email, NEW)).await.unwrap().into_inner();
    assert_eq!(answer.token, changed.token);
    assert!(identity.logs_in(&owner.email, PASSWORD).await, "the same password of another person");

    let again = identity.change_password(&changed.token, NEW, PASSWORD).await.unwrap();
    assert_eq!(refusal(identity.me(&changed.token).await).reason, "TOKEN_REVOKED");
    let left = [&calling.access_token, &changed.token, &bob.token];
    for ended in left {
        assert_eq!(refusal(identity.me(ended).await).reason, "TOKEN_REVOKED");
    }
    identity.me(&again.token).await.unwrap();
}

/// Security checklist 8 and 12.
#[tokio::test]
async fn of_two_changes_at_once_one_wins() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let sessions = [identity.open_session(&ana, "").await, identity.open_session(&ana, "").await];
    let passwords = ["first new password", "second new password"];
    let (one, two) = tokio::join!(
        identity.change_password(&sessions[0].access_token, PASSWORD, passwords[0]),
        identity.change_password(&sessions[1].access_token, PASSWORD, passwords[1]),
    );
    let (won, lost) = match (one, two) {
        (Ok(_), Err(lost)) => (0, lost),
        (Err(lost), Ok(_)) => (1, lost),
        (one, two) => panic!("{one:?}, {two:?}"),
    };
    let lost = Refusal::of(&lost);
    let ways = ["CONFLICT", "INVALID_FIELDS", "TOKEN_REVOKED"];
    assert!(ways.contains(&lost.reason.as_str()), "{lost:?}");
    assert!(identity.logs_in(&ana.email, passwords[won]).await);
    assert!(!identity.logs_in(&ana.email, passwords[1 - won]).await);
    assert!(!identity.logs_in(&ana.email, PASSWORD).await);
    identity.me(&sessions[won].access_token).await.unwrap();
    let ended = refusal(identity.me(&sessions[1 - won].access_token).await);
    assert_eq!(ended.reason, "TOKEN_REVOKED");
}

/// Security checklist 9 and 12: a stolen session is no way to guess the password, and no way to
/// keep its owner from logging in.
#[tokio::test]
async fn wrong_guesses_at_the_old_one_are_limited_as_those_at_a_log_in_are() {
    let identity = Identity::set_up(|settings| settings.attempts_factor = 1).await;
    let ana = identity.sign_up("ana").await;
    for _ in 0..50 {
        let guess = identity.change_password(&ana.token, "wrong horse battery", NEW).await;
        assert_eq!(refusal(guess).fields, ["old_password"]);
    }
    let before = identity.digest().await;
    let refused = refusal(identity.change_password(&ana.token, PASSWORD, NEW).await);
    assert_eq!(refused.fields, ["old_password"]);
    assert_eq!(identity.digest().await, before);
    identity.me(&ana.token).await.unwrap();
    assert!(identity.logs_in(&ana.email, PASSWORD).await);
}

/// Whoever has no password yet, has none to change.
#[tokio::test]
async fn without_a_password_nobody_is_right_about_it() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.database.execute("UPDATE identity.employees SET password_hash = NULL").await;
    for old in ["", PASSWORD] {
        let refused = refusal(identity.change_password(&ana.token, old, NEW).await);
        assert_eq!(refused.fields, ["old_password"]);
    }
}

/// Security checklist 19: whoever is shut out meanwhile is not let in again by a new password.
#[tokio::test]
async fn nobody_who_is_shut_out_meanwhile_gets_a_new_token() {
    let identity = Identity::start().await;
    let people = ["idle", "closed", "ended", "away"];
    for (name, change, said) in people
        .into_iter()
        .zip([
            (
                "UPDATE identity.employees SET is_active = false WHERE id = {id}",
                (Code::Aborted, "CONFLICT"),
            ),
            (
                "UPDATE identity.accounts SET close_time = now() WHERE id = {account}",
                (Code::FailedPrecondition, "ACCOUNT_CLOSED"),
            ),
            (
                "DELETE FROM identity.employee_tokens WHERE user_id = {id}",
                (Code::Unauthenticated, "TOKEN_REVOKED"),
            ),
            (
                "DELETE FROM identity.sessions WHERE employee_id = {id}",
                (Code::Unauthenticated, "TOKEN_REVOKED"),
            ),
        ])
        .map(|(name, (change, said))| (name, change, said))
    {
        let person = identity.sign_up(name).await;
        let session = identity.open_session(&person, "").await;
        let credential = if name == "away" { &session.access_token } else { &person.token };
        let change = change.replace("{id}", &person.id.to_string());
        let change = change.replace("{account}", &person.account_id.to_string());
        identity.no_letters_left().await;
        let call = identity.change_password(credential, PASSWORD, NEW);
        let refused = refusal(identity.overtaken(&change, call).await);
        assert_eq!(refused.said(), said, "{name}");
        let left = format!(
            "SELECT count(*) FROM identity.employee_tokens WHERE user_id = {} AND created > now() - interval '1 hour'",
            person.id
        );
        let left = identity.rows::<(i64,)>(&left).await[0].0;
        assert_eq!(left, i64::from(name != "ended"), "{name}: no new one, and none ended");
        identity.no_letters_left().await;
        assert_eq!(identity.letters_to(&person.email, "Your password").len(), 0, "{name}");
        assert!(!identity.logs_in(&person.email, NEW).await, "{name}");
    }
}

/// That somebody cannot be told is no reason not to do it.
#[tokio::test]
async fn a_password_changes_also_where_no_notice_of_it_can_go() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    identity.no_letters_left().await;
    identity.database.execute("UPDATE identity.employees SET email = 'ana at home'").await;
    identity.change_password(&ana.token, PASSWORD, NEW).await.unwrap();
    identity.no_letters_left().await;
    assert_eq!(identity.letters_to("", "Your password was changed").len(), 0);
    assert!(identity.logs_in(&ana.email, NEW).await);
}

/// As clients written in Go want it: a refusal is one frame of headers, and the end.
#[tokio::test]
async fn a_refusal_ends_with_its_headers() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let stream = tokio::net::TcpStream::connect(identity.address).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let url = format!("http://{}/identity.v1.AuthService/ChangePassword", identity.address);
    let request = http::Request::post(url)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Token {}", ana.token))
        .body(())
        .unwrap();
    let (answer, mut body) = send.send_request(request, false).unwrap();
    body.send_data(vec![0_u8; 5].into(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "3");
    assert!(answer.body().is_end_stream(), "nothing follows");
}
