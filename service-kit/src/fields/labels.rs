//! What may a label be called, and what may it say?

use std::collections::BTreeMap;

use super::{Fields, Flaw, Text, beginning};

/// An account's own markings on a row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    const MOST: usize = 64;

    /// Reads labels; each that is bad is named with its key: `client.labels.Tier`.
    pub fn parse(
        fields: &mut Fields,
        field: &str,
        labels: &BTreeMap<String, String>,
    ) -> Option<Self> {
        if labels.len() > Self::MOST {
            return fields.take(field, Err(Flaw::bad("must be at most 64")));
        }
        // All of them, before anything is given up.
        let parsed: Vec<_> = labels
            .iter()
            .map(|(key, value)| {
                fields.take(&format!("{field}.{}", beginning(key)), label(key, value))
            })
            .collect();
        Some(Self(parsed.into_iter().collect::<Option<_>>()?))
    }

    pub fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }
}

fn label(key: &str, value: &str) -> Result<(String, String), Flaw> {
    if !is_key(key) {
        return Err(Flaw::bad(
            "must have a key of 1 to 63 characters out of a-z, 0-9, '_', '-' and '.'",
        ));
    }
    Ok((key.to_owned(), Text::<255>::parse(value)?.into_string()))
}

fn is_key(key: &str) -> bool {
    (1..=63).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(labels: &[(&str, &str)]) -> Result<Labels, Vec<String>> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let mut fields = Fields::default();
        let parsed = Labels::parse(&mut fields, "labels", &labels.iter().map(owned).collect());
        let named =
            |bad: crate::fields::Violations| bad.iter().map(|it| it.field.clone()).collect();
        fields.all((parsed,)).map(|(labels,)| labels).map_err(named)
    }

    #[test]
    fn keys_are_plain_and_values_are_lines() {
        assert!(parse(&[("tier", "Gold")]).is_ok());
        for (key, value) in [("", "x"), ("Tier", "x"), ("a b", "x"), ("tier", "a\nb")] {
            assert!(parse(&[(key, value)]).is_err(), "{key:?}: {value:?}");
        }
    }

    #[test]
    fn every_bad_label_is_named() {
        let long = "x".repeat(256);
        let refused = parse(&[("BAD", "x"), ("fine", "x"), ("ok", &long), ("a\nb", "")]);
        assert_eq!(
            refused,
            Err(vec!["labels.BAD".to_owned(), "labels.a\\nb".to_owned(), "labels.ok".to_owned(),])
        );
        let endless = "k".repeat(1_000);
        assert_eq!(parse(&[(&endless, "")]), Err(vec![format!("labels.{}", "k".repeat(63))]));
    }

    #[test]
    fn there_are_at_most_64() {
        let many = |count: usize| {
            let keys: Vec<_> = (0..count).map(|n| format!("k{n}")).collect();
            parse(&keys.iter().map(|key| (key.as_str(), "")).collect::<Vec<_>>())
        };
        assert!(many(64).is_ok());
        assert_eq!(many(65), Err(vec!["labels".to_owned()]));
    }
}
