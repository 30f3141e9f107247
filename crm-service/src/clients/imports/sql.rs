//! Queries on many clients at once, and on how far imports have come.

use service_kit::{
    db::{Row, TenantTx},
    error::Error,
    sql,
};
use sqlx::{Postgres, postgres::PgArguments, query::QueryAs, types::Json};
use uuid::Uuid;

use super::model::Found;
use crate::{
    clients::{
        model::{Client, Details},
        sql::{columns, own_columns},
    },
    visibility::Scope,
};

/// The live clients with these addresses, in the order of their ids, which nobody else changes
/// until this transaction ends.
pub async fn lock(tx: &mut TenantTx, scope: Scope, keys: &[String]) -> Result<Vec<Found>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        ", $3::bigint IS NULL OR EXISTS (
             SELECT 1 FROM crm.client_members AS member
             WHERE member.account_id = $1 AND member.employee_id = $3
               AND member.client_id = client.id) AS is_seen
         FROM crm.clients AS client
         WHERE account_id = $1 AND email_key = ANY ($2) AND delete_time IS NULL
         ORDER BY id FOR NO KEY UPDATE OF client"
    ))
    .bind(account_id)
    .bind(keys)
    .bind(scope.employee_id());
    tx.all(query).await
}

/// Adds clients, in their order. The account comes into being with its first ones.
pub async fn insert(tx: &mut TenantTx, details: &[Details]) -> Result<Vec<Client>, Error> {
    if details.is_empty() {
        return Ok(Vec::new());
    }
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "WITH met AS (INSERT INTO crm.accounts (id) VALUES ($1) ON CONFLICT DO NOTHING)
         INSERT INTO crm.clients
             (account_id, create_time, update_time, first_name, last_name, name_key, email,
              email_key, phone_number, status, country, currency, notes, labels, coach_id,
              closer_id, setter_id)
         SELECT $1, $2, $2, new_first_name, new_last_name, new_name_key, new_email, new_email_key,
             new_phone_number, new_status, new_country, new_currency, new_notes, new_labels,
             new_coach_id, new_closer_id, new_setter_id
         FROM ",
        new_details!(),
        " ORDER BY new_place
         RETURNING ",
        columns!()
    ));
    let query = bind_details(query.bind(account_id).bind(now), details.iter());
    let mut clients: Vec<Client> = tx.all(query).await?;
    // Ids are drawn in the order of the rows.
    clients.sort_unstable_by_key(|client| client.id);
    Ok(clients)
}

/// Puts new details in place of those of locked clients; returns them in the order of their ids.
pub async fn update(
    tx: &mut TenantTx,
    changes: &[(Box<Client>, Details)],
) -> Result<Vec<Client>, Error> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let (account_id, now) = (tx.account_id(), tx.now());
    let ids: Vec<_> = changes.iter().map(|(before, _)| before.id).collect();
    let query = sqlx::query_as(sql!(
        "UPDATE crm.clients
         SET update_time = $2, version = version + 1, first_name = new_first_name,
             last_name = new_last_name, name_key = new_name_key, email = new_email,
             email_key = new_email_key, phone_number = new_phone_number, status = new_status,
             country = new_country, currency = new_currency, notes = new_notes,
             labels = new_labels, coach_id = new_coach_id, closer_id = new_closer_id,
             setter_id = new_setter_id
         FROM ",
        new_details!(),
        " JOIN unnest($17::bigint[]) WITH ORDINALITY AS changed (changed_id, changed_place)
             ON changed_place = new_place
         WHERE account_id = $1 AND id = changed_id
         RETURNING ",
        columns!()
    ));
    let details = changes.iter().map(|(_, details)| details);
    let query = bind_details(query.bind(account_id).bind(now), details).bind(ids);
    let mut clients: Vec<Client> = tx.all(query).await?;
    clients.sort_unstable_by_key(|client| client.id);
    Ok(clients)
}

/// Details as rows, from $3 to $16, each with its place. The names are their own, so that those
/// of a client's columns mean the client's.
macro_rules! new_details {
    () => {
        "unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                $10::text[], $11::text[], $12::text[], $13::jsonb[], $14::bigint[], $15::bigint[],
                $16::bigint[]) WITH ORDINALITY
             AS new (new_first_name, new_last_name, new_name_key, new_email, new_email_key,
                     new_phone_number, new_status, new_country, new_currency, new_notes,
                     new_labels, new_coach_id, new_closer_id, new_setter_id, new_place)"
    };
}
use new_details;

#[expect(
    clippy::needless_pass_by_value,
    reason = "an iterator, which is gone through for each column"
)]
fn bind_details<'q, T: Row>(
    query: QueryAs<'q, Postgres, T, PgArguments>,
    details: impl Iterator<Item = &'q Details> + Clone,
) -> QueryAs<'q, Postgres, T, PgArguments> {
    fn each<'q, C>(
        details: &(impl Iterator<Item = &'q Details> + Clone),
        column: impl Fn(&'q Details) -> C,
    ) -> Vec<C> {
        details.clone().map(column).collect()
    }
    query
        .bind(each(&details, |of| of.first_name.as_str()))
        .bind(each(&details, |of| of.last_name.as_str()))
        .bind(each(&details, Details::name_key))
        .bind(each(&details, |of| of.email.as_str()))
        .bind(each(&details, Details::email_key))
        .bind(each(&details, |of| of.phone_number.as_str()))
        .bind(each(&details, |of| of.status.as_str()))
        .bind(each(&details, |of| of.country.as_str()))
        .bind(each(&details, |of| of.currency.as_str()))
        .bind(each(&details, |of| of.notes.as_str()))
        .bind(each(&details, |of| Json(&of.labels.0)))
        .bind(each(&details, |of| of.parts.coach_id))
        .bind(each(&details, |of| of.parts.closer_id))
        .bind(each(&details, |of| of.parts.setter_id))
}

/// How far the caller's import under an id has come, and by what its rows are compared.
pub async fn mark(tx: &mut TenantTx, request_id: Uuid) -> Result<Option<(i64, Vec<u8>)>, Error> {
    let (account_id, actor) = (tx.account_id(), tx.actor().to_string());
    let query = sqlx::query_as(sql!(
        "SELECT row_number, fingerprint FROM crm.client_imports
         WHERE account_id = $1 AND actor = $2 AND request_id = $3"
    ))
    .bind(account_id)
    .bind(actor)
    .bind(request_id);
    tx.optional(query).await
}

/// Moves the mark of an import from one row to another, or says that it was not there any more.
/// Whoever else wants to move it waits until this transaction ends.
pub async fn advance(
    tx: &mut TenantTx,
    request_id: Uuid,
    (from, to): (i64, i64),
    fingerprint: &[u8],
) -> Result<bool, Error> {
    let (account_id, actor, now) = (tx.account_id(), tx.actor().to_string(), tx.now());
    let query = sqlx::query(sql!(
        "WITH met AS (INSERT INTO crm.accounts (id) VALUES ($1) ON CONFLICT DO NOTHING)
         INSERT INTO crm.client_imports AS import
             (account_id, actor, request_id, row_number, fingerprint, create_time)
         VALUES ($1, $2, $3, $5, $6, $7)
         ON CONFLICT (account_id, actor, request_id) DO UPDATE
         SET row_number = EXCLUDED.row_number, fingerprint = EXCLUDED.fingerprint
         WHERE import.row_number = $4"
    ))
    .bind(account_id)
    .bind(actor)
    .bind(request_id)
    .bind(from)
    .bind(to)
    .bind(fingerprint)
    .bind(now);
    Ok(tx.execute(query).await? == 1)
}
