//! How does an environment variable become a typed value, or a sentence about what is wrong?

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    str::FromStr,
    time::Duration,
};

use super::{Secret, StartError};

/// Where settings come from: the environment, or a table in a test.
pub struct Source {
    values: BTreeMap<String, String>,
    /// Variables whose bytes are not text.
    unreadable: BTreeSet<String>,
}

impl Source {
    /// The environment of this process.
    pub fn environment() -> Self {
        let mut source = Self { values: BTreeMap::new(), unreadable: BTreeSet::new() };
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => drop(source.values.insert(name, value)),
                Err(_) => drop(source.unreadable.insert(name)),
            }
        }
        source
    }
}

impl<I, K, V> From<I> for Source
where
    I: IntoIterator<Item = (K, V)>,
    K: Into<String>,
    V: Into<String>,
{
    fn from(pairs: I) -> Self {
        let values = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { values: values.collect(), unreadable: BTreeSet::new() }
    }
}

/// Reads settings and remembers what it was asked for, what it answered and what was wrong.
///
/// A getter that meets nonsense notes a problem and answers with the default, so that reading
/// goes on and [`Reader::finish`] can list all problems together.
pub struct Reader<'a> {
    source: &'a Source,
    /// Every name asked for, with its value as it may be shown.
    asked: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a Source) -> Self {
        Self { source, asked: BTreeMap::new(), problems: Vec::new() }
    }

    /// Any text that is not blank.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let text = self.lookup(name);
        self.show(name, text.as_deref().unwrap_or("(unset)"));
        text
    }

    /// Anything that can be read from a string.
    pub fn parsed<T>(&mut self, name: &str, default: T) -> T
    where
        T: FromStr + Display,
        T::Err: Display,
    {
        let example = default.to_string();
        let parse = |text: &str| {
            text.parse::<T>().map_err(|error| format!("{error}; write it like {example}"))
        };
        self.read(name, default, parse, T::to_string)
    }

    /// `250ms`, `30s`, `2m` or `1h`.
    pub fn duration(&mut self, name: &str, default: Duration) -> Duration {
        self.read(name, default, parse_duration, |value| format!("{value:?}"))
    }

    /// The same, where there need not be one.
    pub fn optional_duration(&mut self, name: &str) -> Option<Duration> {
        let show = |value: &Option<Duration>| {
            value.map_or_else(|| "(unset)".to_owned(), |value| format!("{value:?}"))
        };
        self.read(name, None, |text| parse_duration(text).map(Some), show)
    }

    /// `4MiB`, `16KiB` or a number of bytes.
    pub fn bytes(&mut self, name: &str, default: u32) -> u32 {
        self.read(name, default, parse_bytes, u32::to_string)
    }

    /// `on` or `off`.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        let show = |value: &bool| if *value { "on" } else { "off" }.to_owned();
        self.read(name, default, parse_flag, show)
    }

    /// Words with commas between them.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// A secret, from the variable itself or from the file that `NAME_FILE` names.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        let file_name = format!("{name}_FILE");
        let value = self.lookup(name);
        let file = self.text(&file_name);
        let secret = match (value, file) {
            (Some(_), Some(_)) => {
                self.problem(format!("{name} and {file_name} are both set: keep one of them."));
                None
            }
            (Some(value), None) => Some(Secret::new(value)),
            (None, Some(path)) => self.secret_from_file(&file_name, &path),
            (None, None) => None,
        };
        self.show(name, if secret.is_some() { "(hidden)" } else { "(unset)" });
        secret
    }

    /// Another default for a setting that was read: what only this program knows better.
    pub fn unless_set<T: Display>(&mut self, name: &str, value: &mut T, default: T) {
        if self.lookup(name).is_none() {
            self.show(name, &default.to_string());
            *value = default;
        }
    }

    /// Notes something that no getter can see: two settings that contradict each other.
    pub fn problem(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        // In the all-in-one both services read the shared settings: said once is enough.
        if !self.problems.contains(&sentence) {
            self.problems.push(sentence);
        }
    }

    /// Every setting that was read, one `NAME=value` on each line, secrets hidden.
    pub fn describe(&self) -> String {
        let lines: Vec<_> =
            self.asked.iter().map(|(name, shown)| format!("{name}={shown}")).collect();
        lines.join("\n")
    }

    /// Everything that is wrong, including variables with one of these prefixes that nobody
    /// asked for: most likely they are misspelt.
    pub fn finish(mut self, prefixes: &[&str]) -> Result<(), StartError> {
        let unknown = self.source.values.keys().chain(&self.source.unreadable).filter(|name| {
            prefixes.iter().any(|prefix| name.starts_with(prefix))
                && !self.asked.contains_key(*name)
        });
        let sentences: Vec<_> = unknown.map(|name| self.unknown_sentence(name)).collect();
        self.problems.extend(sentences);
        StartError::all(self.problems)
    }

    fn read<T>(
        &mut self,
        name: &str,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> T {
        let value = match self.lookup(name).map(|text| (parse(&text), text)) {
            None => default,
            Some((Ok(value), _)) => value,
            Some((Err(flaw), text)) => {
                self.problem(format!("{name} is {text:?}: {flaw}."));
                default
            }
        };
        self.show(name, &show(&value));
        value
    }

    /// The variable; one that is blank counts as not set, as compose files leave them.
    fn lookup(&mut self, name: &str) -> Option<String> {
        if self.source.unreadable.contains(name) {
            self.problem(format!("{name} is not UTF-8 text: write it anew."));
        }
        let text = self.source.values.get(name)?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn show(&mut self, name: &str, shown: &str) {
        self.asked.insert(name.to_owned(), shown.to_owned());
    }

    fn secret_from_file(&mut self, name: &str, path: &str) -> Option<Secret> {
        let flaw = match std::fs::read_to_string(path).map(zeroize::Zeroizing::new) {
            Ok(text) if !text.trim().is_empty() => return Some(Secret::new(text.trim())),
            Ok(_) => "is empty: put the secret into it".to_owned(),
            Err(error) => format!("cannot be read ({error}): create it, or unset {name}"),
        };
        self.problem(format!("{name} names {path}, which {flaw}."));
        None
    }

    fn unknown_sentence(&self, name: &str) -> String {
        let nearest = self.asked.keys().min_by_key(|known| strsim::levenshtein(known, name));
        match nearest {
            Some(known) => format!("{name} is not a setting; did you mean {known}?"),
            None => format!("{name} is not a setting: unset it."),
        }
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let flaw = || "write a duration such as 250ms, 30s, 2m or 1h".to_owned();
    let (number, unit) = split_unit(text);
    let number: u64 = number.parse().map_err(|_| flaw())?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    millis.map(Duration::from_millis).ok_or_else(flaw)
}

fn parse_bytes(text: &str) -> Result<u32, String> {
    let flaw = || "write a size below 4GiB such as 4MiB, 16KiB or a number of bytes".to_owned();
    let (number, unit) = split_unit(text);
    let number: u32 = number.parse().map_err(|_| flaw())?;
    let bytes = match unit {
        "" | "B" => Some(number),
        "KiB" => number.checked_mul(1 << 10),
        "MiB" => number.checked_mul(1 << 20),
        "GiB" => number.checked_mul(1 << 30),
        _ => None,
    };
    bytes.ok_or_else(flaw)
}

fn parse_flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "1" => Ok(true),
        "off" | "false" | "0" => Ok(false),
        _ => Err("write on or off".to_owned()),
    }
}

/// `30s` → `30` and `s`.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn sentences(reader: Reader<'_>, prefixes: &[&str]) -> String {
        reader.finish(prefixes).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let source = Source::from([
            ("TEXT", " hello "),
            ("NUMBER", "7"),
            ("TIME", "250ms"),
            ("SIZE", "4MiB"),
            ("FLAG", "True"),
            ("LIST", "a, b,,c"),
            ("BLANK", "  "),
        ]);
        let mut reader = Reader::new(&source);
        assert_eq!(reader.text("TEXT").as_deref(), Some("hello"));
        assert_eq!(reader.text("BLANK"), None);
        assert_eq!(reader.parsed("NUMBER", 1), 7);
        assert_eq!(reader.parsed("MISSING", 1), 1);
        assert_eq!(reader.duration("TIME", Duration::ZERO), Duration::from_millis(250));
        assert_eq!(reader.optional_duration("TIME"), Some(Duration::from_millis(250)));
        assert_eq!(reader.optional_duration("BLANK"), None);
        assert_eq!(reader.bytes("SIZE", 0), 4 << 20);
        assert!(reader.flag("FLAG", false));
        assert_eq!(reader.list("LIST"), ["a", "b", "c"]);
        assert_eq!(sentences(reader, &[]), "");
    }

    #[test]
    fn durations_and_sizes_need_a_unit_they_know() {
        for bad in
            ["30", "s", "-1s", "1.5s", "30 days", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for bad in ["4MB", "MiB", "-1", "4GiB", "99999999999"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_bytes("16 KiB"), Ok(16_384));
        assert_eq!(parse_bytes("100"), Ok(100));
    }

    #[test]
    fn all_problems_are_listed_together() {
        let source = Source::from([("A", "x"), ("B", "soon"), ("C", "perhaps")]);
        let mut reader = Reader::new(&source);
        assert_eq!(reader.parsed("A", 5_u16), 5);
        assert_eq!(reader.duration("B", Duration::ZERO), Duration::ZERO);
        assert!(!reader.flag("C", false));
        // The second service asks the same question.
        assert!(!reader.flag("C", false));
        assert_eq!(
            sentences(reader, &[]),
            "A is \"x\": invalid digit found in string; write it like 5.\n\
             B is \"soon\": write a duration such as 250ms, 30s, 2m or 1h.\n\
             C is \"perhaps\": write on or off."
        );
    }

    #[test]
    fn a_misspelt_setting_is_recognised() {
        let source = Source::from([("IDENTITY_LISTN", "127.0.0.1:1"), ("HOME", "/root")]);
        let mut reader = Reader::new(&source);
        reader.text("IDENTITY_LISTEN");
        reader.text("IDENTITY_DATABASE_URL");
        assert_eq!(
            sentences(reader, &["IDENTITY_", "CRM_"]),
            "IDENTITY_LISTN is not a setting; did you mean IDENTITY_LISTEN?"
        );
    }

    /// Security checklist 62.
    #[test]
    fn a_secret_may_come_from_a_file_but_not_twice() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "  from the file").unwrap();
        let path = file.path().to_str().unwrap();
        let source = Source::from([
            ("PLAIN", "from the environment"),
            ("FILED_FILE", path),
            ("TWICE", "x"),
            ("TWICE_FILE", path),
            ("LOST_FILE", "/nonexistent"),
        ]);
        let mut reader = Reader::new(&source);
        assert_eq!(reader.secret("PLAIN").unwrap().expose(), "from the environment");
        assert_eq!(reader.secret("FILED").unwrap().expose(), "from the file");
        assert!(reader.secret("TWICE").is_none());
        assert!(reader.secret("LOST").is_none());
        assert!(reader.secret("UNSET").is_none());
        let sentences = sentences(reader, &[]);
        assert!(sentences.contains("TWICE and TWICE_FILE are both set"), "{sentences}");
        assert!(
            sentences.contains("LOST_FILE names /nonexistent, which cannot be read"),
            "{sentences}"
        );
    }

    #[test]
    fn another_default_is_taken_and_shown_unless_something_is_set() {
        let source = Source::from([("SET", "7")]);
        let mut reader = Reader::new(&source);
        let (mut set, mut unset) = (reader.parsed("SET", 1), reader.parsed("UNSET", 1));
        reader.unless_set("SET", &mut set, 50);
        reader.unless_set("UNSET", &mut unset, 50);
        assert_eq!((set, unset), (7, 50));
        assert_eq!(reader.describe(), "SET=7\nUNSET=50");
    }

    /// Security checklist 62.
    #[test]
    fn what_was_read_is_described_without_secrets() {
        let source = Source::from([("PEPPER", "hunter2"), ("SIZE", "16KiB")]);
        let mut reader = Reader::new(&source);
        reader.secret("PEPPER");
        reader.bytes("SIZE", 1);
        reader.duration("TIME", Duration::from_secs(30));
        reader.flag("FLAG", false);
        assert_eq!(
            reader.describe(),
            "FLAG=off\nPEPPER=(hidden)\nPEPPER_FILE=(unset)\nSIZE=16384\nTIME=30s"
        );
    }
}
