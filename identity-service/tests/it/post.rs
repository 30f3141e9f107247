//! What becomes of letters while the mail server is not well.

use std::time::Duration;

use identity_service::mail::settings::{Encryption, MailServer};
use proto::{common::v1::Role, identity::v1 as pb};
use tokio::net::TcpListener;

use crate::{
    smtp::SmtpServer,
    support::{Identity, PASSWORD, code_in, is_nowhere_in, login, sign_up, signed, someone},
};

/// A service whose letters go to a mail server on this port.
async fn through(port: u16) -> Identity {
    let host = "127.0.0.1".to_owned();
    let server =
        MailServer { host, port, encryption: Encryption::None, login: None, ca_file: None };
    Identity::set_up(|settings| settings.mail.server = Some(server)).await
}

impl Identity {
    /// Waits until so many letters went a way, and none is under way.
    async fn fared(&self, fate: &str, times: u64) {
        let figure = format!("letters_total{{service=\"identity-service\",fate=\"{fate}\"}}");
        // While one is tried its next attempt is two minutes away.
        let under_way = "SELECT count(*) FROM identity.letters
                         WHERE due_time > now() + interval '1 minute'";
        for _ in 0..400 {
            let done = self.figure(&figure).await >= times;
            if done && self.rows::<(i64,)>(under_way).await == [(0,)] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{times} letters are not {fate}")
    }

    /// The letters that wait: how often each was tried, and after how many seconds it is again.
    async fn waiting(&self) -> Vec<(i32, i64)> {
        let query = "SELECT attempts, extract(epoch FROM due_time - now())::bigint
                     FROM identity.letters ORDER BY id";
        self.rows(query).await
    }

    /// As if the pause were over.
    async fn now_due(&self) {
        self.database.execute("UPDATE identity.letters SET due_time = now()").await;
    }
}

#[tokio::test]
async fn a_letter_waits_for_a_server_that_is_busy_or_down_and_goes_when_it_is_well() {
    let mut server = SmtpServer::start().await;
    let identity = through(server.port()).await;
    server.be_busy(1);
    let ana = identity.sign_up("ana").await;
    identity.fared("put_off", 1).await;
    assert_eq!(server.messages(), []);
    let [(1, seconds)] = identity.waiting().await[..] else { panic!("one waits") };
    assert!((1..=15).contains(&seconds), "{seconds}");

    server.go_down().await;
    identity.now_due().await;
    identity.fared("put_off", 2).await;
    let [(2, seconds)] = identity.waiting().await[..] else { panic!("it still waits") };
    assert!((10..=30).contains(&seconds), "{seconds}");

    server.come_up().await;
    identity.now_due().await;
    identity.fared("sent", 1).await;
    identity.no_letters_left().await;
    let [message] = server.messages().try_into().unwrap();
    assert_eq!(message.to, [ana.email]);
    let code = code_in(&message.data).to_owned();
    let verify = pb::VerifyEmailRequest { code, request_id: String::new() };
    identity.auth().verify_email(verify).await.unwrap();
}

#[tokio::test]
async fn a_letter_that_is_refused_for_good_is_given_up_and_keeps_no_other() {
    let server = SmtpServer::start().await;
    server.refuse_recipient_for_good("nobody@example.com");
    let identity = through(server.port()).await;
    identity.sign_up("nobody").await;
    identity.sign_up("ana").await;
    identity.fared("refused", 1).await;
    identity.fared("sent", 1).await;
    identity.no_letters_left().await;
    let [message] = server.messages().try_into().unwrap();
    assert_eq!(message.to, ["ana@example.com"]);
}

#[tokio::test]
async fn a_letter_is_given_up_when_its_codes_are_long_over() {
    let mut server = SmtpServer::start().await;
    server.go_down().await;
    let identity = through(server.port()).await;
    identity.sign_up("ana").await;
    identity.fared("put_off", 1).await;
    let age = |age: &str| {
        let text = "UPDATE identity.letters SET due_time = now(), create_time = now() - interval";
        format!("{text} '{age}'")
    };
    identity.database.execute(&age("71 hours")).await;
    identity.fared("put_off", 2).await;
    identity.database.execute(&age("73 hours")).await;
    identity.fared("given_up", 1).await;
    assert_eq!(identity.waiting().await, []);
    server.come_up().await;
    identity.sign_up("bob").await;
    identity.fared("sent", 1).await;
    let [message] = server.messages().try_into().unwrap();
    assert_eq!(message.to, ["bob@example.com"]);
}

/// Mail goes off the path of calls.
#[tokio::test]
async fn calls_are_answered_while_the_mail_server_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let identity = through(silent.local_addr().unwrap().port()).await;
    let ana = identity.sign_up("ana").await;
    let (_held, _) = silent.accept().await.unwrap();

    let email = ana.email.clone();
    let ask = pb::RequestPasswordResetRequest { email, request_id: String::new() };
    identity.auth().request_password_reset(ask).await.unwrap();
    let invitation = Some(pb::Invitation { email: "bob@example.com".into(), ..Default::default() });
    let invite = pb::InviteEmployeeRequest { invitation, ..Default::default() };
    identity.employees().invite_employee(signed(&ana, invite)).await.unwrap();
    identity.auth().login(login(&ana.email, PASSWORD)).await.unwrap();
    identity.auth().sign_up(sign_up("carla")).await.unwrap();
    identity.hire(&ana, someone("dora", Role::Employee)).await;
    identity.me(&ana.token).await.unwrap();

    // All the while nothing was sent, and nothing is lost.
    let (tried, untried): (Vec<_>, Vec<_>) =
        identity.waiting().await.into_iter().partition(|(attempts, _)| *attempts > 0);
    assert!(tried.len() == 1 && untried.len() >= 2, "{tried:?} {untried:?}");
}

/// Security checklist 13 and 16: neither addresses nor codes lie about while they wait.
#[tokio::test]
async fn what_waits_to_be_sent_is_sealed_and_goes_with_its_letter() {
    let mut server = SmtpServer::start().await;
    server.go_down().await;
    let identity = through(server.port()).await;
    let ana = identity.sign_up("ana").await;
    let (guest, new, stranger) = ("guest@else.example", "new@else.example", "who@else.example");
    let invitation = Some(pb::Invitation { email: guest.into(), ..Default::default() });
    let invite = pb::InviteEmployeeRequest { invitation, ..Default::default() };
    identity.employees().invite_employee(signed(&ana, invite)).await.unwrap();
    let (password, new_email) = (PASSWORD.into(), new.into());
    let change = pb::ChangeEmailRequest { password, new_email, request_id: String::new() };
    identity.auth().change_email(signed(&ana, change)).await.unwrap();

    // Whoever looks into what was asked cannot, for now.
    let may = |verb| format!("{verb} SELECT ON identity.address_requests");
    identity.database.execute(&format!("{} FROM identity_app", may("REVOKE"))).await;
    for email in [ana.email.as_str(), stranger] {
        let ask = pb::RequestPasswordResetRequest { email: email.into(), ..Default::default() };
        identity.auth().request_password_reset(ask).await.unwrap();
    }
    let asked = "SELECT t::text FROM identity.address_requests t";
    let waiting = "SELECT t::text FROM identity.letters t";
    let (mut rows, whole) = (identity.rows(asked).await, identity.database.dump().await);
    assert_eq!(rows.len(), 2);
    identity.database.execute(&format!("{} TO identity_app", may("GRANT"))).await;
    for _ in 0..400 {
        if identity.rows::<(String,)>(asked).await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    rows.extend(identity.rows::<(String,)>(waiting).await);
    assert_eq!(rows.len(), 2 + 5, "for the stranger there is no letter");
    let later = identity.database.dump().await;
    let text: String = rows.into_iter().map(|(row,)| row).collect();
    for address in [&ana.email, guest, new, stranger] {
        assert!(is_nowhere_in(&text, address), "{address}");
    }
    assert!(is_nowhere_in(&whole, stranger) && is_nowhere_in(&later, stranger));

    identity.fared("put_off", 5).await;
    server.come_up().await;
    identity.now_due().await;
    identity.fared("sent", 5).await;
    identity.no_letters_left().await;
    let letters = server.messages();
    let with_code = letters.iter().filter(|letter| letter.data.contains("cl"));
    let codes = with_code.filter(|letter| !letter.data.contains("being changed"));
    let codes: Vec<_> = codes.map(|letter| code_in(&letter.data).to_owned()).collect();
    assert_eq!(codes.len(), 4, "to verify, to join, to change, to reset: {letters:#?}");
    let after = identity.database.dump().await;
    for code in &codes {
        for dump in [&whole, &later, &after] {
            assert!(is_nowhere_in(dump, code), "{code}");
        }
    }
}
