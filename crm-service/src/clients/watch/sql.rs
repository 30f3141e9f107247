//! Queries on the feed of changes.

use service_kit::{
    db::{Db, Found, ListQuery, TenantTx, Tenanted},
    error::Error,
    sql, sql_family,
};

use super::model::{Batch, Place};
use crate::clients::sql::{columns, own_columns};

/// The most changes of a page; fewer where clients are large.
const PAGE: i64 = 200;

/// How far the feed of an account has got.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct Head {
    pub account_id: i64,
    #[sqlx(flatten)]
    pub place: Place,
}

impl Tenanted for Head {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// The feeds of several accounts, of those that have one yet.
pub async fn heads(db: &Db, account_ids: &[i64]) -> Result<Vec<Found<Head>>, Error> {
    let text = sql!(
        "SELECT account_id, number, time FROM crm.client_feeds AS news WHERE account_id = ANY ($1)"
    );
    db.unscoped().all(text, |query| query.bind(account_ids.to_vec())).await
}

/// The place behind the account's last change.
pub async fn head(tx: &mut TenantTx) -> Result<Place, Error> {
    let account_id = tx.account_id();
    let query =
        sqlx::query_as(sql!("SELECT number, time FROM crm.client_feeds WHERE account_id = $1"))
            .bind(account_id);
    Ok(tx.optional(query).await?.unwrap_or(Place::BEGINNING))
}

/// The first changes behind a place, and the place behind the last one that there is; refused
/// where something is no longer kept, and where the place is one of a history that is gone.
pub async fn behind(tx: &mut TenantTx, place: Place) -> Result<(Batch, Place), Error> {
    // First: what is found may be more by then, but never less.
    let head = head(tx).await?;
    let changes = page_query(tx.account_id(), place.number).fetch(tx).await?;
    Ok((Batch::behind(place, head, changes.rows)?, head))
}

fn page_query(account_id: i64, behind: i64) -> ListQuery {
    let select = concat!(
        "SELECT number, time, time_before, before, ",
        columns!(),
        " FROM crm.client_changes AS change JOIN crm.clients AS client ON client.id = client_id
         WHERE change.account_id = "
    );
    let mut query = ListQuery::new(select, account_id);
    query
        .text(" AND client.account_id = ")
        .bind(account_id)
        .text(" AND number > ")
        .bind(behind)
        .text(" ORDER BY number LIMIT ")
        .bind(PAGE);
    query
}

fn page_variants() -> Vec<String> {
    vec![page_query(1, 0).into_text()]
}

sql_family!(page_variants);
