//! Where do letters go, and what do they say about where they come from?

use std::{net::IpAddr, path::PathBuf};

use lettre::{Address, message::Mailbox};
use percent_encoding::percent_decode_str;
use service_kit::config::{Reader, Secret};
use url::{Host, Url};

/// Everything about letters that is set.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// `IDENTITY_MAIL_URL`: without it letters become files.
    pub server: Option<MailServer>,
    /// `IDENTITY_MAIL_FOLDER`: where those files are put.
    pub folder: Option<PathBuf>,
    /// `IDENTITY_MAIL_FROM`: who the letters are from.
    pub from: Mailbox,
    /// `IDENTITY_APP_URL`: the app that links lead to, without a slash at its end.
    pub app_url: Option<String>,
}

/// A mail server that takes our letters.
#[derive(Debug, Clone)]
pub struct MailServer {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    pub login: Option<Login>,
    /// `IDENTITY_MAIL_CA_FILE`: who vouches for its certificate, where the world does not.
    pub ca_file: Option<PathBuf>,
}

/// What keeps the letters on their way to it from being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// From the first byte on.
    Tls,
    /// From the command of this name on; without it nothing is sent.
    StartTls,
    /// Nothing.
    None,
}

/// Who we are to the mail server. The name is often half a key, so it is kept like one.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: Secret,
    pub password: Secret,
}

impl MailSettings {
    /// Letters as files in a folder: for tests and tools.
    pub fn into_folder(folder: PathBuf) -> Self {
        Self { server: None, folder: Some(folder), from: nobody(), app_url: None }
    }

    pub fn read(reader: &mut Reader<'_>) -> Self {
        let url = reader.secret("IDENTITY_MAIL_URL");
        let folder = reader.text("IDENTITY_MAIL_FOLDER").map(PathBuf::from);
        if url.is_some() && folder.is_some() {
            reader.problem(
                "IDENTITY_MAIL_URL and IDENTITY_MAIL_FOLDER are both set: keep the one that \
                 letters are to go to.",
            );
        }
        Self {
            server: url.as_ref().and_then(|url| mail_server(reader, url)),
            folder,
            from: from(reader, url.is_some()),
            app_url: app_url(reader),
        }
    }
}

fn mail_server(reader: &mut Reader<'_>, url: &Secret) -> Option<MailServer> {
    let allow_plaintext = reader.flag("ALLOW_PLAINTEXT", false);
    let server = MailServer::parse(url.expose(), allow_plaintext);
    // The value itself holds the password: it is not repeated.
    let server = server.map_err(|flaw| reader.problem(format!("IDENTITY_MAIL_URL {flaw}."))).ok();
    let ca_file = reader.text("IDENTITY_MAIL_CA_FILE").map(PathBuf::from);
    server.map(|server| MailServer { ca_file, ..server })
}

const FORM: &str = "is not a URL such as smtps://user:password@mail.example.com:465 or \
                    smtp://user:password@mail.example.com:587: write it like that, and in the \
                    user and the password %40 for @, %3A for : and %2F for /";

impl MailServer {
    /// The server behind a URL, or what is wrong with the URL: a sentence's end.
    fn parse(text: &str, allow_plaintext: bool) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| FORM)?;
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(FORM);
        }
        let host = host(&url).ok_or(FORM)?;
        let encryption = Encryption::of(&url, &host, allow_plaintext)?;
        Ok(Self {
            port: url.port().unwrap_or(encryption.usual_port()),
            login: Login::of(&url)?,
            ca_file: None,
            encryption,
            host,
        })
    }
}

impl Encryption {
    fn of(url: &Url, host: &str, allow_plaintext: bool) -> Result<Self, &'static str> {
        let is_loopback = is_loopback(host);
        match (url.scheme(), url.query()) {
            ("smtps", None) => Ok(Self::Tls),
            ("smtp", None) if is_loopback => Ok(Self::None),
            ("smtp", None) => Ok(Self::StartTls),
            ("smtp", Some("tls=none")) if is_loopback || allow_plaintext => Ok(Self::None),
            ("smtp", Some("tls=none")) => {
                Err("says tls=none, and the codes in the letters would travel in clear to another \
                 machine: remove that, or set ALLOW_PLAINTEXT=on if nobody listens in")
            }
            _ => Err(FORM),
        }
    }

    fn usual_port(self) -> u16 {
        match self {
            Self::Tls => 465,
            Self::StartTls => 587,
            Self::None => 25,
        }
    }
}

impl Login {
    fn of(url: &Url) -> Result<Option<Self>, &'static str> {
        match (url.username(), url.password()) {
            ("", None) => Ok(None),
            (user, Some(password)) if !user.is_empty() => {
                Ok(Some(Self { user: decoded(user)?, password: decoded(password)? }))
            }
            _ => Err("has only one of user and password: write both, or neither"),
        }
    }
}

fn decoded(text: &str) -> Result<Secret, &'static str> {
    percent_decode_str(text).decode_utf8().map(Secret::new).map_err(|_| FORM)
}

/// A name in the letters that DNS knows, or an address without brackets.
fn host(url: &Url) -> Option<String> {
    Some(match Host::parse(url.host_str()?).ok()? {
        Host::Domain(name) => name,
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whom letters are from when nobody says so.
fn nobody() -> Mailbox {
    Mailbox::new(Some("Clientele".to_owned()), Address::new_dangerous("no-reply", "localhost"))
}

/// Nobody can answer the default, and no server would take it from another machine.
fn from(reader: &mut Reader<'_>, for_server: bool) -> Mailbox {
    const NAME: &str = "IDENTITY_MAIL_FROM";
    if for_server && reader.text(NAME).is_none() {
        reader.problem(format!(
            "{NAME} is missing beside IDENTITY_MAIL_URL: set it to an address that the mail \
             server lets us write from, such as Clientele <no-reply@example.com>."
        ));
    }
    let from = reader.parsed(NAME, nobody());
    if from.name.as_ref().is_some_and(|name| name.contains(char::is_control)) {
        reader.problem(format!("{NAME} has control characters in its name: write one line."));
    }
    if !from.email.to_string().is_ascii() {
        reader.problem(format!(
            "{NAME} has an address that not every mail server can write: use plain letters."
        ));
    }
    from
}

fn app_url(reader: &mut Reader<'_>) -> Option<String> {
    let text = reader.text("IDENTITY_APP_URL")?;
    let url = Url::parse(&text).ok().filter(is_plain_page);
    if url.is_none() {
        reader.problem(
            "IDENTITY_APP_URL is not the address of a page: write it like \
             https://app.example.com, without user, ? and #.",
        );
    }
    url.map(|url| url.as_str().trim_end_matches('/').to_owned())
}

fn is_plain_page(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

#[cfg(test)]
mod tests {
    use service_kit::config::Source;

    use super::*;

    const FROM: (&str, &str) = ("IDENTITY_MAIL_FROM", "Acme <post@example.com>");

    fn read(pairs: &[(&str, &str)]) -> (MailSettings, String) {
        let source = Source::from(pairs.iter().copied());
        let mut reader = Reader::new(&source);
        let settings = MailSettings::read(&mut reader);
        let sentences = reader.finish(&["IDENTITY_"]).err().map(|error| error.to_string());
        (settings, sentences.unwrap_or_default())
    }

    fn server(url: &str) -> MailServer {
        let (settings, sentences) = read(&[("IDENTITY_MAIL_URL", url), FROM]);
        assert_eq!(sentences, "", "{url}");
        settings.server.expect("a server")
    }

    fn refused(url: &str) -> String {
        let (settings, sentences) = read(&[("IDENTITY_MAIL_URL", url), FROM]);
        assert!(settings.server.is_none() && sentences.starts_with("IDENTITY_MAIL_URL"), "{url}");
        sentences
    }

    #[test]
    fn nothing_set_is_letters_in_files() {
        let (settings, sentences) = read(&[]);
        assert_eq!(sentences, "");
        assert!(settings.server.is_none() && settings.folder.is_none());
        assert_eq!(settings.from.to_string(), "Clientele <no-reply@localhost>");
        assert_eq!(settings.app_url, None);
    }

    #[test]
    fn everything_can_be_set() {
        let url = "smtp://me%40example.com:p%3A%2F%40@Mail.Example.com:2525";
        let (settings, sentences) = read(&[
            ("IDENTITY_MAIL_URL", url),
            FROM,
            ("IDENTITY_APP_URL", "https://app.example.com/crm/"),
        ]);
        assert_eq!(sentences, "");
        let server = settings.server.expect("a server");
        assert_eq!((server.host.as_str(), server.port), ("mail.example.com", 2525));
        assert_eq!(server.encryption, Encryption::StartTls);
        let login = server.login.expect("a login");
        assert_eq!((login.user.expose(), login.password.expose()), ("me@example.com", "p:/@"));
        assert_eq!(settings.from.to_string(), "Acme <post@example.com>");
        assert_eq!(settings.app_url.as_deref(), Some("https://app.example.com/crm"));
        let (settings, sentences) = read(&[("IDENTITY_MAIL_FOLDER", "/var/mail/out")]);
        assert_eq!(sentences, "");
        assert_eq!(settings.folder, Some("/var/mail/out".into()));
    }

    #[test]
    fn only_this_machine_is_written_to_in_clear() {
        for (url, encryption, port) in [
            ("smtps://mail.example.com", Encryption::Tls, 465),
            ("smtp://mail.example.com", Encryption::StartTls, 587),
            ("smtp://10.0.0.1", Encryption::StartTls, 587),
            ("smtp://localhost.example.com", Encryption::StartTls, 587),
            ("smtp://localhost", Encryption::None, 25),
            ("smtp://127.0.0.1:1025", Encryption::None, 1025),
            ("smtp://[::1]:1025", Encryption::None, 1025),
            ("smtp://LOCALHOST:1025/?tls=none", Encryption::None, 1025),
            ("smtps://localhost", Encryption::Tls, 465),
        ] {
            let server = server(url);
            assert_eq!((server.encryption, server.port), (encryption, port), "{url}");
        }
        assert_eq!(server("smtp://[::1]").host, "::1");
    }

    #[test]
    fn another_machine_is_written_to_in_clear_only_where_that_is_said_twice() {
        let url = ("IDENTITY_MAIL_URL", "smtp://mail.internal:25?tls=none");
        assert!(refused(url.1).contains("ALLOW_PLAINTEXT=on"));
        let allowed = ("ALLOW_PLAINTEXT", "on");
        let (settings, sentences) = read(&[url, FROM, allowed]);
        assert_eq!(sentences, "");
        assert_eq!(settings.server.expect("a server").encryption, Encryption::None);
        let silent = ("IDENTITY_MAIL_URL", "smtp://mail.internal:25");
        let encryption = read(&[silent, FROM, allowed]).0.server.expect("a server").encryption;
        assert_eq!(encryption, Encryption::StartTls);
    }

    #[test]
    fn a_wrong_url_is_refused_and_not_repeated() {
        for bad in [
            "mail.example.com",
            "https://me:hunter2@mail.example.com",
            "smtp://",
            "smtp://me:hunter2/x@mail.example.com",
            "smtp://me:hunter2@mail.example.com/path",
            "smtp://me:hunter2@mail.example.com?tls=opportunistic",
            "smtps://me:hunter2@mail.example.com?tls=none",
            "smtp://me:hunter2@mail.example.com#x",
            "smtp://me:hunter2@mail.example.com:99999",
            "smtp://me:%ffhunter2@mail.example.com",
            "smtp://hunter2@mail.example.com",
            "smtp://:hunter2@mail.example.com",
        ] {
            let sentences = refused(bad);
            assert!(!sentences.contains("hunter2"), "{sentences}");
        }
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        let (settings, _) =
            read(&[("IDENTITY_MAIL_URL", "smtps://apikey:hunter2@mail.example.com"), FROM]);
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("apikey"), "{shown}");
    }

    #[test]
    fn a_mail_server_needs_to_know_who_letters_are_from() {
        let url = ("IDENTITY_MAIL_URL", "smtp://localhost:1025");
        assert!(read(&[url]).1.starts_with("IDENTITY_MAIL_FROM is missing"));
        for bad in [
            "Clientele",
            "Clientele <no-reply>",
            "a@b@c",
            "\"A\r\nBcc: b@example.com\" <a@example.com>",
            "post@bücher.example",
        ] {
            let (_, sentences) = read(&[url, ("IDENTITY_MAIL_FROM", bad)]);
            assert!(sentences.starts_with("IDENTITY_MAIL_FROM"), "{bad}: {sentences}");
        }
    }

    #[test]
    fn letters_go_to_one_place() {
        let (_, sentences) = read(&[
            ("IDENTITY_MAIL_URL", "smtp://localhost:1025"),
            ("IDENTITY_MAIL_FOLDER", "/tmp/mail"),
            FROM,
        ]);
        assert!(sentences.contains("are both set"), "{sentences}");
    }

    #[test]
    fn links_lead_to_a_page() {
        for bad in [
            "app.example.com",
            "ftp://app.example.com",
            "https://me:hunter2@app.example.com",
            "https://app.example.com?a=b",
            "https://app.example.com#x",
        ] {
            let (settings, sentences) = read(&[("IDENTITY_APP_URL", bad)]);
            assert!(sentences.starts_with("IDENTITY_APP_URL") && settings.app_url.is_none());
            assert!(!sentences.contains("hunter2"), "{sentences}");
        }
        let local = read(&[("IDENTITY_APP_URL", "http://localhost:3000")]).0;
        assert_eq!(local.app_url.as_deref(), Some("http://localhost:3000"));
    }
}
