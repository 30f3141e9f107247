//! Does PostgreSQL itself keep the rows of accounts apart, whatever a statement says?

use proto::{common::v1::Role, identity::v1::EmployeeClientVisibility};
use sqlx::{AssertSqlSafe, Connection, PgConnection, migrate::Migrator};

use super::{TestDatabase, catalogue::Rules, conventions::connected_as};
use crate::{
    caller::{Actor, Caller, Facts},
    db::{Db, Schema},
    fields::Currency,
    sql,
};

/// Everything that account 7 could do to account 8: nothing, or sentences. Both must have rows
/// in every tenant's table.
pub async fn leaks(database: &TestDatabase, rules: &Rules<'_>) -> Vec<String> {
    let mut service = connected_as(database, &format!("{}_app", rules.schema)).await;
    let tables = tenant_tables(database, rules).await;
    assert!(tables.len() > 2, "{tables:?}");
    let mut leaks = Vec::new();
    for table in &tables {
        for account in [7, 8] {
            assert!(rows_of(database, table, account).await > 0, "{table} has none of {account}");
        }
        let own = rows_of(database, table, 7).await;
        let mut leaks_if = |bad: bool, what: &str| {
            if bad {
                leaks.push(format!("{}: {what}", table.name));
            }
        };
        leaks_if(seen_by_7(&mut service, table).await != own, "account 7 sees others' rows");
        leaks_if(!is_refused(&mut service, table, 8).await, "account 7 writes for account 8");
        assert!(!is_refused(&mut service, table, 7).await, "{table:?} takes nothing from anybody");
        leaks_if(count(&mut service, table).await != 0, "rows are seen after the transaction");
    }
    leaks
}

/// The account that a pooled connection stands in after each way in which a transaction of
/// account 7 ends; 0 where it stands in none, as it must.
pub async fn left_behind(database: &TestDatabase, schema: &'static Schema) -> Vec<i64> {
    let db = one_connection_that_tells(database, schema).await;
    let caller = employee_of_account_7();
    let mut left = vec![db.new_tenant("look").await.unwrap().account_id()];
    db.begin(&caller).await.unwrap().commit([]).await.unwrap();
    left.push(db.new_tenant("look").await.unwrap().account_id());
    drop(db.begin(&caller).await.unwrap());
    left.push(db.new_tenant("look").await.unwrap().account_id());
    left
}

/// What draws the ids of tenants runs outside of any account: here it tells which one it is in.
async fn one_connection_that_tells(database: &TestDatabase, schema: &'static Schema) -> Db {
    let mut settings = database.settings.clone();
    settings.pool.size = 1;
    let telling = Schema {
        migrator: Migrator::with_migrations(Vec::new()),
        draw_tenant: Some(sql!(
            "SELECT coalesce(nullif(current_setting('app.account_id', true), ''), '0')::bigint"
        )),
        ..*schema
    };
    Db::connect(&settings, Box::leak(Box::new(telling))).await.unwrap()
}

fn employee_of_account_7() -> Caller {
    Caller::admitted(Facts {
        account_id: 7,
        actor: Actor::Employee(1),
        role: Role::Employee,
        permissions: Vec::new(),
        default_currency: Currency::parse("CHF").unwrap(),
        time_zone: chrono_tz::UTC,
        visibility: EmployeeClientVisibility::Account,
        session_id: None,
        account_closed: false,
    })
}

#[derive(Debug)]
struct Table {
    /// With its schema.
    name: String,
    /// Where it says whose a row is.
    account: &'static str,
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

async fn tenant_tables(database: &TestDatabase, rules: &Rules<'_>) -> Vec<Table> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT tablename::text FROM pg_tables
         WHERE schemaname = $1 AND tablename <> 'migrations' AND tablename <> ALL ($2)
         ORDER BY tablename",
    )
    .bind(rules.schema)
    .bind(rules.global_tables)
    .fetch_all(&database.owner)
    .await
    .unwrap();
    let table = |name: String| Table {
        name: format!("{}.{name}", rules.schema),
        account: if name == "accounts" { "id" } else { "account_id" },
    };
    names.into_iter().map(table).collect()
}

async fn rows_of(database: &TestDatabase, table: &Table, account: i64) -> i64 {
    let count = format!("SELECT count(*) FROM {table} WHERE {} = $1", table.account);
    let count = sqlx::query_scalar(AssertSqlSafe(count)).bind(account);
    count.fetch_one(&database.owner).await.unwrap()
}

async fn count(service: &mut PgConnection, table: &Table) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(service).await.unwrap()
}

const AS_ACCOUNT_7: &str = "BEGIN; SET LOCAL app.account_id = '7'";

async fn seen_by_7(service: &mut PgConnection, table: &Table) -> i64 {
    let mut tx = service.begin_with(AS_ACCOUNT_7).await.unwrap();
    let seen = count(&mut tx, table).await;
    // Committed, because what a rollback would undo a commit may leave behind.
    tx.commit().await.unwrap();
    seen
}

/// Whether account 7 is refused a row of an account, by row security and nothing else.
/// PostgreSQL asks it before it looks at what is missing in the row.
async fn is_refused(service: &mut PgConnection, table: &Table, account: i64) -> bool {
    let mut tx = service.begin_with(AS_ACCOUNT_7).await.unwrap();
    let insert = format!("INSERT INTO {table} ({}) VALUES ($1)", table.account);
    let done = sqlx::query(AssertSqlSafe(insert)).bind(account).execute(&mut *tx).await;
    tx.rollback().await.unwrap();
    let Err(error) = done else { return false };
    let error = error.into_database_error().unwrap();
    let by_row_security = error.message().contains("row-level security policy");
    assert_eq!(error.code().as_deref() == Some("42501"), by_row_security, "{table}: {error}");
    by_row_security
}
