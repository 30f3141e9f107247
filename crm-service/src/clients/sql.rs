//! Queries on clients.

use service_kit::{
    db::{ListQuery, Rows, TenantTx},
    error::Error,
    page::Page,
    sql, sql_family,
};
use sqlx::{Postgres, postgres::PgArguments, query::QueryAs};

use super::model::{Client, Details, Filter};
use crate::accounts::met;

type ClientQuery<'q> = QueryAs<'q, Postgres, Client, PgArguments>;

/// The columns of a [`Client`].
macro_rules! columns {
    () => {
        "id, first_name, last_name, name_key, email, phone_number, status, country, currency, notes, labels,
         create_time, update_time, delete_time, version"
    };
}

/// Adds a client to the account, which comes into being with its first one.
pub async fn insert(tx: &mut TenantTx, details: &Details) -> Result<Client, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        met!(),
        "INSERT INTO crm.clients
             (account_id, first_name, last_name, name_key, email, email_key, phone_number, status,
              country, currency, notes, labels, create_time, update_time)
         VALUES ($1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $2, $2)
         RETURNING ",
        columns!()
    ));
    let client = tx.one(bind_details(query.bind(account_id).bind(now), details)).await?;
    add_search_words(tx, client.id, details).await?;
    Ok(client)
}

/// What is written of a client, as $3 to $13.
fn bind_details<'q>(query: ClientQuery<'q>, details: &'q Details) -> ClientQuery<'q> {
    query
        .bind(&details.first_name)
        .bind(&details.last_name)
        .bind(details.name_key())
        .bind(&details.email)
        .bind(details.email_key())
        .bind(&details.phone_number)
        .bind(&details.status)
        .bind(&details.country)
        .bind(&details.currency)
        .bind(&details.notes)
        .bind(&details.labels)
}

/// A client that is not deleted.
pub async fn find(tx: &mut TenantTx, id: i64) -> Result<Option<Client>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.clients
         WHERE account_id = $1 AND id = $2 AND delete_time IS NULL"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// A client, deleted or not, that nobody else changes until this transaction ends.
pub async fn lock(tx: &mut TenantTx, id: i64) -> Result<Option<Client>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.clients WHERE account_id = $1 AND id = $2 FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// Puts new details in place of those of a locked client.
pub async fn update(
    tx: &mut TenantTx,
    before: &Client,
    details: &Details,
) -> Result<Client, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE crm.clients
         SET first_name = $3, last_name = $4, name_key = $5, email = $6, email_key = $7,
             phone_number = $8, status = $9, country = $10, currency = $11, notes = $12,
             labels = $13, update_time = $2, version = version + 1
         WHERE account_id = $1 AND id = $14
         RETURNING ",
        columns!()
    ));
    let query = bind_details(query.bind(account_id).bind(now), details);
    let client = tx.one(query.bind(before.id)).await?;
    if details.search_words() != before.details.search_words() {
        drop_search_words(tx, client.id).await?;
        add_search_words(tx, client.id, details).await?;
    }
    Ok(client)
}

/// Hides a locked client.
pub async fn delete(tx: &mut TenantTx, id: i64) -> Result<Client, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE crm.clients SET delete_time = $3, update_time = $3, version = version + 1
         WHERE account_id = $1 AND id = $2
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(id)
    .bind(now);
    tx.one(query).await
}

/// Brings a locked client back, if its address is still free.
pub async fn undelete(tx: &mut TenantTx, id: i64) -> Result<Client, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE crm.clients SET delete_time = NULL, update_time = $3, version = version + 1
         WHERE account_id = $1 AND id = $2
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(id)
    .bind(now);
    tx.one(query).await
}

/// The clients of a page, and one more if there is another page.
pub async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    page: &Page<Client>,
) -> Result<Rows<Client>, Error> {
    page_query(tx.account_id(), filter, page).fetch(tx).await
}

/// How many clients match, on whatever page.
pub async fn count(tx: &mut TenantTx, filter: &Filter) -> Result<i64, Error> {
    count_query(tx.account_id(), filter).count(tx).await
}

fn page_query(account_id: i64, filter: &Filter, page: &Page<Client>) -> ListQuery {
    let select = concat!("SELECT ", columns!(), " FROM crm.clients WHERE account_id = ");
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, account_id, filter);
    query.page(page);
    query
}

fn count_query(account_id: i64, filter: &Filter) -> ListQuery {
    let mut query =
        ListQuery::new("SELECT count(*) FROM crm.clients WHERE account_id = ", account_id);
    narrow(&mut query, account_id, filter);
    query
}

fn narrow(query: &mut ListQuery, account_id: i64, filter: &Filter) {
    query.text(" AND delete_time IS NULL");
    match filter.statuses.as_slice() {
        [] => {}
        // A single one is an equality, so that the index by status keeps the order.
        [status] => _ = query.text(" AND status = ").bind(*status),
        several => {
            _ = query.text(" AND status = ANY(").bind(several.to_vec()).text(")");
        }
    }
    if let Some(country) = filter.country {
        query.text(" AND country = ").bind(country.code());
    }
    for word in &filter.words {
        query
            .text(" AND id IN (SELECT client_id FROM crm.client_search_words WHERE account_id = ")
            .bind(account_id)
            .text(" AND ")
            .begins("word", word)
            .text(")");
    }
}

async fn add_search_words(tx: &mut TenantTx, id: i64, details: &Details) -> Result<(), Error> {
    let account_id = tx.account_id();
    let words: Vec<_> = details.search_words().into_iter().collect();
    let query = sqlx::query(sql!(
        "INSERT INTO crm.client_search_words (account_id, word, client_id)
         SELECT $1, word, $2 FROM unnest($3::text[]) AS word ON CONFLICT DO NOTHING"
    ))
    .bind(account_id)
    .bind(id)
    .bind(words);
    tx.execute(query).await?;
    Ok(())
}

async fn drop_search_words(tx: &mut TenantTx, id: i64) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "DELETE FROM crm.client_search_words WHERE account_id = $1 AND client_id = $2"
    ))
    .bind(account_id)
    .bind(id);
    tx.execute(query).await?;
    Ok(())
}

/// Every combination of filters, orders and places in them.
fn list_variants() -> Vec<String> {
    let filters = filter_variants();
    let counts = filters.iter().map(|filter| count_query(1, filter).into_text());
    let pages = Page::variants(super::model::ORDERS);
    let lists = filters
        .iter()
        .flat_map(|filter| pages.iter().map(move |page| page_query(1, filter, page).into_text()));
    counts.chain(lists).collect()
}

fn filter_variants() -> Vec<Filter> {
    let mut filters = Vec::new();
    for statuses in [vec![], vec!["active"], vec!["active", "paused"]] {
        for country in ["", "NL"] {
            for words in [vec![], vec!["ada".to_owned()], vec!["ada".to_owned(), "love".to_owned()]]
            {
                let country = service_kit::fields::Country::optional(country).unwrap_or_default();
                filters.push(Filter { statuses: statuses.clone(), country, words });
            }
        }
    }
    filters
}

sql_family!(list_variants);
