//! Queries on letters that are not sent yet.

use chrono::{DateTime, Utc};
use service_kit::{
    db::{Db, Found, TenantTx, Tenanted},
    error::Error,
    sql,
};

/// Where a letter is that is due.
#[derive(Debug, sqlx::FromRow)]
pub struct Due {
    account_id: i64,
    pub id: i64,
}

impl Tenanted for Due {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// A letter that is being sent.
#[derive(Debug, sqlx::FromRow)]
pub struct Taken {
    pub message_id: String,
    pub sealed: Vec<u8>,
    pub attempts: i32,
    pub create_time: DateTime<Utc>,
}

/// Keeps a letter until it is sent.
pub async fn insert(tx: &mut TenantTx, message_id: &str, sealed: &[u8]) -> Result<(), Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "INSERT INTO identity.letters (account_id, message_id, sealed, create_time, due_time)
         VALUES ($1, $2, $3, $4, $4)"
    ))
    .bind(account_id)
    .bind(message_id)
    .bind(sealed)
    .bind(now);
    tx.execute(query).await?;
    Ok(())
}

/// Some letters whose time has come, in whatever account.
pub async fn due(db: &Db, now: DateTime<Utc>, most: i64) -> Result<Vec<Found<Due>>, Error> {
    let text = sql!(
        "SELECT account_id, id FROM identity.letters WHERE due_time <= $1
         ORDER BY due_time LIMIT $2"
    );
    db.unscoped().all(text, |query| query.bind(now).bind(most)).await
}

/// Takes a letter that is still due, and puts its next attempt off; nothing where somebody else
/// was faster.
pub async fn take(
    tx: &mut TenantTx,
    id: i64,
    next_attempt: DateTime<Utc>,
) -> Result<Option<Taken>, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE identity.letters SET attempts = attempts + 1, due_time = $4
         WHERE account_id = $1 AND id = $2 AND due_time <= $3
         RETURNING message_id, sealed, attempts, create_time"
    ))
    .bind(account_id)
    .bind(id)
    .bind(now)
    .bind(next_attempt);
    tx.optional(query).await
}

/// Says when to try a letter again.
pub async fn put_off(tx: &mut TenantTx, id: i64, next_attempt: DateTime<Utc>) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "UPDATE identity.letters SET due_time = $3 WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(id)
    .bind(next_attempt);
    tx.execute(query).await?;
    Ok(())
}

/// Forgets a letter: it is sent, or never will be.
pub async fn delete(tx: &mut TenantTx, id: i64) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!("DELETE FROM identity.letters WHERE account_id = $1 AND id = $2"))
        .bind(account_id)
        .bind(id);
    tx.execute(query).await?;
    Ok(())
}
