//! From where does a watcher go on?

use service_kit::{
    caller::Caller,
    error::Error,
    fields::Flaw,
    keys::{Keyring, Purpose},
};

use crate::visibility::Scope;

const PURPOSE: Purpose = Purpose::new("cursor of client changes");

/// Behind a change, for somebody who saw so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub number: i64,
    pub scope: Scope,
}

impl Cursor {
    /// Reads the one in a request of somebody of the same account; none in an empty text.
    pub fn parse(text: &str, caller: &Caller, keys: &Keyring) -> Result<Option<Self>, Flaw> {
        if text.is_empty() {
            return Ok(None);
        }
        let read = Self::read(text, caller.account_id(), keys);
        read.map(Some).ok_or_else(|| Flaw::bad("must be the cursor of a response"))
    }

    /// Refuses to go on for somebody who sees something else by now: nobody told them what they
    /// gained and lost by it.
    pub fn check(self, scope: Scope) -> Result<(), Error> {
        if self.scope == scope { Ok(()) } else { Err(Error::CursorExpired) }
    }

    pub fn text(self, account_id: i64, keys: &Keyring) -> String {
        let place = match self.scope {
            Scope::Account => self.number.to_string(),
            Scope::Assigned(employee_id) => format!("{} {employee_id}", self.number),
        };
        keys.stamp(PURPOSE, &[&account_id.to_be_bytes()], place.as_bytes())
    }

    fn read(text: &str, account_id: i64, keys: &Keyring) -> Option<Self> {
        let place = keys.stamped(PURPOSE, &[&account_id.to_be_bytes()], text)?;
        let place = String::from_utf8(place).ok()?;
        let (number, scope) = match place.split_once(' ') {
            None => (place.as_str(), Scope::Account),
            Some((number, employee_id)) => (number, Scope::Assigned(employee_id.parse().ok()?)),
        };
        Some(Self { number: number.parse().ok()?, scope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_good_in_its_account_and_for_who_sees_the_same() {
        let keys = Keyring::parse(&Keyring::generate()).unwrap();
        for scope in [Scope::Account, Scope::Assigned(0), Scope::Assigned(7)] {
            let cursor = Cursor { number: 42, scope };
            let text = cursor.text(1, &keys);
            assert_eq!(Cursor::read(&text, 1, &keys), Some(cursor));
            assert_eq!(Cursor::read(&text, 2, &keys), None);
            assert_eq!(Cursor::read(&text[1..], 1, &keys), None);
            assert!(cursor.check(scope).is_ok());
            assert!(cursor.check(Scope::Assigned(8)).is_err());
        }
        assert_eq!(Cursor::read("42", 1, &keys), None);
    }
}
