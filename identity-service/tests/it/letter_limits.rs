//! How many letters anybody can have sent, with the numbers of production.

use crate::limits::{too_many, until_refused, until_too_many};
use crate::support::{Identity, PASSWORD, coming_from, sign_up, signed};
use proto::{common::v1::Role, identity::v1 as pb};
use service_kit::testing::refusal::refusal;
use std::time::Duration;
use tonic::{Code, Request};

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
