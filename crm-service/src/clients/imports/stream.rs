//! How is a stream of rows dealt with, chunk by chunk?

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures::stream::{BoxStream, StreamExt, try_unfold};
use prost::Message;
use proto::{
    common::v1::ErrorReason as Reason,
    crm::v1::{self as pb, ImportOutcome as Outcome},
};
use service_kit::{
    auth::Guard,
    caller::Caller,
    db::Db,
    error::Error,
    fields::{Fields, Flaw, Violations, request_id},
    keys::Keyring,
};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Status, Streaming};

use super::{
    chunk::{Chunk, Places, Tries},
    mark::Mark,
    model::{self, MOST_ROWS, Totals, email_key, employees, number},
};
use crate::directory::Directory;

/// How long a chunk waits for more rows than it has.
const LINGER: Duration = Duration::from_millis(10);
/// A chunk ends behind the row with which it has this many bytes.
const ENOUGH_BYTES: usize = 1 << 20;

/// A stream of rows on its way into the database.
pub struct Import {
    db: Db,
    directory: Directory,
    keys: Arc<Keyring>,
    places: Places,
    caller: Caller,
    guard: Guard,
    /// How long the sender may be silent.
    idle_limit: Duration,
    requests: Streaming<pb::ImportClientsRequest>,
    /// Rows that came and are in no chunk yet.
    waiting: VecDeque<pb::Client>,
    sender_is_done: bool,
    complete: bool,
    /// Rows that were dealt with.
    row_number: i64,
    mark: Option<Mark>,
    rehearsal: Option<Rehearsal>,
    totals: Totals,
}

impl Import {
    /// Waits for the first message, which says how it is to be done.
    pub async fn begin(
        directory: Directory,
        keys: Arc<Keyring>,
        places: Places,
        idle_limit: Duration,
        (caller, guard): (Caller, Guard),
        mut requests: Streaming<pb::ImportClientsRequest>,
    ) -> Result<Self, Status> {
        let first = requests.message().await?;
        let sender_is_done = first.is_none();
        let pb::ImportClientsRequest { options, rows } = first.unwrap_or_default();
        let options = options.unwrap_or_default();
        let mut fields = Fields::default();
        let request_id = fields.take("options.request_id", request_id(&options.request_id));
        let (request_id,) = fields.all((request_id,))?;
        let db = directory.db.clone();
        let mut mark = None;
        if let Some(request_id) = request_id {
            let mut tx = db.begin(&caller).await?;
            mark = Some(Mark::find(&mut tx, request_id, &options).await?);
        }
        Ok(Self {
            db,
            directory,
            keys,
            places,
            caller,
            guard,
            idle_limit,
            requests,
            waiting: rows.into(),
            sender_is_done,
            complete: false,
            row_number: 0,
            mark,
            rehearsal: options.dry_run.then(Rehearsal::default),
            totals: Totals::default(),
        })
    }

    /// The answers. Whoever does not draw them is not read from either.
    pub fn responses(self) -> BoxStream<'static, Result<pb::ImportClientsResponse, Status>> {
        let answers = try_unfold(self, |mut import| async move {
            let answer = import.next().await?;
            Ok(answer.map(|answer| (answer, import)))
        });
        answers.boxed()
    }

    async fn next(&mut self) -> Result<Option<pb::ImportClientsResponse>, Status> {
        if self.complete {
            return Ok(None);
        }
        let rows = self.some_rows().await?;
        let results = if rows.is_empty() {
            self.end()?;
            Vec::new()
        } else {
            self.deal_with(&rows).await?
        };
        self.totals.add(&results);
        let totals = Some(self.totals.message());
        Ok(Some(pb::ImportClientsResponse { results, totals, complete: self.complete }))
    }

    /// The rows of a chunk: what is there already, but at least one. None at the end.
    async fn some_rows(&mut self) -> Result<Vec<pb::Client>, Status> {
        while self.waiting.len() < MOST_ROWS && !self.sender_is_done {
            let message = if self.waiting.is_empty() {
                self.listen().await?
            } else {
                match timeout(LINGER, self.requests.message()).await {
                    Ok(message) => message?,
                    Err(_) => break,
                }
            };
            match message {
                Some(pb::ImportClientsRequest { options: None, rows }) => self.waiting.extend(rows),
                Some(_) => return Err(options_too_late().into()),
                None => self.sender_is_done = true,
            }
        }
        let mut bytes = 0;
        let fitting = self.waiting.iter().take(MOST_ROWS).take_while(|row| {
            let fits = bytes < ENOUGH_BYTES;
            bytes += row.encoded_len();
            fits
        });
        let count = fitting.count();
        Ok(self.waiting.drain(..count).collect())
    }

    /// The next message; the caller is asked about again meanwhile.
    async fn listen(&mut self) -> Result<Option<pb::ImportClientsRequest>, Status> {
        let patience = Instant::now() + self.idle_limit;
        loop {
            self.look_again().await?;
            tokio::select! {
                () = self.guard.is_due() => {}
                message = self.requests.message() => return message,
                () = sleep_until(patience) => return Err(Error::DeadlineExceeded.into()),
            }
        }
    }

    async fn look_again(&mut self) -> Result<(), Error> {
        if let Some(caller) = self.guard.again().await? {
            self.caller = caller;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        self.complete = true;
        // Fewer than those that were dealt with before.
        if self.mark.as_ref().is_some_and(|mark| mark.reached() > self.row_number) {
            return Err(Error::RequestIdReused);
        }
        Ok(())
    }

    async fn deal_with(&mut self, rows: &[pb::Client]) -> Result<Vec<pb::ImportResult>, Error> {
        self.look_again().await?;
        let first = self.row_number + 1;
        let known = self.pass_over(rows)?;
        let mut results = vec![model::result(Outcome::AlreadyApplied, 0); known];
        let fresh = &rows[known..];
        if !fresh.is_empty() {
            results.extend(self.take_effect(fresh).await?);
        }
        number(&mut results, first);
        Ok(results)
    }

    /// How many of the rows were dealt with before.
    fn pass_over(&mut self, rows: &[pb::Client]) -> Result<usize, Error> {
        let Some(mark) = self.mark.as_mut() else { return Ok(0) };
        let behind = usize::try_from(mark.reached() - self.row_number).unwrap_or_default();
        let known = behind.min(rows.len());
        if known > 0 {
            mark.pass(&rows[..known]);
            self.row_number += count(known);
            if self.row_number == mark.reached() {
                mark.check(&self.keys)?;
            }
        }
        Ok(known)
    }

    async fn take_effect(&mut self, rows: &[pb::Client]) -> Result<Vec<pb::ImportResult>, Error> {
        self.directory.meet(self.caller.account_id(), &employees(rows)).await?;
        let place = self.places.take().await?;
        let mut tries = Tries::default();
        let mut results = loop {
            match self.attempt(rows).await {
                Ok(results) => break results,
                Err(error) if tries.again(&error) => {}
                Err(error) => return Err(error),
            }
        };
        drop(place);
        if let Some(rehearsal) = &mut self.rehearsal {
            rehearsal.remember(rows, &mut results);
        }
        if let Some(mark) = &mut self.mark {
            mark.pass(rows);
        }
        self.row_number += count(rows.len());
        Ok(results)
    }

    async fn attempt(&self, rows: &[pb::Client]) -> Result<Vec<pb::ImportResult>, Error> {
        let in_earnest = self.rehearsal.is_none();
        let mut tx = self.db.begin(&self.caller).await?;
        if let Some(mark) = self.mark.as_ref().filter(|_| in_earnest) {
            let place = (self.row_number, self.row_number + count(rows.len()));
            mark.advance(&mut tx, &self.keys, place, rows).await?;
        }
        let chunk = Chunk { caller: &self.caller, rows };
        let applied = chunk.deal_with(&mut tx, in_earnest).await?;
        if in_earnest {
            tx.commit(applied.acts).await?;
        }
        Ok(applied.results)
    }
}

fn options_too_late() -> Error {
    Violations::one("options", Flaw::bad("must be in the first message only")).into()
}

/// What a dry run would have created, for the rows behind it: hashes, and not more of them than
/// anybody can do without.
#[derive(Default)]
struct Rehearsal(HashMap<u64, u64>);

impl Rehearsal {
    const MOST: usize = 100_000;

    /// Makes results what they would be if the rows before had taken effect.
    fn remember(&mut self, rows: &[pb::Client], results: &mut [pb::ImportResult]) {
        for (row, result) in rows.iter().zip(results) {
            let Some(key) = email_key(row).map(|key| hash(&key)) else { continue };
            if lacks_what_a_new_one_needs(result) && self.0.contains_key(&key) {
                *result = model::result(Outcome::Updated, 0);
            }
            if result.outcome() != Outcome::Created {
                continue;
            }
            if self.0.len() == Self::MOST {
                self.0.clear();
            }
            let row = hash(&row.encode_to_vec());
            match self.0.insert(key, row) {
                None => {}
                Some(before) if before == row => result.outcome = Outcome::Unchanged.into(),
                Some(_) => result.outcome = Outcome::Updated.into(),
            }
        }
    }
}

/// Whether a row was refused for nothing but what it may leave out once there is a client.
fn lacks_what_a_new_one_needs(result: &pb::ImportResult) -> bool {
    let fields: Vec<_> = result.violations.iter().map(|it| it.field.as_str()).collect();
    result.reason() == Reason::MissingFields && fields == ["first_name"]
}

fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// How many rows, as they are numbered.
fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
