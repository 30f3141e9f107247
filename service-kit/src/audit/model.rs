//! What is known of something that was done?

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use serde_json::Value;

use crate::{
    caller::Actor,
    clock,
    fields::{Fields, Flaw, Text},
    page::{KeyOf, Order},
};

/// Something that was done.
#[derive(Debug, sqlx::FromRow)]
pub struct Event {
    pub id: i64,
    pub time: DateTime<Utc>,
    actor: String,
    pub action: String,
    pub subject: String,
    pub subject_id: i64,
    pub network: String,
    pub request_id: String,
    pub details: Value,
}

impl Event {
    /// Who did it; nobody where the service acted by itself.
    pub fn actor(&self) -> Option<Actor> {
        Actor::from_text(&self.actor)
    }
}

/// What a request says of the events that it wants, as it was sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    pub actor_employee_id: i64,
    pub actor_api_key_id: i64,
    pub action: &'a str,
    pub subject: &'a str,
    pub subject_id: i64,
    pub from_time: Option<Timestamp>,
    pub until_time: Option<Timestamp>,
}

/// Which events a list is of.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub(super) actor: Option<String>,
    pub(super) action: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) subject_id: Option<i64>,
    pub(super) from_time: Option<DateTime<Utc>>,
    pub(super) until_time: Option<DateTime<Utc>>,
}

impl Filter {
    pub fn parse(fields: &mut Fields, asked: Asked<'_>) -> Option<Self> {
        let actor = fields.take("actor_api_key_id", parse_actor(asked));
        let action = fields.take("action", optional_word(asked.action));
        let subject = fields.take("subject", optional_word(asked.subject));
        let subject_id = fields.take("subject_id", parse_subject_id(asked));
        let from_time = fields.take("from_time", clock::parse_optional(asked.from_time));
        let until_time = fields.take("until_time", clock::parse_optional(asked.until_time));
        let (from, until) = (from_time.flatten(), until_time.flatten());
        fields.in_order(("from_time", from.as_ref()), ("until_time", until.as_ref()));
        Some(Self {
            actor: actor?,
            action: action?,
            subject: subject?,
            subject_id: subject_id?,
            from_time: from_time?,
            until_time: until_time?,
        })
    }
}

fn parse_actor(asked: Asked<'_>) -> Result<Option<String>, Flaw> {
    let actor = match (asked.actor_employee_id, asked.actor_api_key_id) {
        (0, 0) => return Ok(None),
        (employee, 0) => Actor::Employee(employee),
        (0, api_key) => Actor::ApiKey(api_key),
        _ => return Err(Flaw::bad("must not be given beside actor_employee_id")),
    };
    Ok(Some(actor.to_string()))
}

fn parse_subject_id(asked: Asked<'_>) -> Result<Option<i64>, Flaw> {
    match asked.subject_id {
        0 => Ok(None),
        _ if asked.subject.is_empty() => Err(Flaw::bad("needs a subject beside it")),
        id => Ok(Some(id)),
    }
}

fn optional_word(text: &str) -> Result<Option<String>, Flaw> {
    let word = Text::<100>::parse(text)?.into_string();
    Ok((!word.is_empty()).then_some(word))
}

/// The orders that a list can be asked for.
pub const ORDERS: &[Order<Event>] =
    &[Order { name: "time", column: "time", key: KeyOf::Instant(|event| event.time) }];
pub const DEFAULT_ORDER: &str = "time desc";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(asked: Asked<'_>) -> Result<Filter, Vec<String>> {
        let mut fields = Fields::default();
        let filter = Filter::parse(&mut fields, asked);
        let filter = fields.all((filter,)).map(|(filter,)| filter);
        filter.map_err(|wrong| wrong.iter().map(|violation| violation.field.clone()).collect())
    }

    fn event(actor: &str) -> Event {
        Event {
            id: 1,
            time: DateTime::UNIX_EPOCH,
            actor: actor.into(),
            action: "client.delete".into(),
            subject: "client".into(),
            subject_id: 7,
            network: String::new(),
            request_id: String::new(),
            details: Value::Null,
        }
    }

    #[test]
    fn an_actor_is_an_employee_or_an_api_key_as_it_stands_in_the_column() {
        let of = |asked| parse(asked).unwrap().actor;
        assert_eq!(of(Asked::default()), None);
        let employee = Asked { actor_employee_id: 7, ..Asked::default() };
        assert_eq!(of(employee).as_deref(), Some("employee:7"));
        let api_key = Asked { actor_api_key_id: 7, ..Asked::default() };
        assert_eq!(of(api_key).as_deref(), Some("api_key:7"));
    }

    #[test]
    fn everything_wrong_with_a_filter_is_named_at_once() {
        let long = "a".repeat(101);
        let year_10000 = Some(Timestamp { seconds: 253_402_300_800, nanos: 0 });
        let bad = Asked {
            actor_employee_id: 1,
            actor_api_key_id: 1,
            action: &long,
            subject: "",
            subject_id: 7,
            from_time: year_10000,
            until_time: year_10000,
        };
        let fields = ["actor_api_key_id", "action", "subject_id", "from_time", "until_time"];
        assert_eq!(parse(bad).unwrap_err(), fields);
    }

    #[test]
    fn a_stretch_of_time_that_ends_before_it_begins_is_refused() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let asked =
            |from, until| Asked { from_time: at(from), until_time: at(until), ..Asked::default() };
        assert!(parse(asked(1, 2)).is_ok());
        assert_eq!(parse(asked(2, 2)).unwrap_err(), ["until_time"]);
        assert_eq!(parse(asked(3, 2)).unwrap_err(), ["until_time"]);
    }

    #[test]
    fn what_the_service_did_by_itself_nobody_did() {
        assert_eq!(event("employee:7").actor(), Some(Actor::Employee(7)));
        assert_eq!(event("api_key:3").actor(), Some(Actor::ApiKey(3)));
        assert_eq!(event("system:sign-up").actor(), None);
    }
}
