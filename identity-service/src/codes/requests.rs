//! What was asked for by an address, and who looks into it?
//!
//! The call writes down what was asked, the same whether anybody has the address or not; a task
//! looks the address up and sends the letter. So neither the answer nor its cost tells.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use service_kit::{
    clock,
    db::{Act, Db, Origin, TenantTx},
    error::Error,
    keys::{Keyring, Purpose as Use},
    sql,
};

use super::{
    model::{LIFE, Purpose},
    work::{self, is_wanted},
};
use crate::{
    employees,
    mail::{
        letter,
        post::{Post, address},
    },
};

const ADDRESS: Use = Use::new("address request");
/// How often it is looked whether anything was asked.
const EVERY: Duration = Duration::from_millis(500);
/// How long what failed is left alone.
const PAUSE: Duration = Duration::from_secs(15);
/// Requests at a time.
const BATCH: i64 = 20;

/// Writes down that a code was asked for, and by which call.
pub async fn insert(
    tx: &mut TenantTx,
    keys: &Keyring,
    purpose: Purpose,
    email_key: &str,
) -> Result<(), Error> {
    let sealed = keys.seal(ADDRESS, purpose.text().as_bytes(), email_key.as_bytes());
    let (now, origin) = (tx.now(), Origin::current());
    let query = sqlx::query(sql!(
        "INSERT INTO identity.address_requests (purpose, sealed, create_time, network, request_id)
         VALUES ($1, $2, $3, $4, $5)"
    ))
    .bind(purpose.text())
    .bind(sealed)
    .bind(now)
    .bind(origin.network)
    .bind(origin.request_id);
    tx.execute(query).await?;
    Ok(())
}

#[derive(Debug, sqlx::FromRow)]
struct Asked {
    id: i64,
    purpose: String,
    sealed: Vec<u8>,
    create_time: DateTime<Utc>,
    network: String,
    request_id: String,
}

/// The oldest behind one, some at a time.
async fn list(tx: &mut TenantTx, after: i64) -> Result<Vec<Asked>, Error> {
    let query = sqlx::query_as(sql!(
        "SELECT id, purpose, sealed, create_time, network, request_id
         FROM identity.address_requests WHERE id > $1 ORDER BY id LIMIT $2"
    ))
    .bind(after)
    .bind(BATCH);
    tx.all(query).await
}

/// Crosses one off. Another process that means the same one waits until this transaction ends;
/// false where that one was first.
async fn take(tx: &mut TenantTx, id: i64) -> Result<bool, Error> {
    let query = sqlx::query(sql!("DELETE FROM identity.address_requests WHERE id = $1")).bind(id);
    Ok(tx.execute(query).await? == 1)
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
        let mut failed = BTreeMap::new();
        loop {
            failed.retain(|_, since: &mut Instant| since.elapsed() < PAUSE);
            if let Err(error) = self.round(&mut failed).await {
                tracing::warn!(error = %error.for_log(), "requests by address wait");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Looks into everything once. What fails waits a while and holds nothing else up, until it
    /// is as old as a code may become: by then whoever asked has asked again.
    async fn round(&self, failed: &mut BTreeMap<i64, Instant>) -> Result<(), Error> {
        let mut after = 0;
        loop {
            let asked = self.asked(after).await?;
            let Some(last) = asked.last() else { return Ok(()) };
            after = last.id;
            for request in &asked {
                if failed.contains_key(&request.id) {
                    continue;
                }
                match self.look_into(request).await {
                    Ok(()) => {}
                    // Nor will it answer for the others.
                    Err(error @ Error::Unavailable { .. }) => return Err(error),
                    Err(error) => {
                        let id = request.id;
                        failed.insert(id, Instant::now());
                        tracing::warn!(id, error = %error.for_log(), "a request by address waits");
                    }
                }
            }
        }
    }

    async fn asked(&self, after: i64) -> Result<Vec<Asked>, Error> {
        let mut tx = self.db.begin_in_background("clerk").await?;
        let asked = list(&mut tx, after).await?;
        tx.commit([]).await?;
        Ok(asked)
    }

    /// It is crossed off in the transaction that sends the letter, so that there is one and not
    /// two, also after a crash.
    async fn look_into(&self, asked: &Asked) -> Result<(), Error> {
        if clock::now() > asked.create_time + LIFE {
            tracing::error!(id = asked.id, "a request by address is given up: it is too old");
            return self.forget(asked).await;
        }
        let email_key = self.keys.open(ADDRESS, asked.purpose.as_bytes(), &asked.sealed);
        let email_key = email_key.and_then(|key| String::from_utf8(key.to_vec()).ok());
        let (Some(purpose), Some(email_key)) = (Purpose::from_text(&asked.purpose), email_key)
        else {
            tracing::error!(
                id = asked.id,
                "a request by address does not open with the present keys"
            );
            return self.forget(asked).await;
        };
        self.answer(asked, purpose, &email_key).await
    }

    async fn answer(&self, asked: &Asked, purpose: Purpose, email_key: &str) -> Result<(), Error> {
        let Some(found) = employees::sql::find_by_email(&self.db, email_key).await? else {
            return self.forget(asked).await;
        };
        let mut tx = self.db.begin_system(found.system("clerk")).await?;
        let employee = employees::sql::lock(&mut tx, found.id).await?;
        if !take(&mut tx, asked.id).await? {
            return Ok(());
        }
        let Some(employee) = employee.filter(|employee| is_wanted(purpose, employee)) else {
            return tx.commit([]).await;
        };
        let to = match address(&employee.email) {
            Ok(to) => to,
            // Nor will it be one the next time.
            Err(error) => {
                tracing::error!(error = %error.for_log(), "a request by address is given up");
                return tx.commit([]).await;
            }
        };
        let code = work::renew(&mut tx, &employee, purpose, None).await?;
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
        let (network, request_id) = (asked.network.clone(), asked.request_id.clone());
        let act = Act::on("employee", employee.id, verb);
        tx.commit([act.asked_by(Origin { network, request_id })]).await
    }

    async fn forget(&self, asked: &Asked) -> Result<(), Error> {
        let mut tx = self.db.begin_in_background("clerk").await?;
        take(&mut tx, asked.id).await?;
        tx.commit([]).await
    }
}
