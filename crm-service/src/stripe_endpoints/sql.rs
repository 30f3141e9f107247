//! Queries on Stripe endpoints.

use service_kit::{
    db::{Db, Found, ListQuery, Rows, TenantTx, Tenanted},
    error::Error,
    page::Page,
    sql, sql_family,
};

use super::model::{NewStripeEndpoint, OVERLAP, StripeEndpoint};
use crate::accounts::met;

/// The columns of a [`StripeEndpoint`].
macro_rules! columns {
    () => {
        "id, address, description, auto_allocate, secret, previous_secret, previous_until,
         create_time, update_time, version"
    };
}

/// Whose an address is.
#[derive(Debug, sqlx::FromRow)]
pub struct Address {
    account_id: i64,
    pub endpoint_id: i64,
}

impl Tenanted for Address {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// Whose this address is, if anybody's.
pub async fn whose(db: &Db, address: &str) -> Result<Option<Found<Address>>, Error> {
    let text = sql!("SELECT account_id, endpoint_id FROM crm.stripe_addresses WHERE address = $1");
    db.unscoped().find(text, |query| query.bind(address.to_owned())).await
}

/// Adds an endpoint, and its address to those that are known.
pub async fn insert(
    tx: &mut TenantTx,
    endpoint: &NewStripeEndpoint,
) -> Result<StripeEndpoint, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        met!(),
        "INSERT INTO crm.stripe_endpoints
             (account_id, address, description, auto_allocate, create_time, update_time)
         VALUES ($1, $3, $4, $5, $2, $2)
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(now)
    .bind(&endpoint.address)
    .bind(&endpoint.description)
    .bind(endpoint.auto_allocate);
    let endpoint: StripeEndpoint = tx.one(query).await?;
    let query = sqlx::query(sql!(
        "INSERT INTO crm.stripe_addresses (address, account_id, endpoint_id) VALUES ($2, $1, $3)"
    ))
    .bind(account_id)
    .bind(&endpoint.address)
    .bind(endpoint.id);
    tx.execute(query).await?;
    Ok(endpoint)
}

pub async fn find(tx: &mut TenantTx, id: i64) -> Result<Option<StripeEndpoint>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.stripe_endpoints WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// One that nobody else changes until this transaction ends.
pub async fn lock(tx: &mut TenantTx, id: i64) -> Result<Option<StripeEndpoint>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.stripe_endpoints WHERE account_id = $1 AND id = $2 FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// Gives a locked endpoint a new secret; the present one becomes the one before.
pub async fn rotate(tx: &mut TenantTx, id: i64, sealed: Vec<u8>) -> Result<StripeEndpoint, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE crm.stripe_endpoints
         SET secret = $4, previous_secret = secret,
             previous_until = CASE WHEN secret IS NULL THEN NULL ELSE $5::timestamptz END,
             update_time = $3, version = version + 1
         WHERE account_id = $1 AND id = $2
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(id)
    .bind(now)
    .bind(sealed)
    .bind(now + OVERLAP);
    tx.one(query).await
}

/// Takes a locked endpoint away, and its address with it.
pub async fn delete(tx: &mut TenantTx, endpoint: &StripeEndpoint) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "DELETE FROM crm.stripe_addresses WHERE account_id = $1 AND address = $2"
    ))
    .bind(account_id)
    .bind(&endpoint.address);
    tx.execute(query).await?;
    let query =
        sqlx::query(sql!("DELETE FROM crm.stripe_endpoints WHERE account_id = $1 AND id = $2"))
            .bind(account_id)
            .bind(endpoint.id);
    tx.execute(query).await?;
    Ok(())
}

/// The endpoints of a page, and one more if there is another page.
pub async fn list(
    tx: &mut TenantTx,
    page: &Page<StripeEndpoint>,
) -> Result<Rows<StripeEndpoint>, Error> {
    page_query(tx.account_id(), page).fetch(tx).await
}

/// How many there are, on whatever page.
pub async fn count(tx: &mut TenantTx) -> Result<i64, Error> {
    let account_id = tx.account_id();
    let query =
        sqlx::query_as(sql!("SELECT count(*) FROM crm.stripe_endpoints WHERE account_id = $1"))
            .bind(account_id);
    let (count,) = tx.one(query).await?;
    Ok(count)
}

fn page_query(account_id: i64, page: &Page<StripeEndpoint>) -> ListQuery {
    let select = concat!("SELECT ", columns!(), " FROM crm.stripe_endpoints WHERE account_id = ");
    let mut query = ListQuery::new(select, account_id);
    query.page(page);
    query
}

/// Every order, and every place in it.
fn list_variants() -> Vec<String> {
    let pages = Page::variants(super::model::ORDERS);
    pages.iter().map(|page| page_query(1, page).into_text()).collect()
}

sql_family!(list_variants);
