//! Queries on what Stripe told.

use service_kit::{
    db::{ListQuery, Rows, TenantTx},
    error::Error,
    page::Page,
    sql, sql_family,
};
use sqlx::types::Json;

use super::model::{Event, Facts, Filter, Parked};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Applied,
    /// It is known, and changes nothing.
    Ignored,
    /// It waits for its customer or charge.
    Parked,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Ignored => "ignored",
            Self::Parked => "parked",
        }
    }
}

/// An event as it is kept.
#[derive(Debug, sqlx::FromRow)]
pub struct Stored {
    pub id: i64,
    pub endpoint_id: i64,
    pub charge_id: String,
    pub customer_id: String,
    pub event_time: chrono::DateTime<chrono::Utc>,
    pub facts: Json<Facts>,
}

/// Waits for whoever settles events of this account, or ties one of its clients to a customer;
/// others wait for this transaction then.
pub async fn queue(tx: &mut TenantTx) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!("SELECT id FROM crm.accounts WHERE id = $1 FOR NO KEY UPDATE"))
        .bind(account_id);
    tx.execute(query).await?;
    Ok(())
}

/// Puts an event into the inbox, to wait there; nothing where it was told before. Somebody who
/// is just telling the same is waited for.
pub async fn insert(
    tx: &mut TenantTx,
    endpoint_id: i64,
    event: &Event,
) -> Result<Option<Stored>, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "INSERT INTO crm.stripe_events
             (account_id, event_id, endpoint_id, type, charge_id, customer_id, event_time,
              create_time, facts, state)
         VALUES ($1, $3, $4, $5, $6, $7, $8, $2, $9, 'parked')
         ON CONFLICT (account_id, event_id) DO NOTHING
         RETURNING id, endpoint_id, charge_id, customer_id, event_time, facts"
    ))
    .bind(account_id)
    .bind(now)
    .bind(&event.event_id)
    .bind(endpoint_id)
    .bind(&event.kind)
    .bind(&event.charge_id)
    .bind(&event.customer_id)
    .bind(event.time)
    .bind(Json(&event.facts));
    tx.optional(query).await
}

/// What waits for a customer, the oldest first.
pub async fn parked_by_customer(
    tx: &mut TenantTx,
    stripe_customer_id: &str,
) -> Result<Vec<Stored>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT id, endpoint_id, charge_id, customer_id, event_time, facts
         FROM crm.stripe_events
         WHERE account_id = $1 AND customer_id = $2 AND state = 'parked'
         ORDER BY event_time, id FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(stripe_customer_id);
    tx.all(query).await
}

/// What waits for a charge, the oldest first.
pub async fn parked_by_charge(tx: &mut TenantTx, charge_id: &str) -> Result<Vec<Stored>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT id, endpoint_id, charge_id, customer_id, event_time, facts
         FROM crm.stripe_events
         WHERE account_id = $1 AND charge_id = $2 AND charge_id <> '' AND state = 'parked'
         ORDER BY event_time, id FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(charge_id);
    tx.all(query).await
}

/// Whether, of what was told about a charge, its latest word is that it failed. Of two words at
/// once success counts.
pub async fn has_failed(tx: &mut TenantTx, charge_id: &str) -> Result<bool, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT (facts ->> 'has_failed')::boolean AS has_failed FROM crm.stripe_events
         WHERE account_id = $1 AND charge_id = $2 AND charge_id <> ''
           AND facts ->> 'fact' = 'charged'
         ORDER BY event_time DESC, has_failed LIMIT 1"
    ))
    .bind(account_id)
    .bind(charge_id);
    let latest: Option<(bool,)> = tx.optional(query).await?;
    Ok(latest.is_some_and(|(has_failed,)| has_failed))
}

/// Whether it was told how a dispute of this charge ended, and how: the latest word.
pub async fn dispute_won(tx: &mut TenantTx, charge_id: &str) -> Result<Option<bool>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT (facts ->> 'is_won')::boolean AS is_won FROM crm.stripe_events
         WHERE account_id = $1 AND charge_id = $2 AND charge_id <> ''
           AND facts ->> 'fact' = 'dispute_closed'
         ORDER BY event_time DESC, is_won LIMIT 1"
    ))
    .bind(account_id)
    .bind(charge_id);
    let latest: Option<(bool,)> = tx.optional(query).await?;
    Ok(latest.map(|(is_won,)| is_won))
}

/// Says what became of an event.
pub async fn set_state(tx: &mut TenantTx, id: i64, state: State) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "UPDATE crm.stripe_events SET state = $3 WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(id)
    .bind(state.text());
    tx.execute(query).await?;
    Ok(())
}

/// The parked events of a page, and one more if there is another page.
pub async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    page: &Page<Parked>,
) -> Result<Rows<Parked>, Error> {
    page_query(tx.account_id(), filter, page).fetch(tx).await
}

/// How many match, on whatever page.
pub async fn count(tx: &mut TenantTx, filter: &Filter) -> Result<i64, Error> {
    count_query(tx.account_id(), filter).count(tx).await
}

fn page_query(account_id: i64, filter: &Filter, page: &Page<Parked>) -> ListQuery {
    let select = "SELECT id, event_id, type, customer_id, charge_id, endpoint_id, event_time,
                      create_time
                  FROM crm.stripe_events WHERE account_id = ";
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, filter);
    query.page(page);
    query
}

fn count_query(account_id: i64, filter: &Filter) -> ListQuery {
    let select = "SELECT count(*) FROM crm.stripe_events WHERE account_id = ";
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, filter);
    query
}

fn narrow(query: &mut ListQuery, filter: &Filter) {
    query.text(" AND state = 'parked'");
    if let Some(customer_id) = &filter.customer_id {
        query.text(" AND customer_id = ").bind(customer_id.clone());
    }
}

/// Every combination of filters, orders and places in them.
fn list_variants() -> Vec<String> {
    let pages = Page::variants(super::model::ORDERS);
    let filters = [None, Some("cus_1".to_owned())].map(|customer_id| Filter { customer_id });
    let counts = filters.iter().map(|filter| count_query(1, filter).into_text());
    let lists = filters
        .iter()
        .flat_map(|filter| pages.iter().map(move |page| page_query(1, filter, page).into_text()));
    counts.chain(lists).collect()
}

sql_family!(list_variants);
