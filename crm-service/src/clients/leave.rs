//! What becomes of the clients of an employee who is deleted?

use service_kit::{
    db::{Act, TenantTx},
    error::Error,
    sql,
};

use super::{
    model::Client,
    sql::{columns, own_columns},
    work::{Changed, follow},
};

/// So many clients at a time: whoever wants one of them must not wait for all.
const CHUNK: i64 = 100;

/// Takes away what parts an employee has in some clients, deleted ones too, and says what was
/// done; or that there are none left.
pub async fn take_parts(tx: &mut TenantTx, employee_id: i64) -> Result<Option<Vec<Act>>, Error> {
    let ids = some_of(tx, employee_id).await?;
    if ids.is_empty() {
        return Ok(None);
    }
    let before = lock(tx, employee_id, &ids).await?;
    let after = without(tx, &before, employee_id).await?;
    let changes: Vec<_> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| Changed { before: Some(before), after })
        .collect();
    follow(tx, &changes).await?;
    let act = |(before, after): (&Client, &Client)| {
        let fields = after.details.changes(&before.details);
        Act::on("client", after.id, "update").with("fields", fields)
    };
    Ok(Some(before.iter().zip(&after).map(act).collect()))
}

/// The first of their clients.
async fn some_of(tx: &mut TenantTx, employee_id: i64) -> Result<Vec<i64>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT client_id FROM crm.client_members
         WHERE account_id = $1 AND employee_id = $2 ORDER BY client_id LIMIT $3"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(CHUNK);
    Ok(tx.all(query).await?.into_iter().map(|(id,)| id).collect())
}

/// Locks them, in the order of their ids, but for those whom somebody else took away meanwhile.
async fn lock(tx: &mut TenantTx, employee_id: i64, ids: &[i64]) -> Result<Vec<Client>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM crm.clients
         WHERE account_id = $1 AND id = ANY ($2)
           AND (coach_id = $3 OR closer_id = $3 OR setter_id = $3)
         ORDER BY id FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(ids)
    .bind(employee_id);
    tx.all(query).await
}

/// Locked clients without an employee, in the same order.
async fn without(
    tx: &mut TenantTx,
    clients: &[Client],
    employee_id: i64,
) -> Result<Vec<Client>, Error> {
    if clients.is_empty() {
        return Ok(Vec::new());
    }
    let (account_id, now) = (tx.account_id(), tx.now());
    let ids: Vec<_> = clients.iter().map(|client| client.id).collect();
    let query = sqlx::query_as(sql!(
        "UPDATE crm.clients
         SET coach_id = nullif(coach_id, $3), closer_id = nullif(closer_id, $3),
             setter_id = nullif(setter_id, $3), update_time = $2, version = version + 1
         WHERE account_id = $1 AND id = ANY ($4)
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(now)
    .bind(employee_id)
    .bind(ids);
    let mut without: Vec<Client> = tx.all(query).await?;
    without.sort_unstable_by_key(|client| client.id);
    Ok(without)
}
