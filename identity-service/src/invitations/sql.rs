//! Queries on invitations.

use chrono::{DateTime, Utc};
use service_kit::{
    access,
    db::{Db, Found, ListQuery, Rows, TenantTx, Tenanted},
    error::Error,
    page::Page,
    sql, sql_family,
};

use super::model::{Invitation, LIFE, NewInvitation};
use crate::secrets::Secret;

/// The columns of an [`Invitation`].
macro_rules! columns {
    () => {
        "id, email, role, inviter, create_time, expire_time, accept_time, revoke_time"
    };
}

/// Where an invitation is.
#[derive(Debug, sqlx::FromRow)]
pub struct Located {
    account_id: i64,
    pub id: i64,
}

impl Tenanted for Located {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// In which account an invitation is, by its code.
pub async fn locate(db: &Db, code: &Secret) -> Result<Option<Found<Located>>, Error> {
    let text = sql!("SELECT account_id, id FROM identity.invitations WHERE digest = $1");
    let digest = code.digest();
    db.unscoped().find(text, |query| query.bind(digest.to_vec())).await
}

/// The invitation to an address that nobody accepted or took back, locked; its time may be over.
pub async fn lock_to(tx: &mut TenantTx, email_key: &str) -> Result<Option<Invitation>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM identity.invitations
         WHERE account_id = $1 AND email_key = $2 AND accept_time IS NULL AND revoke_time IS NULL
         FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(email_key);
    tx.optional(query).await
}

/// Adds an invitation to an address that none is open to.
pub async fn insert(
    tx: &mut TenantTx,
    invitation: &NewInvitation,
    code: &Secret,
    inviter: &str,
) -> Result<Invitation, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "INSERT INTO identity.invitations
             (account_id, email, email_key, role, inviter, digest, create_time, expire_time)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(invitation.email.as_str())
    .bind(invitation.email.key())
    .bind(access::role_text(invitation.role))
    .bind(inviter)
    .bind(code.digest().to_vec())
    .bind(now)
    .bind(now + LIFE);
    tx.one(query).await
}

pub async fn find(tx: &mut TenantTx, id: i64) -> Result<Option<Invitation>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM identity.invitations WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// An invitation, that nobody else changes until this transaction ends.
pub async fn lock(tx: &mut TenantTx, id: i64) -> Result<Option<Invitation>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM identity.invitations WHERE account_id = $1 AND id = $2 FOR NO KEY UPDATE"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// Takes a locked one back.
pub async fn revoke(tx: &mut TenantTx, id: i64) -> Result<Invitation, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "UPDATE identity.invitations SET revoke_time = $3 WHERE account_id = $1 AND id = $2
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(id)
    .bind(now);
    tx.one(query).await
}

/// Notes that a locked one was accepted.
pub async fn accept(tx: &mut TenantTx, id: i64) -> Result<(), Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "UPDATE identity.invitations SET accept_time = $3 WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(id)
    .bind(now);
    tx.execute(query).await?;
    Ok(())
}

/// The invitations of a page, and one more if there is another page; those that are open at an
/// instant, if one is given.
pub async fn list(
    tx: &mut TenantTx,
    open_at: Option<DateTime<Utc>>,
    page: &Page<Invitation>,
) -> Result<Rows<Invitation>, Error> {
    page_query(tx.account_id(), open_at, page).fetch(tx).await
}

pub async fn count(tx: &mut TenantTx, open_at: Option<DateTime<Utc>>) -> Result<i64, Error> {
    count_query(tx.account_id(), open_at).count(tx).await
}

fn page_query(
    account_id: i64,
    open_at: Option<DateTime<Utc>>,
    page: &Page<Invitation>,
) -> ListQuery {
    let select = concat!("SELECT ", columns!(), " FROM identity.invitations WHERE account_id = ");
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, open_at);
    query.page(page);
    query
}

fn count_query(account_id: i64, open_at: Option<DateTime<Utc>>) -> ListQuery {
    let select = "SELECT count(*) FROM identity.invitations WHERE account_id = ";
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, open_at);
    query
}

fn narrow(query: &mut ListQuery, open_at: Option<DateTime<Utc>>) {
    if let Some(now) = open_at {
        query.text(" AND accept_time IS NULL AND revoke_time IS NULL AND expire_time > ").bind(now);
    }
}

/// Every order and place in it, of all invitations and of the open ones.
fn list_variants() -> Vec<String> {
    let pages = Page::variants(super::model::ORDERS);
    let mut texts = Vec::new();
    for open_at in [None, Some(DateTime::UNIX_EPOCH)] {
        texts.push(count_query(1, open_at).into_text());
        texts.extend(pages.iter().map(|page| page_query(1, open_at, page).into_text()));
    }
    texts
}

sql_family!(list_variants);
