//! What goes away by itself, and what stays.

use std::time::Duration;

use crm_service::SCHEMA;
use service_kit::testing::{
    TestDatabase,
    conventions::{connected_as, may_not},
    plans,
};
use sqlx::AssertSqlSafe;

use crate::support::{Crm, SERVICE_SECRET};

/// Answers and records of these ages, so many of each.
async fn plant(database: &TestDatabase, answers: &str, records: &str, number: u32) {
    database
        .execute(&format!(
            "INSERT INTO crm.accounts VALUES (1), (2) ON CONFLICT DO NOTHING;
             INSERT INTO crm.answers (account_id, actor, method, request_id, fingerprint, create_time)
             SELECT 1 + n % 2, 'employee:1', 'm', gen_random_uuid(), '', now() - interval '{answers}'
             FROM generate_series(1, {number}) n;
             INSERT INTO crm.audit_events
                 (account_id, time, actor, action, subject, subject_id, network, request_id, details)
             SELECT 1 + n % 2, now() - interval '{records}', 'employee:1', 'a', 's', 1, '', '', '{{}}'
             FROM generate_series(1, {number}) n"
        ))
        .await;
}

async fn rows(database: &TestDatabase) -> (i64, i64) {
    let count =
        "SELECT (SELECT count(*) FROM crm.answers), (SELECT count(*) FROM crm.audit_events)";
    sqlx::query_as(count).fetch_one(&database.owner).await.unwrap()
}

#[tokio::test]
async fn what_is_old_goes_and_what_is_young_stays() {
    let crm = Crm::with(SERVICE_SECRET, |settings| {
        settings.housekeeping.every = Duration::from_millis(100);
    })
    .await;
    plant(&crm.database, "24 hours 50 minutes", "729 days", 3).await;
    plant(&crm.database, "25 hours 10 minutes", "731 days", 1200).await;
    for _ in 0..200 {
        if rows(&crm.database).await == (3, 3) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(rows(&crm.database).await, (3, 3));
}

#[tokio::test]
async fn a_sweep_is_a_batch_and_finds_it_by_an_index() {
    let database = TestDatabase::new(&SCHEMA).await;
    plant(&database, "900 days", "900 days", 10).await;
    database
        .execute(
            "INSERT INTO crm.client_changes
             SELECT 1 + n % 2, n, n, now() - interval '900 days', '{}'
             FROM generate_series(1, 10) n",
        )
        .await;
    let mut service = connected_as(&database, "crm_sweep").await;
    let mut sweeps = plans::recorded("crm", &[]);
    sweeps.retain(|statement| statement.text.contains("AS old"));
    assert_eq!(sweeps.len(), 3);
    for sweep in sweeps {
        let plan = plans::explain(&mut service, "crm", &sweep.text).await;
        plans::each_scan(&plan, &mut |scan| {
            let is_by_index = scan["Node Type"].as_str().unwrap().contains("Index")
                || scan["Node Type"] == "Bitmap Heap Scan";
            assert!(is_by_index, "{}: {scan:#}", sweep.text);
        });
        let swept = sqlx::query(AssertSqlSafe(sweep.text.clone()))
            .bind(service_kit::clock::now() - service_kit::housekeeping::DAY * 800)
            .bind(4_i64)
            .execute(&mut service)
            .await
            .unwrap();
        assert_eq!(swept.rows_affected(), 4, "{}", sweep.text);
    }
}

/// Security checklist 61: whoever has the sweeping role cannot hide what was done lately.
#[tokio::test]
async fn the_sweeping_role_can_do_nothing_but_sweep() {
    let database = TestDatabase::new(&SCHEMA).await;
    plant(&database, "23 hours", "29 days", 2).await;
    plant(&database, "25 hours", "31 days", 3).await;
    let mut service = connected_as(&database, "crm_sweep").await;
    for delete in ["DELETE FROM crm.answers", "DELETE FROM crm.audit_events"] {
        let gone = sqlx::query(delete).execute(&mut service).await.unwrap();
        assert_eq!(gone.rows_affected(), 3, "{delete}");
    }
    assert_eq!(rows(&database).await, (2, 2));
    let beyond_it = [
        "SELECT answer FROM crm.answers",
        "SELECT fingerprint FROM crm.answers",
        "SELECT details FROM crm.audit_events",
        "SELECT id FROM crm.clients",
        "DELETE FROM crm.clients",
        "DELETE FROM crm.accounts",
        "UPDATE crm.audit_events SET time = now() - interval '9 years'",
        "INSERT INTO crm.audit_events (account_id) VALUES (1)",
        "TRUNCATE crm.audit_events",
    ];
    may_not(&mut service, &beyond_it).await;
}
