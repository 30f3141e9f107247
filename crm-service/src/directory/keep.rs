//! What follows from what identity says?

use service_kit::error::Error;

use super::{
    meet::{Directory, TASK},
    model::{News, State},
    sql,
};
use crate::clients::leave::take_parts;

impl Directory {
    /// Makes an account's part of some events true.
    pub(super) async fn apply(
        &self,
        account_id: i64,
        epoch: &str,
        news: News,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin_named(account_id, TASK).await?;
        let first = if news.gone.is_empty() { &news.there } else { &news.gone };
        sql::keep_employees(&mut tx, epoch, first.values()).await?;
        if let Some(account) = &news.account {
            sql::keep_account(&mut tx, epoch, account).await?;
        }
        tx.commit([]).await?;
        if news.gone.is_empty() {
            return Ok(());
        }
        for id in news.gone.keys() {
            self.take_parts(account_id, *id).await?;
        }
        // Those who came back, too.
        let mut tx = self.db.begin_named(account_id, TASK).await?;
        sql::keep_employees(&mut tx, epoch, news.there.values()).await?;
        tx.commit([]).await
    }

    /// An employee who is marked as deleted keeps no part in any client, and is given none.
    pub(super) async fn take_parts(&self, account_id: i64, employee_id: i64) -> Result<(), Error> {
        loop {
            let mut tx = self.db.begin_named(account_id, TASK).await?;
            let is_deleted = sql::share(&mut tx, &[employee_id])
                .await?
                .iter()
                .any(|employee| employee.state == State::Deleted);
            if !is_deleted {
                return Ok(());
            }
            let Some(acts) = take_parts(&mut tx, employee_id).await? else {
                return Ok(());
            };
            tx.commit(acts).await?;
        }
    }
}
