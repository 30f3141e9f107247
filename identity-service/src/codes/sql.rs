//! Queries on codes.

use service_kit::{
    db::{Db, Found, TenantTx, Tenanted},
    error::Error,
    sql,
};

use super::model::{LIFE, Purpose, Used};
use crate::secrets::Secret;

/// Where a code is.
#[derive(Debug, sqlx::FromRow)]
pub struct Located {
    account_id: i64,
    pub employee_id: i64,
}

impl Tenanted for Located {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// In which account a code is, and whose.
pub async fn locate(db: &Db, code: &Secret) -> Result<Option<Found<Located>>, Error> {
    let text = sql!("SELECT account_id, employee_id FROM identity.codes WHERE digest = $1");
    let digest = code.digest();
    db.unscoped().find(text, |query| query.bind(digest.to_vec())).await
}

/// Keeps a code's digest, in place of the one that was sent for the purpose before.
pub async fn put(
    tx: &mut TenantTx,
    employee_id: i64,
    purpose: Purpose,
    code: &Secret,
    email_key: &str,
    new_email: Option<&str>,
) -> Result<(), Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "INSERT INTO identity.codes
             (account_id, employee_id, purpose, digest, email_key, new_email, expire_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (account_id, employee_id, purpose) DO UPDATE
         SET digest = excluded.digest, email_key = excluded.email_key,
             new_email = excluded.new_email, expire_time = excluded.expire_time"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(purpose.text())
    .bind(code.digest().to_vec())
    .bind(email_key)
    .bind(new_email)
    .bind(now + LIFE);
    tx.execute(query).await?;
    Ok(())
}

/// Uses a code up: of two at once, one gets it.
pub async fn take(
    tx: &mut TenantTx,
    employee_id: i64,
    code: &Secret,
) -> Result<Option<Used>, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "DELETE FROM identity.codes
         WHERE account_id = $1 AND employee_id = $2 AND digest = $3 AND expire_time > $4
         RETURNING purpose, email_key, new_email"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(code.digest().to_vec())
    .bind(now);
    tx.optional(query).await
}

/// Makes all codes of a person void.
pub async fn drop_all(tx: &mut TenantTx, employee_id: i64) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query =
        sqlx::query(sql!("DELETE FROM identity.codes WHERE account_id = $1 AND employee_id = $2"))
            .bind(account_id)
            .bind(employee_id);
    tx.execute(query).await?;
    Ok(())
}
