//! How often somebody may try, with the numbers of production.

use crate::support::{
    Identity, PASSWORD, code_in, coming_from, create_employee, issue_tokens, login, sign_up, signed,
};
use proto::{common::v1::Role, identity::v1 as pb};
use service_kit::testing::refusal::{Refusal, refusal};
use std::time::Duration;
use tonic::{Code, Request, Status};

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

pub fn too_many<T: std::fmt::Debug>(answer: Result<T, Status>, longest: Duration) {
    let refused = refusal(answer);
    assert_eq!(refused.said(), (Code::ResourceExhausted, "TOO_MANY_ATTEMPTS"));
    let (seconds, delay) = (refused.retry_after.unwrap(), refused.retry_delay.unwrap());
    assert!(seconds.parse::<u64>().unwrap() >= 1);
    assert!(delay > Duration::ZERO && delay <= longest, "{delay:?}");
}

/// Calls until it is refused, with what says how many came through.
pub async fn until_refused<T: std::fmt::Debug>(
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
pub async fn until_too_many(
    most: usize,
    mut call: impl AsyncFnMut(usize) -> Result<(), Status>,
) -> usize {
    let (passed, refused) = until_refused(most, async |number| call(number).await).await;
    assert_eq!(refusal(refused).reason, "TOO_MANY_ATTEMPTS");
    passed
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
