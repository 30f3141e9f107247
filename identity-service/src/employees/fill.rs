//! What do those lack who were there before people were searched and sorted by name?
//!
//! A key to be sorted by and the words to be found by. Both are folded as this program folds, so
//! that SQL alone cannot make them: `migrate` does it here, as the owner, a batch at a time.

use futures::future::{BoxFuture, FutureExt};
use service_kit::sql;
use sqlx::PgConnection;

use super::model::Names;

const BATCH: i64 = 500;

/// Somebody who lacks a key, and may lack words.
#[derive(Debug, sqlx::FromRow)]
struct Unfilled {
    account_id: i64,
    id: i64,
    name: String,
    first_name: String,
    last_name: String,
    email: String,
}

impl Unfilled {
    fn names(&self) -> Names<'_> {
        Names {
            name: &self.name,
            first_name: &self.first_name,
            last_name: &self.last_name,
            email: &self.email,
        }
    }
}

/// For the schema.
pub fn fill(owner: &mut PgConnection) -> BoxFuture<'_, Result<(), sqlx::Error>> {
    async move {
        let mut after = (0, 0);
        loop {
            let batch = unfilled(owner, after).await?;
            let Some(last) = batch.last() else { return Ok(()) };
            after = (last.account_id, last.id);
            fill_in(owner, &batch).await?;
        }
    }
    .boxed()
}

async fn unfilled(
    owner: &mut PgConnection,
    (account_id, id): (i64, i64),
) -> Result<Vec<Unfilled>, sqlx::Error> {
    let query = sqlx::query_as(sql!(
        "SELECT account_id, id, name, first_name, last_name, email
         FROM identity.employees AS unfilled
         WHERE (account_id, id) > ($1, $2) AND name_key = '' ORDER BY account_id, id LIMIT $3"
    ))
    .bind(account_id)
    .bind(id)
    .bind(BATCH);
    query.fetch_all(owner).await
}

/// Those whom somebody else gave a name meanwhile have both already.
async fn fill_in(owner: &mut PgConnection, batch: &[Unfilled]) -> Result<(), sqlx::Error> {
    let accounts: Vec<_> = batch.iter().map(|person| person.account_id).collect();
    let ids: Vec<_> = batch.iter().map(|person| person.id).collect();
    let keys: Vec<_> = batch.iter().map(|person| person.names().key()).collect();
    // An array in an array must be as long as the others: the words go as one text each.
    let words = batch.iter().map(|person| person.names().search_words());
    let words: Vec<_> =
        words.map(|words| words.into_iter().collect::<Vec<_>>().join("\n")).collect();
    let query = sqlx::query(sql!(
        "WITH filled AS (
             UPDATE identity.employees AS e SET name_key = given.key
             FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[])
                 AS given (account_id, id, key, words)
             WHERE e.account_id = given.account_id AND e.id = given.id AND e.name_key = ''
             RETURNING e.account_id, e.id, given.words)
         INSERT INTO identity.employee_search_words (account_id, word, employee_id)
         SELECT filled.account_id, word, filled.id
         FROM filled CROSS JOIN LATERAL string_to_table(filled.words, E'\\n') AS word
         ON CONFLICT DO NOTHING"
    ))
    .bind(accounts)
    .bind(ids)
    .bind(keys)
    .bind(words);
    query.execute(owner).await?;
    Ok(())
}
