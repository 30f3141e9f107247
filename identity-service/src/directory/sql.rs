//! Queries on the log of the directory, and on those it is about.

use serde_json::Value;
use service_kit::{
    db::{Db, Found},
    error::Error,
    sql,
};
use sqlx::types::Json;

use super::model::{AccountBody, Event, Page, Person, Position, Resolved};
use crate::feeds::State;

/// The most events of a page.
pub const PAGE: i64 = 500;

/// A column of the log stands beside each row, also where there is no row.
#[derive(sqlx::FromRow)]
struct Beside<T>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
{
    #[sqlx(flatten)]
    head: Position,
    #[sqlx(flatten)]
    found: T,
}

#[derive(sqlx::FromRow)]
struct ResolvedColumns {
    account: Option<Json<AccountBody>>,
    id: Option<i64>,
    name: Option<String>,
    is_active: Option<bool>,
    is_deleted: bool,
}

/// An account and those of the employees that are its own, and where the log stood at that moment.
pub async fn resolve(db: &Db, account_id: i64, ids: &[i64]) -> Result<Resolved, Error> {
    let text = sql!(
        "SELECT f.epoch, f.number, e.id, e.name, e.is_active,
                e.delete_time IS NOT NULL AS is_deleted,
                (SELECT jsonb_build_object(
                     'name', name, 'default_currency', default_currency,
                     'employee_client_visibility', employee_client_visibility,
                     'time_zone', time_zone,
                     'state', CASE WHEN close_time IS NULL THEN 'open' ELSE 'closed' END)
                 FROM identity.accounts WHERE id = $1) AS account
         FROM identity.feeds f
         LEFT JOIN identity.employees e ON e.account_id = $1 AND e.id = ANY ($2)
         WHERE f.name = 'directory'
         ORDER BY e.id"
    );
    let rows = db.unscoped().all(text, |query| query.bind(account_id).bind(ids.to_vec())).await?;
    let mut rows: Vec<Beside<ResolvedColumns>> = rows.into_iter().map(Found::into_inner).collect();
    let first = rows.first_mut().ok_or_else(no_log)?;
    let (head, account) = (first.head, first.found.account.take());
    let people = rows.into_iter().filter_map(|row| row.found.person()).collect();
    Ok(Resolved { head, account: account.map(|Json(body)| body), people })
}

impl ResolvedColumns {
    fn person(self) -> Option<Person> {
        let state = State::of(self.is_active?, self.is_deleted);
        Some(Person { id: self.id?, name: self.name?, state })
    }
}

#[derive(sqlx::FromRow)]
struct EventColumns {
    event_number: Option<i64>,
    account_id: Option<i64>,
    kind: Option<String>,
    id: Option<i64>,
    body: Option<Value>,
}

/// The first events behind a number, and where the log stood at that moment.
pub async fn read(db: &Db, behind: i64) -> Result<Page, Error> {
    let text = sql!(
        "SELECT f.epoch, f.number, e.number AS event_number, e.account_id, e.kind, e.id, e.body
         FROM identity.feeds f
         LEFT JOIN LATERAL (
             SELECT number, account_id, kind, id, body FROM identity.directory_events
             WHERE number > $1 ORDER BY number LIMIT $2) e ON true
         WHERE f.name = 'directory'
         ORDER BY e.number"
    );
    let rows = db.unscoped().all(text, |query| query.bind(behind).bind(PAGE)).await?;
    let rows: Vec<Beside<EventColumns>> = rows.into_iter().map(Found::into_inner).collect();
    let head = rows.first().ok_or_else(no_log)?.head;
    Ok(Page { head, events: rows.into_iter().filter_map(|row| row.found.event()).collect() })
}

/// Where the log stands.
pub async fn head(db: &Db) -> Result<Position, Error> {
    Ok(read(db, i64::MAX).await?.head)
}

impl EventColumns {
    fn event(self) -> Option<Event> {
        Some(Event {
            number: self.event_number?,
            account_id: self.account_id?,
            kind: self.kind?,
            id: self.id?,
            body: self.body?,
        })
    }
}

fn no_log() -> Error {
    Error::internal("the log of the directory is gone")
}
