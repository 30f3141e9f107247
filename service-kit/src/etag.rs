//! Is this still the row that the caller read?

use crate::error::Error;

/// The etag of a row at a version.
pub fn of(version: i64) -> String {
    format!("v{version}")
}

/// Refuses when an etag was given and is not that of the present version.
pub fn check(etag: &str, version: i64) -> Result<(), Error> {
    if etag.is_empty() || etag == of(version) { Ok(()) } else { Err(Error::Stale) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_present_etag_or_none_passes() {
        assert!(check("", 3).is_ok());
        assert!(check(&of(3), 3).is_ok());
        assert!(check(&of(2), 3).is_err());
        assert!(check("nonsense", 3).is_err());
    }
}
