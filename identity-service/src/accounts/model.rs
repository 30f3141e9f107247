//! What is an account?

use chrono::{DateTime, Utc};
use proto::identity::v1::{self as pb, EmployeeClientVisibility as Visibility};
use service_kit::{
    clock, etag,
    fields::{Currency, Email, Fields, Flaw, Text},
    mask::Update,
};

/// An account that is about to be.
pub struct NewAccount {
    pub name: Text<255>,
    pub email: Email,
    pub default_currency: Currency,
}

/// An account as it is.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Account {
    pub id: i64,
    pub name: String,
    pub email: String,
    pub default_currency: String,
    pub employee_client_visibility: String,
    pub time_zone: String,
    pub create_time: DateTime<Utc>,
    pub update_time: DateTime<Utc>,
    pub close_time: Option<DateTime<Utc>>,
    pub version: i64,
}

/// What an update means to change.
pub struct Change {
    name: Option<Text<255>>,
    email: Option<Email>,
    default_currency: Option<Currency>,
    visibility: Option<Visibility>,
    time_zone: Option<String>,
}

impl Change {
    const PATHS: &[&str] = &[
        "name",
        "email",
        "settings",
        "settings.default_currency",
        "settings.employee_client_visibility",
        "settings.time_zone",
    ];

    pub fn parse(fields: &mut Fields, request: &pb::UpdateAccountRequest) -> Option<Self> {
        let account = request.account.clone().unwrap_or_default();
        let settings = account.settings.unwrap_or_default();
        let mut update = Update::of(fields, "account", request.update_mask.as_ref(), Self::PATHS);
        let name = update.field("name", account.name.as_str(), Text::required);
        let email = update.field("email", account.email.as_str(), Email::required);
        let currency = settings.default_currency.as_str();
        let default_currency = update.field("settings.default_currency", currency, parse_currency);
        let visibility = update.field(
            "settings.employee_client_visibility",
            &settings.employee_client_visibility,
            |visibility| parse_visibility(*visibility),
        );
        let time_zone =
            update.field("settings.time_zone", settings.time_zone.as_str(), parse_time_zone);
        Some(Self {
            name: name?,
            email: email?,
            default_currency: default_currency?,
            visibility: visibility?,
            time_zone: time_zone?,
        })
    }

    /// The account as it is after the change.
    pub fn apply(self, before: &Account) -> Account {
        let before = before.clone();
        Account {
            name: self.name.map_or(before.name, Text::into_string),
            email: self.email.map_or(before.email, |email| email.as_str().to_owned()),
            default_currency: self
                .default_currency
                .map_or(before.default_currency, |currency| currency.code().to_owned()),
            employee_client_visibility: self
                .visibility
                .map_or(before.employee_client_visibility, |it| visibility_text(it).to_owned()),
            time_zone: self.time_zone.unwrap_or(before.time_zone),
            ..before
        }
    }
}

impl Account {
    /// The names of the fields in which it differs from what it was before.
    pub fn changes(&self, before: &Self) -> Vec<&'static str> {
        let visibility = self.employee_client_visibility != before.employee_client_visibility;
        let fields = [
            ("name", self.name != before.name),
            ("email", self.email != before.email),
            ("settings.default_currency", self.default_currency != before.default_currency),
            ("settings.employee_client_visibility", visibility),
            ("settings.time_zone", self.time_zone != before.time_zone),
        ];
        fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }
}

fn parse_currency(code: &str) -> Result<Currency, Flaw> {
    if code.is_empty() { Err(Flaw::Missing) } else { Currency::parse(code) }
}

fn parse_visibility(visibility: i32) -> Result<Visibility, Flaw> {
    match Visibility::try_from(visibility) {
        Ok(Visibility::Unspecified) => Err(Flaw::Missing),
        Ok(visibility) => Ok(visibility),
        Err(_) => Err(Flaw::bad("must be a known visibility")),
    }
}

fn parse_time_zone(name: &str) -> Result<String, Flaw> {
    if name.is_empty() {
        return Err(Flaw::Missing);
    }
    let zone = name.parse::<chrono_tz::Tz>();
    let zone = zone.map_err(|_| Flaw::bad("must be an IANA time zone such as Europe/Amsterdam"))?;
    Ok(zone.name().to_owned())
}

/// As it stands in the column.
fn visibility_text(visibility: Visibility) -> &'static str {
    if visibility == Visibility::Assigned { "assigned" } else { "account" }
}

pub fn visibility_from_text(text: &str) -> Visibility {
    if text == "assigned" { Visibility::Assigned } else { Visibility::Account }
}

impl From<Account> for pb::Account {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            name: account.name,
            email: account.email,
            settings: Some(pb::AccountSettings {
                default_currency: account.default_currency,
                employee_client_visibility: visibility_from_text(
                    &account.employee_client_visibility,
                )
                .into(),
                time_zone: account.time_zone,
            }),
            create_time: Some(clock::timestamp(account.create_time)),
            update_time: Some(clock::timestamp(account.update_time)),
            close_time: account.close_time.map(clock::timestamp),
            etag: etag::of(account.version),
        }
    }
}
