//! What do several methods on client packages have in common?

use proto::crm::v1 as pb;
use service_kit::{
    caller::Caller,
    db::{Db, TenantTx},
    error::Error,
    fields::{Currency, Fields, Flaw},
};

use super::{
    model::{ClientPackage, Details, Preview, Same, Standing},
    sql,
};
use crate::{
    buyer::{self, Belonging, Buyer},
    currencies::{self, Of},
    instalments, packages,
    visibility::Scope,
};

/// A client package that nobody else changes until the transaction ends, and whose it is.
pub async fn lock(
    tx: &mut TenantTx,
    scope: Scope,
    id: i64,
    field: &'static str,
) -> Result<(Buyer, ClientPackage), Error> {
    let buyer = buyer::lock_of(tx, scope, Belonging::ClientPackage(id)).await?;
    let buyer = buyer.ok_or(not_found(field))?;
    let client_package = sql::lock(tx, id).await?.ok_or(not_found(field))?;
    Ok((buyer, client_package))
}

/// One that takes new instalments.
pub async fn lock_to_plan(
    tx: &mut TenantTx,
    scope: Scope,
    id: i64,
    field: &'static str,
) -> Result<ClientPackage, Error> {
    let (buyer, client_package) = lock(tx, scope, id, field).await?;
    buyer.must_be_live()?;
    client_package.must_be_active()?;
    Ok(client_package)
}

/// As [`currencies::judge`](crate::currencies::judge) for something to be sold: its amounts are in
/// the currency of its price, or of the package's where it has none of its own.
pub async fn judge_sale(
    db: &Db,
    caller: &Caller,
    fields: &mut Fields,
    said: &pb::ClientPackage,
) -> Result<(), Error> {
    if said.custom_price.is_some() {
        return currencies::judge(db, caller, fields, Of::Client(said.client_id)).await;
    }
    if fields.are_good() {
        return Ok(());
    }
    let mut tx = db.begin(caller).await?;
    let Some(package) = packages::sql::find(&mut tx, said.package_id).await? else {
        return Ok(());
    };
    match package.details.list_price()? {
        Some(price) => fields.judge_in(price.currency()),
        None => fields.refuse("client_package.custom_price", Flaw::Missing),
    }
    Ok(())
}

/// What a preview is of: as it would be agreed on, and what is there already.
pub async fn read(
    tx: &mut TenantTx,
    scope: Scope,
    preview: Preview,
    default_currency: Currency,
) -> Result<(Details, Standing), Error> {
    let (id, change) = match preview {
        Preview::Offer(offer) => {
            return Ok((offer.priced("", None, default_currency)?, Standing::default()));
        }
        Preview::Of(id, change) => (id, change),
    };
    let field = "client_package_id";
    let before = sql::find(tx, scope, id).await?.ok_or(not_found(field))?;
    buyer::find(tx, scope, before.client_id).await?.ok_or(not_found(field))?.must_be_live()?;
    before.must_be_active()?;
    let standing = instalments::sql::standing(tx, id).await?;
    let details = change.apply(&Same::default(), "", &before)?;
    details.must_suit(&before.details, &standing)?;
    Ok((details, standing))
}

pub fn not_found(field: &'static str) -> Error {
    Error::NotFound { resource: "client package", field }
}
