//! Queries on Stripe customers.

use service_kit::{
    db::{ListQuery, Rows, TenantTx},
    error::Error,
    page::Page,
    sql, sql_family,
};

use super::model::{Filter, NewStripeCustomer, StripeCustomer};
use crate::visibility::{Scope, seen};

/// The columns of a [`StripeCustomer`].
macro_rules! columns {
    () => {
        "id, client_id, stripe_customer_id, status, create_time, update_time, version"
    };
}

/// Ties a locked client to a Stripe customer.
pub async fn insert(
    tx: &mut TenantTx,
    customer: &NewStripeCustomer,
) -> Result<StripeCustomer, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "INSERT INTO crm.stripe_customers
             (account_id, client_id, stripe_customer_id, status, create_time, update_time)
         VALUES ($1, $3, $4, $5, $2, $2)
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(now)
    .bind(customer.client_id)
    .bind(&customer.stripe_customer_id)
    .bind(customer.status);
    tx.one(query).await
}

/// One whose client is in the scope.
pub async fn find(
    tx: &mut TenantTx,
    scope: Scope,
    id: i64,
) -> Result<Option<StripeCustomer>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.stripe_customers WHERE account_id = $1 AND id = $2 AND ",
        seen!("stripe_customers.client_id")
    ))
    .bind(account_id)
    .bind(id)
    .bind(scope.employee_id());
    tx.optional(query).await
}

/// The one with this id of Stripe's.
pub async fn find_by_stripe_id(
    tx: &mut TenantTx,
    stripe_customer_id: &str,
) -> Result<Option<StripeCustomer>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.stripe_customers WHERE account_id = $1 AND stripe_customer_id = $2"
    ))
    .bind(account_id)
    .bind(stripe_customer_id);
    tx.optional(query).await
}

/// One of a locked client's.
pub async fn lock(tx: &mut TenantTx, id: i64) -> Result<Option<StripeCustomer>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.stripe_customers WHERE account_id = $1 AND id = $2 FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// Gives one of a locked client's a status.
pub async fn set_status(tx: &mut TenantTx, id: i64, status: &str) -> Result<StripeCustomer, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE crm.stripe_customers SET status = $4, update_time = $3, version = version + 1
         WHERE account_id = $1 AND id = $2
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(id)
    .bind(now)
    .bind(status);
    tx.one(query).await
}

/// Unties a locked client.
pub async fn delete(tx: &mut TenantTx, id: i64) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query =
        sqlx::query(sql!("DELETE FROM crm.stripe_customers WHERE account_id = $1 AND id = $2"))
            .bind(account_id)
            .bind(id);
    tx.execute(query).await?;
    Ok(())
}

/// The rows of a page, and one more if there is another page.
pub async fn list(
    tx: &mut TenantTx,
    scope: Scope,
    filter: &Filter,
    page: &Page<StripeCustomer>,
) -> Result<Rows<StripeCustomer>, Error> {
    page_query(tx.account_id(), scope, filter, page).fetch(tx).await
}

/// How many rows match, on whatever page.
pub async fn count(tx: &mut TenantTx, scope: Scope, filter: &Filter) -> Result<i64, Error> {
    count_query(tx.account_id(), scope, filter).count(tx).await
}

fn page_query(
    account_id: i64,
    scope: Scope,
    filter: &Filter,
    page: &Page<StripeCustomer>,
) -> ListQuery {
    let select = concat!("SELECT ", columns!(), " FROM crm.stripe_customers WHERE account_id = ");
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, account_id, scope, filter);
    query.page(page);
    query
}

fn count_query(account_id: i64, scope: Scope, filter: &Filter) -> ListQuery {
    let select = "SELECT count(*) FROM crm.stripe_customers WHERE account_id = ";
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, account_id, scope, filter);
    query
}

fn narrow(query: &mut ListQuery, account_id: i64, scope: Scope, filter: &Filter) {
    scope.narrow(query, account_id, "client_id");
    if let Some(client_id) = filter.client_id {
        query.text(" AND client_id = ").bind(client_id);
    }
    if let Some(status) = filter.status {
        query.text(" AND status = ").bind(status);
    }
}

/// Every combination of scopes, filters, orders and places in them.
fn list_variants() -> Vec<String> {
    let pages = Page::variants(super::model::ORDERS);
    let mut texts = Vec::new();
    for scope in [Scope::Account, Scope::Assigned(1)] {
        for client_id in [None, Some(1)] {
            for status in [None, Some("active")] {
                let filter = Filter { client_id, status };
                texts.push(count_query(1, scope, &filter).into_text());
                let of_page = |page| page_query(1, scope, &filter, page).into_text();
                texts.extend(pages.iter().map(of_page));
            }
        }
    }
    texts
}

sql_family!(list_variants);
