//! Queries on clients.

use service_kit::{
    db::{ListQuery, Rows, TenantTx},
    error::Error,
    fields::Country,
    page::Page,
    sql, sql_family,
};
use sqlx::{Postgres, postgres::PgArguments, query::QueryAs};

use super::{
    filter::Filter,
    model::{Client, Details},
    parts::Parts,
    statistics::Statistics,
    work::WHOLE_ACCOUNT,
};
use crate::{
    accounts::met,
    visibility::{Scope, seen},
};

type ClientQuery<'q> = QueryAs<'q, Postgres, Client, PgArguments>;

/// The columns of a [`Client`] that nobody else has a copy of.
macro_rules! own_columns {
    () => {
        "first_name, last_name, email, phone_number, status, coach_id, closer_id, setter_id, country,
         currency, notes, labels, update_time, delete_time, version"
    };
}

/// The columns of a [`Client`].
macro_rules! columns {
    () => {
        concat!("id, create_time, name_key, ", own_columns!())
    };
}

pub(super) use {columns, own_columns};

/// An employee's own clients, in the order of an index over those alone: what lists are sorted
/// by is theirs, everything else the client's.
macro_rules! of_member {
    () => {
        " FROM (SELECT client_id AS id, create_time, name_key, is_live
                FROM crm.client_members WHERE account_id = "
    };
}

/// Adds a client to the account, which comes into being with its first one.
pub async fn insert(tx: &mut TenantTx, details: &Details) -> Result<Client, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        met!(),
        "INSERT INTO crm.clients
             (account_id, first_name, last_name, name_key, email, email_key, phone_number, status,
              country, currency, notes, labels, coach_id, closer_id, setter_id, create_time,
              update_time)
         VALUES ($1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $2, $2)
         RETURNING ",
        columns!()
    ));
    tx.one(bind_details(query.bind(account_id).bind(now), details)).await
}

/// What is written of a client, as $3 to $16.
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
        .bind(details.parts.coach_id)
        .bind(details.parts.closer_id)
        .bind(details.parts.setter_id)
}

/// A client that is not deleted.
pub async fn find(tx: &mut TenantTx, scope: Scope, id: i64) -> Result<Option<Client>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.clients
         WHERE account_id = $1 AND id = $2 AND delete_time IS NULL AND ",
        seen!("$2")
    ))
    .bind(account_id)
    .bind(id)
    .bind(scope.employee_id());
    tx.optional(query).await
}

/// Those of several clients who are there, by id.
pub async fn find_all(
    tx: &mut TenantTx,
    scope: Scope,
    ids: Vec<i64>,
) -> Result<Vec<Client>, Error> {
    let clients = batch_query(tx.account_id(), scope, ids).fetch(tx).await?;
    if clients.cut_short { Err(Error::TooLarge) } else { Ok(clients.rows) }
}

/// A client, deleted or not, that nobody else changes until this transaction ends.
pub async fn lock(tx: &mut TenantTx, scope: Scope, id: i64) -> Result<Option<Client>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.clients WHERE account_id = $1 AND id = $2 AND ",
        seen!("$2"),
        " FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(id)
    .bind(scope.employee_id());
    tx.optional(query).await
}

/// Puts new details in place of those of a locked client.
pub async fn update(tx: &mut TenantTx, id: i64, details: &Details) -> Result<Client, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE crm.clients
         SET first_name = $3, last_name = $4, name_key = $5, email = $6, email_key = $7,
             phone_number = $8, status = $9, country = $10, currency = $11, notes = $12,
             labels = $13, coach_id = $14, closer_id = $15, setter_id = $16, update_time = $2,
             version = version + 1
         WHERE account_id = $1 AND id = $17
         RETURNING ",
        columns!()
    ));
    tx.one(bind_details(query.bind(account_id).bind(now), details).bind(id)).await
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
    scope: Scope,
    filter: &Filter,
    page: &Page<Client>,
) -> Result<Rows<Client>, Error> {
    page_query(tx.account_id(), scope, filter, page).fetch(tx).await
}

/// How many clients match, of each status. Without a filter they are counted already.
pub async fn statistics(
    tx: &mut TenantTx,
    scope: Scope,
    filter: &Filter,
) -> Result<Statistics, Error> {
    if *filter == Filter::default() {
        return counted(tx, scope).await;
    }
    let counts = statistics_query(tx.account_id(), scope, filter).fetch(tx).await?;
    Ok(Statistics::of(counts.rows))
}

/// How many clients match in all, for a page that asks for it.
pub async fn total(
    tx: &mut TenantTx,
    scope: Scope,
    filter: &Filter,
    page: &Page<Client>,
) -> Result<Option<i64>, Error> {
    if !page.include_total {
        return Ok(None);
    }
    Ok(Some(statistics(tx, scope, filter).await?.total()))
}

async fn counted(tx: &mut TenantTx, scope: Scope) -> Result<Statistics, Error> {
    let account_id = tx.account_id();
    let employee_id = match scope {
        Scope::Account => WHOLE_ACCOUNT,
        // Whoever has no part in anything is not the account.
        Scope::Assigned(WHOLE_ACCOUNT) => return Ok(Statistics::default()),
        Scope::Assigned(employee_id) => employee_id,
    };
    let query = sqlx::query_as(sql!(
        "SELECT status, clients FROM crm.client_counts WHERE account_id = $1 AND employee_id = $2"
    ))
    .bind(account_id)
    .bind(employee_id);
    Ok(Statistics::of(tx.all(query).await?))
}

fn page_query(account_id: i64, scope: Scope, filter: &Filter, page: &Page<Client>) -> ListQuery {
    let mut query = match scope {
        Scope::Account => ListQuery::new(
            concat!("SELECT ", columns!(), " FROM crm.clients WHERE account_id = "),
            account_id,
        ),
        Scope::Assigned(employee_id) => {
            let select = concat!("SELECT ", columns!(), of_member!());
            of_member(select, account_id, employee_id)
        }
    };
    narrow(&mut query, account_id, filter);
    query.page(page);
    query
}

fn statistics_query(account_id: i64, scope: Scope, filter: &Filter) -> ListQuery {
    let mut query = match scope {
        Scope::Account => ListQuery::new(
            "SELECT status, count(*) FROM crm.clients WHERE account_id = ",
            account_id,
        ),
        Scope::Assigned(employee_id) => {
            let select = concat!("SELECT status, count(*)", of_member!());
            of_member(select, account_id, employee_id)
        }
    };
    narrow(&mut query, account_id, filter);
    query.text(" GROUP BY status");
    query
}

/// Lists what belongs to an employee, in the form that [`narrow`] goes on with.
fn of_member(select: &'static str, account_id: i64, employee_id: i64) -> ListQuery {
    let mut query = ListQuery::new(select, account_id);
    query
        .text(" AND employee_id = ")
        .bind(employee_id)
        .text(concat!(
            ") AS member JOIN (SELECT id, ",
            own_columns!(),
            " FROM crm.clients WHERE account_id = "
        ))
        .bind(account_id)
        .text(") AS client USING (id) WHERE is_live");
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
    let Parts { coach_id, closer_id, setter_id } = filter.parts;
    for (condition, employee_id) in [
        (" AND coach_id = ", coach_id),
        (" AND closer_id = ", closer_id),
        (" AND setter_id = ", setter_id),
    ] {
        if let Some(id) = employee_id {
            query.text(condition).bind(id);
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

fn batch_query(account_id: i64, scope: Scope, ids: Vec<i64>) -> ListQuery {
    let select = concat!("SELECT ", columns!(), " FROM crm.clients WHERE account_id = ");
    let mut query = ListQuery::new(select, account_id);
    query.text(" AND delete_time IS NULL AND id = ANY(").bind(ids).text(")");
    scope.narrow(&mut query, account_id, "id");
    query.text(" ORDER BY id");
    query
}

const SCOPES: [Scope; 2] = [Scope::Account, Scope::Assigned(1)];

fn batch_variants() -> Vec<String> {
    SCOPES.map(|scope| batch_query(1, scope, Vec::new()).into_text()).into()
}

sql_family!(batch_variants);

/// Every combination of scopes, filters, orders and places in them.
fn list_variants() -> Vec<String> {
    let pages = Page::variants(super::model::ORDERS);
    let mut texts = Vec::new();
    for scope in SCOPES {
        for filter in filter_variants() {
            texts.push(statistics_query(1, scope, &filter).into_text());
            texts.extend(pages.iter().map(|page| page_query(1, scope, &filter, page).into_text()));
        }
    }
    texts
}

/// Every combination of filters; of parts, one of them or all, beside nothing else or anything
/// that has an index of its own.
fn filter_variants() -> Vec<Filter> {
    let word = |word: &str| word.to_owned();
    let mut filters = Vec::new();
    for statuses in [vec![], vec!["active"], vec!["active", "paused"]] {
        for country in ["", "NL"] {
            let country = Country::optional(country).unwrap_or_default();
            for words in [vec![], vec![word("ada")], vec![word("ada"), word("love")]] {
                let parts = Parts::default();
                filters.push(Filter { statuses: statuses.clone(), parts, country, words });
            }
        }
    }
    let [one, two, three] = [Some(1), Some(2), Some(3)];
    for (coach_id, closer_id, setter_id) in
        [(one, None, None), (None, one, None), (None, None, one), (one, two, three)]
    {
        let parts = Parts { coach_id, closer_id, setter_id };
        for statuses in [vec![], vec!["active"]] {
            for words in [vec![], vec![word("ada")]] {
                let (statuses, parts) = (statuses.clone(), parts.clone());
                filters.push(Filter { statuses, parts, country: None, words });
            }
        }
    }
    filters
}

sql_family!(list_variants);
