//! Is this a server that the services can work with, and is there nothing between them and it?

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, error::DatabaseError};

use super::Finding;
use crate::{
    clock,
    config::{DatabaseSettings, StartError},
    db::connect::{cannot_look, to_look},
};

const OLDEST_VERSION: i32 = 15;
const MOST_APART: TimeDelta = TimeDelta::seconds(5);
/// A pooler that has no connection left lets wait for one.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is to be said about the server itself.
pub async fn findings(connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let asked = Instant::now();
    let (version, theirs): (i32, DateTime<Utc>) = sqlx::query_as(
        "SELECT current_setting('server_version_num')::int / 10000, clock_timestamp()",
    )
    .fetch_one(connection)
    .await?;
    let clocks = apart(clock::now(), theirs, asked.elapsed());
    Ok(too_old(version).into_iter().chain(clocks).collect())
}

fn too_old(version: i32) -> Option<Finding> {
    (version < OLDEST_VERSION).then(|| {
        Finding::wrong(format!(
            "The server is PostgreSQL {version}: upgrade it to {OLDEST_VERSION} or newer."
        ))
    })
}

/// `ours` was read after the answer, `theirs` at some time during the round trip.
fn apart(ours: DateTime<Utc>, theirs: DateTime<Utc>, round_trip: Duration) -> Option<Finding> {
    let round_trip = TimeDelta::from_std(round_trip).unwrap_or(TimeDelta::MAX);
    let least = if theirs > ours { theirs - ours } else { ours - theirs - round_trip };
    (least > MOST_APART).then(|| {
        Finding::wrong(format!(
            "The clocks of this machine and of the database are {} seconds apart: let both follow a time server.",
            least.num_seconds()
        ))
    })
}

/// Whether something in between hands the server's connections from one to another at the end
/// of each transaction: a role that was taken on, or a statement that was prepared, would then
/// be somebody else's.
pub async fn shared_connections(
    settings: &DatabaseSettings,
) -> Result<Option<Finding>, StartError> {
    let (mut ours, mut another) = (to_look(settings).await?, to_look(settings).await?);
    let before = served_by(&mut ours).await;
    // Ours is at rest, so a pooler that shares would give what served it to the other one.
    sqlx::raw_sql("BEGIN; COMMIT").execute(&mut ours).await.map_err(cannot_look)?;
    sqlx::raw_sql("BEGIN; SELECT 1").execute(&mut another).await.map_err(cannot_look)?;
    let after = tokio::time::timeout(PATIENCE, served_by(&mut ours)).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut another).await.map_err(cannot_look)?;
    let after = after.unwrap_or(Err(sqlx::Error::PoolTimedOut));
    if is_own(before, after).map_err(cannot_look)? {
        return Ok(None);
    }
    Ok(Some(Finding::wrong(
        "A pooler between this machine and the database shares connections by transaction, which breaks prepared statements and roles: set it to session pooling, or write the URL of the server itself.",
    )))
}

/// A prepared statement, the second time as it was prepared the first time.
async fn served_by(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection).await
}

/// Whether two answers show that a connection is nobody else's.
fn is_own(
    before: Result<i32, sqlx::Error>,
    after: Result<i32, sqlx::Error>,
) -> Result<bool, sqlx::Error> {
    match (before, after) {
        (Ok(before), Ok(after)) => Ok(before == after),
        (Err(error), _) | (_, Err(error)) if tells_of_sharing(&error) => Ok(false),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// No prepared statement of this name, one too many, or nobody left to serve.
fn tells_of_sharing(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(code.as_deref(), Some("26000" | "42P05")) || matches!(error, sqlx::Error::PoolTimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_delay_explains_is_a_difference_between_clocks() {
        let now = clock::now();
        let seconds = |seconds| Duration::from_secs(seconds);
        let later = |seconds| now + TimeDelta::seconds(seconds);
        assert_eq!(apart(now, later(5), seconds(0)), None);
        assert_eq!(apart(later(9), now, seconds(4)), None);
        assert!(apart(now, later(6), seconds(9)).is_some());
        assert!(apart(later(6), now, seconds(0)).unwrap().sentence.contains("6 seconds apart"));
    }

    #[test]
    fn a_server_before_the_oldest_is_too_old() {
        assert_eq!(too_old(15), None);
        assert!(too_old(14).is_some());
    }

    #[test]
    fn a_connection_is_own_if_the_same_process_serves_it_every_time() {
        assert!(is_own(Ok(7), Ok(7)).unwrap());
        assert!(!is_own(Ok(7), Ok(8)).unwrap());
        assert!(!is_own(Ok(7), Err(sqlx::Error::PoolTimedOut)).unwrap());
        assert!(is_own(Ok(7), Err(sqlx::Error::WorkerCrashed)).is_err());
    }
}
