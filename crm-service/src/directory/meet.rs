//! Who is that, whom a caller names for the first time?

use proto::identity::v1 as pb;
use service_kit::{db::Db, error::Error};

use super::{
    model::{AccountWord, News, Position, Word},
    sql::{self, Mark},
};
use crate::identity::{Identity, silent};

/// The most ids of one question.
pub(super) const MOST: usize = 500;

/// In whose name the copy is written.
pub(super) const TASK: &str = "directory";

/// The copy of the directory, and whom to ask beyond it.
#[derive(Clone)]
pub struct Directory {
    pub db: Db,
    pub identity: Identity,
}

/// What identity says of an account and some of its employees.
pub(super) struct Answer {
    pub at: Position,
    pub account: Option<AccountWord>,
    pub words: Vec<Word>,
}

impl Directory {
    /// Makes sure that of these employees all are known that there are in the account, however
    /// they stand. Not inside a transaction: it may ask identity-service.
    pub async fn meet(&self, account_id: i64, ids: &[i64]) -> Result<(), Error> {
        let unknown = self.unknown(account_id, ids).await?;
        for some in unknown.chunks(MOST) {
            self.introduce(account_id, some).await?;
        }
        Ok(())
    }

    async fn unknown(&self, account_id: i64, ids: &[i64]) -> Result<Vec<i64>, Error> {
        // Nobody has another one, and identity would not hear of it.
        let mut ids: Vec<_> = ids.iter().copied().filter(|id| *id > 0).collect();
        ids.sort_unstable();
        ids.dedup();
        if !ids.is_empty() {
            let met = sql::met(&self.db, account_id, &ids).await?;
            ids.retain(|id| !met.contains(id));
        }
        Ok(ids)
    }

    /// Keeps what identity says of these.
    ///
    /// Whoever opens the log anew says so first, and then asks about everyone who is kept. So if
    /// nobody said so between our question and our keeping the answer, whatever happened since is
    /// in the log that is followed, or will be asked about. If somebody did, they may have missed
    /// whom we keep, and the log what happened to them after our answer: we ask again.
    async fn introduce(&self, account_id: i64, ids: &[i64]) -> Result<(), Error> {
        let mut opened = sql::marked(&self.db, Mark::Opened).await?;
        let Answer { at, account, words } = self.resolve(account_id, ids).await?;
        if words.is_empty() {
            return Ok(());
        }
        let known: Vec<_> = words.iter().map(|word| word.id).collect();
        self.apply(account_id, &at.epoch, News::of(account, words)).await?;
        loop {
            let opened_since = sql::marked(&self.db, Mark::Opened).await?;
            if opened_since == opened {
                return Ok(());
            }
            opened = opened_since;
            self.resolve_all(account_id, &known).await?;
        }
    }

    /// What identity says of an account and up to [`MOST`] employees, and as of when.
    pub(super) async fn resolve(&self, account_id: i64, ids: &[i64]) -> Result<Answer, Error> {
        let employee_ids = ids.to_vec();
        let question = pb::BatchResolveEmployeesRequest { account_id, employee_ids };
        let question = self.identity.question(question);
        let answer = self.identity.directory().batch_resolve_employees(question).await;
        let answer = answer.map_err(|status| silent(&status))?.into_inner();
        let at = answer.sequence.ok_or_else(|| Error::internal("an answer without its place"))?;
        let words = answer.employees.into_iter().map(|it| Word::new(it, at.number)).collect();
        let account = answer.account.map(|account| AccountWord::new(account, at.number));
        Ok(Answer { at: at.into(), account, words })
    }

    /// Asks anew about an account and employees who are kept. Those whom identity does not know
    /// any more are deleted.
    pub(super) async fn resolve_all(&self, account_id: i64, ids: &[i64]) -> Result<(), Error> {
        let Answer { at, account, mut words } = self.resolve(account_id, ids).await?;
        let is_known = |id: &i64| words.iter().any(|word| word.id == *id);
        let unknown: Vec<_> = ids.iter().copied().filter(|id| !is_known(id)).collect();
        words.extend(unknown.into_iter().map(|id| Word::unknown(id, at.number)));
        self.apply(account_id, &at.epoch, News::of(account, words)).await
    }
}
