//! Queries on employee tokens.

use chrono::{DateTime, Utc};
use service_kit::{
    db::{Db, Found, TenantTx, Tenanted},
    error::Error,
    keys::Keyring,
    sql,
};

use super::{
    idle::IdleLimit,
    model::{Holder, Token},
    standing::{Standing, standing},
};
use crate::feeds;

/// What is known about a token, whether it is one, was one or never was.
#[derive(Debug, sqlx::FromRow)]
pub struct Shown {
    account_id: i64,
    /// Whose it is.
    pub holder: Option<i64>,
    /// When it was last used, as far as that is known, or made.
    pub used_time: Option<DateTime<Utc>>,
    pub was_revoked: bool,
    #[sqlx(flatten)]
    pub standing: Standing,
}

impl Tenanted for Shown {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// Everything that a decision about a token needs, in one statement.
pub async fn look_up(db: &Db, token: &Token) -> Result<Found<Shown>, Error> {
    let text = sql!(
        "SELECT coalesce(t.account_id, r.account_id, 0) AS account_id, t.user_id AS holder,
                coalesce(t.last_used_time, t.created) AS used_time,
                r.key IS NOT NULL AS was_revoked, ",
        standing!(),
        " FROM identity.feeds f
          LEFT JOIN identity.employee_tokens t ON t.key = $1
          LEFT JOIN identity.employees e ON e.account_id = t.account_id AND e.id = t.user_id
          LEFT JOIN identity.accounts a ON a.id = t.account_id
          LEFT JOIN identity.revoked_tokens r ON r.key = $1
          WHERE f.name = 'revocations'"
    );
    let shown = db.unscoped().find(text, |query| query.bind(token.key())).await?;
    shown.ok_or_else(|| Error::internal("the log of revocations is gone"))
}

/// The employee's one token: the one that exists or, now, a new one. Of two calls at once one
/// makes it and both return it.
pub async fn get_or_create(
    tx: &mut TenantTx,
    keys: &Keyring,
    idle: &IdleLimit,
    employee_id: i64,
) -> Result<Token, Error> {
    if let Some(token) = find(tx, keys, idle, employee_id).await? {
        return Ok(token);
    }
    let token = Token::mint();
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "INSERT INTO identity.employee_tokens (key, account_id, user_id, created, sealed)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_id) DO NOTHING"
    ))
    .bind(token.key())
    .bind(account_id)
    .bind(employee_id)
    .bind(now)
    .bind(token.seal(keys, Holder { account_id, employee_id }));
    let made = tx.execute(query).await?;
    if made == 1 {
        return Ok(token);
    }
    find(tx, keys, idle, employee_id).await?.ok_or(Error::Conflict)
}

/// The existing token. One that does not open, because the keys that sealed it are gone, is
/// ended, and so is one that nobody used for too long: its owner gets a new one. One that an
/// older key sealed is sealed anew, so that the older key can go.
async fn find(
    tx: &mut TenantTx,
    keys: &Keyring,
    idle: &IdleLimit,
    employee_id: i64,
) -> Result<Option<Token>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT key, sealed, coalesce(last_used_time, created) FROM identity.employee_tokens
         WHERE account_id = $1 AND user_id = $2"
    ))
    .bind(account_id)
    .bind(employee_id);
    let row: Option<(String, Vec<u8>, DateTime<Utc>)> = tx.optional(query).await?;
    let Some((key, sealed, used)) = row else {
        return Ok(None);
    };
    if idle.is_over(used, tx.now()) {
        replace(tx, &key, employee_id).await?;
        return Ok(None);
    }
    if idle.is_worth_noting(used, tx.now()) {
        set_used(tx, std::slice::from_ref(&key)).await?;
    }
    let token = Token::unseal(keys, Holder { account_id, employee_id }, &sealed);
    match &token {
        None => {
            tracing::warn!(
                employee_id,
                "a token does not open with the present keys and is replaced"
            );
            replace(tx, &key, employee_id).await?;
        }
        Some(token) if !keys.is_of_first(&sealed) => {
            let query = sqlx::query(sql!(
                "UPDATE identity.employee_tokens SET sealed = $3
                 WHERE account_id = $1 AND user_id = $2"
            ))
            .bind(account_id)
            .bind(employee_id)
            .bind(token.seal(keys, Holder { account_id, employee_id }));
            tx.execute(query).await?;
        }
        Some(_) => {}
    }
    Ok(token)
}

/// Ends a token in the place of which there will be another.
async fn replace(tx: &mut TenantTx, key: &str, employee_id: i64) -> Result<(), Error> {
    revoke(tx, key).await?;
    feeds::revoke(tx, feeds::Holder::Employee(employee_id));
    Ok(())
}

/// Writes down that tokens are being used. One that somebody else is at is left out: whoever
/// that is does the same, or ends it.
pub async fn set_used(tx: &mut TenantTx, keys: &[String]) -> Result<(), Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "WITH used AS (
             SELECT key FROM identity.employee_tokens WHERE account_id = $1 AND key = ANY($2)
             ORDER BY key FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE identity.employee_tokens AS t SET last_used_time = $3
         FROM used WHERE t.account_id = $1 AND t.key = used.key"
    ))
    .bind(account_id)
    .bind(keys)
    .bind(now);
    tx.execute(query).await?;
    Ok(())
}

/// Ends the token of a person, if they have one; returns how many that were.
pub async fn revoke_employee(tx: &mut TenantTx, employee_id: i64) -> Result<u64, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "WITH ended AS (
             DELETE FROM identity.employee_tokens WHERE account_id = $1 AND user_id = $2
             RETURNING key)
         INSERT INTO identity.revoked_tokens (key, account_id, revoke_time)
         SELECT ended.key, $1, $3 FROM ended"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(now);
    tx.execute(query).await
}

/// Ends all tokens of the account; returns how many that were.
pub async fn revoke_all(tx: &mut TenantTx) -> Result<u64, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "WITH ended AS (
             DELETE FROM identity.employee_tokens WHERE account_id = $1 RETURNING key)
         INSERT INTO identity.revoked_tokens (key, account_id, revoke_time)
         SELECT ended.key, $1, $2 FROM ended"
    ))
    .bind(account_id)
    .bind(now);
    tx.execute(query).await
}

/// Ends a token and remembers, for its bearer, that it was one.
pub async fn revoke(tx: &mut TenantTx, key: &str) -> Result<bool, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "WITH ended AS (
             DELETE FROM identity.employee_tokens WHERE account_id = $1 AND key = $2 RETURNING key)
         INSERT INTO identity.revoked_tokens (key, account_id, revoke_time)
         SELECT ended.key, $1, $3 FROM ended"
    ))
    .bind(account_id)
    .bind(key)
    .bind(now);
    Ok(tx.execute(query).await? == 1)
}
