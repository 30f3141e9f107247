//! The rules of the house that hold for both services, each with a proof that it can fail.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{
    TestDatabase,
    catalogue::{self, Rules},
    descriptor,
    plans::{self, Exceptions, Recorded},
    row_security,
};
use crate::{
    db::{Constraint, Schema},
    policy::{Access, Rule, differences, rule},
};

/// The migrated schema keeps every rule of the catalogue.
pub async fn the_schema_keeps_the_rules(schema: &'static Schema, rules: &Rules<'_>) {
    let database = TestDatabase::new(schema).await;
    let mut owner = database.owner.acquire().await.unwrap();
    let complaints = catalogue::complaints(&mut owner, rules).await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// And each of the rules can complain, about everything that breaks it.
pub async fn a_broken_schema_breaks_every_rule_there_is(
    schema: &'static Schema,
    rules: &Rules<'_>,
) {
    let database = TestDatabase::new(schema).await;
    let mut owner = database.owner.acquire().await.unwrap();
    let unnoticed = catalogue::unnoticed(&mut owner, rules).await;
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");

    let unlisted = "ALTER TABLE answers ADD CONSTRAINT unlisted CHECK (true)";
    let complaints = catalogue::complaints_after(&mut owner, rules, unlisted).await;
    assert_eq!(complaints, ["unlisted: no line in CONSTRAINTS"]);
    let constraints = [rules.constraints, &[Constraint::ours("ghost")]].concat();
    let with_ghost = Rules { constraints: &constraints, ..*rules };
    let complaints = catalogue::complaints(&mut owner, &with_ghost).await;
    assert_eq!(complaints, ["ghost: in CONSTRAINTS and not in the schema"]);
}

/// Row security lets each account reach its own rows, and only for as long as a transaction.
///
/// `database` must have rows of accounts 7 and 8 in every tenant's table.
pub async fn row_security_keeps_accounts_apart(database: &TestDatabase, rules: &Rules<'_>) {
    let leaks = row_security::leaks(database, rules).await;
    assert!(leaks.is_empty(), "{leaks:#?}");

    // And it can fail.
    let answers = format!("{}.answers", rules.schema);
    database.execute(&format!("ALTER TABLE {answers} DISABLE ROW LEVEL SECURITY")).await;
    let leaks = row_security::leaks(database, rules).await;
    assert_eq!(
        leaks,
        [
            format!("{answers}: account 7 sees others' rows"),
            format!("{answers}: account 7 writes for account 8"),
            format!("{answers}: rows are seen after the transaction"),
        ]
    );
}

/// Whoever gets a connection next is in no account.
pub async fn no_account_stays_on_a_connection(schema: &'static Schema) {
    let database = TestDatabase::new(schema).await;
    assert_eq!(row_security::left_behind(&database, schema).await, [0, 0, 0]);

    // And it can fail.
    database
        .execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET app.account_id = 7', current_database()); END $$")
        .await;
    assert_eq!(row_security::left_behind(&database, schema).await, [7, 7, 7]);
}

/// A statement whose account no index finds is noticed.
pub async fn a_statement_without_an_index_is_noticed(schema: &'static Schema) {
    let (database, schema) = (TestDatabase::new(schema).await, schema.name);
    let statement = Recorded {
        text: format!("SELECT method FROM {schema}.answers WHERE account_id = $1"),
        place: "here".to_owned(),
    };
    let mut service = connected_as(&database, &format!("{schema}_app")).await;
    let none = plans::unindexed_scans(&mut service, schema, &statement).await;
    assert_eq!(none, Vec::<String>::new());
    database.execute(&format!("ALTER TABLE {schema}.answers DROP CONSTRAINT answers_pkey")).await;
    let found = plans::unindexed_scans(&mut service, schema, &statement).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("here: no index by account for answers"), "{found:?}");
}

/// An exception that no statement needs any more is noticed.
pub async fn an_exception_to_nothing_is_noticed(
    schema: &'static Schema,
    exceptions: &Exceptions<'_>,
) {
    let database = TestDatabase::new(schema).await;
    let across_accounts = [exceptions.across_accounts, &["across nothing"]].concat();
    let by_another_key = [exceptions.by_another_key, &["by nothing"]].concat();
    let with_ghosts = Exceptions {
        across_accounts: &across_accounts,
        by_another_key: &by_another_key,
        not_ours: exceptions.not_ours,
    };
    let complaints = plans::complaints(&database, schema.name, &with_ghosts).await;
    for ghost in ["across nothing", "by nothing"] {
        let expected = format!("{ghost} is no exception to anything");
        assert!(complaints.contains(&expected), "{complaints:#?}");
    }
}

/// The policy table and the contract name the same methods.
pub fn every_method_has_one_row_of_policy_and_every_row_a_method(package: &str, policy: &[Rule]) {
    let pool = descriptor::pool();
    let methods: Vec<String> =
        descriptor::methods(&pool, package).iter().map(descriptor::path).collect();
    let methods = || methods.iter().map(String::as_str);
    assert_eq!(differences(policy, methods()), Vec::<String>::new());
    assert!(policy.is_sorted_by_key(|rule| rule.method), "the table must be sorted");

    // And it can fail, in each direction.
    let first = policy[0].method;
    assert_eq!(differences(&policy[1..], methods()), [format!("{first} has no policy row")]);
    let with_twice = [policy, &[policy[0]]].concat();
    assert_eq!(differences(&with_twice, methods()), [format!("{first} has two policy rows")]);
    let with_ghost = [policy, &[rule("/ghost.v1.Ghost/Boo", Access::Public)]].concat();
    assert_eq!(
        differences(&with_ghost, methods()),
        ["/ghost.v1.Ghost/Boo has a policy row and does not exist"]
    );
}

/// A connection of the service as one of its roles.
pub async fn connected_as(database: &TestDatabase, role: &str) -> PgConnection {
    let mut service = PgConnection::connect(database.settings.url.expose()).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("SET ROLE {role}"))).execute(&mut service).await.unwrap();
    let taken: String =
        sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut service).await.unwrap();
    assert_eq!(taken, role);
    service
}

/// PostgreSQL refuses each of these statements, and for lack of privilege rather than for
/// anything else that may be wrong with them.
pub async fn may_not(service: &mut PgConnection, statements: &[&str]) {
    for statement in statements {
        let refused = sqlx::query(AssertSqlSafe((*statement).to_owned()))
            .execute(&mut *service)
            .await
            .expect_err(statement);
        let code = refused.as_database_error().and_then(|error| error.code().map(String::from));
        assert_eq!(code.as_deref(), Some("42501"), "{statement}: {refused}");
    }
}
