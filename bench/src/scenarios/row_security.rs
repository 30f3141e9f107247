//! A read under row security against the same read without: no gRPC, the same transaction.

use std::sync::Arc;

use futures::future::BoxFuture;
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};

use super::{Bench, turn};
use crate::{
    Outcome,
    compare::Comparison,
    figures::table::{Floor, Report},
    load::{Call, Target},
    stack::Account,
};

const ROLE: &str = "crm_app";
const POOL_SIZE: u32 = 8;

pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    let (stack, account) = (bench.stack, bench.stack.account(1_000).await?);
    let pool = |role: Option<&'static str>| {
        let pool = PgPoolOptions::new().max_connections(POOL_SIZE).test_before_acquire(false);
        pool.after_connect(move |connection, _| {
            Box::pin(async move {
                let Some(role) = role else { return Ok(()) };
                let adopt = AssertSqlSafe(format!("SET ROLE {role}"));
                sqlx::raw_sql(adopt).execute(connection).await.map(drop)
            })
        })
    };
    // The owner, whom row security does not bind; and the role that the service works as.
    let owner = pool(None).connect(&stack.owner_url()).await?;
    let app = pool(Some(ROLE)).connect(&stack.owner_url()).await?;
    let target = |name: &str, pool: PgPool| Target {
        name: name.to_owned(),
        call: read(pool, &account),
        watched: vec![stack.watched_postgres()],
    };
    let targets = [target("row security off", owner), target("row security on", app)];
    let callers = POOL_SIZE as usize;
    let comparison = Comparison::new(bench.options, bench.progress).with_callers(callers);
    let lines = comparison.run(&targets).await?;
    let mut report = Report::new("row-security", "a client by primary key, in a transaction");
    let floor = Floor::ratio("row security on against off", &lines[1], 0.7);
    report.floors.push(floor);
    report.lines = lines;
    Ok(report)
}

fn read(pool: PgPool, account: &Account) -> Call {
    let (account_id, clients) = (account.id, account.clients.clone());
    let begin = format!("BEGIN; SET LOCAL app.account_id = '{account_id}'");
    Arc::new(move |_, number| {
        let (pool, begin, id) = (pool.clone(), begin.clone(), turn(&clients, number));
        let done: BoxFuture<'static, Result<(), String>> = Box::pin(async move {
            read_one(&pool, begin, account_id, id).await.map_err(|error| error.to_string())
        });
        done
    })
}

async fn read_one(
    pool: &PgPool,
    begin: String,
    account_id: i64,
    id: i64,
) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin_with(AssertSqlSafe(begin)).await?;
    let query = "SELECT first_name, last_name, email, notes FROM crm.clients WHERE account_id = $1 AND id = $2";
    let _: (String, String, String, String) =
        sqlx::query_as(query).bind(account_id).bind(id).fetch_one(&mut *tx).await?;
    tx.rollback().await
}
