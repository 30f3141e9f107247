//! From where does a watcher go on?

use chrono::DateTime;
use service_kit::{
    caller::Caller,
    error::Error,
    fields::Flaw,
    keys::{Keyring, Purpose},
};

use super::model::Place;
use crate::visibility::Scope;

const PURPOSE: Purpose = Purpose::new("cursor of client changes");

/// Behind a change, for somebody who saw so much. On the wire it is sealed and always as long: how
/// many changes there are is nothing to somebody who sees only some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub place: Place,
    pub scope: Scope,
}

/// Number, instant, whether only the clients of one employee are seen, and of whom.
const BYTES: usize = 8 + 8 + 1 + 8;

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
        keys.seal_text(PURPOSE, &account_id.to_be_bytes(), &self.bytes())
    }

    fn read(text: &str, account_id: i64, keys: &Keyring) -> Option<Self> {
        let bytes = keys.open_text(PURPOSE, &account_id.to_be_bytes(), text)?;
        Self::of_bytes(bytes.as_slice().try_into().ok()?)
    }

    fn bytes(self) -> [u8; BYTES] {
        let Place { number, time } = self.place;
        let (is_narrow, employee_id) = match self.scope {
            Scope::Account => (0, 0),
            Scope::Assigned(employee_id) => (1, employee_id),
        };
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..16].copy_from_slice(&time.timestamp_micros().to_be_bytes());
        bytes[16] = is_narrow;
        bytes[17..].copy_from_slice(&employee_id.to_be_bytes());
        bytes
    }

    fn of_bytes(bytes: [u8; BYTES]) -> Option<Self> {
        let number = |from: usize| Some(i64::from_be_bytes(bytes[from..][..8].try_into().ok()?));
        let time = DateTime::from_timestamp_micros(number(8)?)?;
        let scope = if bytes[16] == 0 { Scope::Account } else { Scope::Assigned(number(17)?) };
        Some(Self { place: Place { number: number(0)?, time }, scope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: i64) -> Place {
        Place { number, time: DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap() }
    }

    #[test]
    fn a_cursor_is_good_in_its_account_and_for_who_sees_the_same() {
        let keys = Keyring::parse(&Keyring::generate()).unwrap();
        for scope in [Scope::Account, Scope::Assigned(0), Scope::Assigned(7)] {
            let cursor = Cursor { place: place(42), scope };
            let text = cursor.text(1, &keys);
            assert_eq!(Cursor::read(&text, 1, &keys), Some(cursor));
            assert_eq!(Cursor::read(&text, 2, &keys), None);
            assert_eq!(Cursor::read(&text[1..], 1, &keys), None);
            assert!(cursor.check(scope).is_ok());
            assert!(cursor.check(Scope::Assigned(8)).is_err());
        }
        assert_eq!(Cursor::read("42", 1, &keys), None);
    }

    /// Security checklist 58.
    #[test]
    fn a_cursor_does_not_say_how_many_changes_there_are() {
        let keys = Keyring::parse(&Keyring::generate()).unwrap();
        let text =
            |number| Cursor { place: place(number), scope: Scope::Assigned(7) }.text(1, &keys);
        let (few, many) = (text(1), text(1_000_000));
        assert_eq!(few.len(), many.len());
        // Nor whether it is another place: the same one reads differently each time.
        assert_ne!(few, text(1));
    }
}
