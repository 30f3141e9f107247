//! What is an account?

use chrono::{DateTime, Utc};
use proto::identity::v1 as pb;
use service_kit::{
    clock, etag,
    fields::{Currency, Email, Text},
};

/// An account that is about to be.
pub struct NewAccount {
    pub name: Text<255>,
    pub email: Email,
    pub default_currency: Currency,
}

/// An account as it is.
#[derive(Debug, sqlx::FromRow)]
pub struct Account {
    pub id: i64,
    pub name: String,
    pub email: String,
    pub default_currency: String,
    pub create_time: DateTime<Utc>,
    pub update_time: DateTime<Utc>,
    pub version: i64,
}

impl From<Account> for pb::Account {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            name: account.name,
            email: account.email,
            settings: Some(pb::AccountSettings { default_currency: account.default_currency }),
            create_time: Some(clock::timestamp(account.create_time)),
            update_time: Some(clock::timestamp(account.update_time)),
            etag: etag::of(account.version),
        }
    }
}
