//! Letters on their way: to a mail server over TCP, and into a folder.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
};

use identity_service::mail::{
    letter::{self, Invitation, Letter},
    settings::{Encryption, Login, MailServer, MailSettings},
    transport::{SendError, Sent, Transport},
};
use proto::common::v1::Role;
use rcgen::{CertifiedKey, KeyPair};
use service_kit::{
    config::{Reader, Secret, Source},
    fields::Email,
};
use tracing_subscriber::layer::SubscriberExt;

use super::smtp::{Message, SmtpServer};

const ID: &str = "<5f0e2a9c-11d7-4c52-9d3c-0a5b6c7d8e9f@example.com>";

fn settings(pairs: &[(&str, &str)]) -> MailSettings {
    let source = Source::from(pairs.iter().copied());
    let mut reader = Reader::new(&source);
    let settings = MailSettings::read(&mut reader);
    reader.finish(&["IDENTITY_"]).unwrap();
    settings
}

fn settings_for(server: &SmtpServer) -> MailSettings {
    let from = ("IDENTITY_MAIL_FROM", "Clientele <post@example.com>");
    settings(&[("IDENTITY_MAIL_URL", &server.url()), from])
}

fn through(server: &SmtpServer) -> Transport {
    Transport::from_settings(&settings_for(server)).unwrap()
}

fn into(folder: &Path) -> Transport {
    let folder = folder.to_str().unwrap();
    Transport::from_settings(&settings(&[("IDENTITY_MAIL_FOLDER", folder)])).unwrap()
}

fn to(address: &str, text: &str) -> Letter {
    Letter {
        to: Email::required(address).unwrap(),
        subject: "A subject".to_owned(),
        text: text.to_owned(),
    }
}

fn only(server: &SmtpServer) -> Message {
    let [message] = server.messages().try_into().unwrap();
    message
}

fn header<'a>(data: &'a str, name: &str) -> &'a str {
    let (headers, _) = data.split_once("\r\n\r\n").unwrap();
    let mut values = headers.lines().filter_map(|line| line.strip_prefix(&format!("{name}: ")));
    let value = values.next().unwrap_or_else(|| panic!("no {name} in {headers}"));
    assert_eq!(values.next(), None, "one {name}");
    value
}

/// The text of a message, as a mail program shows it.
fn text(data: &str) -> String {
    let (_, body) = data.split_once("\r\n\r\n").unwrap();
    match header(data, "Content-Transfer-Encoding") {
        "7bit" => body.to_owned(),
        "quoted-printable" => unquoted(body),
        other => panic!("{other} is not read here"),
    }
}

fn unquoted(body: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = body.replace("=\r\n", "").into_bytes().into_iter();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Lines end as they do on the wire, and the wire may add one.
fn assert_same_text(data: &str, letter: &Letter) {
    let text = text(data).replace("\r\n", "\n");
    assert_eq!(text.trim_end(), letter.text.trim_end());
}

#[tokio::test]
async fn a_letter_arrives_as_it_was_written() {
    let server = SmtpServer::start().await;
    let letter = letter::invitation(
        Some("https://app.example.com"),
        Invitation {
            to: Email::required("ana@example.org").unwrap(),
            account: "Bücher & Söhne",
            inviter: "Zoë Åkesson",
            role: Role::Admin,
            code: "SOME-CODE",
        },
    );
    assert_eq!(through(&server).send(&letter, ID).await, Ok(Sent::WithServer));
    let Message { from, to, data } = only(&server);
    assert_eq!((from.as_str(), to), ("post@example.com", vec!["ana@example.org".to_owned()]));
    assert_same_text(&data, &letter);
    assert!(data.is_ascii(), "every server can take it");
    assert_eq!(header(&data, "From"), "Clientele <post@example.com>");
    assert_eq!(header(&data, "To"), "ana@example.org");
    assert_eq!(header(&data, "Message-ID"), ID);
    assert_eq!(header(&data, "Auto-Submitted"), "auto-generated");
    assert_eq!(header(&data, "MIME-Version"), "1.0");
    assert_eq!(header(&data, "Content-Type"), "text/plain; charset=utf-8");
    assert!(header(&data, "Subject").starts_with("Invitation to =?utf-8?b?"), "{data}");
    let sent = chrono::DateTime::parse_from_rfc2822(header(&data, "Date")).unwrap();
    let age = service_kit::clock::now().signed_duration_since(sent);
    assert!((0..60).contains(&age.num_seconds()), "{age}");
}

#[tokio::test]
async fn dots_and_long_lines_survive() {
    let server = SmtpServer::start().await;
    let transport = through(&server);
    for text in [
        ".one\n..two\n.\n\nafter a dot alone\n".to_owned(),
        format!("{}\n.after a long line\n", "long ".repeat(500)),
        format!(".ü{}\n.\n", ".".repeat(2_000)),
    ] {
        let letter = to("ana@example.org", &text);
        transport.send(&letter, ID).await.unwrap();
        let data = server.messages().pop().unwrap().data;
        assert_same_text(&data, &letter);
        assert!(data.lines().all(|line| line.len() <= 998), "longer than servers take");
    }
}

/// Security checklist 52.
#[tokio::test]
async fn no_text_adds_a_header() {
    let server = SmtpServer::start().await;
    let mut letter = to("ana@example.org", "X-Evil: no\r\n\r\nX-Evil: no\n");
    letter.subject = "A\r\nBcc: eve@example.com\r\n\r\nB".to_owned();
    through(&server).send(&letter, "<a\r\nX-Evil: yes\r\n@b>").await.unwrap();
    let message = only(&server);
    let (headers, _) = message.data.split_once("\r\n\r\n").unwrap();
    assert!(!headers.lines().any(|line| line.starts_with("Bcc") || line.starts_with("X-Evil")));
    assert!(headers.contains("Content-Type: text/plain"), "{headers}");
    assert_eq!(message.to, ["ana@example.org"]);
}

#[tokio::test]
async fn addresses_in_all_scripts_are_written_to() {
    let server = SmtpServer::start().await;
    let transport = through(&server);
    for (address, known_as) in [
        ("ana@bücher.example", "ana@xn--bcher-kva.example"),
        ("ańa@example.org", "ańa@example.org"),
    ] {
        transport.send(&to(address, "Hello.\n"), ID).await.unwrap();
        assert_eq!(server.messages().pop().unwrap().to, [known_as]);
    }
}

#[tokio::test]
async fn a_busy_server_gets_the_same_letter_again() {
    let server = SmtpServer::start().await;
    let (transport, letter) = (through(&server), to("ana@example.org", "Hello.\n"));
    server.be_busy(2);
    for _ in 0..2 {
        let said = "the mail server answered 451 4.7.1".to_owned();
        assert_eq!(transport.send(&letter, ID).await, Err(SendError::Temporary(said)));
    }
    assert_eq!(server.messages(), []);
    transport.send(&letter, ID).await.unwrap();
    transport.send(&letter, ID).await.unwrap();
    let messages = server.messages();
    let ids: Vec<_> = messages.iter().map(|message| header(&message.data, "Message-ID")).collect();
    assert_eq!(ids, [ID, ID]);
}

#[tokio::test]
async fn who_does_not_exist_is_given_up() {
    let server = SmtpServer::start().await;
    let transport = through(&server);
    server.refuse_recipient_for_good("nobody@example.org");
    let refused = transport.send(&to("nobody@example.org", "Hello.\n"), ID).await.unwrap_err();
    assert_eq!(refused, SendError::Permanent("the mail server answered 550 5.1.1".to_owned()));
    assert_eq!(server.messages(), []);
    transport.send(&to("ana@example.org", "Hello.\n"), ID).await.unwrap();
    assert_eq!(only(&server).to, ["ana@example.org"]);
}

#[tokio::test]
async fn a_server_that_is_down_is_waited_for() {
    let mut server = SmtpServer::start().await;
    let (transport, letter) = (through(&server), to("ana@example.org", "Hello.\n"));
    server.go_down().await;
    let failed = transport.send(&letter, ID).await.unwrap_err();
    assert!(matches!(&failed, SendError::Temporary(why) if !why.contains("ana@")), "{failed}");
    server.come_up().await;
    transport.send(&letter, ID).await.unwrap();
    assert_eq!(only(&server).to, ["ana@example.org"]);
}

#[tokio::test]
async fn a_server_without_tls_hears_nothing_where_tls_is_demanded() {
    let server = SmtpServer::start().await;
    for encryption in [Encryption::StartTls, Encryption::Tls] {
        let mut settings = settings_for(&server);
        settings.server = Some(MailServer {
            host: "localhost".to_owned(),
            port: server.port(),
            encryption,
            login: Some(Login { user: Secret::new("me"), password: Secret::new("hunter2") }),
            ca_file: None,
        });
        let transport = Transport::from_settings(&settings).unwrap();
        let failed = transport.send(&to("ana@example.org", "Hello.\n"), ID).await.unwrap_err();
        assert!(matches!(failed, SendError::Temporary(_)), "{failed}");
    }
    let commands = server.commands();
    assert!(commands.contains(&"EHLO".to_owned()), "it was asked: {commands:?}");
    for verb in ["AUTH", "MAIL", "DATA"] {
        assert!(!commands.contains(&verb.to_owned()), "{commands:?}");
    }
}

#[tokio::test]
async fn a_login_that_the_server_refuses_costs_no_letter() {
    let server = SmtpServer::start().await;
    let url = server.url().replace("//", "//me:hunter2@");
    let from = ("IDENTITY_MAIL_FROM", "post@example.com");
    let settings = settings(&[("IDENTITY_MAIL_URL", &url), from]);
    let transport = Transport::from_settings(&settings).unwrap();
    let failed = transport.send(&to("ana@example.org", "Hello.\n"), ID).await.unwrap_err();
    let SendError::Temporary(why) = failed else { panic!("given up: {failed}") };
    assert!(why.contains("535") && !why.contains("hunter2"), "{why}");
}

#[tokio::test]
async fn a_letter_goes_by_tls_and_with_a_login_where_that_is_demanded() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, certified) = certified_in(folder.path());
    let from = ("IDENTITY_MAIL_FROM", "post@example.com");
    for encryption in [Encryption::StartTls, Encryption::Tls] {
        let server = SmtpServer::start_with(encryption, &certified, "me", "hunter2").await;
        let url = format!("smtps://me:hunter2@localhost:{}", server.port());
        let pairs = [("IDENTITY_MAIL_URL", &*url), ("IDENTITY_MAIL_CA_FILE", &*certificate), from];
        let mut settings = settings(&pairs);
        // Of this machine's own a URL asks for no STARTTLS.
        settings.server.as_mut().unwrap().encryption = encryption;
        let letter = to("ana@example.org", "Hello.\n");
        Transport::from_settings(&settings).unwrap().send(&letter, ID).await.unwrap();
        assert_eq!(only(&server).to, ["ana@example.org"]);

        // With another certificate than the one that is vouched for it hears nothing.
        settings.server.as_mut().unwrap().ca_file = None;
        let strange = Transport::from_settings(&settings).unwrap();
        let failed = strange.send(&letter, ID).await.unwrap_err();
        assert!(matches!(failed, SendError::Temporary(_)), "{failed}");
        // And without the log-in it takes nothing.
        let pairs = [("IDENTITY_MAIL_URL", &*url.replace("hunter2", "wrong")), pairs[1], from];
        let mut settings = self::settings(&pairs);
        settings.server.as_mut().unwrap().encryption = encryption;
        let wrong = Transport::from_settings(&settings).unwrap();
        let failed = wrong.send(&letter, ID).await.unwrap_err();
        assert!(failed.to_string().contains("535"), "{failed}");
        assert_eq!(server.messages().len(), 1);
    }
}

#[tokio::test]
async fn a_certificate_that_is_none_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, broken) = (folder.path().join("missing"), folder.path().join("broken"));
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!\n").unwrap();
    for file in [missing, broken] {
        let settings = settings(&[
            ("IDENTITY_MAIL_URL", "smtps://me:hunter2@localhost"),
            ("IDENTITY_MAIL_CA_FILE", file.to_str().unwrap()),
            ("IDENTITY_MAIL_FROM", "post@example.com"),
        ]);
        let said = Transport::from_settings(&settings).map(|_| ()).unwrap_err().to_string();
        assert!(said.starts_with("IDENTITY_MAIL_CA_FILE"), "{said}");
    }
}

/// The file with a certificate of this machine's name, and what proves that it is one's own.
fn certified_in(folder: &Path) -> (String, CertifiedKey<KeyPair>) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = folder.join("ca.pem");
    fs::write(&file, certified.cert.pem()).unwrap();
    (file.to_str().unwrap().to_owned(), certified)
}

#[tokio::test]
async fn without_a_server_letters_are_files_of_ours_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data/mail");
    let letter = to("ana@example.org", "Grüße,\n.\nCODE\n");
    let transport = into(&folder);
    for count in 1..=2 {
        let Ok(Sent::InFile(path)) = transport.send(&letter, ID).await else { panic!("no file") };
        let data = fs::read_to_string(&path).unwrap();
        assert_same_text(&data, &letter);
        assert_eq!(header(&data, "To"), "ana@example.org");
        assert_eq!(header(&data, "From"), "Clientele <no-reply@localhost>");
        assert_eq!(header(&data, "Message-ID"), ID);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&folder), 0o700);
        assert_eq!((path.parent(), path.extension()), (Some(&*folder), Some("eml".as_ref())));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), count, "nothing is left half-written");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_waited_for() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("mail");
    fs::write(&folder, "a file").unwrap();
    let letter = to("ana@example.org", "Hello.\n");
    let failed = into(&folder).send(&letter, ID).await.unwrap_err();
    assert!(matches!(failed, SendError::Temporary(_)), "{failed}");
    fs::remove_file(&folder).unwrap();
    into(&folder).send(&letter, ID).await.unwrap();
}

#[tokio::test]
async fn the_log_names_the_file_and_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::default();
    let recording = tracing_subscriber::registry().with(log.clone());
    let recording = tracing::subscriber::set_default(recording);
    let sent = into(folder.path()).send(&to("ana@example.org", "SOME-CODE\n"), ID).await;
    drop(recording);
    let Ok(Sent::InFile(path)) = sent else { panic!("no file") };
    let expected = format!("INFO message=wrote a letter path={}", path.display());
    assert_eq!(*log.0.lock().unwrap(), [expected]);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut words = vec![event.metadata().level().to_string()];
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            words.push(format!("{field}={value:?}"));
        });
        self.0.lock().unwrap().push(words.join(" "));
    }
}
