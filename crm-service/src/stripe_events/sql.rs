//! Queries on what Stripe told.

use service_kit::{
    db::{Db, Found, ListQuery, Rows, TenantTx},
    error::Error,
    page::Page,
    sql, sql_family,
};
use sqlx::types::Json;

use super::{
    backlog::Backlog,
    model::Event,
    parked::{Filter, Parked},
    story::Word,
};
use crate::payments::model::Payment;

/// What became of an event that waits no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Applied,
    /// It is known, and changes nothing.
    Ignored,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Ignored => "ignored",
        }
    }
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

/// Puts an event into the inbox, to wait there, and gives its id; nothing where it was told
/// before. Somebody who is just telling the same is waited for.
pub async fn insert(
    tx: &mut TenantTx,
    endpoint_id: i64,
    event: &Event,
) -> Result<Option<i64>, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "INSERT INTO crm.stripe_events
             (account_id, event_id, endpoint_id, type, charge_id, customer_id, event_time,
              create_time, facts, state)
         VALUES ($1, $3, $4, $5, $6, $7, $8, $2, $9, 'parked')
         ON CONFLICT (account_id, event_id) DO NOTHING
         RETURNING id"
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
    let inserted: Option<(i64,)> = tx.optional(query).await?;
    Ok(inserted.map(|(id,)| id))
}

/// More words than Stripe ever has for one charge: it is not read without end.
const MOST_WORDS: i64 = 500;

/// What was told about a charge, the latest words at least.
pub async fn words(tx: &mut TenantTx, charge_id: &str) -> Result<Vec<Word>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT event_id, endpoint_id, customer_id, event_time, facts FROM crm.stripe_events
         WHERE account_id = $1 AND charge_id = $2 AND charge_id <> ''
           AND facts ->> 'fact' <> 'nothing'
         ORDER BY facts ->> 'fact' = 'charged' DESC, event_time DESC, id LIMIT $3"
    ))
    .bind(account_id)
    .bind(charge_id)
    .bind(MOST_WORDS);
    tx.all(query).await
}

/// Says of an event that it changes nothing.
pub async fn ignore(tx: &mut TenantTx, id: i64) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "UPDATE crm.stripe_events SET state = 'ignored' WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(id);
    tx.execute(query).await?;
    Ok(())
}

/// Says what became of the parked words about a charge that tell such facts; what they tell in
/// another currency than the payment's goes on waiting.
pub async fn settle(
    tx: &mut TenantTx,
    payment: &Payment,
    facts: &[&str],
    state: State,
) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "UPDATE crm.stripe_events SET state = $4
         WHERE account_id = $1 AND charge_id = $2 AND charge_id <> '' AND state = 'parked'
           AND facts ->> 'fact' = ANY($3) AND coalesce(facts ->> 'currency', $5) = $5"
    ))
    .bind(account_id)
    .bind(&payment.stripe_charge_id)
    .bind(facts)
    .bind(state.text())
    .bind(&payment.currency);
    tx.execute(query).await?;
    Ok(())
}

/// Says of what waits about a customer, and no charge, that it is applied; whether it tells that
/// they are gone.
pub async fn settle_customer(tx: &mut TenantTx, stripe_customer_id: &str) -> Result<bool, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "UPDATE crm.stripe_events SET state = 'applied'
         WHERE account_id = $1 AND customer_id = $2 AND charge_id = '' AND state = 'parked'
         RETURNING facts ->> 'fact' = 'customer_deleted'"
    ))
    .bind(account_id)
    .bind(stripe_customer_id);
    let tells_of_end: Vec<(bool,)> = tx.all(query).await?;
    Ok(tells_of_end.contains(&(true,)))
}

/// Of what waits about a customer, and no charge, only one word goes on waiting: that they are
/// gone, or else the newest.
pub async fn keep_one_word(tx: &mut TenantTx, stripe_customer_id: &str) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "UPDATE crm.stripe_events SET state = 'ignored'
         WHERE account_id = $1 AND customer_id = $2 AND charge_id = '' AND state = 'parked'
           AND id <> (
               SELECT id FROM crm.stripe_events
               WHERE account_id = $1 AND customer_id = $2 AND charge_id = '' AND state = 'parked'
               ORDER BY facts ->> 'fact' = 'customer_deleted' DESC, event_time DESC, id DESC
               LIMIT 1)"
    ))
    .bind(account_id)
    .bind(stripe_customer_id);
    tx.execute(query).await?;
    Ok(())
}

/// Notes that charges wait for a customer, if any do.
pub async fn begin_backlog(tx: &mut TenantTx, stripe_customer_id: &str) -> Result<bool, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "INSERT INTO crm.stripe_backlogs (account_id, stripe_customer_id, create_time)
         SELECT $1, $2, $3 WHERE EXISTS (
             SELECT FROM crm.stripe_events
             WHERE account_id = $1 AND customer_id = $2 AND state = 'parked'
               AND facts ->> 'fact' = 'charged')
         ON CONFLICT (account_id, stripe_customer_id) DO NOTHING"
    ))
    .bind(account_id)
    .bind(stripe_customer_id)
    .bind(now);
    Ok(tx.execute(query).await? == 1)
}

pub async fn has_backlog(tx: &mut TenantTx, stripe_customer_id: &str) -> Result<bool, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT EXISTS (
             SELECT FROM crm.stripe_backlogs
             WHERE account_id = $1 AND stripe_customer_id = $2)"
    ))
    .bind(account_id)
    .bind(stripe_customer_id);
    let (has_backlog,) = tx.one(query).await?;
    Ok(has_backlog)
}

/// The charges that have waited for a customer, those that happened first before the others. A
/// word that goes on waiting beside the payment of its charge makes nothing of it.
pub async fn next_charges(
    tx: &mut TenantTx,
    stripe_customer_id: &str,
    most: i64,
) -> Result<Vec<String>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT charge_id FROM crm.stripe_events
         WHERE account_id = $1 AND customer_id = $2 AND state = 'parked'
           AND facts ->> 'fact' = 'charged' AND NOT EXISTS (
               SELECT FROM crm.payments
               WHERE account_id = $1 AND stripe_charge_id = stripe_events.charge_id)
         ORDER BY event_time, id LIMIT $3"
    ))
    .bind(account_id)
    .bind(stripe_customer_id)
    .bind(most);
    let charges: Vec<(String,)> = tx.all(query).await?;
    Ok(charges.into_iter().map(|(charge_id,)| charge_id).collect())
}

/// Nothing waits for a customer any more.
pub async fn end_backlog(tx: &mut TenantTx, stripe_customer_id: &str) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "DELETE FROM crm.stripe_backlogs WHERE account_id = $1 AND stripe_customer_id = $2"
    ))
    .bind(account_id)
    .bind(stripe_customer_id);
    tx.execute(query).await?;
    Ok(())
}

/// What waits for one customer, if anything does.
pub async fn backlog(
    db: &Db,
    account_id: i64,
    stripe_customer_id: &str,
) -> Result<Option<Found<Backlog>>, Error> {
    let text = sql!(
        "SELECT account_id, stripe_customer_id FROM crm.stripe_backlogs AS waiting
         WHERE account_id = $1 AND stripe_customer_id = $2"
    );
    db.unscoped()
        .find(text, |query| query.bind(account_id).bind(stripe_customer_id.to_owned()))
        .await
}

/// More than one round has to know of.
const MOST_BACKLOGS: i64 = 1000;

/// What waits in all accounts: of each account the oldest first, one of each account after the
/// other.
pub async fn backlogs(db: &Db) -> Result<Vec<Found<Backlog>>, Error> {
    let text = sql!(
        "SELECT account_id, stripe_customer_id FROM crm.stripe_backlogs AS waiting
         ORDER BY row_number() OVER (PARTITION BY account_id ORDER BY create_time), create_time
         LIMIT $1"
    );
    db.unscoped().all(text, |query| query.bind(MOST_BACKLOGS)).await
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
                      create_time, facts,
                      (SELECT currency FROM crm.payments
                       WHERE account_id = $1
                         AND stripe_charge_id = charge_id) AS payment_currency
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
    let pages = Page::variants(super::parked::ORDERS);
    let filters = [None, Some("cus_1".to_owned())].map(|customer_id| Filter { customer_id });
    let counts = filters.iter().map(|filter| count_query(1, filter).into_text());
    let lists = filters
        .iter()
        .flat_map(|filter| pages.iter().map(move |page| page_query(1, filter, page).into_text()));
    counts.chain(lists).collect()
}

sql_family!(list_variants);
