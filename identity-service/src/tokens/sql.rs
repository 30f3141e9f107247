//! Queries on employee tokens.

use service_kit::{
    db::{Db, Found, TenantTx, Tenanted},
    error::Error,
    keys::Keyring,
    sql,
};

use super::model::Token;

/// What is known about a token that looks like one: a row even where nothing is.
#[derive(Debug, sqlx::FromRow)]
pub struct Shown {
    /// Whoever's token it is.
    pub account_id: Option<i64>,
    pub employee_id: Option<i64>,
    pub role: Option<String>,
    /// Neither deactivated nor deleted.
    pub is_live: Option<bool>,
    pub default_currency: Option<String>,
    /// The account in which it was a token once.
    pub revoked_in: Option<i64>,
}

impl Tenanted for Shown {
    /// No account has the id 0: whoever acts for nobody reaches nothing.
    fn account_id(&self) -> i64 {
        self.account_id.or(self.revoked_in).unwrap_or_default()
    }
}

/// Everything that a decision about a token needs, in one statement.
pub async fn look_up(db: &Db, token: &Token) -> Result<Found<Shown>, Error> {
    let text = sql!(
        "SELECT t.account_id, t.user_id AS employee_id, e.role,
                e.is_active AND e.delete_time IS NULL AS is_live,
                a.default_currency, r.account_id AS revoked_in
         FROM (SELECT $1::text AS key) shown
         LEFT JOIN identity.employee_tokens t ON t.key = shown.key
         LEFT JOIN identity.employees e ON e.account_id = t.account_id AND e.id = t.user_id
         LEFT JOIN identity.accounts a ON a.id = t.account_id
         LEFT JOIN identity.revoked_tokens r ON r.key = shown.key"
    );
    let found = db.unscoped().find(text, |query| query.bind(token.key())).await?;
    found.ok_or_else(|| Error::internal("a look-up by outer joins gave no row"))
}

/// The employee's one token: the one that exists or, now, a new one. Of two calls at once one
/// makes it and both return it.
pub async fn get_or_create(
    tx: &mut TenantTx,
    keys: &Keyring,
    employee_id: i64,
) -> Result<Token, Error> {
    if let Some(token) = find(tx, keys, employee_id).await? {
        return Ok(token);
    }
    let token = Token::mint();
    let (account_id, now) = (tx.account_id(), tx.now());
    let made = sqlx::query(sql!(
        "INSERT INTO identity.employee_tokens (key, account_id, user_id, created, sealed)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_id) DO NOTHING"
    ))
    .bind(token.key())
    .bind(account_id)
    .bind(employee_id)
    .bind(now)
    .bind(token.seal(keys, employee_id))
    .execute(tx.connection())
    .await?;
    if made.rows_affected() == 1 {
        return Ok(token);
    }
    find(tx, keys, employee_id).await?.ok_or(Error::Conflict)
}

/// The existing token. One that does not open, because the keys that sealed it are gone, is
/// ended: its owner gets a new one.
async fn find(tx: &mut TenantTx, keys: &Keyring, employee_id: i64) -> Result<Option<Token>, Error> {
    let account_id = tx.account_id();
    let row: Option<(String, Vec<u8>)> = sqlx::query_as(sql!(
        "SELECT key, sealed FROM identity.employee_tokens WHERE account_id = $1 AND user_id = $2"
    ))
    .bind(account_id)
    .bind(employee_id)
    .fetch_optional(tx.connection())
    .await?;
    let Some((key, sealed)) = row else {
        return Ok(None);
    };
    let token = Token::unseal(keys, employee_id, &sealed);
    if token.is_none() {
        tracing::warn!(employee_id, "a token does not open with the present keys and is replaced");
        revoke(tx, &key).await?;
    }
    Ok(token)
}

/// Ends a token and remembers, for its bearer, that it was one.
pub async fn revoke(tx: &mut TenantTx, key: &str) -> Result<(), Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    sqlx::query(sql!(
        "WITH ended AS (
             DELETE FROM identity.employee_tokens WHERE account_id = $1 AND key = $2 RETURNING key)
         INSERT INTO identity.revoked_tokens (key, account_id, revoke_time)
         SELECT ended.key, $1, $3 FROM ended"
    ))
    .bind(account_id)
    .bind(key)
    .bind(now)
    .execute(tx.connection())
    .await?;
    Ok(())
}
