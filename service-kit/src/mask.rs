//! Which fields does an update mean to change?

use prost_types::FieldMask;

use crate::fields::Flaw;

/// The fields named by an update: those in its mask or, without one, those present.
#[derive(Debug, Default)]
pub struct Mask<'a>(Option<&'a [String]>);

impl<'a> Mask<'a> {
    /// Checks a mask against the paths that an update of this resource may name.
    pub fn parse(mask: Option<&'a FieldMask>, changeable: &[&str]) -> Result<Self, Flaw> {
        let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
            return Ok(Self(None));
        };
        match mask
            .paths
            .iter()
            .find(|path| !changeable.contains(&path.as_str()))
        {
            Some(path) => Err(Flaw::bad(format!(
                "names {path:?}; it may name {}",
                changeable.join(", ")
            ))),
            None => Ok(Self(Some(&mask.paths))),
        }
    }

    /// Whether the update takes this field, given whether the message has it.
    pub fn takes(&self, path: &str, present: bool) -> bool {
        self.0
            .map_or(present, |paths| paths.iter().any(|named| named == path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask {
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
        }
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
            assert!(
                Mask::parse(Some(&mask(&["name", bad])), &["name"]).is_err(),
                "{bad:?}"
            );
        }
    }
}
