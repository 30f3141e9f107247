//! What does one stream tell its holder?

use std::sync::Arc;

use proto::identity::v1 as pb;
use service_kit::{
    error::Error,
    fields::{Fields, Flaw},
    lease::feed::{Feed, Word},
};
use tokio::sync::watch;
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::{
    giver::{Giver, in_time},
    model::{Request, Revocation, response},
    sql,
};

/// One stream.
pub struct Watch {
    giver: Arc<Giver>,
    requests: Streaming<pb::WatchRevocationsRequest>,
    news: watch::Receiver<()>,
    feed: Feed,
    /// Which start of which process this is, once it said so.
    start: Option<Uuid>,
    /// A ping that is not answered yet, because there was more to say than fits.
    owed: Option<i64>,
    was_silent: bool,
}

impl Watch {
    /// With the first request, without which nobody knows who it is.
    pub async fn begin(
        giver: Arc<Giver>,
        mut requests: Streaming<pb::WatchRevocationsRequest>,
    ) -> Result<Self, Status> {
        let (news, feed) = (giver.news(), Feed::default());
        let first = requests.message().await?.unwrap_or_default();
        let mut watch =
            Self { giver, requests, news, feed, start: None, owed: None, was_silent: false };
        watch.take(&first)?;
        Ok(watch)
    }

    /// The next response; none, when the holder has gone.
    pub async fn next(&mut self) -> Result<Option<pb::WatchRevocationsResponse>, Status> {
        loop {
            if self.owed.is_some() {
                if let Some(word) = self.read().await {
                    return Ok(Some(self.say(word)));
                }
                // It asks again before long.
                self.owed = None;
            }
            tokio::select! {
                // What the holder says goes first: it may be what somebody waits for.
                biased;
                request = self.requests.message() => match request? {
                    Some(request) => self.take(&request)?,
                    None => return Ok(None),
                },
                _giver_is_ours = self.news.changed() => {
                    let word = self.read().await;
                    if let Some(word) = word.filter(|word| word.reset || !word.events.is_empty()) {
                        return Ok(Some(self.say(word)));
                    }
                }
            }
        }
    }

    /// Notes what the holder says. The log is read after that, and never before.
    fn take(&mut self, request: &pb::WatchRevocationsRequest) -> Result<(), Error> {
        let mut fields = Fields::default();
        let request = Request::parse(&mut fields, request);
        let other = self.start.zip(request.as_ref()).is_some_and(|(own, it)| own != it.start);
        if other {
            fields.refuse("start_id", Flaw::bad("must be the same on the whole stream"));
        }
        let (Request { start, applied, ping },) = fields.all((request,))?;
        if self.start.is_none() {
            self.start = Some(start);
            self.feed.begin(applied);
        }
        if ping.is_some() {
            self.giver.arrive(start);
        }
        if let Some(applied) = applied {
            self.giver.acknowledge(start, applied);
        }
        self.owed = ping.or(self.owed);
        Ok(())
    }

    /// What is new in the log, and whether a lease may go with it. Nothing, where that cannot be
    /// found out: whoever cannot read gives none.
    async fn read(&mut self) -> Option<Word<Revocation>> {
        let read = in_time(async {
            let own = self.giver.row().await?;
            let reading = sql::read(&self.giver.db, self.feed.behind(), Some(own)).await?;
            Ok((own, reading))
        });
        match read.await {
            Ok((own, reading)) => {
                if !reading.may_give {
                    self.giver.lost(own);
                }
                self.was_silent = false;
                Some(self.feed.next(reading))
            }
            Err(error) => {
                if !self.was_silent {
                    let error = error.for_log();
                    tracing::warn!(%error, "the log of revocations cannot be read: no lease is given");
                }
                self.was_silent = true;
                None
            }
        }
    }

    fn say(&mut self, word: Word<Revocation>) -> pb::WatchRevocationsResponse {
        let response = response(word, self.owed);
        if response.ping != 0 {
            self.owed = None;
        }
        if response.lease.is_some() {
            self.giver.figures.leases.inc();
        }
        response
    }
}
