//! What does identity say of an employee, and is it the last word?

use proto::identity::v1::{self as pb, EmployeeState};

/// Whether and how somebody can be worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Active,
    Inactive,
    Deleted,
}

impl State {
    /// As it stands in the column.
    pub fn text(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Deleted => "deleted",
        }
    }
}

impl From<String> for State {
    fn from(text: String) -> Self {
        match text.as_str() {
            "active" => Self::Active,
            "inactive" => Self::Inactive,
            _ => Self::Deleted,
        }
    }
}

impl From<EmployeeState> for State {
    fn from(state: EmployeeState) -> Self {
        match state {
            EmployeeState::Active => Self::Active,
            EmployeeState::Inactive => Self::Inactive,
            // Also what a later version says: nobody is to be worked with by mistake.
            EmployeeState::Deleted | EmployeeState::Unspecified => Self::Deleted,
        }
    }
}

/// An employee of the account, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Employee {
    pub id: i64,
    #[sqlx(try_from = "String")]
    pub state: State,
}

/// What identity says of an employee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub id: i64,
    pub name: String,
    pub state: State,
    /// It is true as of the event of this number.
    pub number: i64,
}

impl Word {
    pub fn new(employee: pb::DirectoryEmployee, number: i64) -> Self {
        let state = employee.state().into();
        Self { id: employee.id, name: employee.name, state, number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_is_written_and_an_unknown_one_is_gone() {
        for state in [State::Active, State::Inactive, State::Deleted] {
            assert_eq!(State::from(state.text().to_owned()), state);
        }
        assert_eq!(State::from("on leave".to_owned()), State::Deleted);
        let later = pb::DirectoryEmployee { id: 7, name: "Ana".into(), state: 99 };
        assert_eq!(Word::new(later, 3).state, State::Deleted);
    }
}
