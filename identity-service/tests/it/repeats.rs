//! Calls that are sent again: each has one answer and one effect.

use identity_service::POLICY;
use prost::Message;
use proto::identity::v1 as pb;
use service_kit::{
    policy::Access,
    testing::{
        raw,
        refusal::{Refusal, refusal},
        repeats::{is_repeatable, method, under, with_something_else, wrongly_repeatable},
    },
};
use tonic::{Code, Status};

use crate::{
    stage::{EXAMPLES, PUBLIC, Stage, Who, Whom, changes},
    support::{Identity, PASSWORD, code_in, signed},
};

/// They make or end the credential that they are called with.
const EXCEPTIONS: &[&str] = &[
    "/identity.v1.AccountService/CloseAccount",
    "/identity.v1.AuthService/ChangePassword",
    "/identity.v1.AuthService/IssueTokens",
    "/identity.v1.AuthService/Login",
    "/identity.v1.AuthService/Logout",
    "/identity.v1.AuthService/RefreshTokens",
    "/identity.v1.AuthService/RevokeAllSessions",
    "/identity.v1.AuthService/RevokeOtherSessions",
    "/identity.v1.AuthService/RevokeSession",
];

/// A code or an address by which a public call is found again, and a password that must be right.
const KEPT: &[&str] = &[
    "identity.v1.AcceptInviteRequest.code",
    "identity.v1.ChangeEmailRequest.password",
    "identity.v1.RequestEmailVerificationRequest.email",
    "identity.v1.RequestPasswordResetRequest.email",
    "identity.v1.ResetPasswordRequest.code",
    "identity.v1.VerifyEmailRequest.code",
];

const REQUEST_ID: &str = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f";

#[test]
fn whatever_changes_something_can_be_sent_again_and_nothing_else() {
    let wrong = |exceptions| wrongly_repeatable("identity.v1", changes, exceptions);
    assert_eq!(wrong(EXCEPTIONS), Vec::<String>::new());

    // And it can fail, in each direction.
    let complaint = format!("{} has no request_id", EXCEPTIONS[0]);
    assert_eq!(wrong(&EXCEPTIONS[1..]), [complaint]);
    let sign_up = "/identity.v1.AuthService/SignUp";
    let complaint = format!("{sign_up} has a request_id");
    assert_eq!(wrong(&[EXCEPTIONS, &[sign_up]].concat()), [complaint]);
}

async fn call(
    identity: &Identity,
    path: &str,
    body: Vec<u8>,
    token: &str,
) -> Result<Vec<u8>, Status> {
    let answer = raw::call(&identity.channel, path, raw::request(body, token)).await?;
    Ok(answer.into_inner().to_vec())
}

/// Everything but the answers that are kept.
async fn effects(identity: &Identity) -> Vec<(String, Option<String>)> {
    let mut digest = identity.digest().await;
    digest.retain(|(table, _)| !table.ends_with("answers"));
    digest
}

/// Sends a call twice, and once more with something else in it.
async fn send_again(identity: &Identity, path: &str, body: &[u8], token: &str) {
    let method = method(path);
    let before = effects(identity).await;
    let once = under(&method, body, REQUEST_ID);
    let first = call(identity, path, once, token).await.expect(path);
    assert_ne!(effects(identity).await, before, "{path} changes nothing");

    let after = identity.digest().await;
    let in_capitals = under(&method, body, &REQUEST_ID.to_uppercase());
    let again = call(identity, path, in_capitals, token).await.expect(path);
    assert_eq!(again, first, "{path}");
    if let Some(other) = with_something_else(&method, &under(&method, body, REQUEST_ID), KEPT) {
        let refused = refusal(call(identity, path, other, token).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"), "{path}");
    }
    assert_eq!(identity.digest().await, after, "{path}");
}

/// And whoever has lost the right to it meanwhile is not answered again.
#[tokio::test]
async fn every_call_that_is_sent_again_is_answered_again_and_done_once() {
    let stage = Stage::set().await;
    let identity = &stage.identity;
    let owner = stage.actor(Who::SuperAdmin);
    let about = stage.about(owner, Whom::Employee);
    let (mut sent, mut refused) = (0, 0);
    for example in EXAMPLES.iter().chain(PUBLIC) {
        let path = example.method;
        if !changes(path) || !is_repeatable(&method(path)) {
            continue;
        }
        stage.prepare(path, &about).await;
        let body = (example.bytes)(&about);
        let rule = POLICY.iter().find(|rule| rule.method == path).unwrap();
        let token = if rule.access == Access::Public { "" } else { &owner.token };
        send_again(identity, path, &body, token).await;
        sent += 1;

        let is_about_others = match rule.access {
            Access::Needs(_) | Access::AtLeast(_) => true,
            _ => path.ends_with("/UpdateEmployee"),
        };
        if is_about_others {
            let demote = "UPDATE identity.employees SET role = 'employee' WHERE id =";
            identity.database.execute(&format!("{demote} {}", owner.id)).await;
            let before = identity.digest().await;
            let again = under(&method(path), &body, REQUEST_ID);
            let status = call(identity, path, again, &owner.token).await.expect_err(path);
            assert_eq!(Refusal::of(&status).code, Code::PermissionDenied, "{path}");
            assert_eq!(identity.digest().await, before, "{path}");
            refused += 1;
        }
        stage.put_back().await;
        identity.database.execute("TRUNCATE identity.answers, identity.public_answers").await;
    }
    assert!(sent > 25 && refused > 20, "{sent} sent, {refused} refused");
}

/// Of codes that are used up the answer is known as well.
#[tokio::test]
async fn every_call_by_letter_that_is_sent_again_is_answered_again_and_done_once() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let email = &ana.email;
    let invitation = Some(pb::Invitation { email: "bob@example.com".into(), ..Default::default() });
    let request = pb::InviteEmployeeRequest { invitation, ..Default::default() };
    identity.employees().invite_employee(signed(&ana, request)).await.unwrap();
    let invitation = identity.letter("bob@example.com", "Invitation").await;

    let ask = pb::RequestEmailVerificationRequest { email: email.clone(), ..Default::default() };
    send(&identity, "RequestEmailVerification", &ask).await;
    let ask = pb::RequestPasswordResetRequest { email: email.clone(), ..Default::default() };
    send(&identity, "RequestPasswordReset", &ask).await;
    let resets = identity.letters_to(email, "Choose a new password");
    let verifications = identity.letters_to(email, "Confirm your e-mail");
    assert_eq!((resets.len(), verifications.len()), (1, 2), "the sign-up's, and one of each");

    let code = code_in(verifications.last().unwrap()).into();
    send(&identity, "VerifyEmail", &pb::VerifyEmailRequest { code, ..Default::default() }).await;
    let (code, new_password) = (code_in(&resets[0]).into(), "another good battery".into());
    let reset = pb::ResetPasswordRequest { code, new_password, ..Default::default() };
    send(&identity, "ResetPassword", &reset).await;
    let (code, password) = (code_in(&invitation).into(), PASSWORD.into());
    let accept = pb::AcceptInviteRequest { code, password, ..Default::default() };
    send(&identity, "AcceptInvite", &accept).await;
}

async fn send(identity: &Identity, name: &str, message: &impl Message) {
    let path = format!("/identity.v1.AuthService/{name}");
    send_again(identity, &path, &message.encode_to_vec(), "").await;
}
