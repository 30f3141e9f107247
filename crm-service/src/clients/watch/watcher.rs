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
    model::{Batch, Change, seen},
    news::News,
    sql,
};
use crate::visibility::Scope;

/// How long a stream is silent before it shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// One watcher. Numbers alone decide what it is sent: each once, in order, whichever way it
/// comes.
pub struct Watcher {
    caller: Caller,
    scope: Scope,
    keys: Arc<Keyring>,
    news: Arc<News>,
    heard: broadcast::Receiver<Arc<Batch>>,
    /// The number of the last change that was dealt with.
    number: i64,
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
        let (number, first) = (0, None);
        let mut watcher =
            Self { caller, scope, keys, news, heard, number, is_behind: false, first };
        watcher.first = Some(watcher.begin(cursor).await?);
        Ok(watcher)
    }

    async fn begin(&mut self, cursor: Option<Cursor>) -> Result<pb::WatchClientsResponse, Error> {
        let Some(cursor) = cursor else {
            let mut tx = self.news.db().begin(&self.caller).await?;
            self.number = sql::head(&mut tx).await?;
            return Ok(self.response(Vec::new()));
        };
        cursor.check(self.scope)?;
        self.number = cursor.number;
        let batch = self.read().await?;
        let changes = self.pass(&batch.changes);
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
                self.pass(&batch.changes)
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
        // One that ends before the last change dealt with is late, or numbers began anew behind a
        // restore: the database knows.
        if batch.after > self.number || batch.end() < self.number {
            return self.fall_behind();
        }
        self.pass(batch.beyond(self.number))
    }

    fn fall_behind(&mut self) -> Vec<pb::ClientChange> {
        self.is_behind = true;
        Vec::new()
    }

    /// What the database has behind the last change that was dealt with.
    async fn read(&mut self) -> Result<Batch, Error> {
        let mut tx = self.news.db().begin(&self.caller).await?;
        let (batch, head) = sql::behind(&mut tx, self.number).await?;
        self.is_behind = batch.end() < head;
        Ok(batch)
    }

    /// Deals with the next changes: what the caller sees of them.
    fn pass(&mut self, changes: &[Change]) -> Vec<pb::ClientChange> {
        if let Some(last) = changes.last() {
            self.number = last.number;
        }
        seen(self.scope, changes)
    }

    fn cursor(&self) -> Cursor {
        Cursor { number: self.number, scope: self.scope }
    }

    fn response(&self, changes: Vec<pb::ClientChange>) -> pb::WatchClientsResponse {
        let cursor = self.cursor().text(self.caller.account_id(), &self.keys);
        pb::WatchClientsResponse { changes, cursor }
    }
}
