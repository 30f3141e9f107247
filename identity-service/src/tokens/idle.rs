//! When does an employee token end because nobody uses it?
//!
//! Never, unless a setting says so. Where one does, each use is noted in memory, and a task of
//! its own writes what was noted, so that no call waits for it. A use so soon after the last one
//! that is written is not noted: a token may end by a tenth of the limit too early, never too
//! late.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use service_kit::{
    db::{Db, System},
    error::Error,
    serve::Background,
};

use super::sql;

/// How often what was noted is written.
const EVERY: Duration = Duration::from_secs(2);

/// The limit, if there is one, and which tokens were used since that was written last.
#[derive(Default)]
pub struct IdleLimit {
    limit: Option<TimeDelta>,
    used: Mutex<Used>,
}

/// Digests of tokens, and the accounts that they are in.
type Used = BTreeMap<String, System>;

impl IdleLimit {
    pub fn new(limit: Option<Duration>) -> Self {
        let limit = limit.map(|limit| TimeDelta::from_std(limit).unwrap_or(TimeDelta::MAX));
        Self { limit, used: Mutex::default() }
    }

    /// Whether a token that was last used then is over.
    pub fn is_over(&self, used: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.limit.is_some_and(|limit| now.signed_duration_since(used) >= limit)
    }

    /// Notes that a token is used, where it matters.
    pub fn note(&self, key: &str, used: DateTime<Utc>, now: DateTime<Utc>, account: System) {
        if self.is_worth_noting(used, now) {
            self.lock().insert(key.to_owned(), account);
        }
    }

    /// Whether a use is to be written down, the one before being as it is.
    pub fn is_worth_noting(&self, used: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.limit.is_some_and(|limit| now.signed_duration_since(used) > limit / 10)
    }

    /// The task that writes what was noted, where anything is.
    pub fn task(self: &Arc<Self>, db: &Db) -> Option<Background> {
        self.limit?;
        let (idle, db) = (self.clone(), db.clone());
        Some(Background::new("token use", move || {
            let (idle, db) = (idle.clone(), db.clone());
            async move { idle.work(&db).await }
        }))
    }

    async fn work(&self, db: &Db) {
        loop {
            tokio::time::sleep(EVERY).await;
            let used = std::mem::take(&mut *self.lock());
            for (account, keys) in by_account(used) {
                // The next use of the same tokens is noted again.
                if let Err(error) = write(db, account, &keys).await {
                    tracing::warn!(error = %error.for_log(), "the use of tokens is not written");
                }
            }
        }
    }

    /// Whoever panicked with it has left notes that are missing one at most.
    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn by_account(used: Used) -> impl Iterator<Item = (System, Vec<String>)> {
    let mut accounts: BTreeMap<i64, (System, Vec<String>)> = BTreeMap::new();
    for (key, account) in used {
        let keys = accounts.entry(account.account_id()).or_insert_with(|| (account, Vec::new()));
        keys.1.push(key);
    }
    accounts.into_values()
}

async fn write(db: &Db, account: System, keys: &[String]) -> Result<(), Error> {
    let mut tx = db.begin_system(account).await?;
    sql::set_used(&mut tx, keys).await?;
    tx.commit([]).await
}

#[cfg(test)]
mod tests {
    use service_kit::clock;

    use super::*;

    #[test]
    fn a_token_is_over_when_it_was_not_used_for_as_long_as_the_limit() {
        let (limit, now) = (IdleLimit::new(Some(Duration::from_secs(600))), clock::now());
        let ago = |seconds| now - TimeDelta::seconds(seconds);
        assert!(limit.is_over(ago(600), now) && !limit.is_over(ago(599), now));
        assert!(limit.is_worth_noting(ago(61), now) && !limit.is_worth_noting(ago(60), now));
        let none = IdleLimit::new(None);
        let ages_ago = now - TimeDelta::days(4_000);
        assert!(!none.is_over(ages_ago, now) && !none.is_worth_noting(ages_ago, now));
    }
}
