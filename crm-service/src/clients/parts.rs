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
    /// are those that the account has.
    pub fn check(&self, before: &Self, known: &[Employee]) -> Result<(), Error> {
        for (part, was) in self.each().into_iter().zip(before.each()) {
            let Some(id) = part.employee_id.filter(|_| part != was) else { continue };
            match known.iter().find(|employee| employee.id == id).map(|employee| employee.state) {
                Some(State::Active) => {}
                Some(State::Inactive) => return Err(NOT_ACTIVE),
                Some(State::Deleted) | None => {
                    return Err(Error::NotFound { resource: "employee", field: part.field });
                }
            }
        }
        Ok(())
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

/// The employee whom a message names; nobody where it names none.
pub fn employee(id: i64) -> Option<i64> {
    (id != 0).then_some(id)
}
