//! What may a label be called, and what may it say?

use std::collections::BTreeMap;

use super::{Flaw, Text};

/// An account's own markings on a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    const MOST: usize = 64;

    pub fn parse(labels: BTreeMap<String, String>) -> Result<Self, Flaw> {
        if labels.len() > Self::MOST {
            return Err(Flaw::bad("must be at most 64"));
        }
        let parsed = labels.into_iter().map(|(key, value)| {
            if !is_key(&key) {
                return Err(Flaw::bad(
                    "must have keys of 1 to 63 characters out of a-z, 0-9, '_', '-' and '.'",
                ));
            }
            Ok((key, Text::<255>::parse(&value)?.into_string()))
        });
        Ok(Self(parsed.collect::<Result<_, Flaw>>()?))
    }

    pub fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }
}

fn is_key(key: &str) -> bool {
    (1..=63).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &str, value: &str) -> Result<Labels, Flaw> {
        Labels::parse(BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn keys_are_plain_and_values_are_lines() {
        assert!(parse("tier", "Gold").is_ok());
        for (key, value) in [("", "x"), ("Tier", "x"), ("a b", "x"), ("tier", "a\nb")] {
            assert!(parse(key, value).is_err(), "{key:?}: {value:?}");
        }
    }

    #[test]
    fn there_are_at_most_64() {
        let many = |count: usize| {
            Labels::parse((0..count).map(|n| (format!("k{n}"), String::new())).collect())
        };
        assert!(many(64).is_ok());
        assert!(many(65).is_err());
    }
}
