//! Queries on the copy of the directory.

use std::collections::BTreeSet;

use service_kit::{
    db::{Db, Found, TenantTx},
    error::Error,
    sql,
};

use super::model::{Employee, Word};

/// Those of the employees that are the account's, in the order of their ids. Whatever changes one
/// of them waits until this transaction ends.
pub async fn share(tx: &mut TenantTx, ids: &[i64]) -> Result<Vec<Employee>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT id, state FROM crm.employees
         WHERE account_id = $1 AND id = ANY ($2) ORDER BY id FOR SHARE"
    ))
    .bind(account_id)
    .bind(ids);
    tx.all(query).await
}

/// Those of the employees that were met.
pub async fn met(db: &Db, account_id: i64, ids: &[i64]) -> Result<BTreeSet<i64>, Error> {
    let text = sql!("SELECT id FROM crm.employees WHERE account_id = $1 AND id = ANY ($2)");
    let rows = db.unscoped().all(text, |query| query.bind(account_id).bind(ids.to_vec())).await?;
    Ok(rows.into_iter().map(Found::<(i64,)>::into_inner).map(|(id,)| id).collect())
}

/// Keeps what identity said in this epoch, but for what is older than what is kept. The account
/// comes into being with the first word about it.
pub async fn keep_employees(tx: &mut TenantTx, epoch: &str, words: &[Word]) -> Result<(), Error> {
    let account_id = tx.account_id();
    let ids: Vec<_> = words.iter().map(|word| word.id).collect();
    let names: Vec<_> = words.iter().map(|word| word.name.as_str()).collect();
    let states: Vec<_> = words.iter().map(|word| word.state.text()).collect();
    let numbers: Vec<_> = words.iter().map(|word| word.number).collect();
    let query = sqlx::query(sql!(
        "WITH met AS (INSERT INTO crm.accounts (id) VALUES ($1) ON CONFLICT DO NOTHING)
         INSERT INTO crm.employees AS kept (account_id, id, name, state, epoch, sequence)
         SELECT $1, said.id, said.name, said.state, $2, said.number
         FROM unnest($3::bigint[], $4::text[], $5::text[], $6::bigint[])
             AS said (id, name, state, number)
         ORDER BY said.id
         ON CONFLICT (account_id, id) DO UPDATE
         SET name = EXCLUDED.name, state = EXCLUDED.state,
             epoch = EXCLUDED.epoch, sequence = EXCLUDED.sequence
         WHERE kept.epoch <> EXCLUDED.epoch OR kept.sequence < EXCLUDED.sequence"
    ))
    .bind(account_id)
    .bind(epoch)
    .bind(ids)
    .bind(names)
    .bind(states)
    .bind(numbers);
    tx.execute(query).await?;
    Ok(())
}
