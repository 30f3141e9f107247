//! What does an employee token look like, outside and inside?

use service_kit::keys::{Keyring, Purpose, random};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What the sealed copy is sealed for.
const SEALED_COPY: Purpose = Purpose::new("employee token");

/// A token in clear: on its way to its owner, or back from them.
pub struct Token(Zeroizing<String>);

impl Token {
    const BYTES: usize = 20;
    const DIGITS: usize = 2 * Self::BYTES;

    /// A new one.
    pub fn mint() -> Self {
        Self(Zeroizing::new(hex::encode(random::<{ Self::BYTES }>())))
    }

    /// One that looks like ours; anything else is refused without asking the database.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == Self::DIGITS && digits).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// For the answer to its owner.
    pub fn expose(&self) -> String {
        self.0.to_string()
    }

    /// What it is looked up by: 40 digits again, so that the column stays what it was.
    pub fn key(&self) -> String {
        let mut key = hex::encode(Sha256::digest(self.0.as_bytes()));
        key.truncate(Self::DIGITS);
        key
    }

    /// The copy that only this service can open, and only as its holder's.
    pub fn seal(&self, keys: &Keyring, holder: Holder) -> Vec<u8> {
        keys.seal(SEALED_COPY, &holder.binding(), self.0.as_bytes())
    }

    /// The token in a sealed copy.
    pub fn unseal(keys: &Keyring, holder: Holder, sealed: &[u8]) -> Option<Self> {
        let plain = keys.open(SEALED_COPY, &holder.binding(), sealed)?;
        Self::parse(std::str::from_utf8(&plain).ok()?)
    }
}

/// Whose token it is.
#[derive(Debug, Clone, Copy)]
pub struct Holder {
    pub account_id: i64,
    pub employee_id: i64,
}

impl Holder {
    fn binding(self) -> Vec<u8> {
        [self.account_id.to_be_bytes(), self.employee_id.to_be_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_looks_like_one() {
        let token = Token::mint();
        assert!(Token::parse(&token.expose()).is_some());
        assert_ne!(token.expose(), Token::mint().expose());
        assert_ne!(token.expose(), token.key());
        assert_eq!(token.key().len(), 40);
    }

    #[test]
    fn what_does_not_look_like_one_is_none() {
        let good = "0123456789abcdef0123456789abcdef01234567";
        assert!(Token::parse(good).is_some());
        for bad in [
            "",
            &good[1..],
            &good.to_uppercase(),
            &format!("{good}0"),
            &good.replace('0', "g"),
            &good.replace('0', "é"),
        ] {
            assert!(Token::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_sealed_copy_is_one_employees() {
        let keys = Keyring::parse(&Keyring::generate()).expect("a key");
        let holder = Holder { account_id: 3, employee_id: 7 };
        let token = Token::mint();
        let sealed = token.seal(&keys, holder);
        let opened = Token::unseal(&keys, holder, &sealed).map(|token| token.expose());
        assert_eq!(opened, Some(token.expose()));
        for other in [Holder { employee_id: 8, ..holder }, Holder { account_id: 4, ..holder }] {
            assert!(Token::unseal(&keys, other, &sealed).is_none());
        }
    }
}
