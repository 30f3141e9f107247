//! Queries on instalments.

use chrono::NaiveDate;
use service_kit::{
    db::{ListQuery, Rows, TenantTx},
    error::Error,
    fields::Money,
    page::Page,
    sql, sql_family,
};

use super::model::{Details, Filter, Instalment, New, ORDERS};
use crate::{
    client_packages::{
        model::{ClientPackage, Standing},
        plan::Planned,
    },
    visibility::{Scope, seen},
};

/// The columns of an [`Instalment`], in a statement whose `$1` is the account.
macro_rules! columns {
    () => {
        "id, client_id, client_package_id, currency, instalment_number, amount, schedule_date, state,
         allocated, status, create_time, update_time, version,
         (SELECT client.delete_time IS NULL FROM crm.clients AS client
          WHERE client.account_id = $1 AND client.id = instalments.client_id) AS has_live_client"
    };
}

/// Adds an instalment to a locked client. The next number is that behind all others of the
/// client package, or of what the client has to pay by itself.
pub async fn insert(
    tx: &mut TenantTx,
    new: &New,
    amount: Money,
    state: &str,
) -> Result<Instalment, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "INSERT INTO crm.instalments
             (account_id, client_id, client_package_id, instalment_number, currency, amount,
              schedule_date, state, create_time, update_time)
         VALUES ($1, $3, $4,
             coalesce($5, (
                 SELECT coalesce(max(other.instalment_number), 0) + 1
                 FROM crm.instalments AS other
                 WHERE other.account_id = $1 AND other.client_id = $3
                   AND other.client_package_id IS NOT DISTINCT FROM $4)),
             $6, $7, $8, $9, $2, $2)
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(now)
    .bind(new.client_id)
    .bind(new.client_package_id)
    .bind(new.number)
    .bind(amount.currency().code())
    .bind(amount.minor())
    .bind(new.due)
    .bind(state);
    tx.one(query).await
}

/// Adds a plan to a client package of a locked client; in the order of the numbers.
pub async fn insert_plan(
    tx: &mut TenantTx,
    sold: &ClientPackage,
    plan: &[Planned],
) -> Result<Vec<Instalment>, Error> {
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "INSERT INTO crm.instalments
             (account_id, client_id, client_package_id, currency, state, create_time, update_time,
              instalment_number, amount, schedule_date)
         SELECT $1, $3, $4, $5, 'open', $2, $2, planned.*
         FROM unnest($6::bigint[], $7::bigint[], $8::date[]) AS planned
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(now)
    .bind(sold.client_id)
    .bind(sold.id)
    .bind(sold.currency()?.code())
    .bind(plan.iter().map(|planned| planned.number).collect::<Vec<_>>())
    .bind(plan.iter().map(|planned| planned.amount).collect::<Vec<_>>())
    .bind(plan.iter().map(|planned| planned.due).collect::<Vec<NaiveDate>>());
    let mut made: Vec<Instalment> = tx.all(query).await?;
    made.sort_by_key(|instalment| instalment.details.instalment_number);
    Ok(made)
}

/// An instalment of a client whom the caller sees.
pub async fn find(tx: &mut TenantTx, scope: Scope, id: i64) -> Result<Option<Instalment>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.instalments WHERE account_id = $1 AND id = $2 AND ",
        seen!("instalments.client_id")
    ))
    .bind(account_id)
    .bind(id)
    .bind(scope.employee_id());
    tx.optional(query).await
}

/// An instalment of a locked client.
pub async fn lock(tx: &mut TenantTx, id: i64) -> Result<Option<Instalment>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.instalments WHERE account_id = $1 AND id = $2 FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// Puts new details in place of those of a locked instalment.
pub async fn update(tx: &mut TenantTx, id: i64, details: &Details) -> Result<Instalment, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE crm.instalments
         SET instalment_number = $4, amount = $5, schedule_date = $6, state = $7, update_time = $3,
             version = version + 1
         WHERE account_id = $1 AND id = $2
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(id)
    .bind(now)
    .bind(details.instalment_number)
    .bind(details.amount)
    .bind(details.schedule_date)
    .bind(&details.state);
    tx.one(query).await
}

/// Closes a locked instalment.
pub async fn close(tx: &mut TenantTx, id: i64) -> Result<Instalment, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE crm.instalments
         SET state = 'closed', update_time = $3, version = version + 1
         WHERE account_id = $1 AND id = $2
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(id)
    .bind(now);
    tx.one(query).await
}

/// Closes what is left of a client package of a locked client: how many were still to be paid. A
/// paid one stays paid, and is no debt again when its payment is given back.
pub async fn close_all_of(tx: &mut TenantTx, client_package_id: i64) -> Result<i64, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "WITH closed AS (
             UPDATE crm.instalments
             SET state = 'closed', update_time = $3, version = version + 1
             WHERE account_id = $1 AND client_package_id = $2 AND state <> 'closed'
             RETURNING allocated < amount AS was_due)
         SELECT count(*) FILTER (WHERE was_due) FROM closed"
    ))
    .bind(account_id)
    .bind(client_package_id)
    .bind(now);
    let (closed,) = tx.one(query).await?;
    Ok(closed)
}

/// The same of those alone to which nothing is allocated.
pub async fn close_unallocated_of(tx: &mut TenantTx, client_package_id: i64) -> Result<u64, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "UPDATE crm.instalments
         SET state = 'closed', update_time = $3, version = version + 1
         WHERE account_id = $1 AND client_package_id = $2 AND allocated = 0
           AND status IN ('open', 'failed')"
    ))
    .bind(account_id)
    .bind(client_package_id)
    .bind(now);
    tx.execute(query).await
}

/// How things stand with the instalments of a client package. Sums beyond all prices are as good
/// as the largest number.
pub async fn standing(tx: &mut TenantTx, client_package_id: i64) -> Result<Standing, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT count(*) AS instalments,
             least(coalesce(sum(allocated), 0), 9223372036854775807)::bigint AS allocated,
             least(coalesce(
                 sum(CASE WHEN status = 'closed' THEN allocated ELSE amount END)
                     FILTER (WHERE allocated > 0), 0), 9223372036854775807)::bigint AS kept,
             max(schedule_date) FILTER (WHERE allocated > 0) AS last_due,
             coalesce(max(instalment_number), 0) AS last_number,
             count(*) FILTER (WHERE allocated = 0 AND status IN ('open', 'failed')) AS closing
         FROM crm.instalments WHERE account_id = $1 AND client_package_id = $2"
    ))
    .bind(account_id)
    .bind(client_package_id);
    tx.one(query).await
}

/// The instalments of a page, and one more if there is another page.
pub async fn list(
    tx: &mut TenantTx,
    scope: Scope,
    filter: &Filter,
    page: &Page<Instalment>,
) -> Result<Rows<Instalment>, Error> {
    page_query(tx.account_id(), scope, filter, page).fetch(tx).await
}

/// How many instalments match, on whatever page.
pub async fn count(tx: &mut TenantTx, scope: Scope, filter: &Filter) -> Result<i64, Error> {
    count_query(tx.account_id(), scope, filter).count(tx).await
}

fn page_query(
    account_id: i64,
    scope: Scope,
    filter: &Filter,
    page: &Page<Instalment>,
) -> ListQuery {
    let select = concat!("SELECT ", columns!(), " FROM crm.instalments WHERE account_id = ");
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, account_id, scope, filter);
    query.page(page);
    query
}

fn count_query(account_id: i64, scope: Scope, filter: &Filter) -> ListQuery {
    let select = "SELECT count(*) FROM crm.instalments WHERE account_id = ";
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, account_id, scope, filter);
    query
}

fn narrow(query: &mut ListQuery, account_id: i64, scope: Scope, filter: &Filter) {
    if let Some(client_id) = filter.client_id {
        query.text(" AND client_id = ").bind(client_id);
    }
    if let Some(client_package_id) = filter.client_package_id {
        query.text(" AND client_package_id = ").bind(client_package_id);
    }
    match filter.statuses.as_slice() {
        [] => {}
        // A single one is an equality, so that the index by status keeps the order.
        [status] => _ = query.text(" AND status = ").bind(*status),
        several => {
            _ = query.text(" AND status = ANY(").bind(several.to_vec()).text(")");
        }
    }
    if let Some(today) = filter.overdue_on {
        // In the words of the index over these alone.
        query
            .text(" AND status IN ('open', 'failed') AND schedule_date < ")
            .bind(today)
            .text(" AND EXISTS (SELECT 1 FROM crm.clients AS client WHERE client.account_id = ")
            .bind(account_id)
            .text(" AND client.id = instalments.client_id AND client.delete_time IS NULL)");
    }
    if let Some(due_from) = filter.due_from {
        query.text(" AND schedule_date >= ").bind(due_from);
    }
    if let Some(due_until) = filter.due_until {
        query.text(" AND schedule_date <= ").bind(due_until);
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

/// Each filter given or not, and one status or several.
fn filter_variants() -> Vec<Filter> {
    let mut filters = Vec::new();
    for statuses in [vec![], vec!["open"], vec!["failed", "open"]] {
        for variant in 0..32 {
            let given = |place: i32| variant & place != 0;
            let day = |place| given(place).then(NaiveDate::default);
            filters.push(Filter {
                client_id: given(1).then_some(1),
                client_package_id: given(2).then_some(1),
                statuses: statuses.clone(),
                overdue_on: day(4),
                due_from: day(8),
                due_until: day(16),
            });
        }
    }
    filters
}

sql_family!(list_variants);
