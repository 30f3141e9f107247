//! What does an error of the database mean to a caller?

use proto::common::v1::ErrorReason as Reason;

use crate::error::Error;

/// A constraint of the schema, and what it means that a caller ran into it. Each service lists
/// all of its own; a test compares the list with the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Constraint {
    pub name: &'static str,
    meaning: Meaning,
}

#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// Somebody else has what is wanted.
    Taken(Reason, &'static str),
    /// Another call was faster: whoever repeats theirs will see it.
    Raced,
    /// Values are checked before they get here, so that it is our fault.
    Ours,
}

impl Constraint {
    /// Somebody else has it, as the sentence says.
    pub const fn taken(name: &'static str, reason: Reason, sentence: &'static str) -> Self {
        Self { name, meaning: Meaning::Taken(reason, sentence) }
    }

    /// Two calls did at once what is possible once.
    pub const fn raced(name: &'static str) -> Self {
        Self { name, meaning: Meaning::Raced }
    }

    pub const fn ours(name: &'static str) -> Self {
        Self { name, meaning: Meaning::Ours }
    }
}

/// The meaning of an error, where constraints may have a say in it.
pub(super) fn explain(constraints: &[Constraint], error: sqlx::Error) -> Error {
    let violated = error.as_database_error().and_then(|error| error.constraint());
    let known = violated.and_then(|name| constraints.iter().find(|known| known.name == name));
    match known.map(|constraint| constraint.meaning) {
        Some(Meaning::Taken(reason, sentence)) => Error::Taken { reason, sentence },
        Some(Meaning::Raced) => Error::Conflict,
        Some(Meaning::Ours) | None => error.into(),
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        match (&error, code.as_deref()) {
            (_, Some("40001" | "40P01" | "55P03")) => Self::Conflict,
            (_, Some("57014")) => Self::DeadlineExceeded,
            (_, Some(code)) if is_outage(code) => unavailable(&error),
            (
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed,
                _,
            ) => unavailable(&error),
            _ => Self::internal(error),
        }
    }
}

/// Connection exceptions, lack of resources, shutting down or starting up, a standby.
fn is_outage(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("53") || code.starts_with("57P") || code == "25006"
}

fn unavailable(error: &sqlx::Error) -> Error {
    tracing::warn!(%error, "the database does not answer");
    Error::database_unavailable()
}
