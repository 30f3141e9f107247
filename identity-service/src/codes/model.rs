//! What is a code for?

use chrono::TimeDelta;
use service_kit::fields::Flaw;

use crate::secrets::{Kind, Secret};

pub const LIFE: TimeDelta = TimeDelta::hours(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To choose a new password.
    Reset,
    /// To show that the address is one's own.
    Verify,
    /// To change to the address.
    ChangeEmail,
}

impl Purpose {
    pub fn text(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Verify => "verify",
            Self::ChangeEmail => "change_email",
        }
    }

    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Reset, Self::Verify, Self::ChangeEmail]
            .into_iter()
            .find(|purpose| purpose.text() == text)
    }

    pub fn kind(self) -> Kind {
        match self {
            Self::Reset => Kind::ResetCode,
            Self::Verify | Self::ChangeEmail => Kind::VerificationCode,
        }
    }
}

/// What a code says that was used.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Used {
    purpose: String,
    pub email_key: String,
    pub new_email: Option<String>,
}

impl Used {
    pub fn purpose(&self) -> Option<Purpose> {
        Purpose::from_text(&self.purpose)
    }
}

/// A code in a request: there or not. What it is worth is found out later.
pub fn present(code: &str) -> Result<&str, Flaw> {
    if code.is_empty() { Err(Flaw::Missing) } else { Ok(code) }
}

/// The scope in which a call by a code can be repeated: only who has the code knows it.
pub fn scope(code: &str, kind: Kind) -> String {
    Secret::parse(code, kind).map(|secret| hex::encode(secret.digest())).unwrap_or_default()
}
