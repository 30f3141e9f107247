//! What does one watcher get to see, and in which order?

use std::{sync::Arc, time::Duration};

use proto::identity::v1 as pb;
use service_kit::error::Error;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, timeout_at},
};

use super::{
    model::Position,
    news::{Batch, News},
    sql,
};

/// How long a stream is silent before it shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// One watcher. Numbers alone decide what it is sent: each once, in order, whichever way it
/// comes.
pub struct Watch {
    news: Arc<News>,
    heard: broadcast::Receiver<Arc<Batch>>,
    /// Behind the last event that was sent.
    position: Position,
    /// There may be more than what will be heard.
    is_behind: bool,
    /// What it begins with.
    first: Option<pb::WatchDirectoryResponse>,
}

impl Watch {
    /// From a cursor on or, without one, from now on.
    pub async fn from(cursor: Option<Position>, news: Arc<News>) -> Result<Self, Error> {
        // Before anything is read, so that what happens meanwhile is heard.
        let heard = news.listen();
        let position = match cursor {
            Some(cursor) => cursor,
            None => sql::head(news.db()).await?,
        };
        let mut watch = Self { news, heard, position, is_behind: false, first: None };
        let events = if cursor.is_some() { watch.read().await? } else { Vec::new() };
        watch.first = Some(watch.send(events));
        Ok(watch)
    }

    /// The next response.
    pub async fn next(&mut self) -> Result<pb::WatchDirectoryResponse, Error> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let heartbeat = Instant::now() + HEARTBEAT;
        loop {
            let events = if self.is_behind {
                self.read().await?
            } else {
                match timeout_at(heartbeat, self.heard.recv()).await {
                    Ok(Ok(batch)) => self.take(&batch),
                    Ok(Err(RecvError::Lagged(_))) => self.fall_behind(),
                    // We hold the one who tells.
                    Ok(Err(RecvError::Closed)) => {
                        return Err(Error::internal("nobody tells news any more"));
                    }
                    Err(_silence) => return Ok(self.send(Vec::new())),
                }
            };
            if !events.is_empty() {
                return Ok(self.send(events));
            }
        }
    }

    /// What of a batch was not sent yet.
    fn take(&mut self, batch: &Batch) -> Vec<pb::DirectoryEvent> {
        if batch.after.epoch != self.position.epoch || batch.after.number > self.position.number {
            return self.fall_behind();
        }
        let is_new = |event: &&pb::DirectoryEvent| event.number > self.position.number;
        batch.events.iter().filter(is_new).cloned().collect()
    }

    fn fall_behind(&mut self) -> Vec<pb::DirectoryEvent> {
        self.is_behind = true;
        Vec::new()
    }

    /// What the database has behind the last event that was sent.
    async fn read(&mut self) -> Result<Vec<pb::DirectoryEvent>, Error> {
        let page = sql::read(self.news.db(), self.position.number).await?;
        let head = page.head.number;
        let events = page.behind(self.position)?;
        self.is_behind = events.last().is_some_and(|last| last.number < head);
        Ok(events.into_iter().map(Into::into).collect())
    }

    fn send(&mut self, events: Vec<pb::DirectoryEvent>) -> pb::WatchDirectoryResponse {
        if let Some(last) = events.last() {
            self.position.number = last.number;
        }
        pb::WatchDirectoryResponse { events, cursor: Some(self.position.into()) }
    }
}
