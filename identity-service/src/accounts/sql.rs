//! Queries on accounts.

use service_kit::{db::TenantTx, error::Error, sql};

use super::model::{Account, NewAccount};

/// Makes the account that the transaction is in.
pub async fn insert(tx: &mut TenantTx, account: &NewAccount) -> Result<Account, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "INSERT INTO identity.accounts (id, name, email, default_currency, create_time, update_time)
         VALUES ($1, $2, $3, $4, $5, $5)
         RETURNING id, name, email, default_currency, create_time, update_time, version"
    ))
    .bind(account_id)
    .bind(account.name.as_str())
    .bind(account.email.as_str())
    .bind(account.default_currency.code())
    .bind(now);
    tx.one(query).await
}
