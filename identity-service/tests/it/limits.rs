//! How often somebody may try, with the numbers of production.

use std::time::Duration;

use proto::{common::v1::Role, identity::v1 as pb};
use service_kit::testing::refusal::{Refusal, refusal};
use tonic::{Code, Request, Status};

use crate::support::{
    Identity, PASSWORD, code_in, coming_from, create_employee, issue_tokens, login, sign_up, signed,
};

/// Guesses at one address from one network.
const FROM_NETWORK: usize = 50;
/// Guesses at one address from all networks that it never logged in from.
const FROM_STRANGERS: usize = 150;
/// Log-ins from one network.
const LOG_INS: usize = 100;
const SIGN_UPS: usize = 20;
const LOOKS: usize = 100;
const HASHES: &str = "password_hashes_total";
const STATEMENTS: &str =
    "rpc_statements_total{service=\"identity-service\",method=\"identity.v1.AuthService/Login\"}";
const WRONG: &str = "wrong horse battery";

impl Identity {
    async fn log_in_from(&self, network: &str, email: &str, password: &str) -> Result<(), Status> {
        self.auth().login(coming_from(network, login(email, password))).await.map(drop)
    }

    /// So many wrong guesses, some at a time: no more than wait for their hash.
    async fn guess_wrong(&self, network: &str, email: &str, times: usize) {
        let mut left = times;
        while left > 0 {
            let some = left.min(16);
            let guesses = (0..some).map(|_| {
                let mut auth = self.auth();
                let request = coming_from(network, login(email, WRONG));
                tokio::spawn(async move { auth.login(request).await })
            });
            for guess in guesses.collect::<Vec<_>>() {
                let refused = refusal(guess.await.unwrap());
                assert_eq!(refused.said(), (Code::Unauthenticated, "INVALID_CREDENTIALS"));
            }
            left -= some;
        }
    }
}

fn too_many<T: std::fmt::Debug>(answer: Result<T, Status>, longest: Duration) {
    let refused = refusal(answer);
    assert_eq!(refused.said(), (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS"));
    let (seconds, delay) = (refused.retry_after.unwrap(), refused.retry_delay.unwrap());
    assert!(seconds.parse::<u64>().unwrap() >= 1);
    assert!(delay > Duration::ZERO && delay <= longest, "{delay:?}");
}

/// Calls until it is refused, with what says how many came through.
async fn until_refused<T: std::fmt::Debug>(
    most: usize,
    mut call: impl AsyncFnMut(usize) -> Result<T, Status>,
) -> (usize, Result<T, Status>) {
    for passed in 0..most {
        let answer = call(passed).await;
        let is_refused =
            answer.as_ref().is_err_and(|status| status.code() == Code::ResourceExhausted);
        if is_refused {
            return (passed, answer);
        }
    }
    panic!("{most} calls were let through");
}

/// Security checklist 1, 9 and 11: the lock shows in nothing.
#[tokio::test]
async fn after_too_many_guesses_even_the_right_one_is_wrong_and_reads_and_costs_the_same() {
    let identity = Identity::with_limits().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.sign_up("bob").await;
    let (one, two) = ("203.0.113.1", "203.0.113.2");
    let mut seen: Vec<Refusal> = Vec::new();
    let measured = async |network: &str, email: &str, password: &str| {
        let (hashes, statements) =
            (identity.figure(HASHES).await, identity.figure(STATEMENTS).await);
        let refused = refusal(identity.log_in_from(network, email, password).await);
        assert_eq!(identity.figure(HASHES).await - hashes, 1, "one hash");
        assert_eq!(identity.figure(STATEMENTS).await - statements, 1, "one look-up");
        refused
    };
    for (network, email) in [(one, ana.email.as_str()), (two, "nobody@example.com")] {
        seen.push(measured(network, email, WRONG).await);
        identity.guess_wrong(network, email, FROM_NETWORK - 1).await;
        let before = identity.digest().await;
        seen.push(measured(network, email, WRONG).await);
        seen.push(measured(network, email, PASSWORD).await);
        assert_eq!(identity.digest().await, before);
    }
    assert_eq!(seen[0].said(), (Code::Unauthenticated, "INVALID_CREDENTIALS"));
    assert!(seen.iter().all(|refused| refused == &seen[0]), "{seen:#?}");

    let request = coming_from(one, issue_tokens(&ana.email, PASSWORD, ""));
    assert_eq!(refusal(identity.auth().issue_tokens(request).await), seen[0], "nor a session");
    // Security checklist 11: neither in another case nor in wide letters is it another address.
    for disguised in ["ANA@Example.com", "ａｎａ@example.com", "Ａna@ＥＸＡＭＰＬＥ.com"]
    {
        let again = refusal(identity.log_in_from(one, disguised, PASSWORD).await);
        assert_eq!(again, seen[0], "{disguised}");
        identity.log_in_from("203.0.113.4", disguised, PASSWORD).await.expect(disguised);
    }

    identity.log_in_from(one, &bob.email, PASSWORD).await.unwrap();
    identity.log_in_from("203.0.113.3", &ana.email, PASSWORD).await.unwrap();
    identity.me(&ana.token).await.unwrap();
}

#[tokio::test]
async fn a_success_gives_the_guesses_back() {
    let identity = Identity::with_limits().await;
    let ana = identity.sign_up("ana").await;
    let home = "203.0.113.1";
    for _ in 0..2 {
        identity.guess_wrong(home, &ana.email, FROM_NETWORK - 1).await;
        identity.log_in_from(home, &ana.email, PASSWORD).await.unwrap();
    }
}

/// Security checklist 9 and 10: strangers lock nobody out of their own home.
#[tokio::test]
async fn a_known_network_gets_in_while_strangers_have_locked_the_address() {
    let identity = Identity::with_limits().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.sign_up("bob").await;
    let home = "2001:db8:1:2::7";
    identity.log_in_from(home, &ana.email, PASSWORD).await.unwrap();
    for stranger in 1..=FROM_STRANGERS / FROM_NETWORK {
        let network = format!("198.51.100.{stranger}");
        identity.guess_wrong(&network, &ana.email, FROM_NETWORK).await;
    }
    let refused = refusal(identity.log_in_from("198.51.100.99", &ana.email, PASSWORD).await);
    assert_eq!(refused.said(), (Code::Unauthenticated, "INVALID_CREDENTIALS"));
    identity.log_in_from(home, &ana.email, PASSWORD).await.unwrap();
    // Whatever is behind one router is one network.
    identity.log_in_from("2001:db8:1:2:3:4:5:6", &ana.email, PASSWORD).await.unwrap();
    let refused = refusal(identity.log_in_from("2001:db8:1:3::7", &ana.email, PASSWORD).await);
    assert_eq!(refused.reason, "INVALID_CREDENTIALS");
    identity.log_in_from("198.51.100.99", &bob.email, PASSWORD).await.unwrap();
}

/// Security checklist 9: a lock is no way to keep somebody out for good.
#[tokio::test]
async fn a_reset_lets_in_from_where_strangers_have_locked_the_address() {
    let identity = Identity::with_limits().await;
    let ana = identity.sign_up("ana").await;
    for stranger in 1..=FROM_STRANGERS / FROM_NETWORK {
        let network = format!("198.51.100.{stranger}");
        identity.guess_wrong(&network, &ana.email, FROM_NETWORK).await;
    }
    let new = "203.0.113.9";
    refusal(identity.log_in_from(new, &ana.email, PASSWORD).await);

    // Who is signed in is nobody's stranger.
    let change = pb::ChangePasswordRequest {
        old_password: PASSWORD.into(),
        new_password: "another horse battery".into(),
    };
    identity.auth().change_password(signed(&ana, change)).await.unwrap();

    let ask = pb::RequestPasswordResetRequest { email: ana.email.clone(), ..Default::default() };
    identity.auth().request_password_reset(coming_from(new, ask)).await.unwrap();
    let letter = identity.letter(&ana.email, "Choose a new password").await;
    let reset = pb::ResetPasswordRequest {
        code: code_in(&letter).into(),
        new_password: PASSWORD.into(),
        request_id: String::new(),
    };
    identity.auth().reset_password(coming_from(new, reset)).await.unwrap();
    identity.log_in_from(new, &ana.email, PASSWORD).await.unwrap();
    refusal(identity.log_in_from("203.0.113.8", &ana.email, PASSWORD).await);
}

/// Security checklist 9: nobody is buried in letters, and no kind of letter uses up another's.
#[tokio::test]
async fn letters_to_an_address_are_limited_kind_by_kind() {
    const LETTERS: usize = 5;
    let identity = Identity::with_limits().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    for _ in 0..=LETTERS {
        let ask =
            pb::RequestEmailVerificationRequest { email: bob.email.clone(), ..Default::default() };
        identity.auth().request_email_verification(ask).await.unwrap();
    }
    let ask = pb::RequestPasswordResetRequest { email: bob.email.clone(), ..Default::default() };
    identity.auth().request_password_reset(ask).await.unwrap();
    identity.no_letters_left().await;
    assert_eq!(identity.letters_to(&bob.email, "Choose a new password").len(), 1);
    assert_eq!(identity.letters_to(&bob.email, "Confirm your e-mail").len(), LETTERS);

    let send = pb::SendPasswordResetRequest { id: bob.id, ..Default::default() };
    let (passed, refused) = until_refused(2 * LETTERS, async |_| {
        identity.employees().send_password_reset(signed(&ana, send.clone())).await
    })
    .await;
    assert_eq!(passed, LETTERS);
    too_many(refused, Duration::from_secs(600));
    let invitation = pb::Invitation { email: bob.email.clone(), ..Default::default() };
    let invite = pb::InviteEmployeeRequest { invitation: Some(invitation), ..Default::default() };
    let (passed, refused) = until_refused(2 * LETTERS, async |_| {
        identity.employees().invite_employee(signed(&ana, invite.clone())).await
    })
    .await;
    assert_eq!(passed, LETTERS);
    too_many(refused, Duration::from_secs(600));
}

/// Security checklist 9: this one is said openly, for it tells nothing about an address.
#[tokio::test]
async fn a_network_that_comes_too_often_is_told_to_wait_and_others_are_not() {
    let identity = Identity::with_limits().await;
    let ana = identity.sign_up("ana").await;
    let busy = "203.0.113.1";
    // At ever other addresses, so that nothing else is in the way.
    for start in (0..LOG_INS).step_by(20) {
        let logins = (start..start + 20).map(|one| {
            let mut auth = identity.auth();
            let request = coming_from(busy, login(&format!("{one}@example.com"), WRONG));
            tokio::spawn(async move { auth.login(request).await })
        });
        for login in logins.collect::<Vec<_>>() {
            assert_eq!(refusal(login.await.unwrap()).reason, "INVALID_CREDENTIALS");
        }
    }
    let hashes = identity.figure(HASHES).await;
    let (passed, refused) =
        until_refused(LOG_INS, async |_| identity.log_in_from(busy, &ana.email, PASSWORD).await)
            .await;
    too_many(refused, Duration::from_secs(10));
    let extra = u64::try_from(passed).unwrap();
    assert_eq!(identity.figure(HASHES).await - hashes, extra, "what is refused costs no hash");
    let request = coming_from(busy, issue_tokens(&ana.email, PASSWORD, ""));
    too_many(identity.auth().issue_tokens(request).await, Duration::from_secs(10));
    identity.log_in_from("203.0.113.2", &ana.email, PASSWORD).await.unwrap();
    identity.me(&ana.token).await.unwrap();
}

/// A sign-up with nothing in it costs nothing, but it counts.
async fn arrive(identity: &Identity, request: Request<pb::SignUpRequest>) -> Result<(), Status> {
    match identity.auth().sign_up(request).await {
        Err(status) if status.code() == Code::InvalidArgument => Ok(()),
        answer => answer.map(drop),
    }
}

/// Security checklist 10.
#[tokio::test]
async fn who_is_no_proxy_of_ours_is_not_believed() {
    let identity = Identity::set_up(|settings| settings.attempts_factor = 1).await;
    let (passed, refused) = until_refused(2 * SIGN_UPS, async |number| {
        let network = format!("203.0.113.{number}");
        arrive(&identity, coming_from(&network, pb::SignUpRequest::default())).await
    })
    .await;
    assert_eq!(passed, SIGN_UPS);
    too_many(refused, Duration::from_secs(600));
}

/// Security checklist 10: walked from right to left.
#[tokio::test]
async fn what_somebody_writes_in_front_of_a_proxys_word_is_not_believed() {
    let identity = Identity::with_limits().await;
    let (passed, refused) = until_refused(2 * SIGN_UPS, async |number| {
        let chain = format!("198.51.100.{number}, 203.0.113.7, 127.0.0.1");
        arrive(&identity, coming_from(&chain, pb::SignUpRequest::default())).await
    })
    .await;
    assert_eq!(passed, SIGN_UPS);
    too_many(refused, Duration::from_secs(600));
}

/// Security checklist 2 and 9: a sign-up tells whether an address is taken.
#[tokio::test]
async fn sign_ups_are_limited_for_each_network() {
    let identity = Identity::with_limits().await;
    let (passed, refused) = until_refused(2 * SIGN_UPS, async |_| {
        arrive(&identity, coming_from("203.0.113.1", pb::SignUpRequest::default())).await
    })
    .await;
    assert_eq!(passed, SIGN_UPS);
    too_many(refused, Duration::from_secs(600));
    let before = identity.digest().await;
    let good = coming_from("203.0.113.1", sign_up("ana"));
    too_many(identity.auth().sign_up(good).await, Duration::from_secs(600));
    assert_eq!(identity.digest().await, before);
    identity.auth().sign_up(coming_from("203.0.113.2", sign_up("ana"))).await.unwrap();
}

/// Security checklist 2 and 9: so does whoever enters employees.
#[tokio::test]
async fn looking_for_taken_addresses_is_limited() {
    let identity = Identity::with_limits().await;
    let ana = identity.sign_up("ana").await;
    let mut taken = create_employee("ana", Role::Employee);
    taken.password = String::new();
    let create = async |network: &str, request: pb::CreateEmployeeRequest| {
        let mut request = signed(&ana, request);
        request.metadata_mut().insert("x-forwarded-for", network.parse().unwrap());
        identity.employees().create_employee(request).await
    };
    let (passed, refused) =
        until_refused(2 * LOOKS, async |_| create("203.0.113.1", taken.clone()).await).await;
    // One more for every ten seconds that this took.
    assert!((LOOKS..LOOKS + 10).contains(&passed), "{passed}");
    too_many(refused, Duration::from_secs(10));
    let refused = refusal(create("203.0.113.2", taken.clone()).await);
    assert_eq!(refused.said(), (Code::AlreadyExists, "EMAIL_TAKEN"));
}

/// Calls until it is refused for coming too often, whatever else may be wrong with it.
async fn until_too_many(
    most: usize,
    mut call: impl AsyncFnMut(usize) -> Result<(), Status>,
) -> usize {
    let (passed, refused) = until_refused(most, async |number| call(number).await).await;
    assert_eq!(refusal(refused).reason, "TOO_MANY_ATTEMPTS");
    passed
}

/// Security checklist 9: whichever of them it is.
#[tokio::test]
async fn what_shows_a_code_is_limited_for_each_network() {
    const CODES: usize = 30;
    let identity = Identity::with_limits().await;
    let before = identity.digest().await;
    let mut auth = identity.auth();
    let mut show = async |network: &str, number: usize| {
        let (code, password) = ("nonsense".to_owned(), PASSWORD.to_owned());
        match number % 3 {
            0 => {
                let new_password = password;
                let reset = pb::ResetPasswordRequest { code, new_password, ..Default::default() };
                auth.reset_password(coming_from(network, reset)).await.map(drop)
            }
            1 => {
                let verify = pb::VerifyEmailRequest { code, ..Default::default() };
                auth.verify_email(coming_from(network, verify)).await.map(drop)
            }
            _ => {
                let accept = pb::AcceptInviteRequest { code, password, ..Default::default() };
                auth.accept_invite(coming_from(network, accept)).await.map(drop)
            }
        }
    };
    // Were one of the three not counted, it would be half as many again.
    let passed = until_too_many(2 * CODES, async |number| show("203.0.113.1", number).await).await;
    assert!((CODES..CODES + 10).contains(&passed), "{passed}");
    let refused = refusal(show("203.0.113.2", 0).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "CODE_INVALID"));
    assert_eq!(identity.digest().await, before);
}

/// Security checklist 2 and 9: said openly, for it tells nothing about an address.
#[tokio::test]
async fn asking_for_codes_is_limited_for_each_network() {
    const REQUESTS: usize = 20;
    let identity = Identity::with_limits().await;
    let mut auth = identity.auth();
    let mut ask = async |network: &str, number: usize| {
        let (email, request_id) = (format!("{number}@example.com"), String::new());
        if number.is_multiple_of(2) {
            let request = pb::RequestPasswordResetRequest { email, request_id };
            auth.request_password_reset(coming_from(network, request)).await.map(drop)
        } else {
            let request = pb::RequestEmailVerificationRequest { email, request_id };
            auth.request_email_verification(coming_from(network, request)).await.map(drop)
        }
    };
    let passed =
        until_too_many(2 * REQUESTS, async |number| ask("203.0.113.1", number).await).await;
    assert!((REQUESTS..REQUESTS + 10).contains(&passed), "{passed}");
    ask("203.0.113.2", 0).await.unwrap();
}

/// Security checklist 9 and 11: in whatever letters it is written.
#[tokio::test]
async fn an_address_gets_no_more_letters_for_being_spelled_anew() {
    const LETTERS: usize = 5;
    let identity = Identity::with_limits().await;
    let ana = identity.sign_up("ana").await;
    let spellings = ["guest@example.com", "Guest@EXAMPLE.com", "ｇｕｅｓｔ@example.com"];
    let passed = until_too_many(20, async |number| {
        let email = spellings[number % spellings.len()].to_owned();
        let invitation = Some(pb::Invitation { email, ..Default::default() });
        let invite = pb::InviteEmployeeRequest { invitation, ..Default::default() };
        identity.employees().invite_employee(signed(&ana, invite)).await.map(drop)
    })
    .await;
    assert_eq!(passed, LETTERS);
}

/// Security checklist 2 and 9: whichever call it is by.
#[tokio::test]
async fn whatever_may_tell_of_an_address_is_counted_together() {
    let identity = Identity::with_limits().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let mut employees = identity.employees();
    let passed = until_too_many(2 * LOOKS, async |number| {
        if number.is_multiple_of(4) {
            let email = format!("guest{number}@example.com");
            let invitation = Some(pb::Invitation { email, ..Default::default() });
            let invite = pb::InviteEmployeeRequest { invitation, ..Default::default() };
            return employees.invite_employee(signed(&ana, invite)).await.map(drop);
        }
        let request = pb::UndeleteEmployeeRequest { id: bob.id, ..Default::default() };
        employees.undelete_employee(signed(&ana, request)).await.map(drop)
    })
    .await;
    // Were either not counted, it would be a third more or many times as many. Bob was one.
    assert!((LOOKS - 1..LOOKS + 20).contains(&passed), "{passed}");
    let create = create_employee("carla", Role::Employee);
    let passed = until_too_many(20, async |_| {
        employees.create_employee(signed(&ana, create.clone())).await.map(drop)
    })
    .await;
    assert!(passed < 20);
}

/// Security checklist 9: a storm from many networks.
#[tokio::test]
async fn many_networks_together_are_limited_too() {
    const FROM_EVERYBODY: usize = 300;
    let identity = Identity::with_limits().await;
    let passed = until_too_many(2 * FROM_EVERYBODY, async |number| {
        let network = format!("203.0.{}.1", number / (SIGN_UPS - 1));
        arrive(&identity, coming_from(&network, pb::SignUpRequest::default())).await
    })
    .await;
    assert!((FROM_EVERYBODY..FROM_EVERYBODY + 30).contains(&passed), "{passed}");
    identity.auth().logout(coming_from("203.0.113.1", pb::LogoutRequest {})).await.unwrap_err();
}

/// Security checklist 9 and 12: a stolen session guesses by neither way, nor by both.
#[tokio::test]
async fn guesses_at_the_password_of_whoever_is_signed_in_are_counted_together() {
    let identity = Identity::with_limits().await;
    let ana = identity.sign_up("ana").await;
    identity.no_letters_left().await;
    let change_email = async |password: &str| {
        let (password, new_email) = (password.into(), "elsewhere@example.com".into());
        let request = pb::ChangeEmailRequest { password, new_email, request_id: String::new() };
        refusal(identity.auth().change_email(signed(&ana, request)).await).fields
    };
    let change_password = async |password: &str| {
        let (old_password, new_password) = (password.into(), "another horse battery".into());
        let request = pb::ChangePasswordRequest { old_password, new_password };
        refusal(identity.auth().change_password(signed(&ana, request)).await).fields
    };
    for _ in 0..FROM_NETWORK / 2 {
        assert_eq!(change_email(WRONG).await, ["password"]);
        assert_eq!(change_password(WRONG).await, ["old_password"]);
    }
    let before = identity.digest().await;
    let hashes = identity.figure(HASHES).await;
    assert_eq!(change_email(PASSWORD).await, ["password"], "the right one");
    assert_eq!(change_password(PASSWORD).await, ["old_password"], "the right one");
    assert_eq!(identity.figure(HASHES).await - hashes, 2, "at the price of any other");
    assert_eq!(identity.digest().await, before);
    identity.log_in_from("203.0.113.1", &ana.email, PASSWORD).await.unwrap();
}

/// Security checklist 15.
#[tokio::test]
async fn where_sign_up_is_off_nobody_signs_up_and_everybody_logs_in() {
    let open = Identity::start().await;
    let ana = open.sign_up("ana").await;
    let identity = open.changed_replica(|settings| settings.sign_up = false).await;
    let before = open.digest().await;
    for request in [sign_up("bob"), sign_up("ana"), pb::SignUpRequest::default()] {
        let refused = refusal(identity.auth().sign_up(request).await);
        assert_eq!(refused.said(), (Code::FailedPrecondition, "SIGN_UP_OFF"));
    }
    assert_eq!(open.digest().await, before);
    identity.log_in(&ana.email).await;
}

#[tokio::test]
async fn where_addresses_must_be_verified_only_the_right_password_learns_it() {
    let identity = Identity::set_up(|settings| settings.require_verified_email = true).await;
    let ana = identity.sign_up("ana").await;
    let before = identity.digest().await;
    let session = |password: &str| issue_tokens(&ana.email, password, "");
    for refused in [
        refusal(identity.auth().login(login(&ana.email, PASSWORD)).await),
        refusal(identity.auth().issue_tokens(session(PASSWORD)).await),
    ] {
        assert_eq!(refused.said(), (Code::FailedPrecondition, "EMAIL_NOT_VERIFIED"));
    }
    for refused in [
        refusal(identity.auth().login(login(&ana.email, WRONG)).await),
        refusal(identity.auth().issue_tokens(session(WRONG)).await),
        refusal(identity.auth().login(login("nobody@example.com", PASSWORD)).await),
    ] {
        assert_eq!(refused.said(), (Code::Unauthenticated, "INVALID_CREDENTIALS"));
    }
    assert_eq!(identity.digest().await, before);
    identity.database.execute("UPDATE identity.employees SET email_verify_time = now()").await;
    identity.log_in(&ana.email).await;
    identity.open_session(&ana, "").await;
}

#[tokio::test]
async fn where_addresses_must_be_verified_whoever_is_given_a_password_is_sent_a_code() {
    let identity = Identity::set_up(|settings| settings.require_verified_email = true).await;
    let ana = identity.sign_up("ana").await;
    let add = async |email: &str, password: &str| {
        let employee = pb::Employee { email: email.into(), ..Default::default() };
        let (employee, password) = (Some(employee), password.into());
        let request = pb::CreateEmployeeRequest { employee, password, ..Default::default() };
        identity.employees().create_employee(signed(&ana, request)).await.unwrap();
    };
    add("bob@example.com", PASSWORD).await;
    add("cem@example.com", "").await;
    let letter = identity.letter("bob@example.com", "Confirm").await;
    let refused = refusal(identity.auth().login(login("bob@example.com", PASSWORD)).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "EMAIL_NOT_VERIFIED"));
    let code = code_in(&letter).into();
    let request = pb::VerifyEmailRequest { code, request_id: String::new() };
    identity.auth().verify_email(Request::new(request)).await.unwrap();
    identity.log_in("bob@example.com").await;
    identity.no_letters_left().await;
    assert_eq!(identity.letters_to("cem@example.com", "").len(), 0, "nothing to log in with yet");
}

/// Security checklist 9: who tries a taken address spends nobody's letters.
#[tokio::test]
async fn nobody_uses_up_the_letters_of_somebody_elses_address() {
    let identity = Identity::set_up(|settings| {
        settings.require_verified_email = true;
        settings.attempts_factor = 1;
    })
    .await;
    let (ana, bob) = (identity.sign_up("ana").await, identity.sign_up("bob").await);
    identity.letter(&bob.email, "Confirm").await;
    for _ in 0..7 {
        let employee = pb::Employee { email: bob.email.clone(), ..Default::default() };
        let (employee, password) = (Some(employee), PASSWORD.into());
        let request = pb::CreateEmployeeRequest { employee, password, ..Default::default() };
        let refused = refusal(identity.employees().create_employee(signed(&ana, request)).await);
        assert_eq!(refused.said(), (Code::AlreadyExists, "EMAIL_TAKEN"));
    }
    let request =
        pb::RequestEmailVerificationRequest { email: bob.email.clone(), ..Default::default() };
    identity.auth().request_email_verification(Request::new(request)).await.unwrap();
    for _ in 0..100 {
        if identity.letters_to(&bob.email, "Confirm").len() == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("there is no second letter");
}

/// Refreshes from one network.
const REFRESHES: usize = 600;

/// Security checklist 9: what takes a secret from anybody is counted.
#[tokio::test]
async fn refreshes_are_limited_for_each_network() {
    let identity = Identity::with_limits().await;
    let refresh = async |network: &str| {
        let request = pb::RefreshTokensRequest { refresh_token: "junk".into() };
        match identity.auth().refresh_tokens(coming_from(network, request)).await {
            Err(status) if status.code() == Code::Unauthenticated => Ok(()),
            answer => answer.map(drop),
        }
    };
    let (passed, refused) =
        until_refused(2 * REFRESHES, async |_| refresh("203.0.113.1").await).await;
    // Two more for every second that this took.
    assert!((REFRESHES..REFRESHES + 100).contains(&passed), "{passed}");
    too_many(refused, Duration::from_secs(1));
    refresh("203.0.113.2").await.unwrap();
}

/// Invitations to one address from all accounts.
const INVITATIONS: usize = 20;

/// What one company sends to an address keeps no other from sending there.
#[tokio::test]
async fn each_account_invites_an_address_by_itself() {
    let identity = Identity::with_limits().await;
    let (ana, bob) = (identity.sign_up("ana").await, identity.sign_up("bob").await);
    let invite = async |by| {
        let invitation = pb::Invitation { email: "guest@example.com".into(), ..Default::default() };
        let invitation = Some(invitation);
        let request = pb::InviteEmployeeRequest { invitation, ..Default::default() };
        identity.employees().invite_employee(signed(by, request)).await
    };
    let (passed, refused) = until_refused(20, async |_| invite(&ana).await).await;
    assert_eq!(passed, 5);
    too_many(refused, Duration::from_secs(600));
    invite(&bob).await.unwrap();
}

/// And however many there are, a company can be signed up; the guest is not buried in letters.
#[tokio::test]
async fn too_many_invitations_keep_no_company_from_signing_up() {
    let identity = Identity::with_limits().await;
    for number in 0..=INVITATIONS {
        let mut request = sign_up(&format!("company{number}"));
        request.additional_admins = vec![pb::SignUpAdmin { email: "guest@example.com".into() }];
        let network = format!("203.0.113.{number}");
        identity.auth().sign_up(coming_from(&network, request)).await.unwrap();
    }
    identity.no_letters_left().await;
    assert_eq!(identity.letters_to("guest@example.com", "Invitation").len(), INVITATIONS);
    let made = identity.rows::<(i64,)>("SELECT count(*) FROM identity.invitations").await;
    assert_eq!(made, [(i64::try_from(INVITATIONS).unwrap() + 1,)], "and can be sent again");
}
