//! Queries on accounts.

use service_kit::{
    db::{Db, System, TenantTx},
    error::Error,
    sql,
};

use super::model::{Account, NewAccount};

/// Draws the id of an account that is about to be, so that its transaction can begin inside it.
pub async fn draw(db: &Db) -> Result<System, Error> {
    let draw = sql!("SELECT nextval(pg_get_serial_sequence('identity.accounts', 'id'))");
    db.new_tenant(draw, "sign-up").await
}

/// Makes the account that the transaction is in.
pub async fn insert(tx: &mut TenantTx, account: &NewAccount) -> Result<Account, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let account = sqlx::query_as(sql!(
        "INSERT INTO identity.accounts (id, name, email, default_currency, create_time, update_time)
         VALUES ($1, $2, $3, $4, $5, $5)
         RETURNING id, name, email, default_currency, create_time, update_time, version"
    ))
    .bind(account_id)
    .bind(account.name.as_str())
    .bind(account.email.as_str())
    .bind(account.default_currency.code())
    .bind(now)
    .fetch_one(tx.connection())
    .await?;
    Ok(account)
}
