//! How does a service keep something secret, or recognise what it issued?
//!
//! A [`Keyring`] holds one or two root keys. The first one seals and signs; all of them open
//! and verify, so that a key is rotated by adding a new one behind, in every process; putting it
//! in front, once all of them know it; and dropping the old one once nothing lives that it made.

use std::fmt;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use rand::TryRngCore;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::config::{Secret, StartError};

/// What a key is used for. No two uses share a key: each is derived under its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purpose(&'static str);

impl Purpose {
    /// Stored answers to repeatable calls.
    pub(crate) const STORED_ANSWER: Self = Self("stored answer");
    /// What a repeat's body is compared by.
    pub(crate) const FINGERPRINT: Self = Self("fingerprint");
    /// Page tokens.
    pub(crate) const PAGE_TOKEN: Self = Self("page token");

    /// A use of a service's own.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }
}

/// One or two root keys, each with a number of its own.
pub struct Keyring(Vec<Key>);

struct Key {
    number: u8,
    root: Zeroizing<[u8; 32]>,
}

const NONCE_BYTES: usize = 24;
/// The key's number, and what it makes of the parts.
const TAG_BYTES: usize = 33;

impl Keyring {
    /// Reads `1:<base64 of 32 bytes>`, or two of them with a comma between.
    ///
    /// # Errors
    /// A sentence that says how it must look.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys: Option<Vec<Key>> = text.split(',').map(|part| Key::parse(part.trim())).collect();
        let keys = keys.filter(|keys| {
            let mut numbers: Vec<u8> = keys.iter().map(|key| key.number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers.len() == keys.len()
        });
        keys.map(Self).ok_or_else(|| {
            "must be one or more of <number>:<base64 of 32 random bytes>, each with its own \
             number from 0 to 255, separated by commas"
                .to_owned()
        })
    }

    /// The ring in a setting of this name.
    ///
    /// # Errors
    /// When the setting is missing, or is none.
    pub fn from_setting(name: &str, setting: Option<&Secret>) -> Result<Self, StartError> {
        let setting = setting.ok_or_else(|| {
            StartError::new(format!(
                "{name} is not set: give it 1:<key>, the key made by `openssl rand -base64 32`, and keep it."
            ))
        })?;
        Self::parse(setting.expose()).map_err(|flaw| StartError::new(format!("{name} {flaw}.")))
    }

    /// A fresh key, as [`Keyring::parse`] reads it.
    pub fn generate() -> String {
        format!("1:{}", STANDARD.encode(random::<32>()))
    }

    /// Encrypts under the first key. `bound` must be the same when it is opened.
    pub fn seal(&self, purpose: Purpose, bound: &[u8], plain: &[u8]) -> Vec<u8> {
        let key = &self.0[0];
        let nonce = random::<NONCE_BYTES>();
        let sealed = key
            .cipher(purpose)
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: bound })
            // Fails beyond 256 GB only, and what is empty never opens again.
            .unwrap_or_default();
        [&[key.number], nonce.as_slice(), &sealed].concat()
    }

    /// Whether the key that seals now sealed this.
    pub fn is_of_first(&self, sealed: &[u8]) -> bool {
        sealed.first() == Some(&self.0[0].number)
    }

    /// What was sealed, if a key of this ring did it, for this purpose and binding.
    pub fn open(
        &self,
        purpose: Purpose,
        bound: &[u8],
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let (number, rest) = sealed.split_first()?;
        let (nonce, cipher_text) = rest.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let key = self.0.iter().find(|key| key.number == *number)?;
        let payload = Payload { msg: cipher_text, aad: bound };
        key.cipher(purpose).decrypt(&XNonce::from(nonce), payload).ok().map(Zeroizing::new)
    }

    /// What is sealed, as text that others keep for us.
    pub fn seal_text(&self, purpose: Purpose, bound: &[u8], plain: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.seal(purpose, bound, plain))
    }

    /// What was sealed as such a text.
    pub fn open_text(
        &self,
        purpose: Purpose,
        bound: &[u8],
        text: &str,
    ) -> Option<Zeroizing<Vec<u8>>> {
        self.open(purpose, bound, &URL_SAFE_NO_PAD.decode(text).ok()?)
    }

    /// A tag under the first key that only this ring can make.
    pub fn sign(&self, purpose: Purpose, parts: &[&[u8]]) -> Vec<u8> {
        let key = &self.0[0];
        [&[key.number], key.tag(purpose, parts).as_slice()].concat()
    }

    /// What every key of this ring makes of these parts, the first one's first: for secrets that
    /// are derived and not stored.
    pub fn tags(&self, purpose: Purpose, parts: &[&[u8]]) -> Vec<[u8; 32]> {
        self.0.iter().map(|key| key.tag(purpose, parts)).collect()
    }

    /// Whether a key of this ring made this tag for these parts.
    pub fn verify(&self, purpose: Purpose, parts: &[&[u8]], tag: &[u8]) -> bool {
        let Some((number, shown)) = tag.split_first() else {
            return false;
        };
        let key = self.0.iter().find(|key| key.number == *number);
        key.is_some_and(|key| key.tag(purpose, parts).ct_eq(shown).into())
    }

    /// A payload that others keep for us, as text that only this ring can have made: good together
    /// with these parts.
    pub fn stamp(&self, purpose: Purpose, parts: &[&[u8]], payload: &[u8]) -> String {
        let tag = self.sign(purpose, &[parts, &[payload]].concat());
        URL_SAFE_NO_PAD.encode([&tag, payload].concat())
    }

    /// The payload in such a text.
    pub fn stamped(&self, purpose: Purpose, parts: &[&[u8]], text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (tag, payload) = bytes.split_at_checked(TAG_BYTES)?;
        let is_ours = self.verify(purpose, &[parts, &[payload]].concat(), tag);
        is_ours.then(|| payload.to_vec())
    }

    /// What each key gives for a purpose that needs key material of its own, with the key's
    /// number; the first one first.
    pub fn derived(&self, purpose: Purpose) -> Vec<(u8, Zeroizing<[u8; 32]>)> {
        self.0.iter().map(|key| (key.number, key.derived(purpose))).collect()
    }
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let (number, root) = text.split_once(':')?;
        let root = Zeroizing::new(STANDARD.decode(root).ok()?);
        Some(Self {
            number: number.parse().ok()?,
            root: Zeroizing::new(root.as_slice().try_into().ok()?),
        })
    }

    fn derived(&self, purpose: Purpose) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(hmac(self.root.as_slice(), &[purpose.0.as_bytes()]))
    }

    fn cipher(&self, purpose: Purpose) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&(*self.derived(purpose)).into())
    }

    fn tag(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
        hmac(self.derived(purpose).as_slice(), parts)
    }
}

/// Each part goes in with its length before it, so that no two lists of parts are one text.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    use hmac::digest::KeyInit;
    let mut key_block = [0; 64];
    key_block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&key_block.into());
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Random bytes from the operating system.
///
/// # Panics
/// When the system has no randomness: nothing secret can be made then.
#[expect(clippy::expect_used, reason = "without randomness nothing may go on")]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(text: &str) -> Keyring {
        Keyring::parse(text).expect("keys")
    }

    #[test]
    fn what_is_sealed_opens_only_for_its_purpose_and_binding() {
        let ring = ring(&Keyring::generate());
        let sealed = ring.seal(Purpose::new("a use"), b"7", b"secret");
        assert_eq!(
            ring.open(Purpose::new("a use"), b"7", &sealed).as_deref(),
            Some(&b"secret".to_vec())
        );
        assert!(ring.open(Purpose::new("a use"), b"8", &sealed).is_none());
        assert!(ring.open(Purpose::STORED_ANSWER, b"7", &sealed).is_none());
        assert!(ring.open(Purpose::new("a use"), b"7", &sealed[..20]).is_none());
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        let text = ring.seal_text(Purpose::new("a use"), b"7", b"secret");
        let open = |bound| ring.open_text(Purpose::new("a use"), bound, &text);
        assert_eq!(open(b"7").as_deref(), Some(&b"secret".to_vec()));
        assert!(open(b"8").is_none());
    }

    #[test]
    fn an_old_key_opens_and_verifies_while_the_new_one_seals_and_signs() {
        let old = Keyring::generate();
        let new = Keyring::generate().replacen('1', "2", 1);
        let before = ring(&old);
        let during = ring(&format!("{new},{old}"));
        let after = ring(&new);
        let sealed = before.seal(Purpose::STORED_ANSWER, b"", b"x");
        let tag = before.sign(Purpose::PAGE_TOKEN, &[b"x"]);
        assert!(during.open(Purpose::STORED_ANSWER, b"", &sealed).is_some());
        assert!(during.verify(Purpose::PAGE_TOKEN, &[b"x"], &tag));
        assert!(after.open(Purpose::STORED_ANSWER, b"", &sealed).is_none());
        assert!(!after.verify(Purpose::PAGE_TOKEN, &[b"x"], &tag));
        assert!(
            after
                .open(Purpose::STORED_ANSWER, b"", &during.seal(Purpose::STORED_ANSWER, b"", b"x"))
                .is_some()
        );
    }

    #[test]
    fn parts_are_kept_apart() {
        let ring = ring(&Keyring::generate());
        assert_ne!(
            ring.sign(Purpose::FINGERPRINT, &[b"ab", b"c"]),
            ring.sign(Purpose::FINGERPRINT, &[b"a", b"bc"])
        );
    }

    #[test]
    fn each_key_gives_the_same_for_a_purpose_wherever_it_stands() {
        let old = Keyring::generate();
        let new = Keyring::generate().replacen('1', "2", 1);
        let purpose = Purpose::new("a use");
        let before = ring(&old).derived(purpose);
        let during = ring(&format!("{new},{old}")).derived(purpose);
        assert_eq!(during.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(during[1], before[0]);
        assert_ne!(during[0].1, during[1].1);
        assert_ne!(ring(&old).derived(Purpose::new("another use"))[0].1, before[0].1);
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let good = Keyring::generate();
        for bad in ["", "x", "1:short", "256:AAAA", &format!("{good},{good}")] {
            assert!(Keyring::parse(bad).is_err(), "{bad}");
        }
    }
}
