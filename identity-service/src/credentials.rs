//! What is done to all credentials of somebody, whichever kinds there are?

use service_kit::{db::TenantTx, error::Error};

use crate::{
    accounts, api_keys, codes,
    feeds::{self, Holder},
    sessions, tokens,
};

/// Ends everything that a person, or a program in their name, can call with; returns how many
/// credentials that were.
pub async fn end_of_deleted(tx: &mut TenantTx, employee_id: i64) -> Result<u64, Error> {
    let ended = end_of_employee(tx, employee_id).await?;
    let keys = api_keys::sql::revoke_made_by(tx, employee_id).await?;
    for key in &keys {
        feeds::revoke(tx, Holder::ApiKey(*key));
    }
    Ok(ended + keys.len() as u64)
}

/// Ends the token and the sessions of a person; returns how many that were.
pub async fn end_of_employee(tx: &mut TenantTx, employee_id: i64) -> Result<u64, Error> {
    let tokens = tokens::sql::revoke_employee(tx, employee_id).await?;
    let sessions = sessions::sql::revoke_employee(tx, employee_id, None).await?;
    codes::sql::drop_all(tx, employee_id).await?;
    feeds::revoke(tx, Holder::Employee(employee_id));
    Ok(tokens + sessions)
}

/// Says that what the API keys that a person made may do changed with what the person may do:
/// whoever keeps an answer about a key does not know who made it.
pub async fn revoke_keys_made_by(tx: &mut TenantTx, employee_id: i64) -> Result<(), Error> {
    for key in api_keys::sql::made_by(tx, employee_id).await? {
        feeds::revoke(tx, Holder::ApiKey(key));
    }
    Ok(())
}

/// Ends the tokens and the sessions of everyone in the account; returns how many that were.
pub async fn end_of_account(tx: &mut TenantTx) -> Result<u64, Error> {
    // Whoever is being let in comes before or after, and not between.
    accounts::sql::lock(tx).await?;
    let tokens = tokens::sql::revoke_all(tx).await?;
    let sessions = sessions::sql::revoke_all(tx).await?;
    feeds::revoke(tx, Holder::Account);
    Ok(tokens + sessions)
}
