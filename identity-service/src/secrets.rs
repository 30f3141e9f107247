//! What do the secrets look like that we hand out and later recognise by their digest?
//!
//! `prefix_random_crc`, always of one length. The prefix tells people and scanners what they
//! found, and keeps one kind from passing for another. The checksum lets junk be refused without
//! asking the database; it proves nothing.

use std::fmt;

use service_kit::keys::random;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const PREFIX_LENGTH: usize = 4;
/// As many digits as the largest number of 32 bytes has.
const RANDOM_LENGTH: usize = 43;
/// As many digits as the largest checksum has.
const CHECKSUM_LENGTH: usize = 6;
const LENGTH: usize = PREFIX_LENGTH + RANDOM_LENGTH + 1 + CHECKSUM_LENGTH;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a secret is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    RefreshToken,
    ApiKey,
    ResetCode,
    VerificationCode,
    InvitationCode,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::RefreshToken => "clr_",
            Self::ApiKey => "clk_",
            Self::ResetCode => "clp_",
            Self::VerificationCode => "clv_",
            Self::InvitationCode => "cli_",
        }
    }
}

/// A secret in clear: on its way to its owner, or back from them.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A new one.
    pub fn mint(kind: Kind) -> Self {
        Self::from_bytes(kind, &Zeroizing::new(random()))
    }

    /// The one that these bytes make.
    pub fn from_bytes(kind: Kind, bytes: &[u8; 32]) -> Self {
        // Never longer than it begins, so that no copy stays behind where it grew out of.
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        text.push_str(kind.prefix());
        push_number::<RANDOM_LENGTH>(&mut text, bytes);
        push_checksum(&mut text);
        Self(text)
    }

    /// One that looks like ours; anything else is refused without asking the database.
    pub fn parse(text: &str, kind: Kind) -> Option<Self> {
        let random = text.strip_prefix(kind.prefix())?.get(..RANDOM_LENGTH)?;
        if !random.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let mut ours = Zeroizing::new(String::with_capacity(LENGTH));
        ours.push_str(kind.prefix());
        ours.push_str(random);
        push_checksum(&mut ours);
        // Not in constant time: whoever has the rest can compute the checksum.
        (*ours == text).then_some(Self(ours))
    }

    /// The bytes that it was made of; nothing where so large a number was never made.
    pub fn bytes(&self) -> Option<Zeroizing<[u8; 32]>> {
        let random = self.0.get(PREFIX_LENGTH..PREFIX_LENGTH + RANDOM_LENGTH)?;
        let mut bytes = Zeroizing::new([0_u8; 32]);
        for letter in random.bytes() {
            let digit = DIGITS.iter().position(|known| *known == letter)?;
            times_62_plus(bytes.as_mut_slice(), digit)?;
        }
        Some(bytes)
    }

    /// For the answer to its owner.
    pub fn expose(&self) -> String {
        self.0.to_string()
    }

    /// What it is stored as and looked up by. It needs no salt: nobody guesses 256 random bits.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Appends a checksum of all that is there.
fn push_checksum(text: &mut String) {
    let checksum = crc32fast::hash(text.as_bytes());
    text.push('_');
    push_number::<CHECKSUM_LENGTH>(text, &checksum.to_be_bytes());
}

/// Appends a number, whose bytes come largest first, as so many digits of base 62.
fn push_number<const LENGTH: usize>(text: &mut String, bytes: &[u8]) {
    let mut rest = Zeroizing::new(bytes.to_vec());
    let mut digits = Zeroizing::new([0; LENGTH]);
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[divide_by_62(&mut rest)];
    }
    text.extend(digits.iter().map(|digit| char::from(*digit)));
}

/// Multiplies as by hand, byte for byte; nothing where it no longer fits.
fn times_62_plus(number: &mut [u8], digit: usize) -> Option<()> {
    let mut carry = digit;
    for byte in number.iter_mut().rev() {
        let product = usize::from(*byte) * 62 + carry;
        *byte = product.to_be_bytes()[size_of::<usize>() - 1];
        carry = product >> 8;
    }
    (carry == 0).then_some(())
}

/// Divides as by hand, byte for byte, and returns what remains.
fn divide_by_62(number: &mut [u8]) -> usize {
    let mut remainder = 0;
    for byte in number {
        let dividend = remainder << 8 | u16::from(*byte);
        // Less than 256, because the remainder before was less than 62.
        [*byte, _] = (dividend / 62).to_le_bytes();
        remainder = dividend % 62;
    }
    usize::from(remainder)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [Kind; 5] = [
        Kind::RefreshToken,
        Kind::ApiKey,
        Kind::ResetCode,
        Kind::VerificationCode,
        Kind::InvitationCode,
    ];

    fn sample() -> String {
        Secret::from_bytes(Kind::ApiKey, &std::array::from_fn(|index| index.to_le_bytes()[0]))
            .expose()
    }

    #[test]
    fn what_is_minted_is_parsed_as_its_kind_and_no_other() {
        for kind in KINDS {
            let secret = Secret::mint(kind);
            assert_ne!(secret.expose(), Secret::mint(kind).expose());
            for other in KINDS {
                let parsed = Secret::parse(&secret.expose(), other);
                let digest = (kind == other).then(|| secret.digest());
                assert_eq!(parsed.map(|parsed| parsed.digest()), digest, "{kind:?} as {other:?}");
            }
        }
    }

    #[test]
    fn another_prefix_does_not_make_another_kind() {
        for kind in KINDS.into_iter().filter(|kind| *kind != Kind::ApiKey) {
            let renamed = sample().replace("clk_", kind.prefix());
            assert!(Secret::parse(&renamed, kind).is_none(), "{kind:?}");
        }
    }

    #[test]
    fn bytes_become_the_same_text_everywhere() {
        let of = |byte| Secret::from_bytes(Kind::RefreshToken, &[byte; 32]).expose();
        assert_eq!(of(0), "clr_0000000000000000000000000000000000000000000_2bCpL4");
        assert_eq!(of(255), "clr_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1_0hexbK");
        assert_eq!(sample(), "clk_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf_0hUSAN");
    }

    #[test]
    fn a_number_keeps_its_value() {
        let text = |number: u32| {
            let mut text = String::new();
            push_number::<6>(&mut text, &number.to_be_bytes());
            text
        };
        assert_eq!(text(0), "000000");
        assert_eq!(text(61), "00000z");
        assert_eq!(text(62), "000010");
        assert_eq!(text(62 * 62 + 10), "00010A");
        assert_eq!(text(u32::MAX), "4gfFC3");
    }

    #[test]
    fn every_other_character_is_refused() {
        let good = sample();
        assert!(Secret::parse(&good, Kind::ApiKey).is_some());
        for index in 0..good.len() {
            for other in "\0 -_=+/.0123456789AZaz~é€".chars() {
                let mut changed = good.clone();
                changed.replace_range(index..=index, &other.to_string());
                let parsed = Secret::parse(&changed, Kind::ApiKey);
                assert_eq!(parsed.is_some(), changed == good, "{changed:?}");
            }
        }
    }

    #[test]
    fn nothing_may_be_missing_or_added() {
        let good = sample();
        for end in 0..good.len() {
            assert!(Secret::parse(&good[..end], Kind::ApiKey).is_none(), "{end}");
        }
        let longer = [format!("{good}0"), format!(" {good}"), format!("{good}\n"), good.repeat(2)];
        for bad in longer.iter().chain([&good.to_uppercase(), &good.to_lowercase()]) {
            assert!(Secret::parse(bad, Kind::ApiKey).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_right_checksum_does_not_excuse_a_wrong_character() {
        for wrong in ["-", "_", " ", "~", "\0"] {
            let mut text = format!("clk_{}{wrong}", "0".repeat(RANDOM_LENGTH - 1));
            push_checksum(&mut text);
            assert!(Secret::parse(&text, Kind::ApiKey).is_none(), "{text:?}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_whole_text() {
        let secret = Secret::mint(Kind::ResetCode);
        assert_eq!(secret.digest().as_slice(), Sha256::digest(secret.expose()).as_slice());
    }

    /// Security checklist 59.
    #[test]
    fn it_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::mint(Kind::ApiKey)), "Secret(hidden)");
    }

    proptest! {
        #[test]
        fn any_bytes_make_a_secret_that_is_parsed(bytes: [u8; 32], other: [u8; 32]) {
            let secret = Secret::from_bytes(Kind::InvitationCode, &bytes).expose();
            prop_assert_eq!(secret.len(), LENGTH);
            let parsed = Secret::parse(&secret, Kind::InvitationCode).map(|parsed| parsed.expose());
            prop_assert_eq!(parsed, Some(secret.clone()));
            let same = Secret::from_bytes(Kind::InvitationCode, &other).expose() == secret;
            prop_assert_eq!(same, bytes == other);
        }

        /// Security checklist 63.
        #[test]
        fn junk_is_refused(text in ".*", random in ".{40,60}") {
            for kind in KINDS {
                prop_assert!(Secret::parse(&text, kind).is_none());
                let prefixed = format!("{}{random}", kind.prefix());
                prop_assert!(Secret::parse(&prefixed, kind).is_none());
            }
        }
    }
}
