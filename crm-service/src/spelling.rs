//! How do the values of an enum stand in a column?

use std::{collections::BTreeSet, fmt::Debug};

use service_kit::fields::Flaw;

/// How many values one filter takes.
const MOST: usize = 16;

/// The values of an enum and how each is spelled: in the column, and in the old API.
#[derive(Debug)]
pub struct Spelling<E: 'static> {
    /// What they are, for whoever sent one that is none of them.
    pub of: &'static str,
    pub values: &'static [(E, &'static str)],
}

impl<E: Copy + PartialEq + Default + TryFrom<i32>> Spelling<E> {
    /// As it stands in the column. One that is not listed, as the unspecified one, stands in
    /// none.
    pub fn text(&self, value: E) -> &'static str {
        self.values.iter().find(|(known, _)| *known == value).map_or("", |(_, text)| text)
    }

    /// Unspecified where a column has something else.
    pub fn read(&self, text: &str) -> E {
        let known = self.values.iter().find(|(_, known)| *known == text);
        known.map_or_else(E::default, |(value, _)| *value)
    }

    /// A value that must be there.
    pub fn required(&self, sent: i32) -> Result<E, Flaw> {
        self.optional(sent)?.ok_or(Flaw::Missing)
    }

    /// What a list is narrowed to: each once, in an order of their own, so that equal filters are
    /// equal statements. The unspecified one is passed over.
    pub fn filter(&self, sent: &[i32]) -> Result<Vec<&'static str>, Flaw> {
        if sent.len() > MOST {
            return Err(Flaw::bad(format!("must be at most {MOST}")));
        }
        let values = sent.iter().filter_map(|value| self.optional(*value).transpose());
        let texts = values.map(|value| value.map(|value| self.text(value)));
        Ok(texts.collect::<Result<BTreeSet<_>, _>>()?.into_iter().collect())
    }

    /// Nothing where nothing is said.
    pub fn optional(&self, sent: i32) -> Result<Option<E>, Flaw> {
        match E::try_from(sent) {
            Ok(value) if value == E::default() => Ok(None),
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Flaw::bad(format!("must be a known {}", self.of))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::crm::v1::PaymentSchedule;

    use super::*;
    use crate::client_packages::model::SCHEDULES;

    #[test]
    fn what_is_spelled_reads_back() {
        for (value, text) in SCHEDULES.values {
            assert_eq!((SCHEDULES.text(*value), SCHEDULES.read(text)), (*text, *value));
            assert_eq!(SCHEDULES.required((*value).into()), Ok(*value));
        }
        assert_eq!(SCHEDULES.read("weekly"), PaymentSchedule::Unspecified);
    }

    #[test]
    fn a_filter_has_each_value_once_and_the_unspecified_one_is_none() {
        let filter = |sent: &[i32]| SCHEDULES.filter(sent);
        let (pif, monthly) = (PaymentSchedule::Pif.into(), PaymentSchedule::Monthly.into());
        assert_eq!(filter(&[pif, 0, monthly, pif]), Ok(vec!["Monthly", "PIF"]));
        assert_eq!(filter(&[0, 0]), Ok(vec![]));
        assert_eq!(filter(&[pif, 99]), Err(Flaw::bad("must be a known schedule")));
        assert_eq!(filter(&[pif; 17]), Err(Flaw::bad("must be at most 16")));
    }

    #[test]
    fn what_is_not_said_is_missing_or_nothing_and_what_is_unknown_is_bad() {
        assert_eq!(SCHEDULES.required(0), Err(Flaw::Missing));
        assert_eq!(SCHEDULES.optional(0), Ok(None));
        for unknown in [-1, 5, i32::MAX] {
            assert!(matches!(SCHEDULES.optional(unknown), Err(Flaw::Bad(_))), "{unknown}");
        }
    }
}
