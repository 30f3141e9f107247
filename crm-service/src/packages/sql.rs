//! Queries on packages.

use service_kit::{
    db::{ListQuery, Rows, TenantTx},
    error::Error,
    page::Page,
    sql, sql_family,
};
use sqlx::{Postgres, postgres::PgArguments, query::QueryAs};

use super::model::{Details, Package};
use crate::accounts::met;

type PackageQuery<'q> = QueryAs<'q, Postgres, Package, PgArguments>;

/// The columns of a [`Package`].
macro_rules! columns {
    () => {
        "id, package_name, name_key, description, list_price, list_price_currency, create_time,
         update_time, delete_time, version"
    };
}

/// Adds a package to the account.
pub async fn insert(tx: &mut TenantTx, details: &Details) -> Result<Package, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        met!(),
        "INSERT INTO crm.packages
             (account_id, package_name, name_key, description, list_price, list_price_currency,
              create_time, update_time)
         VALUES ($1, $3, $4, $5, $6, $7, $2, $2)
         RETURNING ",
        columns!()
    ));
    tx.one(bind_details(query.bind(account_id).bind(now), details)).await
}

/// What is written of a package, as $3 to $7.
fn bind_details<'q>(query: PackageQuery<'q>, details: &'q Details) -> PackageQuery<'q> {
    query
        .bind(&details.package_name)
        .bind(details.name_key())
        .bind(&details.description)
        .bind(details.list_price)
        .bind(&details.list_price_currency)
}

/// A package that is not deleted.
pub async fn find(tx: &mut TenantTx, id: i64) -> Result<Option<Package>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.packages WHERE account_id = $1 AND id = $2 AND delete_time IS NULL"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// A package, deleted or not, that nobody deletes or changes until this transaction ends. Others
/// may sell it meanwhile.
pub async fn find_to_sell(tx: &mut TenantTx, id: i64) -> Result<Option<Package>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.packages WHERE account_id = $1 AND id = $2 FOR SHARE"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// A package, deleted or not, that nobody else changes until this transaction ends.
pub async fn lock(tx: &mut TenantTx, id: i64) -> Result<Option<Package>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.packages WHERE account_id = $1 AND id = $2 FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// Puts new details in place of those of a locked package.
pub async fn update(tx: &mut TenantTx, id: i64, details: &Details) -> Result<Package, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE crm.packages
         SET package_name = $3, name_key = $4, description = $5, list_price = $6,
             list_price_currency = $7, update_time = $2, version = version + 1
         WHERE account_id = $1 AND id = $8
         RETURNING ",
        columns!()
    ));
    tx.one(bind_details(query.bind(account_id).bind(now), details).bind(id)).await
}

/// Hides a locked package, or brings it back.
pub async fn set_deleted(tx: &mut TenantTx, id: i64, deleted: bool) -> Result<Package, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE crm.packages SET delete_time = $4, update_time = $3, version = version + 1
         WHERE account_id = $1 AND id = $2
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(id)
    .bind(now)
    .bind(deleted.then_some(now));
    tx.one(query).await
}

/// The packages of a page, and one more if there is another page.
pub async fn list(tx: &mut TenantTx, page: &Page<Package>) -> Result<Rows<Package>, Error> {
    page_query(tx.account_id(), page).fetch(tx).await
}

/// How many packages there are, on whatever page.
pub async fn count(tx: &mut TenantTx) -> Result<i64, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT count(*) FROM crm.packages WHERE account_id = $1 AND delete_time IS NULL"
    ))
    .bind(account_id);
    let (count,) = tx.one(query).await?;
    Ok(count)
}

fn page_query(account_id: i64, page: &Page<Package>) -> ListQuery {
    let select = concat!("SELECT ", columns!(), " FROM crm.packages WHERE account_id = ");
    let mut query = ListQuery::new(select, account_id);
    query.text(" AND delete_time IS NULL").page(page);
    query
}

/// Every order, and every place in it.
fn list_variants() -> Vec<String> {
    let pages = Page::variants(super::model::ORDERS);
    pages.iter().map(|page| page_query(1, page).into_text()).collect()
}

sql_family!(list_variants);
