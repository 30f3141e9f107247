//! Queries on client packages.

use service_kit::{
    db::{ListQuery, Rows, TenantTx},
    error::Error,
    page::Page,
    sql, sql_family,
};
use sqlx::{Postgres, postgres::PgArguments, query::QueryAs};

use super::model::{ClientPackage, Details, Filter, ORDERS};
use crate::visibility::{Scope, seen};

type ClientPackageQuery<'q> = QueryAs<'q, Postgres, ClientPackage, PgArguments>;

/// The columns of a [`ClientPackage`].
macro_rules! columns {
    () => {
        "id, client_id, package_id, currency, custom_price, monthly_payment_amount,
         payment_schedule, start_date, status, create_time, update_time, version"
    };
}

/// Adds a client package to a locked client.
pub async fn insert(
    tx: &mut TenantTx,
    client_id: i64,
    package_id: i64,
    details: &Details,
) -> Result<ClientPackage, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "INSERT INTO crm.client_packages
             (account_id, client_id, package_id, currency, custom_price, monthly_payment_amount,
              payment_schedule, start_date, status, create_time, update_time)
         VALUES ($1, $9, $10, $3, $4, $5, $6, $7, $8, $2, $2)
         RETURNING ",
        columns!()
    ));
    let query = bind_details(query.bind(account_id).bind(now), details);
    tx.one(query.bind(client_id).bind(package_id)).await
}

/// What is written of a client package, as $3 to $8.
fn bind_details<'q>(query: ClientPackageQuery<'q>, it: &'q Details) -> ClientPackageQuery<'q> {
    query
        .bind(&it.currency)
        .bind(it.custom_price)
        .bind(it.monthly_payment_amount)
        .bind(&it.payment_schedule)
        .bind(it.start_date)
        .bind(&it.status)
}

/// A client package of a client whom the caller sees.
pub async fn find(
    tx: &mut TenantTx,
    scope: Scope,
    id: i64,
) -> Result<Option<ClientPackage>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.client_packages WHERE account_id = $1 AND id = $2 AND ",
        seen!("client_packages.client_id")
    ))
    .bind(account_id)
    .bind(id)
    .bind(scope.employee_id());
    tx.optional(query).await
}

/// A client package of a locked client.
pub async fn lock(tx: &mut TenantTx, id: i64) -> Result<Option<ClientPackage>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.client_packages WHERE account_id = $1 AND id = $2 FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// Puts new details in place of those of a locked client package.
pub async fn update(tx: &mut TenantTx, id: i64, details: &Details) -> Result<ClientPackage, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE crm.client_packages
         SET currency = $3, custom_price = $4, monthly_payment_amount = $5, payment_schedule = $6,
             start_date = $7, status = $8, update_time = $2, version = version + 1
         WHERE account_id = $1 AND id = $9
         RETURNING ",
        columns!()
    ));
    tx.one(bind_details(query.bind(account_id).bind(now), details).bind(id)).await
}

/// The client packages of a page, and one more if there is another page.
pub async fn list(
    tx: &mut TenantTx,
    scope: Scope,
    filter: &Filter,
    page: &Page<ClientPackage>,
) -> Result<Rows<ClientPackage>, Error> {
    page_query(tx.account_id(), scope, filter, page).fetch(tx).await
}

/// How many client packages match, on whatever page.
pub async fn count(tx: &mut TenantTx, scope: Scope, filter: &Filter) -> Result<i64, Error> {
    count_query(tx.account_id(), scope, filter).count(tx).await
}

fn page_query(
    account_id: i64,
    scope: Scope,
    filter: &Filter,
    page: &Page<ClientPackage>,
) -> ListQuery {
    let select = concat!("SELECT ", columns!(), " FROM crm.client_packages WHERE account_id = ");
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, account_id, scope, filter);
    query.page(page);
    query
}

fn count_query(account_id: i64, scope: Scope, filter: &Filter) -> ListQuery {
    let select = "SELECT count(*) FROM crm.client_packages WHERE account_id = ";
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, account_id, scope, filter);
    query
}

fn narrow(query: &mut ListQuery, account_id: i64, scope: Scope, filter: &Filter) {
    if let Some(client_id) = filter.client_id {
        query.text(" AND client_id = ").bind(client_id);
    }
    if let Some(package_id) = filter.package_id {
        query.text(" AND package_id = ").bind(package_id);
    }
    if let Some(status) = filter.status {
        query.text(" AND status = ").bind(status);
    }
    if let Some(schedule) = filter.payment_schedule {
        query.text(" AND payment_schedule = ").bind(schedule);
    }
    scope.narrow(query, account_id, "client_id");
}

/// Every combination of scopes, filters, orders and places in them.
fn list_variants() -> Vec<String> {
    let pages = Page::variants(ORDERS);
    let mut texts = Vec::new();
    for scope in [Scope::Account, Scope::Assigned(1)] {
        for filter in filter_variants() {
            texts.push(count_query(1, scope, &filter).into_text());
            texts.extend(pages.iter().map(|page| page_query(1, scope, &filter, page).into_text()));
        }
    }
    texts
}

/// Each filter given or not.
fn filter_variants() -> impl Iterator<Item = Filter> {
    (0..16).map(|variant| {
        let given = |place: i32| variant & place != 0;
        Filter {
            client_id: given(1).then_some(1),
            package_id: given(2).then_some(1),
            status: given(4).then_some("active"),
            payment_schedule: given(8).then_some("PIF"),
        }
    })
}

sql_family!(list_variants);
