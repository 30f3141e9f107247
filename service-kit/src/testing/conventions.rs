//! The rules of the house that hold for both services, each with a proof that it can fail.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{
    TestDatabase,
    catalogue::{self, Rules},
    descriptor,
};
use crate::{
    db::Schema,
    policy::{Access, Rule, differences, rule},
};

/// The migrated schema keeps every rule of the catalogue.
pub async fn the_schema_keeps_the_rules(schema: &'static Schema, rules: &Rules<'_>) {
    let database = TestDatabase::new(schema).await;
    let mut owner = database.owner.acquire().await.unwrap();
    let complaints = catalogue::complaints(&mut owner, rules).await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// And each of the rules can complain.
pub async fn a_broken_schema_breaks_every_rule_there_is(
    schema: &'static Schema,
    rules: &Rules<'_>,
) {
    let database = TestDatabase::new(schema).await;
    let mut owner = database.owner.acquire().await.unwrap();
    catalogue::break_every_rule(&mut owner, rules.schema).await;
    let complaints = catalogue::complaints(&mut owner, rules).await;
    for rule in catalogue::rules() {
        assert!(
            complaints.iter().any(|complaint| complaint.ends_with(rule)),
            "nothing broke: {rule}"
        );
    }
    assert!(complaints.iter().any(|complaint| complaint.contains("no line in CONSTRAINTS")));
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
