//! What is a line of text, and what are notes?

use std::collections::BTreeSet;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use super::Flaw;

/// One line of at most `MAX` characters, without blanks around it; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        let text = text.trim();
        at_most(text, MAX)?;
        if text.chars().any(|c| c.is_control() || breaks_lines(c)) {
            return Err(Flaw::bad("must not contain control characters"));
        }
        if text.chars().any(turns_around) {
            return Err(Flaw::bad("must not contain characters that change the direction of text"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The same, with something in it that can be seen.
    pub fn required(text: &str) -> Result<Self, Flaw> {
        let text = Self::parse(text)?;
        if text.0.chars().all(is_invisible) { Err(Flaw::Missing) } else { Ok(text) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

/// Free text of at most 10,000 characters in which lines and tabs are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes(String);

impl Notes {
    const MAX: usize = 10_000;

    pub fn parse(text: &str) -> Result<Self, Flaw> {
        at_most(text, Self::MAX)?;
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(Flaw::bad("must not contain control characters but tabs and line ends"));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

/// The line and the paragraph separator.
fn breaks_lines(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Embeddings, overrides and isolates, with which one name can be made to read as another. The
/// marks that Arabic and Hebrew text needs are none of them.
fn turns_around(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Blanks, what joins or separates letters, and letters that show as nothing.
fn is_invisible(c: char) -> bool {
    let shows_as_nothing = matches!(
        c,
        '\u{034F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{2800}' | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FFA0}' | '\u{E0100}'..='\u{E01EF}'
    );
    let group = c.general_category_group();
    shows_as_nothing
        || group == GeneralCategoryGroup::Separator
        || c.general_category() == GeneralCategory::Format
}

fn at_most(text: &str, max: usize) -> Result<(), Flaw> {
    // Bytes first: counting the characters of a megabyte would be work done for an attacker.
    if text.len() > max && (text.len() > 4 * max || text.chars().count() > max) {
        return Err(Flaw::bad(format!("must be at most {max} characters")));
    }
    Ok(())
}

/// Text as it is compared in searches and orders: lower case, and without accents in the
/// scripts that have some. Elsewhere marks are vowels and no ornament: they stay.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut base = ' ';
    for letter in text.nfkd().flat_map(char::to_lowercase) {
        if !is_combining_mark(letter) {
            base = letter;
        } else if base < END_OF_ACCENTED_SCRIPTS {
            continue;
        }
        match plain(letter) {
            Some(plain) => folded.push_str(plain),
            None => folded.push(letter),
        }
    }
    folded
}

/// The words by which a text is found: those between blanks, the parts of those that are put
/// together from several, and of an address what stands behind the @, from each of its dots on:
/// `example.com` finds `ada@mail.example.com`.
pub fn search_words(text: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for word in fold(text).split_whitespace() {
        words.insert(word.to_owned());
        let parts = word.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
        words.extend(parts.map(str::to_owned));
        if let Some((_, domain)) = word.rsplit_once('@') {
            let behind_dots = domain.match_indices('.').map(|(dot, _)| &domain[dot + 1..]);
            let domains = behind_dots.chain([domain]).filter(|domain| !domain.is_empty());
            words.extend(domains.map(str::to_owned));
        }
    }
    words
}

/// What somebody searches for: words, folded, each of which must begin a word of what is found.
pub fn parse_search(search: &str) -> Result<Vec<String>, Flaw> {
    const MOST_WORDS: usize = 8;
    let text = fold(Text::<255>::parse(search)?.as_str());
    let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
    if words.len() > MOST_WORDS {
        return Err(Flaw::bad("must be at most 8 words"));
    }
    Ok(words)
}

/// Latin, Greek and Cyrillic letters come before it.
const END_OF_ACCENTED_SCRIPTS: char = '\u{0530}';

/// Letters that Unicode does not take apart and people type without their strokes all the same.
fn plain(letter: char) -> Option<&'static str> {
    Some(match letter {
        'ł' => "l",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ħ' => "h",
        'ŧ' => "t",
        'ı' => "i",
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'þ' => "th",
        'ς' => "σ",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_trimmed_and_bounded_in_characters() {
        assert_eq!(Text::<3>::parse(" äöü ").expect("three characters").as_str(), "äöü");
        assert!(Text::<3>::parse("äöüß").is_err());
        assert!(Text::<3>::parse(&"a".repeat(100)).is_err());
    }

    #[test]
    fn control_characters_are_refused() {
        for bad in ["a\0b", "a\nb", "a\u{1b}[2Jb", "a\u{85}b", "a\u{2028}b"] {
            assert!(Text::<9>::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Notes::parse("one\n\ttwo\r\n").is_ok());
        assert!(Notes::parse("a\0b").is_err());
    }

    #[test]
    fn blanks_are_as_good_as_nothing() {
        assert_eq!(Text::<9>::required("  "), Err(Flaw::Missing));
    }

    #[test]
    fn what_nobody_can_see_is_as_good_as_nothing() {
        for blank in ["\u{200b}", "\u{3164}", "\u{2060}\u{feff}", "\u{200d} \u{2800}", "\u{00ad}"] {
            assert_eq!(Text::<9>::required(blank), Err(Flaw::Missing), "{blank:?}");
        }
        // Joined letters and pictures are names all the same.
        for name in ["علی\u{200c}رضا", "👩\u{200d}🔧", "Ana\u{fe0f}"] {
            assert!(Text::<9>::required(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn nobody_is_called_what_reads_as_another_name() {
        for bad in ["Ana\u{202e}nitsuJ", "\u{2066}Ana", "Ana\u{202c}"] {
            assert!(Text::<99>::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Text::<99>::parse("\u{200f}דנה\u{200e}").is_ok());
    }

    #[test]
    fn an_address_is_found_by_its_domain_and_the_one_above_it() {
        let words = search_words("Ada@Star-Fleet.Example.org a@ b@c. @");
        for word in [
            "ada@star-fleet.example.org",
            "star-fleet.example.org",
            "example.org",
            "org",
            "star",
            "fleet",
            "example",
            "c.",
            "c",
        ] {
            assert!(words.contains(word), "{word} is not in {words:?}");
        }
        assert!(!words.contains("") && !words.contains("fleet.example.org"), "{words:?}");
    }

    #[test]
    fn folding_strips_case_and_accents() {
        assert_eq!(fold("Ångström ÉÈ ﬁ"), "angstrom ee fi");
        assert_eq!(fold("Łódź Søren Weiß Ægir Đoković"), "lodz soren weiss aegir dokovic");
        assert_eq!(fold("ΓΙΩΡΓΟΣ"), fold("Γιώργος"));
        assert_eq!(fold("北京"), "北京");
        // The vowels of कि and だ are marks.
        assert_ne!(fold("कि"), fold("क"));
        assert_ne!(fold("だ"), fold("た"));
    }
}
