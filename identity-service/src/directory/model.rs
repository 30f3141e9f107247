//! What does another service know of an account and its employees?

use proto::identity::v1::{
    self as pb, AccountState, EmployeeState, directory_event::Subject as Shown,
};
use serde::Deserialize;
use serde_json::Value;
use service_kit::{error::Error, fields::Flaw};
use uuid::Uuid;

use crate::{accounts::model::visibility_from_text, feeds::State};

/// A place in the log: right behind the event of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Position {
    pub epoch: Uuid,
    pub number: i64,
}

impl Position {
    /// A cursor in a request, or none.
    pub fn parse(cursor: Option<&pb::DirectoryPosition>) -> Result<Option<Self>, Flaw> {
        let Some(cursor) = cursor else { return Ok(None) };
        let epoch = Uuid::try_parse(&cursor.epoch);
        let epoch = epoch.map_err(|_| Flaw::bad("must have the epoch of a response"))?;
        if cursor.number < 0 {
            return Err(Flaw::bad("must have the number of a response"));
        }
        Ok(Some(Self { epoch, number: cursor.number }))
    }
}

impl From<Position> for pb::DirectoryPosition {
    fn from(position: Position) -> Self {
        Self { epoch: position.epoch.to_string(), number: position.number }
    }
}

/// An employee as they are now.
#[derive(Debug)]
pub struct Person {
    pub id: i64,
    pub name: String,
    pub state: State,
}

impl From<Person> for pb::DirectoryEmployee {
    fn from(person: Person) -> Self {
        Self { id: person.id, name: person.name, state: state_shown(person.state).into() }
    }
}

fn state_shown(state: State) -> EmployeeState {
    match state {
        State::Active => EmployeeState::Active,
        State::Inactive => EmployeeState::Inactive,
        State::Deleted => EmployeeState::Deleted,
    }
}

/// An account and employees of it, as of a place in the log.
#[derive(Debug)]
pub struct Resolved {
    pub head: Position,
    /// None where there is no such account.
    pub account: Option<AccountBody>,
    pub people: Vec<Person>,
}

impl Resolved {
    pub fn message(self, account_id: i64) -> pb::BatchResolveEmployeesResponse {
        pb::BatchResolveEmployeesResponse {
            employees: self.people.into_iter().map(Into::into).collect(),
            sequence: Some(self.head.into()),
            account: self.account.map(|body| account_shown(account_id, body)),
        }
    }
}

/// An event as it is kept.
#[derive(Debug)]
pub struct Event {
    pub number: i64,
    pub account_id: i64,
    pub kind: String,
    pub id: i64,
    pub body: Value,
}

/// What [`crate::feeds::announce_employee`] writes.
#[derive(Deserialize)]
struct EmployeeBody {
    name: String,
    state: String,
}

/// What [`crate::feeds::announce_account`] writes.
#[derive(Debug, Deserialize)]
pub struct AccountBody {
    name: String,
    default_currency: String,
    employee_client_visibility: String,
    time_zone: String,
    state: String,
}

impl Event {
    fn subject(self) -> Option<Shown> {
        let id = self.id;
        let read = match self.kind.as_str() {
            "employee" => serde_json::from_value(self.body).map(|it| employee_shown(id, it)),
            "account" => {
                serde_json::from_value(self.body).map(|it| Shown::Account(account_shown(id, it)))
            }
            // A later version's, whose turn it was while ours still runs.
            _ => return None,
        };
        read.inspect_err(|error| {
            tracing::error!(number = self.number, %error, "an event of the directory is unreadable");
        })
        .ok()
    }
}

impl From<Event> for pb::DirectoryEvent {
    fn from(event: Event) -> Self {
        let Event { number, account_id, .. } = event;
        Self { number, account_id, subject: event.subject() }
    }
}

fn employee_shown(id: i64, body: EmployeeBody) -> Shown {
    let state = State::from_text(&body.state);
    Shown::Employee(Person { id, name: body.name, state }.into())
}

fn account_shown(id: i64, body: AccountBody) -> pb::DirectoryAccount {
    // Whatever a later version says: nobody works in it by mistake.
    let state = if body.state == "open" { AccountState::Open } else { AccountState::Closed };
    let visibility = visibility_from_text(&body.employee_client_visibility);
    let settings = pb::AccountSettings {
        default_currency: body.default_currency,
        employee_client_visibility: visibility.into(),
        time_zone: body.time_zone,
    };
    let (name, settings) = (body.name, Some(settings));
    pb::DirectoryAccount { id, name, settings, state: state.into() }
}

/// The events behind a number, and where the log stood when they were read.
#[derive(Debug)]
pub struct Page {
    pub head: Position,
    /// As many as fit, in the order of their numbers.
    pub events: Vec<Event>,
}

impl Page {
    /// The events, if they are all that there were behind the position they were asked for.
    pub fn behind(self, position: Position) -> Result<Vec<Event>, Error> {
        let follows = match self.events.first() {
            Some(first) => first.number == position.number + 1,
            None => self.head.number == position.number,
        };
        if self.head.epoch == position.epoch && follows {
            Ok(self.events)
        } else {
            Err(Error::CursorExpired)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(number: i64) -> Event {
        let body = json!({ "name": "Ana", "state": "active", "later": 1 });
        Event { number, account_id: 3, kind: "employee".to_owned(), id: 7, body }
    }

    fn page(epoch: Uuid, head: i64, numbers: &[i64]) -> Page {
        let events = numbers.iter().map(|number| event(*number)).collect();
        Page { head: Position { epoch, number: head }, events }
    }

    #[test]
    fn only_what_follows_without_a_gap_is_behind_a_cursor() {
        let (epoch, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let at = |number| Position { epoch, number };
        let numbers = |events: Vec<Event>| events.iter().map(|it| it.number).collect::<Vec<_>>();
        assert_eq!(page(epoch, 9, &[8, 9]).behind(at(7)).map(numbers).unwrap(), [8, 9]);
        assert!(page(epoch, 9, &[]).behind(at(9)).unwrap().is_empty());
        // Swept; swept to the last; of another epoch; of a history that is gone.
        for (page, at) in [
            (page(epoch, 9, &[8, 9]), at(6)),
            (page(epoch, 9, &[]), at(8)),
            (page(other, 9, &[8, 9]), at(7)),
            (page(other, 9, &[]), at(9)),
            (page(epoch, 9, &[]), at(10)),
        ] {
            assert!(matches!(page.behind(at), Err(Error::CursorExpired)));
        }
    }

    #[test]
    fn what_a_later_version_tells_has_a_number_and_no_subject() {
        let shown = pb::DirectoryEvent::from(event(1));
        assert!(matches!(shown.subject, Some(Shown::Employee(employee)) if employee.name == "Ana"));
        for later in [
            Event { kind: "robot".to_owned(), ..event(2) },
            Event { body: json!({ "name": "Ana" }), ..event(2) },
        ] {
            let shown = pb::DirectoryEvent::from(later);
            assert_eq!((shown.number, shown.account_id, shown.subject), (2, 3, None));
        }
    }

    #[test]
    fn a_state_of_a_later_version_is_one_in_which_nobody_works() {
        let body = json!({ "name": "Ana", "state": "on leave" });
        let shown = pb::DirectoryEvent::from(Event { body, ..event(1) }).subject;
        let Some(Shown::Employee(employee)) = shown else { panic!("an employee") };
        assert_eq!(employee.state(), EmployeeState::Deleted);
    }

    #[test]
    fn a_cursor_is_what_a_response_had() {
        let position = Position { epoch: Uuid::from_u128(1), number: 7 };
        let sent = pb::DirectoryPosition::from(position);
        assert_eq!(Position::parse(Some(&sent)).unwrap(), Some(position));
        assert_eq!(Position::parse(None).unwrap(), None);
        let without_epoch = pb::DirectoryPosition { epoch: String::new(), ..sent.clone() };
        let before_all = pb::DirectoryPosition { number: -1, ..sent };
        for bad in [without_epoch, before_all] {
            assert!(Position::parse(Some(&bad)).is_err(), "{bad:?}");
        }
    }
}
