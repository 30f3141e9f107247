//! Who is that, whom a caller names, and how do they stand at this moment?

use std::collections::BTreeSet;

use proto::identity::v1 as pb;
use service_kit::{db::Db, error::Error};

use super::{
    model::{AccountWord, News, Position, State, Word},
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
    /// Makes sure that of these employees all are known that there are in the account, as they
    /// stand now. Not inside a transaction: it asks identity-service.
    pub async fn meet(&self, account_id: i64, ids: &[i64]) -> Result<(), Error> {
        // Nobody has another one, and identity would not hear of it.
        let ids: BTreeSet<_> = ids.iter().copied().filter(|id| *id > 0).collect();
        let ids: Vec<_> = ids.into_iter().collect();
        for some in ids.chunks(MOST) {
            self.introduce(account_id, some).await?;
        }
        Ok(())
    }

    /// Keeps what identity says of these.
    ///
    /// Whoever opens the log anew says so first, and then asks about everyone who is kept. So if
    /// nobody said so between our question and our keeping the answer, whatever happened since is
    /// in the log that is followed, or will be asked about. If somebody did, they may have missed
    /// whom we keep, and the log what happened to them after our answer: we ask again.
    async fn introduce(&self, account_id: i64, ids: &[i64]) -> Result<(), Error> {
        let mut opened = sql::marked(&self.db, Mark::Opened).await?;
        let answer = self.resolve(account_id, ids).await?;
        let known = self.keep_news(account_id, ids, answer).await?;
        if known.is_empty() {
            return Ok(());
        }
        loop {
            let opened_since = sql::marked(&self.db, Mark::Opened).await?;
            if opened_since == opened {
                return Ok(());
            }
            opened = opened_since;
            self.resolve_all(account_id, &known).await?;
        }
    }

    /// Keeps what of an answer is newer than what is kept, and says whom it was about. Most often
    /// nothing is: then nobody waits for those who are just giving somebody a part.
    async fn keep_news(
        &self,
        account_id: i64,
        ids: &[i64],
        Answer { at, account, mut words }: Answer,
    ) -> Result<Vec<i64>, Error> {
        let mut tx = self.db.begin_named(account_id, TASK).await?;
        let copies = sql::copies(&mut tx, ids).await?;
        tx.commit([]).await?;
        let copy = |word: &Word| copies.iter().find(|copy| copy.id == word.id);
        let is_answered = |id: &i64| words.iter().any(|word| word.id == *id);
        let lost: Vec<_> = copies.iter().map(|it| it.id).filter(|id| !is_answered(id)).collect();
        words.extend(lost.into_iter().map(|id| Word::unknown(id, at.number)));
        words.retain(|word| copy(word).is_none_or(|copy| copy.is_before(&at)));
        for word in &words {
            // Whoever comes back begins without a part; the task may be at it still.
            if word.state != State::Deleted
                && copy(word).is_some_and(|copy| copy.state == State::Deleted)
            {
                self.take_parts(account_id, word.id).await?;
            }
        }
        if words.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.db.begin_named(account_id, TASK).await?;
        sql::keep_employees(&mut tx, &at.epoch, &words).await?;
        if let Some(account) = account.filter(|_| words.iter().any(|word| copy(word).is_none())) {
            sql::keep_account(&mut tx, &at.epoch, &account).await?;
        }
        tx.commit([]).await?;
        Ok(words.iter().map(|word| word.id).collect())
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
