//! What is an e-mail address, and when are two of them the same?

use email_address::{EmailAddress, Options};
use unicode_normalization::UnicodeNormalization;

use super::Flaw;

/// An e-mail address, as it was typed.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    const MAX: usize = 255;

    pub fn required(text: &str) -> Result<Self, Flaw> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Flaw::Missing);
        }
        if text.len() > Self::MAX {
            return Err(Flaw::bad("must be at most 255 bytes"));
        }
        let plain =
            Options::default().with_required_tld().without_display_text().without_domain_literal();
        EmailAddress::parse_with_options(text, plain)
            .map_err(|_| Flaw::bad("must be an e-mail address such as ana@example.com"))?;
        // Legal inside quotes, and in a header the end of it.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Flaw::bad("must not contain blanks or control characters"));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn optional(text: &str) -> Result<Option<Self>, Flaw> {
        match Self::required(text) {
            Ok(email) => Ok(Some(email)),
            Err(Flaw::Missing) => Ok(None),
            Err(flaw) => Err(flaw),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the @.
    pub fn local_part(&self) -> &str {
        self.0.rsplit_once('@').map_or(&self.0, |(local, _)| local)
    }

    /// Equal for two spellings of one address: case and width of letters do not matter,
    /// dots do.
    pub fn key(&self) -> String {
        email_key(&self.0)
    }
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Email(…)")
    }
}

/// The key of whatever somebody typed as an address, valid or not: for looking one up. What
/// can be none has an empty one: to fold a megabyte would be work done for an attacker, and
/// PostgreSQL takes no NUL.
pub fn email_key(text: &str) -> String {
    if text.len() > 4 * Email::MAX || text.chars().any(char::is_control) {
        return String::new();
    }
    text.trim().nfkc().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_differ_only_where_mailboxes_do() {
        let key = |text: &str| Email::required(text).expect("an address").key();
        assert_eq!(key("Ana@Example.COM"), key(" ana@example.com "));
        assert_ne!(key("a.na@example.com"), key("ana@example.com"));
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for bad in [
            "ana",
            "ana@",
            "@example.com",
            "a b@example.com",
            "ana@localhost",
            "Ana <ana@example.com>",
            "ana@example.com\nbcc:x@example.com",
            "\"a b\"@example.com",
            "ana@[127.0.0.1]",
        ] {
            assert!(matches!(Email::required(bad), Err(Flaw::Bad(_))), "{bad:?}");
        }
    }

    /// Requirement T1.
    #[test]
    fn an_address_has_up_to_255_bytes() {
        // Each part of it as long as it may be, but for the last word.
        let of = |bytes: usize| {
            let (name, word) = ("n".repeat(64), "w".repeat(63));
            let rest = format!("{name}@{word}.{word}..com");
            format!("{name}@{word}.{word}.{}.com", "w".repeat(bytes - rest.len()))
        };
        assert_eq!(Email::required(&of(255)).map(|email| email.as_str().len()), Ok(255));
        let too_long = Err(Flaw::bad("must be at most 255 bytes"));
        assert_eq!(Email::required(&of(256)), too_long);
        assert_eq!(Email::optional(&of(256)).map(|_| ()), too_long.map(|_| ()));
    }

    #[test]
    fn the_local_part_is_what_names_a_person_without_a_name() {
        assert_eq!(Email::required("ana.b@example.com").expect("an address").local_part(), "ana.b");
    }
}
