//! What does a row mean, and what became of it?

use std::collections::BTreeSet;

use proto::{
    common::v1::ErrorReason::ClientEmailTaken,
    crm::v1::{self as pb, ImportOutcome as Outcome},
};
use service_kit::{
    error::{Error, message_of},
    fields::{Currency, Email, Fields, Flaw},
};

use crate::{
    clients::{
        model::{Change, Client, Details},
        parts::Parts,
    },
    directory::model::Employee,
};

/// The most rows of a chunk.
pub const MOST_ROWS: usize = 500;

/// A client with the address of a row.
#[derive(Debug, sqlx::FromRow)]
pub struct Found {
    #[sqlx(flatten)]
    pub client: Client,
    /// Whether the caller sees it.
    pub is_seen: bool,
}

/// What is to be done with a row.
#[derive(Debug)]
pub enum Plan {
    Create(Details),
    Update(Box<Client>, Details),
    /// The client is as the row says.
    Leave(i64),
    Refuse(Refusal),
}

/// Why a row is refused.
#[derive(Debug)]
pub struct Refusal {
    /// The first reason, which a call for this row alone would give.
    error: Error,
    violations: Vec<pb::ImportViolation>,
}

/// What rows are held against.
pub struct Circumstances {
    pub default_currency: Currency,
    /// Those of the account whom the rows name.
    pub employees: Vec<Employee>,
}

impl Circumstances {
    /// What to do with a row, given the client that has its address.
    pub fn plan(&self, row: &pb::Client, found: Option<Found>) -> Plan {
        let planned = match found {
            None => self.creation(row).map(Plan::Create),
            Some(found) => self.change(row, found),
        };
        planned.unwrap_or_else(Plan::Refuse)
    }

    fn creation(&self, row: &pb::Client) -> Result<Details, Refusal> {
        let mut fields = Fields::default();
        let details = Details::parse(&mut fields, row, self.default_currency);
        let (details,) = fields.all((details,)).map_err(|all| Refusal::of(all.into()))?;
        self.check(&details.parts, &Parts::default())?;
        Ok(details)
    }

    fn change(&self, row: &pb::Client, found: Found) -> Result<Plan, Refusal> {
        let before = found.client;
        if !found.is_seen {
            return Err(Refusal::of(TAKEN));
        }
        let mut client = row.clone();
        if !client.labels.is_empty() {
            let mut labels = before.details.labels.0.clone();
            labels.append(&mut client.labels);
            client.labels = labels;
        }
        let request = pb::UpdateClientRequest { client: Some(client), ..Default::default() };
        let mut fields = Fields::default();
        let change = Change::parse(&mut fields, &request, self.default_currency);
        let (change,) = fields.all((change,)).map_err(|all| Refusal::of(all.into()))?;
        let details = change.apply(&before.details);
        if details == before.details {
            return Ok(Plan::Leave(before.id));
        }
        self.check(&details.parts, &before.details.parts)?;
        Ok(Plan::Update(Box::new(before), details))
    }

    /// Refuses all at once that [`Parts::check`] refuses one by one.
    fn check(&self, parts: &Parts, before: &Parts) -> Result<(), Refusal> {
        let only = |coach_id, closer_id, setter_id| Parts { coach_id, closer_id, setter_id };
        let Parts { coach_id, closer_id, setter_id } = *parts;
        let each = [
            ("coach_id", only(coach_id, before.closer_id, before.setter_id)),
            ("closer_id", only(before.coach_id, closer_id, before.setter_id)),
            ("setter_id", only(before.coach_id, before.closer_id, setter_id)),
        ];
        let refused = each.into_iter().filter_map(|(field, part)| {
            part.check(before, &self.employees).err().map(|error| (field, error))
        });
        let (fields, errors): (Vec<_>, Vec<_>) = refused.unzip();
        let violations = fields.iter().zip(&errors).map(|(field, error)| violation(field, error));
        let violations = violations.collect();
        errors.into_iter().next().map_or(Ok(()), |error| Err(Refusal { error, violations }))
    }
}

const TAKEN: Error = Error::Taken {
    reason: ClientEmailTaken,
    sentence: "Another client of this account has this e-mail address.",
};

fn violation(field: &str, error: &Error) -> pb::ImportViolation {
    let description = match error {
        Error::NotFound { .. } => "must be the id of an employee",
        _ => "must be an active employee",
    };
    pb::ImportViolation { field: field.to_owned(), description: description.to_owned() }
}

impl Refusal {
    fn of(error: Error) -> Self {
        let violations = match &error {
            Error::Invalid(violations) => violations
                .iter()
                .map(|violation| pb::ImportViolation {
                    // A row is the client itself.
                    field: violation.field.trim_start_matches("client.").to_owned(),
                    description: violation.flaw.to_string(),
                })
                .collect(),
            _ => Vec::new(),
        };
        Self { error, violations }
    }
}

/// The address that a row means, as addresses are compared; nothing where it has none, or one that
/// cannot be.
pub fn email_key(row: &pb::Client) -> Option<String> {
    Email::optional(&row.email).ok().flatten().map(|email| email.key())
}

/// The rows of a batch, of which there are some.
pub fn some_rows(rows: &[pb::Client]) -> Result<&[pb::Client], Flaw> {
    match rows.len() {
        0 => Err(Flaw::Missing),
        1..=MOST_ROWS => Ok(rows),
        _ => Err(Flaw::bad("must be at most 500")),
    }
}

/// Everyone to whom the rows give a part, each once and in the order of their ids.
pub fn employees(rows: &[pb::Client]) -> Vec<i64> {
    let ids = rows.iter().flat_map(|row| [row.coach_id, row.closer_id, row.setter_id]);
    ids.filter(|id| *id != 0).collect::<BTreeSet<_>>().into_iter().collect()
}

/// What became of a row; its number is its place in the import.
pub fn result(outcome: Outcome, client_id: i64) -> pb::ImportResult {
    pb::ImportResult { outcome: outcome.into(), client_id, ..Default::default() }
}

impl From<Refusal> for pb::ImportResult {
    fn from(Refusal { error, violations }: Refusal) -> Self {
        Self {
            reason: error.reason().into(),
            message: message_of(&error).into_owned(),
            violations,
            ..result(Outcome::Refused, 0)
        }
    }
}

/// How many rows were dealt with, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals(pb::ImportTotals);

impl Totals {
    pub fn add(&mut self, results: &[pb::ImportResult]) {
        for result in results {
            self.0.rows += 1;
            *match result.outcome() {
                Outcome::Created => &mut self.0.created,
                Outcome::Updated => &mut self.0.updated,
                Outcome::Unchanged => &mut self.0.unchanged,
                Outcome::Refused | Outcome::Unspecified => &mut self.0.refused,
                Outcome::AlreadyApplied => &mut self.0.already_applied,
            } += 1;
        }
    }

    pub fn message(self) -> pb::ImportTotals {
        self.0
    }
}

/// Numbers the results of rows, the first of which has this number.
pub fn number(results: &mut [pb::ImportResult], first: i64) {
    for (number, result) in (first..).zip(results) {
        result.row_number = number;
    }
}

#[cfg(test)]
mod tests {
    use proto::common::v1::ErrorReason as Reason;
    use service_kit::clock;

    use super::*;
    use crate::directory::model::State;

    fn circumstances() -> Circumstances {
        let employee = |id, state| Employee { id, state };
        Circumstances {
            default_currency: Currency::USD,
            employees: vec![employee(1, State::Active), employee(2, State::Inactive)],
        }
    }

    fn ada() -> pb::Client {
        pb::Client {
            first_name: "Ada".into(),
            email: "ada@example.com".into(),
            labels: [("tier".into(), "Gold".into()), ("from".into(), "fair".into())].into(),
            ..Default::default()
        }
    }

    fn found(is_seen: bool) -> Found {
        let Plan::Create(details) = circumstances().plan(&ada(), None) else {
            panic!("a good row")
        };
        let (name_key, now) = (details.name_key(), clock::now());
        let client = Client {
            id: 7,
            details,
            name_key,
            create_time: now,
            update_time: now,
            delete_time: None,
            version: 1,
        };
        Found { client, is_seen }
    }

    fn refused(plan: Plan) -> (Reason, Vec<String>) {
        let Plan::Refuse(refusal) = plan else { panic!("{plan:?}") };
        let result = pb::ImportResult::from(refusal);
        let fields = result.violations.iter().map(|violation| violation.field.clone()).collect();
        (result.reason(), fields)
    }

    #[test]
    fn what_is_empty_stays_and_labels_are_added() {
        let labels = [("tier".to_owned(), "Silver".to_owned())].into();
        let row = pb::Client { country: "NL".into(), labels, ..Default::default() };
        let Plan::Update(before, details) = circumstances().plan(&row, Some(found(true))) else {
            panic!("something changes")
        };
        assert_eq!((before.id, details.first_name.as_str()), (7, "Ada"));
        assert_eq!(details.changes(&before.details), ["country", "labels"]);
        assert_eq!(
            (details.labels["tier"].as_str(), details.labels["from"].as_str()),
            ("Silver", "fair")
        );
        assert!(matches!(circumstances().plan(&ada(), Some(found(true))), Plan::Leave(7)));
    }

    #[test]
    fn everything_wrong_with_a_row_is_named() {
        let row = pb::Client { email: "nobody".into(), country: "XX".into(), ..Default::default() };
        let (reason, fields) = refused(circumstances().plan(&row, None));
        assert_eq!(reason, Reason::InvalidFields);
        assert_eq!(fields, ["first_name", "email", "country"]);
        assert_eq!(email_key(&row), None);

        let row = pb::Client { coach_id: 2, closer_id: 1, setter_id: 9, ..ada() };
        let (reason, fields) = refused(circumstances().plan(&row, None));
        assert_eq!(reason, Reason::AssigneeNotActive);
        assert_eq!(fields, ["coach_id", "setter_id"]);
    }

    #[test]
    fn an_address_of_a_client_that_is_not_seen_is_taken() {
        let (reason, _) = refused(circumstances().plan(&ada(), Some(found(false))));
        assert_eq!(reason, Reason::ClientEmailTaken);
    }
}
