//! The rules of the house, held against the catalogue, the statements and the descriptor; and
//! for each a proof that it can fail.

use crm_service::{CONSTRAINTS, POLICY, SCHEMA};
use service_kit::testing::{
    TestDatabase,
    catalogue::Rules,
    conventions::{self, connected_as, may_not},
    descriptor,
    plans::{self, Exceptions, Recorded},
};

const EXCEPTIONS: Exceptions<'static> = Exceptions {
    // The last: sweeps.
    across_accounts: &["crm.migrations", "AS old"],
    by_another_key: &[],
    // Public calls are identity's.
    not_ours: &["public_answers"],
};

fn rules() -> Rules<'static> {
    Rules { schema: "crm", global_tables: &[], global_keys: &[], constraints: CONSTRAINTS }
}

#[tokio::test]
async fn the_schema_keeps_the_rules() {
    conventions::the_schema_keeps_the_rules(&SCHEMA, &rules()).await;
}

#[tokio::test]
async fn a_broken_schema_breaks_every_rule_there_is() {
    conventions::a_broken_schema_breaks_every_rule_there_is(&SCHEMA, &rules()).await;
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
             INSERT INTO crm.audit_events
                 (account_id, time, actor, action, subject, subject_id, network, request_id, details)
             SELECT account_id, now(), 'employee:1', 'client.update', 'client', id, '', '', '{}'
             FROM crm.clients;
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

#[tokio::test]
async fn a_statement_without_an_index_is_noticed() {
    conventions::a_statement_without_an_index_is_noticed(&SCHEMA).await;
}

#[tokio::test]
async fn an_exception_to_nothing_is_noticed() {
    conventions::an_exception_to_nothing_is_noticed(&SCHEMA, &EXCEPTIONS).await;
}

/// Security checklist 37.
#[tokio::test]
async fn no_account_stays_on_a_connection() {
    conventions::no_account_stays_on_a_connection(&SCHEMA).await;
}

#[tokio::test]
async fn row_security_keeps_accounts_apart() {
    let database = TestDatabase::new(&SCHEMA).await;
    populate(&database).await;
    conventions::row_security_keeps_accounts_apart(&database, &rules()).await;
}

/// Security checklist 28.
#[test]
fn every_method_has_one_row_of_policy_and_every_row_a_method() {
    conventions::every_method_has_one_row_of_policy_and_every_row_a_method("crm.v1", POLICY);
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
    let mut service = connected_as(&database, "crm_app").await;
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

/// Security checklist 37 and 61.
#[tokio::test]
async fn the_working_role_sees_nothing_without_an_account_and_can_undo_nothing() {
    let database = TestDatabase::new(&SCHEMA).await;
    database.execute("INSERT INTO crm.accounts (id) VALUES (7)").await;
    let mut service = connected_as(&database, "crm_app").await;
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM crm.accounts")
        .fetch_one(&mut service)
        .await
        .unwrap();
    assert_eq!(seen, 0);
    let beyond_it = [
        "ALTER TABLE crm.accounts DISABLE ROW LEVEL SECURITY",
        "TRUNCATE crm.answers",
        "DROP TABLE crm.answers",
        "DELETE FROM crm.clients",
        "INSERT INTO crm.accounts (id) VALUES (8)",
    ];
    may_not(&mut service, &beyond_it).await;
    let mut service = connected_as(&database, "crm_lookup").await;
    let beyond_it =
        ["UPDATE crm.clients SET status = 'active'", "SELECT first_name FROM crm.clients"];
    may_not(&mut service, &beyond_it).await;
}

#[test]
fn every_query_of_this_service_is_one_that_the_checks_see() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    assert_eq!(plans::unregistered(&source), Vec::<String>::new());
}
