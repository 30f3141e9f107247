//! Who looks after a client?

use std::collections::BTreeSet;

use proto::{common::v1::ErrorReason, crm::v1::ClientPart};
use service_kit::error::Error;

use crate::directory::model::{Employee, State};

const NOT_ACTIVE: Error = Error::Refused {
    reason: ErrorReason::AssigneeNotActive,
    sentence: "Only an active employee can be given a part in a client.",
};

/// The employees who have a part in a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Parts {
    pub coach_id: Option<i64>,
    pub closer_id: Option<i64>,
    pub setter_id: Option<i64>,
}

/// A part, and the field of a message that says who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub part: ClientPart,
    pub field: &'static str,
    pub employee_id: Option<i64>,
}

impl Parts {
    /// Each part, taken or not.
    pub fn each(&self) -> [Part; 3] {
        [
            Part { part: ClientPart::Coach, field: "client.coach_id", employee_id: self.coach_id },
            Part {
                part: ClientPart::Closer,
                field: "client.closer_id",
                employee_id: self.closer_id,
            },
            Part {
                part: ClientPart::Setter,
                field: "client.setter_id",
                employee_id: self.setter_id,
            },
        ]
    }

    /// Everyone who has a part, each once and in the order of their ids.
    pub fn employees(&self) -> Vec<i64> {
        let ids = self.each().into_iter().filter_map(|part| part.employee_id);
        ids.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Refuses employees who get a part that they did not have before and cannot: of `known`
    /// are those that the account has. Whoever is not found is named before whoever is not active.
    pub fn check(&self, before: &Self, known: &[Employee]) -> Result<(), Error> {
        let given = |(part, was): (Part, Part)| part.employee_id.filter(|_| part != was);
        let given = self.each().into_iter().zip(before.each()).map(given);
        let states: Vec<_> = given.map(|id| id.map(|id| state_of(id, known))).collect();
        let missing: Vec<_> = states.iter().map(|state| *state == Some(State::Deleted)).collect();
        if let Some(field) = fields_of(&missing) {
            return Err(Error::NotFound { resource: "employee", field });
        }
        if states.contains(&Some(State::Inactive)) { Err(NOT_ACTIVE) } else { Ok(()) }
    }

    /// The parts that an employee has.
    pub fn of(&self, employee_id: i64) -> impl Iterator<Item = ClientPart> {
        let theirs = move |part: &Part| part.employee_id == Some(employee_id);
        self.each().into_iter().filter(theirs).map(|part| part.part)
    }

    /// Whether an employee has a part.
    pub fn has(&self, employee_id: i64, part: ClientPart) -> bool {
        self.of(employee_id).any(|theirs| theirs == part)
    }
}

/// How an employee stands; whoever is unknown is as good as deleted.
fn state_of(id: i64, known: &[Employee]) -> State {
    let known = known.iter().find(|employee| employee.id == id);
    known.map_or(State::Deleted, |employee| employee.state)
}

/// The fields of those parts, of coach, closer and setter, that are marked; nothing where none is.
fn fields_of(marked: &[bool]) -> Option<&'static str> {
    Some(match *marked {
        [true, false, false] => "client.coach_id",
        [false, true, false] => "client.closer_id",
        [false, false, true] => "client.setter_id",
        [true, true, false] => "client.coach_id, client.closer_id",
        [true, false, true] => "client.coach_id, client.setter_id",
        [false, true, true] => "client.closer_id, client.setter_id",
        [true, true, true] => "client.coach_id, client.closer_id, client.setter_id",
        _ => return None,
    })
}

/// The employee whom a message names; nobody where it names none.
pub fn employee(id: i64) -> Option<i64> {
    (id != 0).then_some(id)
}
