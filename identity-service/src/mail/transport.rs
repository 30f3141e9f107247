//! How does a letter leave, and when is it tried again?

use std::{fmt, path::PathBuf};

use lettre::{
    Address, Message,
    message::{
        Body, Mailbox, SinglePart,
        header::{ContentTransferEncoding, HeaderName, HeaderValue},
    },
};
use service_kit::{clock, config::StartError, fields::Email};
use url::Host;

use super::{folder, letter::Letter, settings::MailSettings, smtp::Smtp};

/// Takes letters and sends them on.
pub struct Transport {
    from: Mailbox,
    way: Way,
}

enum Way {
    Smtp(Smtp),
    Folder(PathBuf),
}

/// Where a letter is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    WithServer,
    InFile(PathBuf),
}

/// Why a letter is still here. Says nothing about who it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendError {
    /// It may go out later.
    Temporary(String),
    /// It never will: there is no such recipient, or nobody takes this letter for them.
    Permanent(String),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Temporary(reason) | Self::Permanent(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for SendError {}

impl Transport {
    /// By the server, if there is one, and otherwise by the folder, or by one for the time being.
    pub fn from_settings(settings: &MailSettings) -> Result<Self, StartError> {
        let way = match (&settings.server, &settings.folder) {
            (Some(server), _) => Way::Smtp(Smtp::new(server, &settings.from)?),
            (None, Some(folder)) => Way::Folder(folder.clone()),
            // So that a first try needs no mail server; the log names each file.
            (None, None) => Way::Folder(std::env::temp_dir().join("clientele-mail")),
        };
        Ok(Self { from: settings.from.clone(), way })
    }

    /// Sends a letter, under an id such as `<7f3a@example.com>` that is the same each time.
    pub async fn send(&self, letter: &Letter, message_id: &str) -> Result<Sent, SendError> {
        let to = recipient(&letter.to)?;
        let data = self.message(letter, &to, message_id)?;
        match &self.way {
            Way::Smtp(server) => {
                server.send(&self.from.email, &to, &data).await.map(|()| Sent::WithServer)
            }
            Way::Folder(folder) => write(folder.clone(), data).await.map(Sent::InFile),
        }
    }

    fn message(
        &self,
        letter: &Letter,
        to: &Address,
        message_id: &str,
    ) -> Result<Vec<u8>, SendError> {
        // Keeps notices of absence from coming back.
        let automatic = HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        );
        let message = Message::builder()
            .message_id(Some(message_id.to_owned()))
            .date(clock::now().into())
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(letter.subject.clone())
            .raw_header(automatic)
            .singlepart(SinglePart::plain(body(&letter.text)?));
        message.map(|message| message.formatted()).map_err(no_message)
    }
}

/// As it is where that is ASCII in short lines, and otherwise such that somebody who looks into
/// the folder can still read most of it.
fn body(text: &str) -> Result<Body, SendError> {
    let encoded = |encoding| Body::new_with_encoding(text.to_owned(), encoding);
    encoded(ContentTransferEncoding::SevenBit)
        .or_else(|_| encoded(ContentTransferEncoding::QuotedPrintable))
        .map_err(|_| no_message("its text cannot be encoded"))
}

fn no_message(why: impl fmt::Display) -> SendError {
    SendError::Permanent(format!("the letter makes no message: {why}"))
}

/// An address as mail servers know it: the domain in the letters that DNS has.
fn recipient(email: &Email) -> Result<Address, SendError> {
    let unfit = || SendError::Permanent("no mail server could take the address".to_owned());
    let (local, domain) = email.as_str().rsplit_once('@').ok_or_else(unfit)?;
    let domain = Host::parse(domain).map_err(|_| unfit())?.to_string();
    Address::new(local, domain).map_err(|_| unfit())
}

async fn write(folder: PathBuf, data: Vec<u8>) -> Result<PathBuf, SendError> {
    let shown = folder.display().to_string();
    let written = tokio::task::spawn_blocking(move || folder::write(&folder, &data)).await;
    let path = written.map_err(std::io::Error::other).flatten().map_err(|error| {
        SendError::Temporary(format!("a letter cannot be written into {shown}: {error}"))
    })?;
    tracing::info!(path = %path.display(), "wrote a letter");
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_written_as_dns_knows_them() {
        let known = |text: &str| {
            let email = Email::required(text).expect("an address");
            recipient(&email).map(|address| address.to_string())
        };
        assert_eq!(known("ana@example.com").as_deref(), Ok("ana@example.com"));
        assert_eq!(known("ana@bücher.example").as_deref(), Ok("ana@xn--bcher-kva.example"));
        assert_eq!(known("ańa@example.com").as_deref(), Ok("ańa@example.com"));
    }
}
