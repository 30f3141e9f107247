//! Queries on what was done: unqualified, because each service has the table in its own schema.

use super::{Event, Filter};
use crate::{
    db::{ListQuery, Rows, TenantTx},
    error::Error,
    page::Page,
    sql_family,
};

/// The events of a page, and one more if there is another page.
pub async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    page: &Page<Event>,
) -> Result<Rows<Event>, Error> {
    page_query(tx.account_id(), filter, page).fetch(tx).await
}

/// How many events match, on whatever page.
pub async fn count(tx: &mut TenantTx, filter: &Filter) -> Result<i64, Error> {
    count_query(tx.account_id(), filter).count(tx).await
}

fn page_query(account_id: i64, filter: &Filter, page: &Page<Event>) -> ListQuery {
    let select = "SELECT id, time, actor, action, subject, subject_id, network, request_id, details
                  FROM audit_events WHERE account_id = ";
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, filter);
    query.page(page);
    query
}

fn count_query(account_id: i64, filter: &Filter) -> ListQuery {
    let select = "SELECT count(*) FROM audit_events WHERE account_id = ";
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, filter);
    query
}

fn narrow(query: &mut ListQuery, filter: &Filter) {
    if let Some(actor) = &filter.actor {
        query.text(" AND actor = ").bind(actor.clone());
    }
    if let Some(action) = &filter.action {
        query.text(" AND action = ").bind(action.clone());
    }
    if let Some(subject) = &filter.subject {
        query.text(" AND subject = ").bind(subject.clone());
    }
    if let Some(subject_id) = filter.subject_id {
        query.text(" AND subject_id = ").bind(subject_id);
    }
    if let Some(from) = filter.from_time {
        query.text(" AND time >= ").bind(from);
    }
    if let Some(until) = filter.until_time {
        query.text(" AND time < ").bind(until);
    }
}

/// Every combination of filters, orders and places in them.
fn list_variants() -> Vec<String> {
    let filters = filter_variants();
    let counts = filters.iter().map(|filter| count_query(1, filter).into_text());
    let pages = Page::variants(super::ORDERS);
    let lists = filters
        .iter()
        .flat_map(|filter| pages.iter().map(move |page| page_query(1, filter, page).into_text()));
    counts.chain(lists).collect()
}

fn filter_variants() -> Vec<Filter> {
    let text = |some: bool| some.then(|| "text".to_owned());
    let instant = |some: bool| some.then_some(chrono::DateTime::UNIX_EPOCH);
    let bit = |number: u8, bit: u8| number & (1 << bit) != 0;
    (0..64)
        .map(|n| Filter {
            actor: text(bit(n, 0)),
            action: text(bit(n, 1)),
            subject: text(bit(n, 2)),
            subject_id: bit(n, 3).then_some(1),
            from_time: instant(bit(n, 4)),
            until_time: instant(bit(n, 5)),
        })
        .collect()
}

sql_family!(list_variants);
