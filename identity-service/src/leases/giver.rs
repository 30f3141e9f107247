//! What does this process know of the leases that it gave?

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::{
    metrics::counter::Counter,
    registry::{Registry, Unit},
};
use service_kit::{
    db::Db,
    error::Error,
    lease::{
        LEASE,
        clock::Moment,
        log::Position,
        notes::Notes,
        table::{Publisher, Watchman},
        wait::Wait,
    },
    telemetry::metrics::register_count,
};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::timeout,
};
use uuid::Uuid;

use super::sql::{self, Table};

/// Gives leases, and knows who may hold one. One for each process.
pub struct Giver {
    pub(super) db: Db,
    state: Mutex<State>,
    /// Held while the row is made: one is enough.
    row: AsyncMutex<()>,
    /// Moves when there may be news in the log.
    news: watch::Sender<()>,
    /// Moves when somebody acknowledged something.
    heard: watch::Sender<()>,
    pub(super) figures: Figures,
}

#[derive(Default)]
pub(super) struct State {
    pub notes: Notes,
    pub publisher: Publisher,
    pub watchman: Watchman,
    /// The row by which leases are given, once there is one.
    pub own: Option<Uuid>,
}

#[derive(Default)]
pub(super) struct Figures {
    pub leases: Counter,
    pub waits: Counter,
    pub waited: Counter<f64, std::sync::atomic::AtomicU64>,
}

impl Giver {
    pub fn new(db: Db) -> Self {
        let (news, heard) = (watch::Sender::new(()), watch::Sender::new(()));
        let (state, row) = (Mutex::default(), AsyncMutex::default());
        Self { db, state, row, news, heard, figures: Figures::default() }
    }

    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        let figures = &self.figures;
        registry.register("leases_given", "Leases given to other services", figures.leases.clone());
        registry.register(
            "lease_waits",
            "Calls that waited for others to learn what they took back",
            figures.waits.clone(),
        );
        registry.register_with_unit(
            "lease_waited",
            "Time that they waited",
            Unit::Seconds,
            figures.waited.clone(),
        );
        // They end by time alone, so that they are counted when somebody asks.
        let (giver, help) = (Arc::clone(self), "Processes of other services that may hold a lease");
        register_count(registry, "lease_holders", help, move || {
            giver.state().notes.holders(Moment::now())
        });
    }

    /// A ping is here: to be called before the log is read for it.
    pub(super) fn arrive(&self, start: Uuid) {
        self.state().notes.arrive(start, Moment::now());
    }

    pub(super) fn acknowledge(&self, start: Uuid, position: Position) {
        // Every ping says how far it is: who waits is woken only where that is further.
        if self.state().notes.acknowledge(start, position) {
            self.heard.send_replace(());
        }
    }

    /// The row by which leases are given; made now, if there is none.
    ///
    /// # Errors
    /// Where it cannot be made: no lease is given then.
    pub(super) async fn row(&self) -> Result<Uuid, Error> {
        if let Some(own) = self.state().own {
            return Ok(own);
        }
        let _one_at_a_time = self.row.lock().await;
        if let Some(own) = self.state().own {
            return Ok(own);
        }
        let id = Uuid::new_v4();
        Box::pin(sql::insert(&self.db, id)).await?;
        self.state().own = Some(id);
        self.news.send_replace(());
        Ok(id)
    }

    /// A row turned out to be gone, or fenced: the next lease needs another one.
    pub(super) fn lost(&self, row: Uuid) {
        let mut state = self.state();
        if state.own == Some(row) {
            tracing::warn!(%row, "this process was taken to be gone: it gives leases by a new row");
            state.own = None;
        }
    }

    /// Waits, by what the log and the table say now.
    pub(super) fn begin_wait(&self, table: &Table) -> Wait {
        let state = self.state();
        Wait::begin(table.head, &table.rows, state.own, &state.notes, Moment::now())
    }

    pub(super) fn is_over(&self, wait: &mut Wait) -> bool {
        wait.is_over(&self.state().notes, Moment::now())
    }

    /// The log and the table, if the database says so in the time in which it matters.
    pub(super) async fn table(&self) -> Result<Table, Error> {
        in_time(sql::table(&self.db)).await
    }

    /// Somebody may have written to the log.
    pub(super) fn tell_news(&self) {
        self.news.send_replace(());
    }

    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    pub(super) fn heard(&self) -> watch::Receiver<()> {
        self.heard.subscribe()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // What is in there is true after every single change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is found out later than this is of no use for a lease.
const IN_TIME: Duration = LEASE;

pub(super) async fn in_time<T>(found: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(IN_TIME, found).await.unwrap_or_else(|_| Err(Error::database_unavailable()))
}
