//! How does a letter get from a transaction to the mail server, and never get lost?
//!
//! It is written in the transaction that has something to say, sealed, and sent afterwards by a
//! task of its own: at least once, under one message id.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use service_kit::{
    clock,
    db::{Db, Found, TenantTx},
    error::Error,
    fields::Email,
    keys::{Keyring, Purpose},
};
use uuid::Uuid;

use super::{
    letter::Letter,
    sql::{self, Due, Taken},
    transport::{SendError, Transport},
};

const LETTER: Purpose = Purpose::new("letter");
/// How often it is looked whether there is anything to send.
const EVERY: Duration = Duration::from_millis(500);
/// Letters at a time.
const BATCH: i64 = 20;
/// Longer than one attempt can take, so that no two are at one letter.
const FIRST_PAUSE: TimeDelta = TimeDelta::minutes(2);
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);
/// The codes in it are no good any more, and whoever asked has asked again.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::days(3);

/// Takes letters inside transactions.
#[derive(Clone)]
pub struct Post {
    pub keys: Arc<Keyring>,
    /// The app that links lead to.
    pub app_url: Option<Arc<str>>,
    /// Ends the ids of the letters.
    pub domain: Arc<str>,
}

impl Post {
    pub fn app_url(&self) -> Option<&str> {
        self.app_url.as_deref()
    }

    /// Sends a letter, if the transaction becomes true.
    pub async fn send(&self, tx: &mut TenantTx, letter: &Letter) -> Result<(), Error> {
        let message_id = format!("<{}@{}>", Uuid::new_v4(), self.domain);
        let plain = serde_json::to_vec(&(letter.to.as_str(), &letter.subject, &letter.text));
        let plain = plain.map_err(Error::internal)?;
        let sealed = self.keys.seal(LETTER, message_id.as_bytes(), &plain);
        sql::insert(tx, &message_id, &sealed).await
    }

    /// Sends what only tells somebody what happened, and must not keep it from happening: where
    /// it cannot go anywhere, that is logged.
    pub async fn notify(
        &self,
        tx: &mut TenantTx,
        stored: &str,
        notice: impl FnOnce(Email) -> Letter,
    ) -> Result<(), Error> {
        match address(stored) {
            Ok(to) => self.send(tx, &notice(to)).await,
            Err(error) => {
                tracing::error!(error = %error.for_log(), "a notice is not sent");
                Ok(())
            }
        }
    }

    fn open(&self, taken: &Taken) -> Option<Letter> {
        let plain = self.keys.open(LETTER, taken.message_id.as_bytes(), &taken.sealed)?;
        let (to, subject, text): (String, String, String) = serde_json::from_slice(&plain).ok()?;
        Some(Letter { to: Email::required(&to).ok()?, subject, text })
    }
}

/// An address as it is stored. That it is none is nobody's fault who calls.
pub fn address(stored: &str) -> Result<Email, Error> {
    Email::required(stored).map_err(|flaw| Error::internal(format!("a stored address {flaw}")))
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Fate {
    fate: &'static str,
}

/// Carries letters away.
pub struct Postman {
    db: Db,
    post: Post,
    transport: Transport,
    letters: Family<Fate, Counter>,
}

impl Postman {
    pub fn new(db: Db, post: Post, transport: Transport) -> Self {
        Self { db, post, transport, letters: Family::default() }
    }

    /// Shows how many letters went which way.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Letters sent, to be tried again, or given up";
        registry.register("letters", help, self.letters.clone());
    }

    /// Sends what there is to send, for ever.
    pub async fn work(&self) {
        loop {
            match self.round().await {
                Ok(BATCH) => {}
                Ok(_) => tokio::time::sleep(EVERY).await,
                Err(error) => {
                    tracing::warn!(error = %error.for_log(), "letters cannot be sent at the moment");
                    tokio::time::sleep(EVERY).await;
                }
            }
        }
    }

    /// Tries the letters that are due; returns how many those were.
    async fn round(&self) -> Result<i64, Error> {
        let due = sql::due(&self.db, clock::now(), BATCH).await?;
        let tried = i64::try_from(due.len()).unwrap_or(BATCH);
        for letter in due {
            self.deliver(&letter).await?;
        }
        Ok(tried)
    }

    async fn deliver(&self, due: &Found<Due>) -> Result<(), Error> {
        let mut tx = self.db.begin_system(due.system("post")).await?;
        let next_attempt = tx.now() + FIRST_PAUSE;
        let Some(taken) = sql::take(&mut tx, due.id, next_attempt).await? else { return Ok(()) };
        tx.commit([]).await?;
        let Some(letter) = self.post.open(&taken) else {
            tracing::error!(letter = due.id, "a letter does not open with the present keys");
            if is_too_old(&taken, clock::now()) {
                return self.forget(due, "unreadable").await;
            }
            return self.put_off(due, pause(taken.attempts)).await;
        };
        match self.transport.send(&letter, &taken.message_id).await {
            Ok(_) => self.forget(due, "sent").await,
            Err(SendError::Permanent(why)) => {
                tracing::warn!(letter = due.id, why, "a letter is refused for good");
                self.forget(due, "refused").await
            }
            Err(SendError::Temporary(why)) if is_too_old(&taken, clock::now()) => {
                tracing::error!(letter = due.id, why, "a letter is given up");
                self.forget(due, "given_up").await
            }
            Err(SendError::Temporary(why)) => {
                tracing::warn!(letter = due.id, why, "a letter will be tried again");
                self.put_off(due, pause(taken.attempts)).await
            }
        }
    }

    async fn forget(&self, due: &Found<Due>, fate: &'static str) -> Result<(), Error> {
        self.letters.get_or_create(&Fate { fate }).inc();
        let mut tx = self.db.begin_system(due.system("post")).await?;
        sql::delete(&mut tx, due.id).await?;
        tx.commit([]).await
    }

    async fn put_off(&self, due: &Found<Due>, pause: TimeDelta) -> Result<(), Error> {
        self.letters.get_or_create(&Fate { fate: "put_off" }).inc();
        let mut tx = self.db.begin_system(due.system("post")).await?;
        let next_attempt = tx.now() + pause;
        sql::put_off(&mut tx, due.id, next_attempt).await?;
        tx.commit([]).await
    }
}

fn is_too_old(taken: &Taken, now: DateTime<Utc>) -> bool {
    now > taken.create_time + GIVE_UP_AFTER
}

/// Soon at first, and less and less often: 15 seconds, 30, a minute, …, an hour.
fn pause(attempts: i32) -> TimeDelta {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(10);
    (TimeDelta::seconds(15) * 2_i32.pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_less_and_less_often() {
        let seconds: Vec<_> = (1..=12).map(|attempts| pause(attempts).num_seconds()).collect();
        assert_eq!(seconds[..4], [15, 30, 60, 120]);
        assert_eq!(seconds[11], 3600);
        assert!(seconds.is_sorted());
    }
}
