//! What is too old to be of use, and how does it go away?
//!
//! Each kind of row has a [`Chore`], and one task of the server sees to all of them every now and
//! then. It deletes as a role that can do nothing else, a batch at a time. Several processes may
//! do so at once: what one has deleted the other does not find. What fails is tried again with
//! the next round.

use std::time::Duration;

use chrono::TimeDelta;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use tokio::time::sleep;

use crate::{
    clock,
    config::HousekeepingSettings,
    db::{BATCH, Db, Sql, Sweeper},
    error::Error,
    sql,
    telemetry::metrics::Metrics,
};

const HOUR: Duration = Duration::from_secs(60 * 60);
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A round soon after the start, lest a process that is often started anew never has one.
const SOON: Duration = Duration::from_secs(60);

/// Answers to repeats: kept for a day, and for what clocks and transactions may add to it.
pub const KEEP_ANSWERS: Duration = Duration::from_secs(25 * HOUR.as_secs());

/// Rows of one kind that go when they are old.
#[derive(Debug, Clone, Copy)]
pub struct Chore {
    /// As the metrics call it.
    pub kind: &'static str,
    /// How old they become.
    pub keep: Duration,
    /// Deletes, of those from before `$1`, at most `$2`.
    pub delete: Sql,
}

/// What both services keep: answers to repeats, and records.
fn common(settings: &HousekeepingSettings) -> [Chore; 2] {
    [
        Chore {
            kind: "answers",
            keep: KEEP_ANSWERS,
            delete: sql!(
                "DELETE FROM answers WHERE (account_id, actor, method, request_id) IN (
                     SELECT old.account_id, old.actor, old.method, old.request_id
                     FROM answers AS old
                     WHERE old.create_time < $1 ORDER BY old.create_time LIMIT $2)"
            ),
        },
        Chore {
            kind: "audit_events",
            keep: settings.audit_retention,
            // Account by account, because that is how the records are sorted.
            delete: sql!(
                "DELETE FROM audit_events WHERE (account_id, id) IN (
                     SELECT old.account_id, old.id
                     FROM accounts a CROSS JOIN LATERAL (
                         SELECT e.account_id, e.id FROM audit_events e
                         WHERE e.account_id = a.id AND e.time < $1
                         ORDER BY e.time LIMIT $2) AS old
                     LIMIT $2)"
            ),
        },
    ]
}

/// Sees to the chores of a service.
pub struct Housekeeping {
    sweeper: Sweeper,
    every: Duration,
    chores: Vec<Chore>,
    errands: Vec<Box<dyn Fn() + Send + Sync>>,
    swept: Family<Kind, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl Housekeeping {
    /// The chores that both services have, and more.
    pub fn new(
        db: &Db,
        settings: &HousekeepingSettings,
        metrics: &Metrics,
        more: &[Chore],
    ) -> Self {
        let chores = [&common(settings), more].concat();
        let swept = Family::<Kind, Counter>::default();
        for chore in &chores {
            // Seen at nought already.
            drop(swept.get_or_create(&Kind { kind: chore.kind }));
        }
        metrics.register(|registry| {
            registry.register("rows_swept", "Rows deleted because they were old", swept.clone());
        });
        let (sweeper, every) = (db.sweeper(), settings.every);
        Self { sweeper, every, chores, errands: Vec::new(), swept }
    }

    /// Something else to do each time, in memory.
    #[must_use]
    pub fn also(mut self, errand: impl Fn() + Send + Sync + 'static) -> Self {
        self.errands.push(Box::new(errand));
        self
    }

    /// Round after round, for ever.
    pub async fn go_on(&self) {
        sleep(self.every.min(SOON)).await;
        loop {
            self.round().await;
            sleep(self.every).await;
        }
    }

    /// Everything once. What cannot be done is no reason not to do the rest.
    async fn round(&self) {
        for errand in &self.errands {
            errand();
        }
        for chore in &self.chores {
            match self.see_to(chore).await {
                Ok(0) => {}
                Ok(rows) => {
                    tracing::debug!(kind = chore.kind, rows, "swept");
                }
                // Nor will it answer the next one.
                Err(Error::Unavailable { .. }) => {
                    tracing::warn!(kind = chore.kind, "not swept: there is no database for now");
                    return;
                }
                Err(error) => tracing::warn!(kind = chore.kind, ?error, "not swept for now"),
            }
        }
    }

    async fn see_to(&self, chore: &Chore) -> Result<u64, Error> {
        let keep = TimeDelta::from_std(chore.keep).ok();
        let Some(oldest) = keep.and_then(|keep| clock::now().checked_sub_signed(keep)) else {
            return Ok(0);
        };
        let swept = self.swept.get_or_create(&Kind { kind: chore.kind }).clone();
        let rows = self.sweeper.sweep(chore.delete, |query| query.bind(oldest).bind(BATCH)).await?;
        swept.inc_by(rows);
        Ok(rows)
    }
}
