//! What is an API key?

use chrono::{DateTime, TimeDelta, Utc};
use proto::{common::v1::Permission, identity::v1 as pb};
use service_kit::{
    clock,
    fields::{Fields, Flaw, Text},
    page::{KeyOf, Order},
};

use crate::employees::model::{parse_permissions, permissions_from_names};

const DEFAULT_LIFE: TimeDelta = TimeDelta::days(90);
const LONGEST_LIFE: TimeDelta = TimeDelta::days(366);

/// A key that is about to be.
pub struct NewApiKey {
    pub name: Text<100>,
    pub permissions: Vec<Permission>,
    pub expire_time: DateTime<Utc>,
}

impl NewApiKey {
    /// Reads what a caller asks for; output-only fields are ignored.
    pub fn parse(fields: &mut Fields, key: &pb::ApiKey) -> Option<Self> {
        let name = fields.take("api_key.name", Text::required(&key.name));
        let permissions = fields.take("api_key.permissions", parse_permissions(&key.permissions));
        let expire_time = fields.take("api_key.expire_time", parse_expiry(key, clock::now()));
        Some(Self { name: name?, permissions: permissions?, expire_time: expire_time? })
    }
}

fn parse_expiry(key: &pb::ApiKey, now: DateTime<Utc>) -> Result<DateTime<Utc>, Flaw> {
    match clock::parse_optional(key.expire_time)? {
        None => Ok(now + DEFAULT_LIFE),
        Some(time) if time <= now => Err(Flaw::bad("must be in the future")),
        Some(time) if time > now + LONGEST_LIFE => Err(Flaw::bad("must be at most a year ahead")),
        Some(time) => Ok(time),
    }
}

/// A key as it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ApiKey {
    pub id: i64,
    pub name: String,
    pub permissions: Vec<String>,
    pub creator_id: i64,
    pub create_time: DateTime<Utc>,
    pub expire_time: DateTime<Utc>,
    pub revoke_time: Option<DateTime<Utc>>,
}

impl From<ApiKey> for pb::ApiKey {
    fn from(key: ApiKey) -> Self {
        let permissions = permissions_from_names(&key.permissions);
        Self {
            id: key.id,
            name: key.name,
            permissions: permissions.into_iter().map(Into::into).collect(),
            creator_id: key.creator_id,
            expire_time: Some(clock::timestamp(key.expire_time)),
            create_time: Some(clock::timestamp(key.create_time)),
            revoke_time: key.revoke_time.map(clock::timestamp),
        }
    }
}

/// The orders that a list can be asked for.
pub const ORDERS: &[Order<ApiKey>] = &[Order {
    name: "create_time",
    column: "create_time",
    key: KeyOf::Instant(|key| key.create_time),
}];
pub const DEFAULT_ORDER: &str = "create_time desc";
