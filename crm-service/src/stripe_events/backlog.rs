//! How is it gone on with what waited for a customer who is known now?
//!
//! Whoever ties a client to a customer notes that charges wait for them ([`begin`]), in the same
//! transaction. They are recorded next, a few in each transaction and in the order in which they
//! happened, by whoever gets to it: the call itself does the first ones, and a task of each
//! process the rest, also of a process that died. As long as some wait, a new one queues up
//! behind them.

use std::time::Duration;

use service_kit::{
    db::{Db, Found, TenantTx, Tenanted},
    error::Error,
    serve::Background,
};
use tokio::time::sleep;

use super::{
    sql,
    work::{Place, settle},
};
use crate::stripe_customers;

/// Charges of one transaction: it locks the client, and makes the account's other events wait.
const BATCH: i64 = 20;
/// Transactions that a call does by itself before it answers.
const AT_ONCE: usize = 3;
/// Transactions of each customer in turn, until it is looked again who waits: nobody's many
/// charges make others' few wait.
const TURNS: usize = 25;
/// How often a process looks for what others left.
const EVERY: Duration = Duration::from_secs(2);

const TASK: &str = "stripe";

/// A customer for whom charges wait.
#[derive(Debug, sqlx::FromRow)]
pub struct Backlog {
    account_id: i64,
    stripe_customer_id: String,
}

impl Tenanted for Backlog {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// The task that goes on with it.
pub fn task(db: &Db) -> Background {
    let db = db.clone();
    Background::new("stripe backlogs", move || {
        let db = db.clone();
        async move {
            let mut was_silent = false;
            loop {
                was_silent = round(&db, was_silent).await;
                sleep(EVERY).await;
            }
        }
    })
}

/// Notes that charges wait for a customer who is known from now on; whether any do.
pub async fn begin(tx: &mut TenantTx, stripe_customer_id: &str) -> Result<bool, Error> {
    sql::begin_backlog(tx, stripe_customer_id).await
}

/// Does the first of it. What fails is no failure of the call: the task comes to it.
pub async fn go_on(db: &Db, account_id: i64, stripe_customer_id: &str) {
    let first = async {
        let Some(backlog) = sql::backlog(db, account_id, stripe_customer_id).await? else {
            return Ok(());
        };
        for _ in 0..AT_ONCE {
            if step(db, &backlog).await? {
                break;
            }
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = first.await {
        tracing::warn!(error = %error.for_log(), "what waited for a customer waits a little longer");
    }
}

/// All that is left; whether the database was silent, which is said once. What goes wrong with one
/// customer is no reason not to go on with the others.
async fn round(db: &Db, was_silent: bool) -> bool {
    let backlogs = match sql::backlogs(db).await {
        Ok(backlogs) => backlogs,
        Err(error) if !was_silent => {
            let error = error.for_log();
            tracing::warn!(%error, "nobody knows what waits for customers for now");
            return true;
        }
        Err(_) => return true,
    };
    let mut waiting = backlogs;
    for _ in 0..TURNS {
        let mut rest = Vec::new();
        for backlog in waiting {
            match step(db, &backlog).await {
                Ok(true) => {}
                Ok(false) => rest.push(backlog),
                Err(error) => {
                    let error = error.for_log();
                    tracing::warn!(%error, "what waits for a customer cannot be recorded for now");
                }
            }
        }
        waiting = rest;
    }
    false
}

/// Records a few charges; whether that was all.
async fn step(db: &Db, backlog: &Found<Backlog>) -> Result<bool, Error> {
    let customer_id = &backlog.stripe_customer_id;
    let mut tx = db.begin_system(backlog.system(TASK)).await?;
    sql::queue(&mut tx).await?;
    // Untied meanwhile: it waits for the next tie.
    let is_known = stripe_customers::sql::find_by_stripe_id(&mut tx, customer_id).await?.is_some();
    let next =
        if is_known { sql::next_charges(&mut tx, customer_id, BATCH).await? } else { vec![] };
    let mut acts = Vec::new();
    for charge_id in &next {
        acts.extend(settle(&mut tx, charge_id, Place::First).await?);
    }
    let is_all = next.is_empty();
    if is_all {
        sql::end_backlog(&mut tx, customer_id).await?;
    }
    tx.commit(acts).await?;
    Ok(is_all)
}
