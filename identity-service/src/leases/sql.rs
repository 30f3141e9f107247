//! Queries on the log of revocations and the table of those who give leases.

use service_kit::{
    db::{Db, Found, TenantTx},
    error::Error,
    lease::{
        feed::Reading,
        log::{Numbered, Position},
        table::Row,
    },
    sql,
};
use uuid::Uuid;

use super::model::Revocation;

/// The most events of a page.
const PAGE: i64 = 500;
const TASK: &str = "leases";

#[derive(sqlx::FromRow)]
struct Line {
    epoch: Uuid,
    number: i64,
    may_give: bool,
    event_number: Option<i64>,
    account_id: Option<i64>,
    kind: Option<String>,
    id: Option<i64>,
}

/// The first events behind a number, where the log ends and whether a process may give leases:
/// one statement, so that all of it is of one moment. A copy of the database that follows another
/// one gives none: it may be behind.
pub async fn read(db: &Db, behind: i64, own: Option<Uuid>) -> Result<Reading<Revocation>, Error> {
    let text = sql!(
        "SELECT f.epoch, f.number, p.id IS NOT NULL AND NOT pg_is_in_recovery() AS may_give,
                e.number AS event_number, e.account_id, e.kind, e.id
         FROM identity.feeds f
         LEFT JOIN identity.lease_givers p ON p.id = $2 AND NOT p.is_fenced
         LEFT JOIN LATERAL (
             SELECT number, account_id, kind, id FROM identity.revocations
             WHERE number > $1 ORDER BY number LIMIT $3) e ON true
         WHERE f.name = 'revocations'
         ORDER BY e.number"
    );
    let lines = db.unscoped().all(text, |query| query.bind(behind).bind(own).bind(PAGE)).await?;
    let lines: Vec<Line> = lines.into_iter().map(Found::into_inner).collect();
    let first = lines.first().ok_or_else(no_log)?;
    let head = Position { epoch: first.epoch, number: first.number };
    let may_give = first.may_give;
    Ok(Reading { head, events: lines.into_iter().filter_map(Line::event).collect(), may_give })
}

impl Line {
    fn event(self) -> Option<Numbered<Revocation>> {
        let (account_id, kind, id) = (self.account_id?, self.kind?, self.id?);
        let event = Revocation { account_id, kind, id };
        Some(Numbered { number: self.event_number?, event })
    }
}

/// Where the log ends, and all who give leases, at one moment.
#[derive(Debug)]
pub struct Table {
    pub head: Position,
    pub rows: Vec<Row>,
}

#[derive(sqlx::FromRow)]
struct Entry {
    epoch: Uuid,
    number: i64,
    id: Option<Uuid>,
    published_epoch: Option<Uuid>,
    published_number: Option<i64>,
    beat: Option<i64>,
    is_fenced: Option<bool>,
}

pub async fn table(db: &Db) -> Result<Table, Error> {
    let text = sql!(
        "SELECT f.epoch, f.number, p.id, p.epoch AS published_epoch, p.number AS published_number,
                p.beat, p.is_fenced
         FROM identity.feeds f LEFT JOIN identity.lease_givers p ON true
         WHERE f.name = 'revocations'"
    );
    let entries = db.unscoped().all(text, |query| query).await?;
    let entries: Vec<Entry> = entries.into_iter().map(Found::into_inner).collect();
    let first = entries.first().ok_or_else(no_log)?;
    let head = Position { epoch: first.epoch, number: first.number };
    Ok(Table { head, rows: entries.into_iter().filter_map(Entry::row).collect() })
}

impl Entry {
    fn row(self) -> Option<Row> {
        let published = Position { epoch: self.published_epoch?, number: self.published_number? };
        Some(Row { id: self.id?, published, beat: self.beat?, is_fenced: self.is_fenced? })
    }
}

fn no_log() -> Error {
    Error::internal("the log of revocations is gone")
}

/// The row of a process that has given no lease by it, and so none without what was before.
pub async fn insert(db: &Db, id: Uuid) -> Result<(), Error> {
    let mut tx = db.begin_in_background(TASK).await?;
    let query = sqlx::query(sql!(
        "INSERT INTO identity.lease_givers (id, epoch, number)
         SELECT $1, epoch, number FROM identity.feeds WHERE name = 'revocations'"
    ))
    .bind(id);
    tx.execute(query).await?;
    tx.commit([]).await
}

/// Shows life, and the place up to which nobody holds what was.
pub async fn publish(db: &Db, id: Uuid, place: Position) -> Result<(), Error> {
    let mut tx = db.begin_in_background(TASK).await?;
    let query = sqlx::query(sql!(
        "UPDATE identity.lease_givers SET epoch = $2, number = $3, beat = beat + 1 WHERE id = $1"
    ))
    .bind(id)
    .bind(place.epoch)
    .bind(place.number);
    tx.execute(query).await?;
    tx.commit([]).await
}

/// The two steps in which rows go.
pub async fn clear(db: &Db, fence: &[Uuid], delete: &[Uuid]) -> Result<(), Error> {
    let mut tx = db.begin_in_background(TASK).await?;
    fence_rows(&mut tx, fence).await?;
    let query =
        sqlx::query(sql!("DELETE FROM identity.lease_givers WHERE id = ANY ($1) AND is_fenced"))
            .bind(delete);
    tx.execute(query).await?;
    tx.commit([]).await
}

async fn fence_rows(tx: &mut TenantTx, ids: &[Uuid]) -> Result<(), Error> {
    let query =
        sqlx::query(sql!("UPDATE identity.lease_givers SET is_fenced = true WHERE id = ANY ($1)"))
            .bind(ids);
    tx.execute(query).await?;
    Ok(())
}
