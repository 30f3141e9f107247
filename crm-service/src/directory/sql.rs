//! Queries on the copy of the directory.

use service_kit::{
    db::{Db, Found, TenantTx, Tenanted},
    error::Error,
    sql,
};

use super::{
    meet::TASK,
    model::{AccountWord, Copy, Employee, Position, Word},
};
use crate::accounts::met;

/// Those of the employees that are the account's, in the order of their ids. Whatever changes one
/// of them waits until this transaction ends.
pub async fn share(tx: &mut TenantTx, ids: &[i64]) -> Result<Vec<Employee>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT id, state FROM crm.employees
         WHERE account_id = $1 AND id = ANY ($2) ORDER BY id FOR SHARE"
    ))
    .bind(account_id)
    .bind(ids);
    tx.all(query).await
}

/// What is kept of these employees.
pub async fn copies(tx: &mut TenantTx, ids: &[i64]) -> Result<Vec<Copy>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT id, state, epoch, sequence AS number FROM crm.employees
         WHERE account_id = $1 AND id = ANY ($2) ORDER BY id"
    ))
    .bind(account_id)
    .bind(ids);
    tx.all(query).await
}

/// Keeps what identity said in this epoch, but for what is older than what is kept. The account
/// comes into being with the first word about it; who is unknown keeps their name.
pub async fn keep_employees(
    tx: &mut TenantTx,
    epoch: &str,
    words: impl IntoIterator<Item = &Word>,
) -> Result<(), Error> {
    let words: Vec<_> = words.into_iter().collect();
    if words.is_empty() {
        return Ok(());
    }
    let account_id = tx.account_id();
    let ids: Vec<_> = words.iter().map(|word| word.id).collect();
    let names: Vec<_> = words.iter().map(|word| word.name.as_str()).collect();
    let states: Vec<_> = words.iter().map(|word| word.state.text()).collect();
    let numbers: Vec<_> = words.iter().map(|word| word.number).collect();
    let query = sqlx::query(sql!(
        met!(),
        "INSERT INTO crm.employees AS kept (account_id, id, name, state, epoch, sequence)
         SELECT $1, said.id, said.name, said.state, $2, said.number
         FROM unnest($3::bigint[], $4::text[], $5::text[], $6::bigint[])
             AS said (id, name, state, number)
         ORDER BY said.id
         ON CONFLICT (account_id, id) DO UPDATE
         SET name = coalesce(nullif(EXCLUDED.name, ''), kept.name), state = EXCLUDED.state,
             epoch = EXCLUDED.epoch, sequence = EXCLUDED.sequence
         WHERE kept.epoch <> EXCLUDED.epoch OR kept.sequence < EXCLUDED.sequence"
    ))
    .bind(account_id)
    .bind(epoch)
    .bind(ids)
    .bind(names)
    .bind(states)
    .bind(numbers);
    tx.execute(query).await?;
    Ok(())
}

/// The same of the account. Behind the employees, as everybody who gives one a part holds them
/// before they meet the account.
pub async fn keep_account(tx: &mut TenantTx, epoch: &str, word: &AccountWord) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "INSERT INTO crm.accounts AS kept
             (id, name, default_currency, time_zone, state, epoch, sequence)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE
         SET name = EXCLUDED.name, default_currency = EXCLUDED.default_currency,
             time_zone = EXCLUDED.time_zone, state = EXCLUDED.state,
             epoch = EXCLUDED.epoch, sequence = EXCLUDED.sequence
         WHERE kept.epoch <> EXCLUDED.epoch OR kept.sequence < EXCLUDED.sequence"
    ))
    .bind(account_id)
    .bind(&word.name)
    .bind(&word.default_currency)
    .bind(&word.time_zone)
    .bind(if word.is_open { "open" } else { "closed" })
    .bind(epoch)
    .bind(word.number);
    tx.execute(query).await?;
    Ok(())
}

/// An employee of some account.
#[derive(Debug, sqlx::FromRow)]
pub struct Kept {
    pub account_id: i64,
    pub id: i64,
}

impl Tenanted for Kept {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// Those who are kept, of all accounts, in the order of their keys.
pub async fn kept(
    db: &Db,
    (account_id, id): (i64, i64),
    most: usize,
) -> Result<Vec<Found<Kept>>, Error> {
    let text = sql!(
        "SELECT account_id, id FROM crm.employees AS met
         WHERE (account_id, id) > ($1, $2) ORDER BY account_id, id LIMIT $3"
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    db.unscoped().all(text, |query| query.bind(account_id).bind(id).bind(most)).await
}

/// Accounts that were met and that nobody told of yet.
pub async fn untold(db: &Db) -> Result<Vec<i64>, Error> {
    let text = sql!("SELECT id FROM crm.accounts AS untold WHERE epoch = ''");
    let rows = db.unscoped().all(text, |query| query).await?;
    Ok(rows.into_iter().map(Found::<(i64,)>::into_inner).map(|(id,)| id).collect())
}

/// Places in identity's log, by what they mean.
#[derive(Debug, Clone, Copy)]
pub enum Mark {
    /// Up to here it was dealt with.
    Reached,
    /// From here on it is followed; what was true before had to be asked about.
    Opened,
}

impl Mark {
    fn name(self) -> &'static str {
        match self {
            Self::Reached => "identity",
            Self::Opened => "identity opened",
        }
    }
}

/// Where a mark is.
pub async fn marked(db: &Db, mark: Mark) -> Result<Option<Position>, Error> {
    let text = sql!("SELECT epoch, number FROM crm.directory_cursor WHERE name = $1");
    let found = db.unscoped().find(text, |query| query.bind(mark.name())).await?;
    Ok(found.map(Found::into_inner))
}

/// Puts a mark there, unless somebody put it further on.
pub async fn set_mark(db: &Db, mark: Mark, position: &Position) -> Result<(), Error> {
    let mut tx = db.begin_in_background(TASK).await?;
    let query = sqlx::query(sql!(
        "INSERT INTO crm.directory_cursor AS kept (name, epoch, number) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET epoch = EXCLUDED.epoch, number = EXCLUDED.number
         WHERE kept.epoch <> EXCLUDED.epoch OR kept.number < EXCLUDED.number"
    ))
    .bind(mark.name())
    .bind(&position.epoch)
    .bind(position.number);
    tx.execute(query).await?;
    tx.commit([]).await
}
