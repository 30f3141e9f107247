//! What is a client?

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use proto::crm::v1::{self as pb, ClientStatus as Status};
use service_kit::{
    clock, etag,
    fields::{
        Country, Currency, Email, Fields, Labels, Notes, Text, email_key, fold, search_words,
    },
    mask::Update,
    page::{KeyOf, Order},
};
use sqlx::types::Json;

use super::{
    parts::{Parts, employee},
    status::STATUSES,
};

/// A client as it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Client {
    pub id: i64,
    #[sqlx(flatten)]
    pub details: Details,
    /// What it is sorted by when clients are sorted by name.
    pub name_key: String,
    pub create_time: DateTime<Utc>,
    pub update_time: DateTime<Utc>,
    pub delete_time: Option<DateTime<Utc>>,
    pub version: i64,
}

/// What callers say about a client, in the form in which it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Details {
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) email: String,
    pub(super) phone_number: String,
    pub(super) status: String,
    pub(super) country: String,
    pub(super) currency: String,
    pub(super) notes: String,
    pub(super) labels: Json<BTreeMap<String, String>>,
    #[sqlx(flatten)]
    pub parts: Parts,
}

impl Details {
    /// Reads a client that is about to be; output-only fields are ignored.
    pub fn parse(
        fields: &mut Fields,
        client: &pb::Client,
        default_currency: Currency,
    ) -> Option<Self> {
        let first_name =
            fields.take("client.first_name", Text::<100>::required(&client.first_name));
        let last_name = fields.take("client.last_name", Text::<100>::parse(&client.last_name));
        let email = fields.take("client.email", Email::optional(&client.email));
        let phone_number =
            fields.take("client.phone_number", Text::<32>::parse(&client.phone_number));
        let status = fields.take("client.status", STATUSES.optional(client.status));
        let country = fields.take("client.country", Country::optional(&client.country));
        let currency = fields.take("client.currency", Currency::optional(&client.currency));
        let notes = fields.take("client.notes", Notes::parse(&client.notes));
        let labels = Labels::parse(fields, "client.labels", &client.labels);
        Some(Self {
            first_name: first_name?.into_string(),
            last_name: last_name?.into_string(),
            email: email_text(email?),
            phone_number: phone_number?.into_string(),
            status: STATUSES.text(status?.unwrap_or(Status::Active)).into(),
            country: country_text(country?),
            currency: currency?.unwrap_or(default_currency).code().into(),
            notes: notes?.into_string(),
            labels: Json(labels?.into_map()),
            parts: Parts {
                coach_id: employee(client.coach_id),
                closer_id: employee(client.closer_id),
                setter_id: employee(client.setter_id),
            },
        })
    }

    /// The names of the fields in which it differs from what it was before.
    pub fn changes(&self, before: &Self) -> Vec<&'static str> {
        let fields = [
            ("first_name", self.first_name != before.first_name),
            ("last_name", self.last_name != before.last_name),
            ("email", self.email != before.email),
            ("phone_number", self.phone_number != before.phone_number),
            ("status", self.status != before.status),
            ("country", self.country != before.country),
            ("currency", self.currency != before.currency),
            ("notes", self.notes != before.notes),
            ("labels", self.labels != before.labels),
            ("coach_id", self.parts.coach_id != before.parts.coach_id),
            ("closer_id", self.parts.closer_id != before.parts.closer_id),
            ("setter_id", self.parts.setter_id != before.parts.setter_id),
        ];
        fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }

    /// What its address is compared by; nothing where it has none.
    pub fn email_key(&self) -> Option<String> {
        (!self.email.is_empty()).then(|| email_key(&self.email))
    }

    /// What it is sorted by when clients are sorted by name.
    pub fn name_key(&self) -> String {
        fold(&format!("{} {}", self.last_name, self.first_name)).trim().to_owned()
    }

    /// The words by which it is found.
    pub fn search_words(&self) -> BTreeSet<String> {
        search_words(&format!("{} {} {}", self.first_name, self.last_name, self.email))
    }
}

/// What an update means to change: the fields it takes, and their new values.
pub struct Change {
    first_name: Option<Text<100>>,
    last_name: Option<Text<100>>,
    email: Option<String>,
    phone_number: Option<Text<32>>,
    status: Option<Status>,
    country: Option<String>,
    currency: Option<Currency>,
    notes: Option<Notes>,
    labels: Option<Labels>,
    coach_id: Option<Option<i64>>,
    closer_id: Option<Option<i64>>,
    setter_id: Option<Option<i64>>,
}

impl Change {
    /// The paths that a mask may name.
    const PATHS: &[&str] = &[
        "first_name",
        "last_name",
        "email",
        "phone_number",
        "status",
        "country",
        "currency",
        "notes",
        "labels",
        "coach_id",
        "closer_id",
        "setter_id",
    ];

    pub fn parse(
        fields: &mut Fields,
        request: &pb::UpdateClientRequest,
        default_currency: Currency,
    ) -> Option<Self> {
        let nothing = pb::Client::default();
        let client = request.client.as_ref().unwrap_or(&nothing);
        let mut update = Update::of(fields, "client", request.update_mask.as_ref(), Self::PATHS);
        let first_name = update.field("first_name", client.first_name.as_str(), Text::required);
        let last_name = update.field("last_name", client.last_name.as_str(), Text::parse);
        let email = update
            .field("email", client.email.as_str(), |email| Email::optional(email).map(email_text));
        let phone_number = update.field("phone_number", client.phone_number.as_str(), Text::parse);
        let status = update.field("status", &client.status, |status| STATUSES.required(*status));
        let country = update.field("country", client.country.as_str(), |country| {
            Country::optional(country).map(country_text)
        });
        let currency = update.field("currency", client.currency.as_str(), |currency| {
            Ok(Currency::optional(currency)?.unwrap_or(default_currency))
        });
        let notes = update.field("notes", client.notes.as_str(), Notes::parse);
        let labels = update.fields("labels", &client.labels, Labels::parse);
        let coach_id = update.field("coach_id", &client.coach_id, |id| Ok(employee(*id)));
        let closer_id = update.field("closer_id", &client.closer_id, |id| Ok(employee(*id)));
        let setter_id = update.field("setter_id", &client.setter_id, |id| Ok(employee(*id)));
        Some(Self {
            first_name: first_name?,
            last_name: last_name?,
            email: email?,
            phone_number: phone_number?,
            status: status?,
            country: country?,
            currency: currency?,
            notes: notes?,
            labels: labels?,
            coach_id: coach_id?,
            closer_id: closer_id?,
            setter_id: setter_id?,
        })
    }

    /// The employees to whom it gives a part.
    pub fn employees(&self) -> Vec<i64> {
        self.employees_besides(&Parts::default())
    }

    /// Those of them who do not have that part already.
    pub fn employees_besides(&self, before: &Parts) -> Vec<i64> {
        let anew = |given: Option<Option<i64>>, had: Option<i64>| {
            given.flatten().filter(|given| Some(*given) != had)
        };
        let given = Parts {
            coach_id: anew(self.coach_id, before.coach_id),
            closer_id: anew(self.closer_id, before.closer_id),
            setter_id: anew(self.setter_id, before.setter_id),
        };
        given.employees()
    }

    /// The details as they are after the change.
    pub fn apply(self, before: &Details) -> Details {
        let before = before.clone();
        Details {
            first_name: self.first_name.map_or(before.first_name, Text::into_string),
            last_name: self.last_name.map_or(before.last_name, Text::into_string),
            email: self.email.unwrap_or(before.email),
            phone_number: self.phone_number.map_or(before.phone_number, Text::into_string),
            status: self.status.map_or(before.status, |status| STATUSES.text(status).into()),
            country: self.country.unwrap_or(before.country),
            currency: self.currency.map_or(before.currency, |currency| currency.code().into()),
            notes: self.notes.map_or(before.notes, Notes::into_string),
            labels: self.labels.map_or(before.labels, |labels| Json(labels.into_map())),
            parts: Parts {
                coach_id: self.coach_id.unwrap_or(before.parts.coach_id),
                closer_id: self.closer_id.unwrap_or(before.parts.closer_id),
                setter_id: self.setter_id.unwrap_or(before.parts.setter_id),
            },
        }
    }
}

/// The orders that a list can be asked for. Newest first unless the caller says otherwise.
pub const ORDERS: &[Order<Client>] = &[
    Order {
        name: "create_time",
        column: "create_time",
        key: KeyOf::Instant(|client| client.create_time),
    },
    Order {
        name: "last_name",
        column: "name_key",
        key: KeyOf::Text(|client| client.name_key.clone()),
    },
];
pub const DEFAULT_ORDER: &str = "create_time desc";

impl Client {
    /// As one of an employee's own.
    pub fn of_employee(self, employee_id: i64) -> pb::MyClient {
        let parts = self.details.parts.of(employee_id).map(Into::into).collect();
        pb::MyClient { client: Some(self.into()), parts }
    }
}

impl From<Client> for pb::Client {
    fn from(client: Client) -> Self {
        let Details {
            first_name,
            last_name,
            email,
            phone_number,
            status,
            country,
            currency,
            notes,
            labels,
            parts: Parts { coach_id, closer_id, setter_id },
        } = client.details;
        Self {
            id: client.id,
            first_name,
            last_name,
            email,
            phone_number,
            status: STATUSES.read(&status).into(),
            country,
            currency,
            notes,
            labels: labels.0,
            coach_id: coach_id.unwrap_or_default(),
            closer_id: closer_id.unwrap_or_default(),
            setter_id: setter_id.unwrap_or_default(),
            create_time: Some(clock::timestamp(client.create_time)),
            update_time: Some(clock::timestamp(client.update_time)),
            delete_time: client.delete_time.map(clock::timestamp),
            etag: etag::of(client.version),
        }
    }
}

fn email_text(email: Option<Email>) -> String {
    email.map(|email| email.as_str().to_owned()).unwrap_or_default()
}

fn country_text(country: Option<Country>) -> String {
    country.map(|country| country.code().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> pb::Client {
        pb::Client {
            first_name: "Ada".into(),
            last_name: "Lovelace-Byron".into(),
            email: "Ada.L@Example.com".into(),
            country: "GB".into(),
            ..Default::default()
        }
    }

    fn details(client: &pb::Client) -> Details {
        let mut fields = Fields::default();
        let parsed = Details::parse(&mut fields, client, Currency::USD);
        fields.all((parsed,)).expect("good details").0
    }

    fn change(client: pb::Client, paths: &[&str]) -> Result<Change, Vec<String>> {
        let update_mask =
            Some(prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() });
        let request = pb::UpdateClientRequest {
            client: Some(client),
            update_mask,
            request_id: String::new(),
        };
        let mut fields = Fields::default();
        let parsed = Change::parse(&mut fields, &request, Currency::USD);
        fields.all((parsed,)).map(|(change,)| change).map_err(|violations| {
            violations.iter().map(|violation| violation.field.clone()).collect()
        })
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let details = details(&ada());
        assert_eq!((details.status.as_str(), details.currency.as_str()), ("active", "USD"));
    }

    #[test]
    fn every_bad_field_is_named() {
        let bad = pb::Client {
            last_name: "x".repeat(101),
            email: "nobody".into(),
            status: 77,
            country: "XX".into(),
            currency: "usd".into(),
            notes: "\0".into(),
            labels: BTreeMap::from([
                ("Bad Key".into(), String::new()),
                ("long".into(), "x".repeat(256)),
            ]),
            ..Default::default()
        };
        let mut fields = Fields::default();
        let parsed = Details::parse(&mut fields, &bad, Currency::USD);
        let violations = fields.all((parsed,)).expect_err("nearly all are bad");
        let named: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(
            named,
            [
                "client.first_name",
                "client.last_name",
                "client.email",
                "client.status",
                "client.country",
                "client.currency",
                "client.notes",
                "client.labels.Bad Key",
                "client.labels.long",
            ]
        );
    }

    #[test]
    fn a_client_is_found_by_every_word_and_part_of_a_word() {
        let words = details(&ada()).search_words();
        let expected = [
            "ada",
            "ada.l@example.com",
            "byron",
            "com",
            "example",
            "example.com",
            "l",
            "lovelace",
            "lovelace-byron",
        ];
        assert_eq!(words.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_mask_changes_what_it_names_and_clears_what_is_empty() {
        let sent =
            pb::Client { first_name: "Augusta".into(), country: "NL".into(), ..Default::default() };
        let after =
            change(sent, &["first_name", "email"]).expect("a good change").apply(&details(&ada()));
        assert_eq!(after.first_name, "Augusta");
        assert_eq!(after.email, "");
        assert_eq!(after.country, "GB");
    }

    #[test]
    fn without_a_mask_what_is_present_changes() {
        let sent = pb::Client { country: "NL".into(), ..Default::default() };
        let after = change(sent, &[]).expect("a good change").apply(&details(&ada()));
        assert_eq!((after.first_name.as_str(), after.country.as_str()), ("Ada", "NL"));
    }

    #[test]
    fn what_is_required_cannot_be_cleared() {
        let refused = change(pb::Client::default(), &["first_name", "status"]).err();
        assert_eq!(refused, Some(vec!["client.first_name".to_owned(), "client.status".to_owned()]));
    }

    #[test]
    fn a_bad_mask_is_named_beside_the_bad_fields() {
        let sent = pb::Client { email: "nobody".into(), ..Default::default() };
        let refused = change(sent, &["id"]).err();
        assert_eq!(refused, Some(vec!["update_mask".to_owned(), "client.email".to_owned()]));
    }
}
