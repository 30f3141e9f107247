//! Which fields does an update mean to change?

use std::collections::BTreeMap;

use prost_types::FieldMask;

use crate::fields::{Fields, Flaw, beginning};

/// An update being taken apart: the fields named by its mask or, without one, those present.
pub struct Update<'a> {
    fields: &'a mut Fields,
    resource: &'static str,
    mask: Mask<'a>,
}

impl<'a> Update<'a> {
    /// Checks the mask of an update against the paths that it may name. Without a usable one
    /// the fields are looked at all the same, so that everything wrong is reported at once.
    pub fn of(
        fields: &'a mut Fields,
        resource: &'static str,
        mask: Option<&'a FieldMask>,
        changeable: &[&str],
    ) -> Self {
        let mask = Mask::parse(mask, changeable).unwrap_or_else(|flaws| {
            flaws.into_iter().for_each(|flaw| fields.refuse("update_mask", flaw));
            Mask::default()
        });
        Self { fields, resource, mask }
    }

    /// The new value of a field, or nothing where the update leaves it as it is; nothing at all
    /// where the new value is bad.
    pub fn field<V: Present + ?Sized, T>(
        &mut self,
        path: &str,
        value: &V,
        parse: impl FnOnce(&V) -> Result<T, Flaw>,
    ) -> Option<Option<T>> {
        self.fields(path, value, |fields, path, value| fields.take(path, parse(value)))
    }

    /// The same of a field that is read together with others, or of which there is more to name.
    pub fn fields<V: Present + ?Sized, T>(
        &mut self,
        path: &str,
        value: &V,
        parse: impl FnOnce(&mut Fields, &str, &V) -> Option<T>,
    ) -> Option<Option<T>> {
        if !self.mask.takes(path, value.is_present()) {
            return Some(None);
        }
        parse(self.fields, &format!("{}.{path}", self.resource), value).map(Some)
    }
}

/// A value that a message has or has not.
pub trait Present {
    fn is_present(&self) -> bool;
}

impl Present for str {
    fn is_present(&self) -> bool {
        !self.is_empty()
    }
}

/// Enums, whose zero is “unspecified”.
impl Present for i32 {
    fn is_present(&self) -> bool {
        *self != 0
    }
}

/// Ids, of which zero is nobody's.
impl Present for i64 {
    fn is_present(&self) -> bool {
        *self != 0
    }
}

impl<T> Present for Option<T> {
    fn is_present(&self) -> bool {
        self.is_some()
    }
}

impl<K, V> Present for BTreeMap<K, V> {
    fn is_present(&self) -> bool {
        !self.is_empty()
    }
}

/// The paths of a mask, or none.
#[derive(Debug, Default)]
struct Mask<'a>(Option<&'a [String]>);

impl<'a> Mask<'a> {
    const MOST_PATHS: usize = 64;

    /// The mask, or what is wrong with each path that is no good.
    fn parse(mask: Option<&'a FieldMask>, changeable: &[&str]) -> Result<Self, Vec<Flaw>> {
        let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
            return Ok(Self(None));
        };
        if mask.paths.len() > Self::MOST_PATHS {
            return Err(vec![Flaw::bad("must name at most 64 fields")]);
        }
        let unknown = mask.paths.iter().filter(|path| !changeable.contains(&path.as_str()));
        let flaws: Vec<_> = unknown.map(|path| Self::flaw(path, changeable)).collect();
        if flaws.is_empty() { Ok(Self(Some(&mask.paths))) } else { Err(flaws) }
    }

    fn flaw(path: &str, changeable: &[&str]) -> Flaw {
        Flaw::bad(format!("names \"{}\"; it may name {}", beginning(path), changeable.join(", ")))
    }

    /// Whether the update takes this field, given whether the message has it. Naming a message
    /// names all that is in it.
    fn takes(&self, path: &str, present: bool) -> bool {
        let names = |named: &String| {
            let rest = path.strip_prefix(named.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.0.map_or(present, |paths| paths.iter().any(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }
    }

    #[test]
    fn without_a_mask_what_is_present_changes() {
        let empty = mask(&[]);
        for mask in [None, Some(&empty)] {
            let mask = Mask::parse(mask, &["name"]).expect("no mask");
            assert!(mask.takes("name", true));
            assert!(!mask.takes("name", false));
        }
    }

    #[test]
    fn with_a_mask_what_it_names_changes_also_to_nothing() {
        let named = mask(&["name"]);
        let mask = Mask::parse(Some(&named), &["name", "email"]).expect("a known path");
        assert!(mask.takes("name", false));
        assert!(!mask.takes("email", true));
    }

    #[test]
    fn unknown_paths_and_stars_are_refused() {
        for bad in ["*", "id", "account_id", "name.first", "Name", ""] {
            assert!(Mask::parse(Some(&mask(&["name", bad])), &["name"]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_bad_path_is_named() {
        let mask = mask(&["id", "name", "*"]);
        let mut fields = Fields::default();
        Update::of(&mut fields, "client", Some(&mask), &["name"]);
        let violations = fields.all(()).expect_err("two are bad");
        let said: Vec<_> = violations.iter().map(|it| it.flaw.to_string()).collect();
        assert_eq!(said, ["names \"id\"; it may name name", "names \"*\"; it may name name"]);
        assert!(violations.iter().all(|it| it.field == "update_mask"));
    }
}
