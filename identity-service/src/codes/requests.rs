//! What was asked for by an address, and who looks into it?
//!
//! The call writes down what was asked, the same whether anybody has the address or not; a task
//! looks the address up and sends the letter. So neither the answer nor its cost tells.

use std::{sync::Arc, time::Duration};

use service_kit::{
    db::{Act, Db, TenantTx},
    error::Error,
    fields::Email,
    keys::{Keyring, Purpose as Use},
    sql,
};

use super::{model::Purpose, work};
use crate::{
    employees::{self, model::Employee},
    mail::{letter, post::Post},
};

const ADDRESS: Use = Use::new("address request");
/// How often it is looked whether anything was asked.
const EVERY: Duration = Duration::from_millis(500);

/// Writes down that a code was asked for.
pub async fn insert(
    tx: &mut TenantTx,
    keys: &Keyring,
    purpose: Purpose,
    email_key: &str,
) -> Result<(), Error> {
    let sealed = keys.seal(ADDRESS, purpose.text().as_bytes(), email_key.as_bytes());
    let now = tx.now();
    let query = sqlx::query(sql!(
        "INSERT INTO identity.address_requests (purpose, sealed, create_time) VALUES ($1, $2, $3)"
    ))
    .bind(purpose.text())
    .bind(sealed)
    .bind(now);
    tx.execute(query).await?;
    Ok(())
}

#[derive(Debug, sqlx::FromRow)]
struct Asked {
    purpose: String,
    sealed: Vec<u8>,
}

/// Takes the oldest, if there is one. Another process that means the same one waits until this
/// transaction ends, and gets it only if it was rolled back.
async fn take(tx: &mut TenantTx) -> Result<Option<Asked>, Error> {
    let query = sqlx::query_as(sql!(
        "DELETE FROM identity.address_requests
         WHERE id = (SELECT min(id) FROM identity.address_requests)
         RETURNING purpose, sealed"
    ));
    tx.optional(query).await
}

/// Looks into what was asked.
pub struct Clerk {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub post: Post,
}

impl Clerk {
    /// Looks into everything, for ever.
    pub async fn work(&self) {
        loop {
            match self.next().await {
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(EVERY).await,
                Err(error) => {
                    tracing::warn!(error = %error.for_log(), "requests by address wait");
                    tokio::time::sleep(EVERY).await;
                }
            }
        }
    }

    /// Looks into one; false where there is none. That it is done becomes true last: a crash
    /// before that sends a second letter, and not none.
    async fn next(&self) -> Result<bool, Error> {
        let mut tx = self.db.begin_without_tenant("clerk").await?;
        let Some(asked) = take(&mut tx).await? else { return Ok(false) };
        if let Some(purpose) = Purpose::from_text(&asked.purpose) {
            let email = self.keys.open(ADDRESS, asked.purpose.as_bytes(), &asked.sealed);
            if email.is_none() {
                tracing::error!("a request by address does not open with the present keys");
            }
            let email = email.and_then(|email| String::from_utf8(email.to_vec()).ok());
            self.answer(purpose, &email.unwrap_or_default()).await?;
        }
        tx.commit([]).await?;
        Ok(true)
    }

    async fn answer(&self, purpose: Purpose, email_key: &str) -> Result<(), Error> {
        let Some(found) = employees::sql::find_by_email(&self.db, email_key).await? else {
            return Ok(());
        };
        let mut tx = self.db.begin_system(found.system("clerk")).await?;
        let Some(employee) = employees::sql::lock(&mut tx, found.id).await? else {
            return Ok(());
        };
        if !is_wanted(purpose, &employee) {
            return Ok(());
        }
        let code = work::renew(&mut tx, &employee, purpose, None).await?;
        let to =
            Email::required(&employee.email).map_err(|flaw| Error::internal(flaw.to_string()))?;
        let (verb, letter) = match purpose {
            Purpose::Reset => (
                "request_password_reset",
                letter::password_reset(self.post.app_url(), to, &code.expose()),
            ),
            Purpose::Verify | Purpose::ChangeEmail => (
                "request_email_verification",
                letter::email_verification(self.post.app_url(), to, &code.expose()),
            ),
        };
        self.post.send(&mut tx, &letter).await?;
        tx.commit([Act::on("employee", employee.id, verb)]).await
    }
}

/// Nobody who cannot log in is sent a code, and nobody who has nothing to verify.
fn is_wanted(purpose: Purpose, employee: &Employee) -> bool {
    let live = employee.is_active && employee.delete_time.is_none();
    live && (purpose == Purpose::Reset || employee.email_verify_time.is_none())
}
