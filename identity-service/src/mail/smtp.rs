//! How does a letter reach a mail server, and what does it mean if it does not?

use std::{fmt, fs, time::Duration};

use lettre::{
    Address,
    message::Mailbox,
    transport::smtp::{
        self,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, Certificate, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};
use service_kit::config::StartError;
use tokio::time::timeout;

use super::{
    settings::{Encryption, Login, MailServer},
    transport::SendError,
};

/// How long each answer may take: not the whole conversation, for to hang up on a slow server
/// that has the letter already is to send it twice.
const PATIENCE: Duration = Duration::from_secs(10);
/// For each address of a name, so that a second one gets its turn.
const CONNECT_PATIENCE: Duration = Duration::from_secs(4);
/// Nothing depends on whether a good-bye is heard.
const GOOD_BYE: Duration = Duration::from_secs(1);

/// A mail server, and how to speak to it. Each letter is a connection of its own: there are few.
pub struct Smtp {
    host: String,
    port: u16,
    channel: Channel,
    login: Option<Login>,
    /// What we call ourselves.
    hello: ClientId,
}

enum Channel {
    Tls(TlsParameters),
    StartTls(TlsParameters),
    Clear,
}

/// What did not work.
enum Failure {
    Late,
    Smtp(smtp::Error),
}

impl Smtp {
    pub fn new(server: &MailServer, from: &Mailbox) -> Result<Self, StartError> {
        let channel = match server.encryption {
            Encryption::Tls => Channel::Tls(tls(server)?),
            Encryption::StartTls => Channel::StartTls(tls(server)?),
            Encryption::None => Channel::Clear,
        };
        Ok(Self {
            host: server.host.clone(),
            port: server.port,
            channel,
            login: server.login.clone(),
            hello: ClientId::Domain(from.email.domain().to_owned()),
        })
    }

    /// Hands a message over; once this returns, the server answers for it.
    pub async fn send(&self, from: &Address, to: &Address, data: &[u8]) -> Result<(), SendError> {
        let mut connection = self.connect().await.map_err(for_now)?;
        let sent = hand_over(&mut connection, from, to, data).await;
        _ = timeout(GOOD_BYE, connection.abort()).await;
        sent
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let at_once = match &self.channel {
            Channel::Tls(tls) => Some(tls.clone()),
            Channel::StartTls(_) | Channel::Clear => None,
        };
        let server = (self.host.as_str(), self.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(
            server,
            Some(CONNECT_PATIENCE),
            &self.hello,
            at_once,
            None,
        );
        let mut connection = answer(connecting).await?;
        if let Channel::StartTls(tls) = &self.channel {
            answer(connection.starttls(tls.clone(), &self.hello)).await?;
        }
        if let Some(Login { user, password }) = &self.login {
            let credentials =
                Credentials::new(user.expose().to_owned(), password.expose().to_owned());
            answer(connection.auth(DEFAULT_MECHANISMS, &credentials)).await?;
        }
        Ok(connection)
    }
}

/// Whom to trust, beside those whom the world trusts, to say that it is this server.
fn tls(server: &MailServer) -> Result<TlsParameters, StartError> {
    let mut tls = TlsParameters::builder(server.host.clone());
    if let Some(file) = &server.ca_file {
        let unfit = |error: &dyn fmt::Display| {
            let file = file.display();
            StartError::new(format!("IDENTITY_MAIL_CA_FILE {file} cannot be read: {error}."))
        };
        let pem = fs::read(file).map_err(|error| unfit(&error))?;
        tls = tls.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| unfit(&error))?);
    }
    tls.build().map_err(|error| {
        StartError::new(format!(
            "IDENTITY_MAIL_URL names a host that TLS cannot be spoken with ({error}): write the \
             name in its certificate."
        ))
    })
}

/// Until the recipient is named whatever fails is between the server and us, even if the
/// server calls it permanent: somebody can mend it, and the letter goes out then.
async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    from: &Address,
    to: &Address,
    data: &[u8],
) -> Result<(), SendError> {
    let mail = Mail::new(Some(from.clone()), options(connection, data)?);
    answer(connection.command(mail)).await.map_err(for_now)?;
    let recipient = Rcpt::new(to.clone(), Vec::new());
    answer(connection.command(recipient)).await.map_err(of_letter)?;
    answer(connection.command(Data)).await.map_err(of_letter)?;
    answer(connection.message(data)).await.map_err(of_letter)?;
    Ok(())
}

/// Names and texts are written in ASCII; what is not can only be an address.
fn options(connection: &AsyncSmtpConnection, data: &[u8]) -> Result<Vec<MailParameter>, SendError> {
    if data.is_ascii() {
        return Ok(Vec::new());
    }
    if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
        return Err(SendError::Permanent(
            "the mail server takes no addresses beyond ASCII".to_owned(),
        ));
    }
    Ok(vec![MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)])
}

async fn answer<T>(step: impl Future<Output = Result<T, smtp::Error>>) -> Result<T, Failure> {
    match timeout(PATIENCE, step).await {
        Ok(answered) => answered.map_err(Failure::Smtp),
        Err(_) => Err(Failure::Late),
    }
}

fn for_now(failure: Failure) -> SendError {
    SendError::Temporary(match failure {
        Failure::Late => late(),
        Failure::Smtp(error) => error.to_string(),
    })
}

/// What a server says about a recipient often names them: only its codes are kept.
fn of_letter(failure: Failure) -> SendError {
    let Failure::Smtp(error) = failure else {
        return SendError::Temporary(late());
    };
    let Some(code) = error.status() else {
        return SendError::Temporary(error.to_string());
    };
    let codes = format!("the mail server answered {code}{}", enhanced_code(&error.to_string()));
    if error.is_permanent() { SendError::Permanent(codes) } else { SendError::Temporary(codes) }
}

fn late() -> String {
    format!("no answer from the mail server within {} s", PATIENCE.as_secs())
}

/// The like of ` 5.1.1`, which says more than the code before it.
fn enhanced_code(text: &str) -> String {
    let is_one = |word: &&str| {
        word.split('.').count() == 3
            && word.split('.').all(|part| {
                (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
            })
    };
    text.split_whitespace().find(is_one).map(|code| format!(" {code}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_answer_only_the_codes_are_kept() {
        let said = "permanent error (550): 5.1.1 <ana@example.com>: no such user";
        assert_eq!(enhanced_code(said), " 5.1.1");
        assert_eq!(enhanced_code("permanent error (550): 1.2 ana.b.c 1.2.3.4 1..2"), "");
    }
}
