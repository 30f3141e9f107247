//! How does the copy stay true?
//!
//! One task of each process follows identity's log from the cursor in the database, and stores
//! the cursor once everything before it was dealt with: what a process that died had only begun
//! is done again by the next one. All of it may be done twice, and by several processes at once.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use proto::identity::v1 as pb;
use service_kit::{error::Error, serve::Background};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, Streaming};

use super::{
    meet::{Directory, MOST},
    model::{News, Position},
    sql::{self, Mark},
};
use crate::identity::Identity;

/// A stream that shows no life for so long is dead: identity does every ten seconds or so.
const SILENCE: Duration = Duration::from_secs(30);
/// What is waited before the log is opened again; doubled with each time in vain.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The task that follows.
pub fn task(directory: Directory) -> Background {
    let follower = Follower { directory };
    Background::new("directory", move || {
        let follower = follower.clone();
        async move { follower.go_on().await }
    })
}

#[derive(Clone)]
struct Follower {
    directory: Directory,
}

/// Why the log is not followed any further for now.
#[derive(Debug)]
enum End {
    /// The stream was through, or became too old.
    Well,
    /// What follows the cursor is gone.
    Expired,
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::CursorExpired => Self::Expired,
            error => Self::Failed(error),
        }
    }
}

impl Follower {
    async fn go_on(&self) {
        let (mut pause, mut anew) = (PAUSE, false);
        loop {
            let mut got_on = false;
            let Err(end) = self.follow(anew, &mut got_on).await;
            anew = matches!(end, End::Expired) || (anew && !got_on);
            let is_news = got_on || pause == PAUSE;
            match end {
                End::Failed(error) if is_news => {
                    let error = error.for_log();
                    tracing::warn!(%error, "the directory cannot be followed for now");
                }
                End::Failed(_) | End::Well => {}
                End::Expired => {
                    tracing::warn!("the directory goes on elsewhere: everyone is resolved anew");
                }
            }
            pause = if got_on { PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            sleep(pause).await;
        }
    }

    /// Follows the log for as long as that goes well; `got_on` once something was dealt with.
    async fn follow(&self, anew: bool, got_on: &mut bool) -> Result<Infallible, End> {
        let cursor =
            if anew { None } else { sql::marked(&self.directory.db, Mark::Reached).await? };
        let mut log = Log::open(&self.directory.identity, cursor.clone()).await?;
        let (mut dealt_with, mut asked) = (cursor, BTreeSet::new());
        loop {
            let (position, events) = log.next().await?;
            match &dealt_with {
                None => self.resolve_anew(&position).await?,
                Some(last) if last.epoch != position.epoch => return Err(End::Expired),
                Some(_) => {}
            }
            for (account_id, news) in News::by_account(events) {
                self.directory.apply(account_id, &position.epoch, news).await?;
            }
            if dealt_with.as_ref() != Some(&position) {
                sql::set_mark(&self.directory.db, Mark::Reached, &position).await?;
            }
            dealt_with = Some(position);
            *got_on = true;
            if let Err(error) = self.fill_in(&mut asked).await {
                let error = error.for_log();
                tracing::warn!(%error, "some accounts stay without a name until the log is opened next");
            }
        }
    }

    /// Asks about everyone who is kept, after the log was opened: whatever happened before then
    /// is in the answers, whatever happens later in the log. Whoever keeps somebody new meanwhile
    /// is told by the mark that they may be missed.
    async fn resolve_anew(&self, opened: &Position) -> Result<(), Error> {
        sql::set_mark(&self.directory.db, Mark::Opened, opened).await?;
        let mut last = (0, 0);
        loop {
            let kept = sql::kept(&self.directory.db, last, MOST).await?;
            let Some(end) = kept.last() else { return Ok(()) };
            last = (end.account_id, end.id);
            for of_account in kept.chunk_by(|one, next| one.account_id == next.account_id) {
                let ids: Vec<_> = of_account.iter().map(|kept| kept.id).collect();
                self.directory.resolve_all(of_account[0].account_id, &ids).await?;
            }
        }
    }

    /// Asks about accounts that were met and that the log told nothing of, because they are older
    /// than it, or because their news is still on its way; about each once.
    async fn fill_in(&self, asked: &mut BTreeSet<i64>) -> Result<(), Error> {
        for account_id in sql::untold(&self.directory.db).await? {
            if asked.insert(account_id) {
                self.directory.resolve_all(account_id, &[]).await?;
            }
        }
        Ok(())
    }
}

/// Identity's log, being read.
struct Log(Streaming<pb::WatchDirectoryResponse>);

impl Log {
    async fn open(identity: &Identity, cursor: Option<Position>) -> Result<Self, End> {
        let cursor = cursor.map(Into::into);
        let question = identity.question(pb::WatchDirectoryRequest { cursor });
        let stream = identity.directory().watch_directory(question).await;
        Ok(Self(stream.map_err(|status| broken(&status))?.into_inner()))
    }

    /// The next events, and the place behind them.
    async fn next(&mut self) -> Result<(Position, Vec<pb::DirectoryEvent>), End> {
        let response = timeout(SILENCE, self.0.message()).await;
        let response = response.unwrap_or_else(|_| Err(Status::unavailable("no sign of life")));
        let response = response.map_err(|status| broken(&status))?.ok_or(End::Well)?;
        let position =
            response.cursor.ok_or_else(|| Error::internal("a response without place"))?;
        Ok((position.into(), response.events))
    }
}

fn broken(status: &Status) -> Error {
    // The only reason there is for this code.
    if status.code() == Code::OutOfRange {
        return Error::CursorExpired;
    }
    let (code, message) = (status.code(), status.message());
    Error::internal(format!("identity-service gives no answer: {code:?} {message}"))
}
