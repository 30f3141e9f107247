//! Queries on sessions.

use chrono::{DateTime, Utc};
use service_kit::{
    db::{Db, Found, TenantTx, Tenanted},
    error::Error,
    sql,
};

use super::model::{Lifetimes, Place, Session};
use crate::tokens::standing::{Standing, standing};

/// The columns of a [`Session`].
macro_rules! columns {
    () => {
        "id, employee_id, device_label, network, nonce, generation, create_time, last_seen_time,
         idle_time, expire_time"
    };
}

/// What is known about the session that an access token names.
#[derive(Debug, sqlx::FromRow)]
pub struct Named {
    account_id: i64,
    /// Whose it is.
    pub holder: Option<i64>,
    /// When it ends unless it is refreshed.
    pub end_time: Option<DateTime<Utc>>,
    pub was_revoked: bool,
    #[sqlx(flatten)]
    pub standing: Standing,
}

impl Tenanted for Named {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// Where a session is.
#[derive(Debug, sqlx::FromRow)]
pub struct Located {
    account_id: i64,
}

impl Tenanted for Located {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// Everything that a decision about an access token needs, in one statement.
pub async fn look_up(db: &Db, id: i64) -> Result<Found<Named>, Error> {
    let text = sql!(
        "SELECT coalesce(s.account_id, v.account_id, 0) AS account_id, s.employee_id AS holder,
                least(s.idle_time, s.expire_time) AS end_time, v.id IS NOT NULL AS was_revoked, ",
        standing!(),
        " FROM identity.feeds f
          LEFT JOIN identity.sessions s ON s.id = $1
          LEFT JOIN identity.employees e ON e.account_id = s.account_id AND e.id = s.employee_id
          LEFT JOIN identity.accounts a ON a.id = s.account_id
          LEFT JOIN identity.revoked_sessions v ON v.id = $1
          WHERE f.name = 'revocations'"
    );
    let named = db.unscoped().find(text, |query| query.bind(id)).await?;
    named.ok_or_else(|| Error::internal("the log of revocations is gone"))
}

/// In which account a session is, or was.
pub async fn locate(db: &Db, id: i64) -> Result<Option<Found<Located>>, Error> {
    let text = sql!(
        "SELECT account_id FROM identity.sessions WHERE id = $1
         UNION ALL SELECT account_id FROM identity.revoked_sessions WHERE id = $1"
    );
    db.unscoped().find(text, |query| query.bind(id)).await
}

/// Opens a session.
pub async fn insert(
    tx: &mut TenantTx,
    employee_id: i64,
    device_label: &str,
    network: &str,
    nonce: &[u8],
    lifetimes: Lifetimes,
) -> Result<Session, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "INSERT INTO identity.sessions
             (account_id, employee_id, device_label, network, nonce, create_time, last_seen_time,
              idle_time, expire_time)
         VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8)
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(device_label)
    .bind(network)
    .bind(nonce)
    .bind(now)
    .bind(now + lifetimes.idle)
    .bind(now + lifetimes.absolute);
    tx.one(query).await
}

/// What shows which refresh tokens are a session's, also after it was ended; nothing where the
/// session is unknown, or was ended before that was kept.
pub async fn nonce(tx: &mut TenantTx, id: i64) -> Result<Option<Vec<u8>>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT nonce FROM identity.sessions WHERE account_id = $1 AND id = $2
         UNION ALL
         SELECT nonce FROM identity.revoked_sessions
         WHERE account_id = $1 AND id = $2 AND nonce IS NOT NULL"
    ))
    .bind(account_id)
    .bind(id);
    let found: Option<(Vec<u8>,)> = tx.optional(query).await?;
    Ok(found.map(|(nonce,)| nonce))
}

/// A session that nobody else changes until this transaction ends.
pub async fn lock(tx: &mut TenantTx, id: i64) -> Result<Option<Session>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM identity.sessions WHERE account_id = $1 AND id = $2 FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// Puts the next refresh token in the place of the present one, if it still is the present one.
pub async fn advance(
    tx: &mut TenantTx,
    place: Place,
    lifetimes: Lifetimes,
    rotates: bool,
) -> Result<Option<Session>, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE identity.sessions
         SET generation = generation + $6, last_seen_time = $4, idle_time = $5
         WHERE account_id = $1 AND id = $2 AND generation = $3
           AND idle_time > $4 AND expire_time > $4
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(place.session_id)
    .bind(place.generation)
    .bind(now)
    .bind(now + lifetimes.idle)
    .bind(i64::from(rotates));
    tx.optional(query).await
}

/// The live sessions of a person, newest first.
pub async fn list(tx: &mut TenantTx, employee_id: i64) -> Result<Vec<Session>, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM identity.sessions
         WHERE account_id = $1 AND employee_id = $2 AND idle_time > $3 AND expire_time > $3
         ORDER BY id DESC"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(now);
    tx.all(query).await
}

/// Ends one session of a person; false where they have no such one.
pub async fn revoke(tx: &mut TenantTx, employee_id: i64, id: i64) -> Result<bool, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "WITH ended AS (
             DELETE FROM identity.sessions
             WHERE account_id = $1 AND employee_id = $2 AND id = $3
             RETURNING id, nonce)
         INSERT INTO identity.revoked_sessions (id, account_id, revoke_time, nonce)
         SELECT ended.id, $1, $4, ended.nonce FROM ended"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(id)
    .bind(now);
    Ok(tx.execute(query).await? == 1)
}

/// Ends the sessions of a person but one, if one is kept; returns how many that were.
pub async fn revoke_employee(
    tx: &mut TenantTx,
    employee_id: i64,
    kept: Option<i64>,
) -> Result<u64, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "WITH ended AS (
             DELETE FROM identity.sessions
             WHERE account_id = $1 AND employee_id = $2 AND id IS DISTINCT FROM $3
             RETURNING id, nonce)
         INSERT INTO identity.revoked_sessions (id, account_id, revoke_time, nonce)
         SELECT ended.id, $1, $4, ended.nonce FROM ended"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(kept)
    .bind(now);
    tx.execute(query).await
}

/// Ends the oldest live sessions of a person until there are no more than so many; returns which
/// those were.
pub async fn revoke_oldest(
    tx: &mut TenantTx,
    employee_id: i64,
    most: i64,
) -> Result<Vec<i64>, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "WITH ended AS (
             DELETE FROM identity.sessions
             WHERE account_id = $1 AND employee_id = $2 AND id IN (
                 SELECT id FROM identity.sessions
                 WHERE account_id = $1 AND employee_id = $2 AND idle_time > $4 AND expire_time > $4
                 ORDER BY id DESC OFFSET $3)
             RETURNING id, nonce)
         INSERT INTO identity.revoked_sessions (id, account_id, revoke_time, nonce)
         SELECT ended.id, $1, $4, ended.nonce FROM ended
         RETURNING id"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(most)
    .bind(now);
    let ended: Vec<(i64,)> = tx.all(query).await?;
    Ok(ended.into_iter().map(|(id,)| id).collect())
}

/// Ends all sessions of the account; returns how many that were.
pub async fn revoke_all(tx: &mut TenantTx) -> Result<u64, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "WITH ended AS (
             DELETE FROM identity.sessions WHERE account_id = $1 RETURNING id, nonce)
         INSERT INTO identity.revoked_sessions (id, account_id, revoke_time, nonce)
         SELECT ended.id, $1, $2, ended.nonce FROM ended"
    ))
    .bind(account_id)
    .bind(now);
    tx.execute(query).await
}
