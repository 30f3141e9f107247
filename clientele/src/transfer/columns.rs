//! What may a file say about a client, and how does it spell it?
//!
//! CSV and JSON lines share the names, and everything that they can say is text: statuses as the
//! old API spelled them, ids as digits, instants as RFC 3339.

use chrono::{DateTime, SecondsFormat};
use prost_types::Timestamp;
use proto::crm::v1::{Client, ClientStatus as Status};

/// Where the name of a label's column begins.
const LABEL: &str = "label.";

/// What a column, or a key of a JSON object, is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    FirstName,
    LastName,
    Email,
    PhoneNumber,
    Status,
    Country,
    Currency,
    CoachId,
    CloserId,
    SetterId,
    Notes,
    /// The label of this key.
    Label(String),
    /// What only the server says: written, and passed over when it is read.
    Id,
    CreateTime,
    UpdateTime,
    DeleteTime,
    Etag,
}

use Column as C;

/// The columns of an export, but for its labels, in their order.
pub const WRITTEN: [Column; 14] = [
    C::Id,
    C::FirstName,
    C::LastName,
    C::Email,
    C::PhoneNumber,
    C::Status,
    C::Country,
    C::Currency,
    C::CoachId,
    C::CloserId,
    C::SetterId,
    C::Notes,
    C::CreateTime,
    C::UpdateTime,
];

/// Every name; of two for one column the first is written.
const NAMES: [(&str, Column); 19] = [
    ("id", C::Id),
    ("first_name", C::FirstName),
    ("last_name", C::LastName),
    ("email", C::Email),
    ("phone_number", C::PhoneNumber),
    ("status", C::Status),
    ("country", C::Country),
    ("currency", C::Currency),
    ("coach_id", C::CoachId),
    ("closer_id", C::CloserId),
    ("setter_id", C::SetterId),
    ("notes", C::Notes),
    ("create_time", C::CreateTime),
    ("update_time", C::UpdateTime),
    ("delete_time", C::DeleteTime),
    ("etag", C::Etag),
    // The old API's.
    ("coach", C::CoachId),
    ("closer", C::CloserId),
    ("setter", C::SetterId),
];

const STATUSES: [(&str, Status); 5] = [
    ("active", Status::Active),
    ("inactive", Status::Inactive),
    ("onboarding", Status::Onboarding),
    ("paused", Status::Paused),
    ("cancelled", Status::Cancelled),
];

impl Column {
    /// The column of this name, whatever its case and with blanks for underscores.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        if let Some(key) = name.strip_prefix(LABEL) {
            return Some(C::Label(key.to_owned()));
        }
        let name = name.to_ascii_lowercase().replace(' ', "_");
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, column)| column.clone())
    }

    pub fn name(&self) -> String {
        if let C::Label(key) = self {
            return format!("{LABEL}{key}");
        }
        let name = NAMES.iter().find(|(_, column)| column == self);
        name.map(|(name, _)| (*name).to_owned()).unwrap_or_default()
    }

    /// Every column that can be filled, as it is written.
    pub fn known() -> String {
        let written = NAMES
            .iter()
            .filter(|(name, column)| !column.is_passed_over() && column.name() == *name);
        let names = written.map(|(name, _)| *name).chain(["label.<key>"]);
        names.collect::<Vec<_>>().join(", ")
    }

    /// What whoever makes a file has to know.
    pub fn help() -> String {
        let passed_over = NAMES.iter().filter(|(_, column)| column.is_passed_over());
        let passed_over: Vec<_> = passed_over.map(|(name, _)| *name).collect();
        let statuses = STATUSES.map(|(name, _)| name).join(", ");
        format!(
            "Columns of a table, and keys of a JSON object, in any order:\n  {}\n\n\
             label.<key> is the label <key>; a JSON object may have them in `labels` as well. \
             A client that is new needs a first_name. status is one of {statuses}; country two \
             letters such as NL, currency three such as EUR. coach_id, closer_id and setter_id are \
             numbers of employees, and may be called coach, closer and setter. Case does not \
             matter in names, statuses and codes, and blanks may stand for the underscores of \
             names. What an export says beyond that is passed over: {}.",
            Self::known(),
            passed_over.join(", ")
        )
    }

    /// Only the server says it.
    fn is_passed_over(&self) -> bool {
        matches!(self, C::Id | C::CreateTime | C::UpdateTime | C::DeleteTime | C::Etag)
    }

    /// Puts what a file says into a client. Nothing is said by an empty text.
    pub fn put(&self, client: &mut Client, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        match self {
            C::FirstName => text.clone_into(&mut client.first_name),
            C::LastName => text.clone_into(&mut client.last_name),
            C::Email => text.clone_into(&mut client.email),
            C::PhoneNumber => text.clone_into(&mut client.phone_number),
            C::Status => client.status = status(text)?.into(),
            C::Country => client.country = code(text),
            C::Currency => client.currency = code(text),
            C::CoachId => client.coach_id = self.employee_id(text)?,
            C::CloserId => client.closer_id = self.employee_id(text)?,
            C::SetterId => client.setter_id = self.employee_id(text)?,
            C::Notes => text.clone_into(&mut client.notes),
            C::Label(key) => _ = client.labels.insert(key.clone(), text.to_owned()),
            C::Id | C::CreateTime | C::UpdateTime | C::DeleteTime | C::Etag => {}
        }
        Ok(())
    }

    /// What a client has there.
    pub fn text(&self, client: &Client) -> String {
        match self {
            C::FirstName => client.first_name.clone(),
            C::LastName => client.last_name.clone(),
            C::Email => client.email.clone(),
            C::PhoneNumber => client.phone_number.clone(),
            C::Status => status_text(client.status()).to_owned(),
            C::Country => client.country.clone(),
            C::Currency => client.currency.clone(),
            C::CoachId => id_text(client.coach_id),
            C::CloserId => id_text(client.closer_id),
            C::SetterId => id_text(client.setter_id),
            C::Notes => client.notes.clone(),
            C::Label(key) => client.labels.get(key).cloned().unwrap_or_default(),
            C::Id => id_text(client.id),
            C::CreateTime => instant(client.create_time.as_ref()),
            C::UpdateTime => instant(client.update_time.as_ref()),
            C::DeleteTime => instant(client.delete_time.as_ref()),
            C::Etag => client.etag.clone(),
        }
    }

    fn employee_id(&self, text: &str) -> Result<i64, String> {
        let id = text.trim().parse().ok().filter(|id| *id > 0);
        id.ok_or_else(|| format!("{} must be the number of an employee", self.name()))
    }
}

/// A status as the old API spelled it.
pub fn status(text: &str) -> Result<Status, String> {
    let known = STATUSES.iter().find(|(known, _)| known.eq_ignore_ascii_case(text.trim()));
    known.map(|(_, status)| *status).ok_or_else(|| {
        let names = STATUSES.map(|(name, _)| name);
        format!("status must be one of {}", names.join(", "))
    })
}

/// A code of a country or currency, which people write in any case.
fn code(text: &str) -> String {
    text.trim().to_ascii_uppercase()
}

fn status_text(status: Status) -> &'static str {
    STATUSES.iter().find(|(_, known)| *known == status).map_or("", |(text, _)| text)
}

fn id_text(id: i64) -> String {
    if id == 0 { String::new() } else { id.to_string() }
}

fn instant(timestamp: Option<&Timestamp>) -> String {
    let instant = timestamp.and_then(|at| {
        DateTime::from_timestamp(at.seconds, u32::try_from(at.nanos).unwrap_or_default())
    });
    instant.map(|instant| instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)).unwrap_or_default()
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Clients with anything in their texts that a server could hold, and more.
    pub fn clients() -> impl Strategy<Value = Client> {
        let texts = ["\\PC{0,12}", "[=+@'\t\r\n\",; -]{0,6}", ".{0,6}"];
        let text = move || prop_oneof![texts[0], texts[1], texts[2]];
        let id = || prop_oneof![Just(0_i64), 1..i64::MAX];
        let label = prop_oneof![texts[0], texts[1]].prop_filter("empty", |text| !text.is_empty());
        let labels = proptest::collection::btree_map("[a-z0-9_.-]{1,8}", label, 0..4);
        let code = || "[A-Z]{0,3}";
        let names = (text(), text(), text(), text(), code(), code(), text());
        (names, labels, (id(), id(), id()), 0..6_i32).prop_map(
            |(
                (first_name, last_name, email, phone, country, currency, notes),
                labels,
                ids,
                status,
            )| {
                Client {
                    first_name: format!("{first_name}."),
                    last_name,
                    email,
                    phone_number: phone,
                    status,
                    country,
                    currency,
                    notes,
                    labels,
                    coach_id: ids.0,
                    closer_id: ids.1,
                    setter_id: ids.2,
                    ..Default::default()
                }
            },
        )
    }

    #[test]
    fn every_column_is_found_by_the_name_that_it_is_written_by() {
        for column in WRITTEN.into_iter().chain([C::Label("tier".into()), C::Etag]) {
            assert_eq!(Column::named(&column.name()), Some(column));
        }
        assert_eq!(Column::named("coach"), Some(C::CoachId));
        assert_eq!(Column::named(" First Name "), Some(C::FirstName));
        assert_eq!(Column::named("surname"), None);
    }

    #[test]
    fn codes_and_statuses_are_read_in_any_case() {
        let mut client = Client::default();
        for (column, text) in [(C::Country, "nl"), (C::Currency, " Eur "), (C::Status, "PAUSED")] {
            column.put(&mut client, text).unwrap();
        }
        let said = (client.country.as_str(), client.currency.as_str(), client.status());
        assert_eq!(said, ("NL", "EUR", Status::Paused));
    }

    #[test]
    fn readme_and_help_list_every_column() {
        let readme = include_str!("../../../README.md");
        let help = Column::help();
        for (name, column) in NAMES {
            assert!(help.contains(name), "{name} is not in {help}");
            let listed = readme.contains(&format!("`{name}`"));
            assert!(listed || column.is_passed_over(), "{name} is not in README.md");
        }
        assert!(readme.contains("`label.<key>`") && help.contains("label.<key>"));
        let known = "first_name, last_name, email, phone_number, status, country, currency, \
                     coach_id, closer_id, setter_id, notes, label.<key>";
        assert_eq!(Column::known(), known);
    }

    #[test]
    fn what_no_client_can_have_is_refused_by_name() {
        let mut client = Client::default();
        for (column, text) in
            [(C::Status, "happy"), (C::CoachId, "Ana"), (C::SetterId, "-1"), (C::CloserId, "1.5")]
        {
            let flaw = column.put(&mut client, text).unwrap_err();
            assert!(flaw.starts_with(&column.name()), "{flaw}");
        }
        assert_eq!(client, Client::default());
    }

    #[test]
    fn instants_are_written_as_rfc_3339() {
        let at = Timestamp { seconds: 1_738_368_000, nanos: 250_000_000 };
        assert_eq!(instant(Some(&at)), "2025-02-01T00:00:00.250Z");
    }
}
