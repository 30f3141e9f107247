//! The rules of the house, held against the catalogue, the statements and the descriptor; and
//! for each a proof that it can fail.

use crm_service::{CONSTRAINTS, POLICY, SCHEMA};
use service_kit::{
    policy::{Access, differences, rule},
    testing::{
        TestDatabase,
        catalogue::{self, Rules},
        descriptor,
        plans::{self, Exceptions, Recorded},
    },
};
use sqlx::{Connection, PgConnection};

const EXCEPTIONS: Exceptions<'static> = Exceptions {
    across_accounts: &["crm.migrations"],
    by_another_key: &[],
    // Public calls are identity's.
    not_ours: &["public_answers"],
};

fn rules() -> Rules<'static> {
    Rules { schema: "crm", global_tables: &[], global_keys: &[], constraints: CONSTRAINTS }
}

#[tokio::test]
async fn the_schema_keeps_the_rules() {
    let database = TestDatabase::new(&SCHEMA).await;
    let mut owner = database.owner.acquire().await.unwrap();
    let complaints = catalogue::complaints(&mut owner, &rules()).await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[tokio::test]
async fn a_broken_schema_breaks_every_rule_there_is() {
    let database = TestDatabase::new(&SCHEMA).await;
    let mut owner = database.owner.acquire().await.unwrap();
    catalogue::break_every_rule(&mut owner, "crm").await;
    let complaints = catalogue::complaints(&mut owner, &rules()).await;
    for rule in catalogue::rules() {
        assert!(
            complaints.iter().any(|complaint| complaint.ends_with(rule)),
            "nothing broke: {rule}"
        );
    }
    assert!(complaints.iter().any(|complaint| complaint.contains("no line in CONSTRAINTS")));
}

#[tokio::test]
async fn every_statement_keeps_to_one_account_and_uses_an_index_by_it() {
    let database = TestDatabase::new(&SCHEMA).await;
    populate(&database).await;
    assert!(plans::recorded("crm", &[]).len() >= 170, "the statements are registered");
    let complaints = plans::complaints(&database, "crm", &EXCEPTIONS).await;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Rows enough for the planner to care which index it takes.
async fn populate(database: &TestDatabase) {
    database
        .execute(
            "INSERT INTO crm.accounts SELECT generate_series(1, 20);
             INSERT INTO crm.clients
             SELECT a, a * 1000 + n, 'First', 'Last', 'last' || n, '', NULL, '', 'active', 'NL', 'EUR', '', '{}',
                 now() + n * interval '1 second', now()
             FROM generate_series(1, 20) a, generate_series(1, 200) n;
             INSERT INTO crm.client_search_words SELECT account_id, name_key, id FROM crm.clients;
             INSERT INTO crm.answers
             SELECT account_id, 'employee', 'method', gen_random_uuid(), '', '', now() FROM crm.clients;
             ANALYZE",
        )
        .await;
}

#[tokio::test]
async fn a_statement_across_accounts_is_noticed() {
    let database = TestDatabase::new(&SCHEMA).await;
    let mut owner = database.owner.acquire().await.unwrap();
    for text in [
        "SELECT first_name FROM crm.clients WHERE id = $1",
        "SELECT c.id FROM crm.clients c JOIN crm.client_search_words w ON w.client_id = c.id WHERE c.account_id = $1",
        "SELECT first_name FROM crm.clients WHERE account_id > $1",
        "SELECT version FROM crm.clients WHERE account_id = $1 OR id = $2",
        "SELECT version FROM crm.clients WHERE account_id = (SELECT $1::bigint + 1)",
        "UPDATE crm.clients SET first_name = $1 WHERE account_id = account_id",
        "INSERT INTO crm.client_search_words (word) VALUES ($1)",
    ] {
        let statement = Recorded { text: text.to_owned(), place: "here".to_owned() };
        assert!(!plans::unbound_scans(&mut owner, "crm", &statement).await.is_empty(), "{text}");
    }
}

#[test]
fn every_method_has_one_row_of_policy_and_every_row_a_method() {
    let pool = descriptor::pool();
    let methods: Vec<String> =
        descriptor::methods(&pool, "crm.v1").iter().map(descriptor::path).collect();
    let methods = || methods.iter().map(String::as_str);
    assert_eq!(differences(POLICY, methods()), Vec::<String>::new());

    // And it can fail, in each direction.
    assert_eq!(
        differences(&POLICY[1..], methods()),
        [format!("{} has no policy row", POLICY[0].method)]
    );
    let with_twice = [POLICY, &[POLICY[0]]].concat();
    assert_eq!(
        differences(&with_twice, methods()),
        [format!("{} has two policy rows", POLICY[0].method)]
    );
    let with_ghost = [POLICY, &[rule("/identity.v1.Ghost/Boo", Access::Public)]].concat();
    assert_eq!(
        differences(&with_ghost, methods()),
        ["/identity.v1.Ghost/Boo has a policy row and does not exist"]
    );
    assert!(POLICY.is_sorted_by_key(|rule| rule.method), "the table must be sorted");
}

#[test]
fn no_request_can_name_an_account() {
    let pool = descriptor::pool();
    let found = descriptor::ways_to_name_an_account(&pool, "crm.v1", POLICY, &[]);
    assert_eq!(found, Vec::<String>::new());
}

/// The words of a search are found by the index under row security, and not by a filter.
#[tokio::test]
async fn a_search_by_prefix_is_a_range_of_the_index_under_row_security() {
    let database = TestDatabase::new(&SCHEMA).await;
    populate(&database).await;
    let mut service = PgConnection::connect(database.settings.url.expose()).await.unwrap();
    sqlx::query("SET ROLE crm_app").execute(&mut service).await.unwrap();
    let searches: Vec<_> = plans::recorded("crm", &[])
        .into_iter()
        .filter(|statement| statement.text.contains("word >= "))
        .collect();
    assert!(!searches.is_empty());
    for search in searches {
        let plan = plans::explain(&mut service, "crm", &search.text).await;
        let mut ranges = 0;
        plans::each_scan(&plan, &mut |scan| {
            if scan["Relation Name"] == "client_search_words" {
                let condition = plans::conditions(scan, &["Index Cond", "Recheck Cond"]);
                ranges +=
                    usize::from(condition.contains("word >= $") && condition.contains("word < $"));
            }
        });
        // Further words may be looked up for the clients that the first one found.
        assert!(ranges > 0, "{}", search.text);
    }
}

/// Security checklist 37.
#[tokio::test]
async fn the_working_role_sees_nothing_without_an_account_and_can_undo_nothing() {
    let database = TestDatabase::new(&SCHEMA).await;
    let mut service = PgConnection::connect(database.settings.url.expose()).await.unwrap();
    database.execute("INSERT INTO crm.accounts (id) VALUES (7)").await;
    sqlx::query("SET ROLE crm_app").execute(&mut service).await.unwrap();
    let role: String =
        sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut service).await.unwrap();
    assert_eq!(role, "crm_app");
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM crm.accounts")
        .fetch_one(&mut service)
        .await
        .unwrap();
    assert_eq!(seen, 0);
    for forbidden in [
        "ALTER TABLE crm.accounts DISABLE ROW LEVEL SECURITY",
        "TRUNCATE crm.answers",
        "DROP TABLE crm.answers",
        "DELETE FROM crm.clients",
        "INSERT INTO crm.accounts (id) VALUES (8)",
    ] {
        assert!(sqlx::query(forbidden).execute(&mut service).await.is_err(), "{forbidden}");
    }
    sqlx::query("SET ROLE crm_lookup").execute(&mut service).await.unwrap();
    assert!(
        sqlx::query("UPDATE crm.clients SET is_active = true").execute(&mut service).await.is_err()
    );
    assert!(
        sqlx::query("SELECT sealed FROM identity.employee_tokens")
            .execute(&mut service)
            .await
            .is_err()
    );
}

#[test]
fn every_query_of_this_service_is_one_that_the_checks_see() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_eq!(plans::unregistered(&source), Vec::<String>::new());
}
