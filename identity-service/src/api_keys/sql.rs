//! Queries on API keys.

use service_kit::{
    access,
    db::{Db, Found, ListQuery, Rows, TenantTx, Tenanted},
    error::Error,
    page::Page,
    sql, sql_family,
};

use super::model::{ApiKey, NewApiKey};
use crate::{
    secrets::Secret,
    tokens::standing::{Standing, standing},
};

/// The columns of an [`ApiKey`].
macro_rules! columns {
    () => {
        "id, name, permissions, creator_id, create_time, expire_time, revoke_time"
    };
}

/// What is known about a key that somebody shows.
#[derive(Debug, sqlx::FromRow)]
pub struct Shown {
    account_id: i64,
    /// Which it is, if it is one.
    pub key_id: Option<i64>,
    pub given: Vec<String>,
    pub expire_time: Option<chrono::DateTime<chrono::Utc>>,
    pub was_revoked: bool,
    #[sqlx(flatten)]
    pub standing: Standing,
}

impl Tenanted for Shown {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// Everything that a decision about a key needs, in one statement.
pub async fn look_up(db: &Db, secret: &Secret) -> Result<Found<Shown>, Error> {
    let text = sql!(
        "SELECT coalesce(k.account_id, 0) AS account_id, k.id AS key_id,
                coalesce(k.permissions, '{}') AS given, k.expire_time,
                k.revoke_time IS NOT NULL AS was_revoked, ",
        standing!(),
        " FROM identity.feeds f
          LEFT JOIN identity.api_keys k ON k.digest = $1
          LEFT JOIN identity.employees e ON e.account_id = k.account_id AND e.id = k.creator_id
          LEFT JOIN identity.accounts a ON a.id = k.account_id
          WHERE f.name = 'revocations'"
    );
    let digest = secret.digest();
    let shown = db.unscoped().find(text, |query| query.bind(digest.to_vec())).await?;
    shown.ok_or_else(|| Error::internal("the log of revocations is gone"))
}

/// Adds a key, of which only a digest is kept.
pub async fn insert(
    tx: &mut TenantTx,
    key: &NewApiKey,
    secret: &Secret,
    creator_id: i64,
) -> Result<ApiKey, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let names: Vec<_> = key.permissions.iter().copied().map(access::permission_name).collect();
    let query = sqlx::query_as(sql!(
        "INSERT INTO identity.api_keys
             (account_id, digest, name, permissions, creator_id, create_time, expire_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(secret.digest().to_vec())
    .bind(key.name.as_str())
    .bind(names)
    .bind(creator_id)
    .bind(now)
    .bind(key.expire_time);
    tx.one(query).await
}

pub async fn find(tx: &mut TenantTx, id: i64) -> Result<Option<ApiKey>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM identity.api_keys WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// A key that nobody else changes until this transaction ends.
pub async fn lock(tx: &mut TenantTx, id: i64) -> Result<Option<ApiKey>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM identity.api_keys WHERE account_id = $1 AND id = $2 FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// Ends a locked key.
pub async fn revoke(tx: &mut TenantTx, id: i64) -> Result<ApiKey, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE identity.api_keys SET revoke_time = $3 WHERE account_id = $1 AND id = $2
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(id)
    .bind(now);
    tx.one(query).await
}

/// The keys that a person made and nobody revoked.
pub async fn made_by(tx: &mut TenantTx, employee_id: i64) -> Result<Vec<i64>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT id FROM identity.api_keys
         WHERE account_id = $1 AND creator_id = $2 AND revoke_time IS NULL ORDER BY id"
    ))
    .bind(account_id)
    .bind(employee_id);
    let keys: Vec<(i64,)> = tx.all(query).await?;
    Ok(keys.into_iter().map(|(id,)| id).collect())
}

/// Ends the keys that a person made; returns those that were still alive.
pub async fn revoke_made_by(tx: &mut TenantTx, employee_id: i64) -> Result<Vec<i64>, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE identity.api_keys SET revoke_time = $3
         WHERE account_id = $1 AND creator_id = $2 AND revoke_time IS NULL
         RETURNING id"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(now);
    let keys: Vec<(i64,)> = tx.all(query).await?;
    Ok(keys.into_iter().map(|(id,)| id).collect())
}

/// The keys of a page, and one more if there is another page.
pub async fn list(tx: &mut TenantTx, page: &Page<ApiKey>) -> Result<Rows<ApiKey>, Error> {
    page_query(tx.account_id(), page).fetch(tx).await
}

pub async fn count(tx: &mut TenantTx) -> Result<i64, Error> {
    count_query(tx.account_id()).count(tx).await
}

fn page_query(account_id: i64, page: &Page<ApiKey>) -> ListQuery {
    let select = concat!("SELECT ", columns!(), " FROM identity.api_keys WHERE account_id = ");
    let mut query = ListQuery::new(select, account_id);
    query.page(page);
    query
}

fn count_query(account_id: i64) -> ListQuery {
    ListQuery::new("SELECT count(*) FROM identity.api_keys WHERE account_id = ", account_id)
}

/// Every order, and the places in it.
fn list_variants() -> Vec<String> {
    let pages = Page::variants(super::model::ORDERS);
    let lists = pages.iter().map(|page| page_query(1, page).into_text());
    lists.chain([count_query(1).into_text()]).collect()
}

sql_family!(list_variants);
