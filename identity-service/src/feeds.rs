//! What do other services have to learn from this one?
//!
//! - [`revoke`]: whatever changes what `ValidateToken` would answer, either way.
//! - [`announce`]: whatever others keep of employees and accounts.
//!
//! Both become known with the transaction that does it, in the order of the commits.

use serde_json::{Value, json};
use service_kit::{
    db::{Event, Feed, TenantTx},
    sql,
    telemetry::context,
};

/// Locked first of the two.
static REVOCATIONS: Feed = Feed {
    place: 1,
    append: sql!(
        "WITH head AS (
             UPDATE identity.feeds SET number = number + cardinality($3::text[])
             WHERE name = 'revocations' RETURNING number - cardinality($3::text[]) AS before)
         INSERT INTO identity.revocations (number, account_id, kind, id, time)
         SELECT head.before + event.place, $1, event.kind, event.id, $2
         FROM head, unnest($3::text[], $4::bigint[], $5::jsonb[])
             WITH ORDINALITY AS event (kind, id, body, place)"
    ),
};

static DIRECTORY: Feed = Feed {
    place: 2,
    append: sql!(
        "WITH head AS (
             UPDATE identity.feeds SET number = number + cardinality($3::text[])
             WHERE name = 'directory' RETURNING number - cardinality($3::text[]) AS before)
         INSERT INTO identity.directory_events (number, account_id, kind, id, body, time)
         SELECT head.before + event.place, $1, event.kind, event.id, event.body, $2
         FROM head, unnest($3::text[], $4::bigint[], $5::jsonb[])
             WITH ORDINALITY AS event (kind, id, body, place)"
    ),
};

/// Whose credentials mean something else from now on.
#[derive(Debug, Clone, Copy)]
pub enum Holder {
    /// Everyone in the account.
    Account,
    Employee(i64),
    Session(i64),
    ApiKey(i64),
}

/// Says that what was known of somebody's credentials no longer holds.
pub fn revoke(tx: &mut TenantTx, holder: Holder) {
    context::takes_back();
    let (kind, id) = match holder {
        Holder::Account => ("account", tx.account_id()),
        Holder::Employee(id) => ("employee", id),
        Holder::Session(id) => ("session", id),
        Holder::ApiKey(id) => ("api_key", id),
    };
    tx.tell(&REVOCATIONS, Event { kind, id, body: Value::Null });
}

/// Whether and how somebody can be worked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Active,
    Inactive,
    Deleted,
}

impl State {
    pub fn of(is_active: bool, is_deleted: bool) -> Self {
        match (is_deleted, is_active) {
            (true, _) => Self::Deleted,
            (false, true) => Self::Active,
            (false, false) => Self::Inactive,
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Deleted => "deleted",
        }
    }

    pub fn from_text(text: &str) -> Self {
        match text {
            "active" => Self::Active,
            "inactive" => Self::Inactive,
            // Whatever a later version says: nobody is to be worked with by mistake.
            _ => Self::Deleted,
        }
    }
}

/// Tells the directory how an employee is called and stands now.
pub fn announce_employee(tx: &mut TenantTx, id: i64, name: &str, state: State) {
    let body = json!({ "name": name, "state": state.text() });
    tx.tell(&DIRECTORY, Event { kind: "employee", id, body });
}

/// Tells the directory how an account stands now.
pub fn announce_account(tx: &mut TenantTx, account: &crate::accounts::model::Account) {
    let body = json!({
        "name": account.name,
        "default_currency": account.default_currency,
        "employee_client_visibility": account.employee_client_visibility,
        "time_zone": account.time_zone,
        "state": if account.close_time.is_some() { "closed" } else { "open" },
    });
    tx.tell(&DIRECTORY, Event { kind: "account", id: account.id, body });
}
