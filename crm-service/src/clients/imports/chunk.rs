//! How do some rows take effect at once?

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use proto::{
    common::v1::ErrorReason::ClientEmailTaken,
    crm::v1::{self as pb, ImportOutcome as Outcome},
};
use service_kit::{
    caller::Caller,
    db::{Act, TenantTx},
    error::Error,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    model::{Circumstances, Found, Plan, Totals, email_key, employees, number, result},
    sql,
};
use crate::{
    clients::{
        model::{Client, Details},
        work::{Changed, follow},
    },
    directory::sql::share,
    visibility::Scope,
};

/// Then there is more going on than a chunk can get through.
const MOST_TRIES: u32 = 5;

/// Places for chunks at work, of which a process has few: each holds a connection to the database,
/// and other calls need some too.
#[derive(Debug, Clone)]
pub struct Places(Arc<Semaphore>);

const PLACES: usize = 4;

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PLACES)))
    }
}

impl Places {
    /// A place, as soon as there is one and for as long as it is kept.
    pub async fn take(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.0).acquire_owned().await.map_err(Error::internal)
    }
}

/// Rows that take effect together.
pub struct Chunk<'a> {
    pub caller: &'a Caller,
    pub rows: &'a [pb::Client],
}

/// What became of the rows of a chunk.
#[derive(Default)]
pub struct Applied {
    /// In the order of the rows, without numbers.
    pub results: Vec<pb::ImportResult>,
    pub acts: Vec<Act>,
    /// Each client that changed: as it was, and as it is.
    changed: BTreeMap<i64, (Option<Client>, Client)>,
}

/// How often a chunk is done.
#[derive(Debug, Default)]
pub struct Tries(u32);

impl Tries {
    /// Whether what went wrong was another call, which took an address or was in the way, and not
    /// yet too often. Then a new transaction will see what that call did.
    pub fn again(&mut self, error: &Error) -> bool {
        self.0 += 1;
        let raced =
            matches!(error, Error::Conflict | Error::Taken { reason: ClientEmailTaken, .. });
        raced && self.0 < MOST_TRIES
    }
}

impl Chunk<'_> {
    /// Deals with all rows; where it is not in earnest, the transaction must not be committed.
    /// Whoever writes clients waits for others at what follows, so that it comes last, and once.
    pub async fn deal_with(&self, tx: &mut TenantTx, in_earnest: bool) -> Result<Applied, Error> {
        // Employees before clients, in the order in which the directory takes their parts away.
        let employees = share(tx, &employees(self.rows)).await?;
        let default_currency = self.caller.default_currency();
        let circumstances = Circumstances { default_currency, employees };
        let mut applied = Applied::default();
        for rows in runs(self.rows) {
            let plans = self.plan(tx, &circumstances, rows).await?;
            applied.carry_out(tx, plans).await?;
        }
        if !in_earnest {
            return Ok(applied.forgotten());
        }
        let changes = applied.changed.values();
        let changes = changes.map(|(before, after)| Changed { before: before.as_ref(), after });
        follow(tx, &changes.collect::<Vec<_>>()).await?;
        Ok(applied)
    }

    async fn plan(
        &self,
        tx: &mut TenantTx,
        circumstances: &Circumstances,
        rows: &[pb::Client],
    ) -> Result<Vec<Plan>, Error> {
        let keys: Vec<_> = rows.iter().filter_map(email_key).collect();
        let found = sql::lock(tx, Scope::of(self.caller), &keys).await?;
        let of_key = |found: Found| Some((found.client.details.email_key()?, found));
        let mut found: HashMap<_, _> = found.into_iter().filter_map(of_key).collect();
        let plan = |row| {
            let found = email_key(row).and_then(|key| found.remove(&key));
            circumstances.plan(row, found)
        };
        Ok(rows.iter().map(plan).collect())
    }
}

/// The rows in runs in which each address is there once, so that a row sees what one before it
/// with the same address did.
fn runs(rows: &[pb::Client]) -> Vec<&[pb::Client]> {
    let (mut runs, mut seen, mut start) = (Vec::new(), HashSet::new(), 0);
    for (place, row) in rows.iter().enumerate() {
        if let Some(key) = email_key(row)
            && !seen.insert(key.clone())
        {
            runs.push(&rows[start..place]);
            start = place;
            seen = HashSet::from([key]);
        }
    }
    runs.push(&rows[start..]);
    runs
}

impl Applied {
    /// What was done, and what is answered.
    pub fn complete(mut self) -> (Vec<Act>, pb::BatchImportClientsResponse) {
        number(&mut self.results, 1);
        let mut totals = Totals::default();
        totals.add(&self.results);
        let totals = Some(totals.message());
        (self.acts, pb::BatchImportClientsResponse { results: self.results, totals })
    }

    /// Where nothing is to be, the ids of new clients are nobody's.
    fn forgotten(mut self) -> Self {
        for result in &mut self.results {
            if let Some((None, _)) = self.changed.get(&result.client_id) {
                result.client_id = 0;
            }
        }
        self
    }

    /// Writes what is planned, all new clients in one statement and all changed ones in another.
    async fn carry_out(&mut self, tx: &mut TenantTx, plans: Vec<Plan>) -> Result<(), Error> {
        let first = self.results.len();
        let (mut created, mut updated) = (Vec::new(), Vec::new());
        for (place, plan) in (first..).zip(plans) {
            self.results.push(match plan {
                Plan::Create(details) => {
                    created.push((place, details));
                    result(Outcome::Created, 0)
                }
                Plan::Update(before, details) => {
                    let id = before.id;
                    updated.push((before, details));
                    result(Outcome::Updated, id)
                }
                Plan::Leave(id) => result(Outcome::Unchanged, id),
                Plan::Refuse(refusal) => refusal.into(),
            });
        }
        self.create(tx, created).await?;
        self.update(tx, updated).await
    }

    async fn create(
        &mut self,
        tx: &mut TenantTx,
        mut created: Vec<(usize, Details)>,
    ) -> Result<(), Error> {
        // In one order everywhere: of two imports with the same rows one waits for the other, and
        // never each for each.
        created.sort_by_cached_key(|(_, details)| details.email_key());
        let (places, details): (Vec<_>, Vec<_>) = created.into_iter().unzip();
        for (place, client) in places.into_iter().zip(sql::insert(tx, &details).await?) {
            self.results[place].client_id = client.id;
            self.acts.push(Act::on("client", client.id, "create").with("imported", true));
            self.changed.insert(client.id, (None, client));
        }
        Ok(())
    }

    async fn update(
        &mut self,
        tx: &mut TenantTx,
        mut updated: Vec<(Box<Client>, Details)>,
    ) -> Result<(), Error> {
        updated.sort_unstable_by_key(|(before, _)| before.id);
        let after = sql::update(tx, &updated).await?;
        for ((before, _), after) in updated.into_iter().zip(after) {
            let fields = after.details.changes(&before.details);
            let act = Act::on("client", after.id, "update").with("imported", true);
            self.acts.push(act.with("fields", fields));
            let first = self.changed.remove(&after.id).map_or(Some(*before), |(first, _)| first);
            self.changed.insert(after.id, (first, after));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(email: &str) -> pb::Client {
        pb::Client { email: email.into(), ..Default::default() }
    }

    #[test]
    fn an_address_is_once_in_a_run_whatever_its_case() {
        let rows = [
            "a@example.com",
            "",
            "b@example.com",
            "A@example.com",
            "nobody",
            "nobody",
            "",
            "b@example.com",
            "a@example.com",
        ]
        .map(row);
        let lengths: Vec<_> = runs(&rows).iter().map(|run| run.len()).collect();
        assert_eq!(lengths, [3, 5, 1]);
        assert_eq!(runs(&[]).concat(), []);
    }
}
