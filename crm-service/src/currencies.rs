//! What is an amount in that names no currency?
//!
//! Only a row tells, which is read when all else of a request is good. Of a request in which
//! something is wrong it is read all the same, so that whoever sent it is told at once of every
//! field that is: also of an amount that is too exact for its currency.

use service_kit::{
    caller::Caller,
    db::{Db, TenantTx},
    error::Error,
    fields::{Currency, Fields},
};

use crate::{buyer, client_packages, payments, visibility::Scope};

/// The row that tells.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    Client(i64),
    ClientPackage(i64),
    Payment(i64),
}

/// Has the amounts that wait for a currency judged in that of a row, where something is wrong
/// anyway. A row that the caller does not see tells nothing: the answer is that of an unknown one.
pub async fn judge(db: &Db, caller: &Caller, fields: &mut Fields, of: Of) -> Result<(), Error> {
    if !fields.wait_for_currency() {
        return Ok(());
    }
    let mut tx = db.begin(caller).await?;
    if let Some(currency) = find(&mut tx, Scope::of(caller), of).await? {
        fields.judge_in(currency);
    }
    Ok(())
}

async fn find(tx: &mut TenantTx, scope: Scope, of: Of) -> Result<Option<Currency>, Error> {
    let currency = match of {
        Of::Client(id) => buyer::find(tx, scope, id).await?.map(|buyer| buyer.currency()),
        Of::ClientPackage(id) => {
            client_packages::sql::find(tx, scope, id).await?.map(|sold| sold.currency())
        }
        Of::Payment(id) => {
            payments::sql::find(tx, scope, id).await?.map(|payment| payment.currency())
        }
    };
    currency.transpose()
}
