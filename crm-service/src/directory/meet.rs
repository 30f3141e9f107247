//! Who is that, whom a caller names for the first time?

use proto::identity::v1 as pb;
use service_kit::{db::Db, error::Error};

use super::{
    model::{Position, Word},
    sql,
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

impl Directory {
    /// Makes sure that of these employees all are known that there are in the account, however
    /// they stand. Not inside a transaction: it may ask identity-service.
    pub async fn meet(&self, account_id: i64, ids: &[i64]) -> Result<(), Error> {
        let unknown = self.unknown(account_id, ids).await?;
        for some in unknown.chunks(MOST) {
            let (at, words) = self.resolve(account_id, some).await?;
            if !words.is_empty() {
                let mut tx = self.db.begin_named(account_id, TASK).await?;
                sql::keep_employees(&mut tx, &at.epoch, &words).await?;
                tx.commit([]).await?;
            }
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

    /// What identity says of up to [`MOST`] employees, and as of when.
    pub(super) async fn resolve(
        &self,
        account_id: i64,
        ids: &[i64],
    ) -> Result<(Position, Vec<Word>), Error> {
        let employee_ids = ids.to_vec();
        let question = pb::BatchResolveEmployeesRequest { account_id, employee_ids };
        let question = self.identity.question(question);
        let answer = self.identity.directory().batch_resolve_employees(question).await;
        let answer = answer.map_err(|status| silent(&status))?.into_inner();
        let at = answer.sequence.ok_or_else(|| Error::internal("an answer without its place"))?;
        let words = answer.employees.into_iter().map(|it| Word::new(it, at.number)).collect();
        Ok((at.into(), words))
    }
}
