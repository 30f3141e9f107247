//! Who asks the database whether something happened, for all who watch?

use std::{sync::Arc, time::Duration};

use proto::identity::v1 as pb;
use service_kit::{db::Db, error::Error};
use tokio::{
    sync::{Notify, broadcast},
    time::sleep,
};

use super::{
    model::{Page, Position},
    sql,
};

/// How often the database is asked while somebody watches.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How many batches are kept for watchers that are busy; one that needs older ones reads for
/// itself.
const KEPT_BATCHES: usize = 16;

/// What happened lately.
pub struct News {
    db: Db,
    told: broadcast::Sender<Arc<Batch>>,
    wanted: Notify,
}

/// Events that follow each other without a gap.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Right before the first of them.
    pub after: Position,
    pub events: Vec<pb::DirectoryEvent>,
}

impl News {
    pub fn new(db: Db) -> Self {
        Self { db, told: broadcast::Sender::new(KEPT_BATCHES), wanted: Notify::new() }
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// All that is told from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Batch>> {
        let listener = self.told.subscribe();
        self.wanted.notify_one();
        listener
    }

    /// Asks for as long as somebody listens, and tells.
    pub async fn ask(&self) {
        let mut head = None;
        let mut was_silent = false;
        loop {
            if self.told.receiver_count() == 0 {
                head = None;
                self.wanted.notified().await;
            }
            match self.ask_once(head).await {
                Ok(new) => {
                    was_silent = false;
                    let is_more =
                        head.replace(new).is_some_and(|old| new.number - old.number >= sql::PAGE);
                    if is_more {
                        continue;
                    }
                }
                // Whoever listens has what there is so far, and the rest is not lost.
                Err(error) if !was_silent => {
                    was_silent = true;
                    tracing::warn!(?error, "the directory cannot be followed for now");
                }
                Err(_) => {}
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// Tells what follows the head as it was, and returns the new one.
    async fn ask_once(&self, head: Option<Position>) -> Result<Position, Error> {
        let Some(after) = head else {
            return Ok(self.point_to(sql::head(&self.db).await?));
        };
        let page = sql::read(&self.db, after.number).await?;
        let present = page.head;
        let Ok(events) = Page::behind(page, after) else {
            return Ok(self.point_to(present));
        };
        let Some(last) = events.last().map(|event| event.number) else {
            return Ok(after);
        };
        let events = events.into_iter().map(Into::into).collect();
        self.tell(Batch { after, events });
        Ok(Position { number: last, ..after })
    }

    /// Tells from where on there will be something to hear: who is not there yet reads the rest
    /// by itself, or learns that it is gone.
    fn point_to(&self, head: Position) -> Position {
        self.tell(Batch { after: head, events: Vec::new() });
        head
    }

    fn tell(&self, batch: Batch) {
        // Nobody may be listening any more.
        _ = self.told.send(Arc::new(batch));
    }
}
