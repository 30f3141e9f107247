//! What does one watcher get to see, and in which order?

use std::{sync::Arc, time::Duration};

use futures::stream::{Stream, try_unfold};
use proto::crm::v1 as pb;
use service_kit::{caller::Caller, error::Error, keys::Keyring};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, timeout_at},
};
use tonic::Status;

use super::{
    cursor::Cursor,
    model::{Batch, Place, seen},
    news::News,
    sql,
};
use crate::visibility::Scope;

/// How long a stream is silent before it shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// One watcher. Places alone decide what it is sent: each change once, in order, whichever way
/// it comes.
pub struct Watcher {
    caller: Caller,
    scope: Scope,
    keys: Arc<Keyring>,
    news: Arc<News>,
    heard: broadcast::Receiver<Arc<Batch>>,
    /// The place behind the last change that was dealt with.
    place: Place,
    /// There may be more than what will be heard.
    is_behind: bool,
    /// What it begins with.
    first: Option<pb::WatchClientsResponse>,
}

impl Watcher {
    /// From a cursor on or, without one, from now on.
    pub async fn from(
        cursor: Option<Cursor>,
        caller: Caller,
        news: Arc<News>,
        keys: Arc<Keyring>,
    ) -> Result<Self, Error> {
        let scope = Scope::of(&caller);
        // Before anything is read, so that what happens meanwhile is heard.
        let heard = news.listen(caller.account_id())?;
        let (place, first) = (Place::BEGINNING, None);
        let mut watcher = Self { caller, scope, keys, news, heard, place, is_behind: false, first };
        watcher.first = Some(watcher.begin(cursor).await?);
        Ok(watcher)
    }

    async fn begin(&mut self, cursor: Option<Cursor>) -> Result<pb::WatchClientsResponse, Error> {
        let Some(cursor) = cursor else {
            let mut tx = self.news.db().begin(&self.caller).await?;
            self.place = sql::head(&mut tx).await?;
            return Ok(self.response(Vec::new()));
        };
        cursor.check(self.scope)?;
        self.place = cursor.place;
        let batch = self.read().await?;
        let changes = self.pass(&batch);
        Ok(self.response(changes))
    }

    /// The responses, one after the other.
    pub fn responses(
        self,
    ) -> impl Stream<Item = Result<pb::WatchClientsResponse, Status>> + Send + 'static {
        try_unfold(self, |mut watcher| async move {
            let response = watcher.next().await?;
            Ok(Some((response, watcher)))
        })
    }

    /// What is to be asked about the caller for as long as they watch.
    pub fn still(&self) -> impl Fn(&Caller) -> Result<(), Error> + Send + Sync + use<> {
        let cursor = self.cursor();
        move |caller| cursor.check(Scope::of(caller))
    }

    async fn next(&mut self) -> Result<pb::WatchClientsResponse, Error> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let heartbeat = Instant::now() + HEARTBEAT;
        loop {
            let changes = if self.is_behind {
                let batch = self.read().await?;
                self.pass(&batch)
            } else {
                match timeout_at(heartbeat, self.heard.recv()).await {
                    Ok(Ok(batch)) => self.take(&batch),
                    Ok(Err(RecvError::Lagged(_))) => self.fall_behind(),
                    // We hold the one who tells.
                    Ok(Err(RecvError::Closed)) => {
                        return Err(Error::internal("nobody tells news any more"));
                    }
                    Err(_silence) => return Ok(self.response(Vec::new())),
                }
            };
            if !changes.is_empty() {
                return Ok(self.response(changes));
            }
        }
    }

    /// What of a batch is new.
    fn take(&mut self, batch: &Batch) -> Vec<pb::ClientChange> {
        // One that does not hold our place is late, or a restore took back what we are behind: the
        // database knows.
        if batch.beyond(self.place).is_none() { self.fall_behind() } else { self.pass(batch) }
    }

    fn fall_behind(&mut self) -> Vec<pb::ClientChange> {
        self.is_behind = true;
        Vec::new()
    }

    /// What the database has behind the last change that was dealt with.
    async fn read(&mut self) -> Result<Batch, Error> {
        let mut tx = self.news.db().begin(&self.caller).await?;
        let (batch, head) = sql::behind(&mut tx, self.place).await?;
        self.is_behind = batch.end().number < head.number;
        Ok(batch)
    }

    /// Deals with what of a batch is new: what the caller sees of it.
    fn pass(&mut self, batch: &Batch) -> Vec<pb::ClientChange> {
        let changes = batch.beyond(self.place).unwrap_or_default();
        if let Some(last) = changes.last() {
            self.place = last.place;
        }
        seen(self.scope, changes)
    }

    fn cursor(&self) -> Cursor {
        Cursor { place: self.place, scope: self.scope }
    }

    fn response(&self, changes: Vec<pb::ClientChange>) -> pb::WatchClientsResponse {
        let cursor = self.cursor().text(self.caller.account_id(), &self.keys);
        pb::WatchClientsResponse { changes, cursor }
    }
}
