//! Queries on accounts.

use service_kit::{
    db::{Db, Found, TenantTx, Tenanted},
    error::Error,
    sql,
};

use super::model::{Account, NewAccount};

/// The columns of an [`Account`].
macro_rules! columns {
    () => {
        "id, name, email, default_currency, employee_client_visibility, time_zone, create_time,
         update_time, close_time, version"
    };
}

/// An account that is there.
#[derive(Debug, sqlx::FromRow)]
pub struct Located {
    id: i64,
}

impl Tenanted for Located {
    fn account_id(&self) -> i64 {
        self.id
    }
}

/// Whether there is such an account, for an operator who names it.
pub async fn locate(db: &Db, id: i64) -> Result<Option<Found<Located>>, Error> {
    let text = sql!("SELECT id FROM identity.accounts WHERE id = $1");
    db.unscoped().find(text, |query| query.bind(id)).await
}

/// All accounts, for an operator who means everyone.
pub async fn locate_all(db: &Db) -> Result<Vec<Found<Located>>, Error> {
    db.unscoped().all(sql!("SELECT id FROM identity.accounts ORDER BY id"), |query| query).await
}

/// Makes the account that the transaction is in.
pub async fn insert(tx: &mut TenantTx, account: &NewAccount) -> Result<Account, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "INSERT INTO identity.accounts (id, name, email, default_currency, create_time, update_time)
         VALUES ($1, $2, $3, $4, $5, $5)
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(account.name.as_str())
    .bind(account.email.as_str())
    .bind(account.default_currency.code())
    .bind(now);
    tx.one(query).await
}

/// The account that the transaction is in.
pub async fn get(tx: &mut TenantTx) -> Result<Account, Error> {
    let account_id = tx.account_id();
    let query =
        sqlx::query_as(sql!("SELECT ", columns!(), " FROM identity.accounts WHERE id = $1"))
            .bind(account_id);
    tx.one(query).await
}

/// The same, which nobody changes until the transaction ends.
pub async fn share(tx: &mut TenantTx) -> Result<Account, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM identity.accounts WHERE id = $1 FOR SHARE"
    ))
    .bind(account_id);
    tx.one(query).await
}

/// The same, which nobody else changes until the transaction ends.
pub async fn lock(tx: &mut TenantTx) -> Result<Account, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM identity.accounts WHERE id = $1 FOR NO KEY UPDATE"
    ))
    .bind(account_id);
    tx.one(query).await
}

/// Puts what may change of a locked account in the place of what it was.
pub async fn update(tx: &mut TenantTx, account: &Account) -> Result<Account, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE identity.accounts
         SET name = $3, email = $4, default_currency = $5, employee_client_visibility = $6,
             time_zone = $7, close_time = $8, update_time = $2, version = version + 1
         WHERE id = $1
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(now)
    .bind(&account.name)
    .bind(&account.email)
    .bind(&account.default_currency)
    .bind(&account.employee_client_visibility)
    .bind(&account.time_zone)
    .bind(account.close_time);
    tx.one(query).await
}
