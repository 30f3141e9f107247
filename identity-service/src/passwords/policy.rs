//! Which passwords may somebody set?
//!
//! Whatever is long enough, taken as it is, with no rule on what must be in it; but for what
//! is guessed first: what most people take, and what everybody here knows.

use std::{collections::HashSet, sync::LazyLock};

use service_kit::fields::{Flaw, fold};
use zeroize::Zeroizing;

/// Beyond what anybody types, and cheap to hash.
pub(super) const MAX_BYTES: usize = 1024;
const MIN_CHARACTERS: usize = 8;
/// Shorter words are found by chance in passwords that nobody guesses from them.
const MIN_CHARACTERS_OF_A_KNOWN_WORD: usize = 4;
/// What everybody knows, wherever they work.
const PRODUCT: &str = "clientele";

/// The passwords that most people take, of those that are long enough; folded, one a line.
static COMMON: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("common.txt").lines().collect());

/// A password that somebody may set.
pub struct NewPassword(Zeroizing<String>);

impl NewPassword {
    /// Taken as it is: no trimming, no rules on what is in it. `context` is what others know
    /// of whoever sets it: names, and what stands before the @ of an address.
    pub fn parse(text: &str, context: &[&str]) -> Result<Self, Flaw> {
        if text.is_empty() {
            return Err(Flaw::Missing);
        }
        if text.len() > MAX_BYTES {
            return Err(Flaw::bad("must be at most 1,024 bytes"));
        }
        if text.chars().count() < MIN_CHARACTERS {
            return Err(Flaw::bad("must be at least 8 characters"));
        }
        let folded = Zeroizing::new(fold(text));
        if COMMON.contains(folded.as_str()) || is_run(&folded) {
            return Err(Flaw::bad("is one of the most common passwords: choose another"));
        }
        if is_made_of_a_known_word(&folded, context) {
            return Err(Flaw::bad("must not be made of a name that everybody knows here"));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// Nothing where nothing is given.
    pub fn optional(text: &str, context: &[&str]) -> Result<Option<Self>, Flaw> {
        if text.is_empty() { Ok(None) } else { Self::parse(text, context).map(Some) }
    }

    pub(super) fn into_text(self) -> Zeroizing<String> {
        self.0
    }
}

/// Whether each character stands as far from the one before it as the next, and that is no
/// farther than its neighbour: aaaaaaaa, 12345678, hgfedcba.
fn is_run(text: &str) -> bool {
    let codes = || text.chars().map(u32::from);
    let mut steps =
        codes().zip(codes().skip(1)).map(|(code, next)| i64::from(next) - i64::from(code));
    let first = steps.next().unwrap_or_default();
    first.abs() <= 1 && steps.all(|step| step == first)
}

/// Whether nothing is left of a text but a word, once or repeatedly, when its digits and
/// punctuation are taken away. A word that has digits of its own is also found with them.
fn is_made_of_a_known_word(folded: &str, context: &[&str]) -> bool {
    let known: Vec<String> = context.iter().chain(&[PRODUCT]).map(|known| fold(known)).collect();
    [char::is_alphabetic, char::is_alphanumeric].into_iter().any(|counts| {
        let text = only(folded, counts);
        let mut words = known.iter().flat_map(|known| words(known)).map(|word| only(word, counts));
        words.any(|word| is_repeated(&word, &text))
    })
}

/// Names count whole and word by word: of "Acme Holdings", acme2026 is no better than
/// acmeholdings1.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|letter: char| !letter.is_alphanumeric()).chain([name])
}

fn only(text: &str, counts: fn(char) -> bool) -> Zeroizing<String> {
    Zeroizing::new(text.chars().filter(|letter| counts(*letter)).collect())
}

fn is_repeated(word: &str, text: &str) -> bool {
    word.chars().count() >= MIN_CHARACTERS_OF_A_KNOWN_WORD
        // Most words end here: a name may have many, and a password a thousand letters.
        && text.starts_with(word)
        && text.replace(word, "").is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: [&str; 4] = ["Acme Holdings", "Łucja Żak", "lucja.z", "agent007"];

    fn flaw(text: &str) -> Option<String> {
        NewPassword::parse(text, &CONTEXT).err().map(|flaw| flaw.to_string())
    }

    /// Security checklist 5.
    #[test]
    fn a_password_is_taken_as_it_is() {
        for good in [
            "correct horse",
            "correct horse battery staple",
            "another password",
            "wrong horse battery",
            "  pässwörd 密码 with blanks  ",
            "密码密码密码密码",
            "13579135",
            &"xy".repeat(512),
        ] {
            let taken = NewPassword::parse(good, &["ana Ltd", "ana", ""]);
            assert_eq!(
                taken.ok().map(|taken| taken.into_text().to_string()).as_deref(),
                Some(good)
            );
        }
    }

    /// Security checklist 5.
    #[test]
    fn its_length_is_bounded() {
        assert_eq!(NewPassword::parse("", &[]).err(), Some(Flaw::Missing));
        assert_eq!(flaw("1a2b3c4").as_deref(), Some("must be at least 8 characters"));
        assert_eq!(flaw("äöüäöüä").as_deref(), Some("must be at least 8 characters"));
        assert_eq!(flaw(&"xy".repeat(513)).as_deref(), Some("must be at most 1,024 bytes"));
    }

    #[test]
    fn nothing_is_no_password() {
        assert!(NewPassword::optional("", &[]).is_ok_and(|password| password.is_none()));
        assert!(NewPassword::optional("correct horse", &[]).is_ok_and(|some| some.is_some()));
        assert!(NewPassword::optional("password", &[]).is_err());
    }

    /// Security checklist 6.
    #[test]
    fn what_most_people_take_is_refused_in_any_case() {
        for common in ["password", "PassWord1", "iloveyou", "1q2w3e4r", "TrustNo1", "Pässwörd"] {
            let said = flaw(common).unwrap_or_default();
            assert!(said.starts_with("is one of the most common"), "{common}: {said}");
        }
    }

    #[test]
    fn runs_are_common() {
        for run in
            ["aaaaaaaa", "        ", "12345678", "abcdefgh", "87654321", "STUVWXYZ", "ффффффффф"]
        {
            let said = flaw(run).unwrap_or_default();
            assert!(said.starts_with("is one of the most common"), "{run}: {said}");
        }
    }

    /// Security checklist 6.
    #[test]
    fn a_known_name_with_ornaments_is_refused() {
        for known in [
            "acme1234!",
            "ACME-2026",
            "acmeacme",
            "Acme, acme; acme!",
            "holdings99",
            "1AcmeHoldings",
            "Łucja Żak 1",
            "lucjazak7",
            "lucja.z1990",
            "agent007!",
            "clientele2026",
            "!!!Clientele",
        ] {
            let said = flaw(known).unwrap_or_default();
            assert!(said.starts_with("must not be made of a name"), "{known}: {said}");
        }
    }

    #[test]
    fn a_known_name_among_other_words_is_fine() {
        for good in
            ["acme is a fine place", "acmeracme", "żak żak żak", "x-clientele-y", "20262027"]
        {
            assert_eq!(flaw(good), None, "{good}");
        }
    }

    #[test]
    fn the_common_passwords_are_as_they_are_looked_up() {
        let lines: Vec<_> = include_str!("common.txt").lines().collect();
        assert!(lines.len() >= 3000, "{} are too few", lines.len());
        assert!(lines.is_sorted_by(|line, next| line < next), "not sorted, or one is there twice");
        for line in lines {
            assert!(line.chars().count() >= MIN_CHARACTERS, "{line} is too short anyway");
            assert_eq!(fold(line), line);
        }
    }
}
