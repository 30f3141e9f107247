//! What goes away by itself, and what stays.

use std::{collections::BTreeMap, time::Duration};

use crm_service::SCHEMA;
use service_kit::testing::{
    TestDatabase,
    conventions::{connected_as, may_not},
    plans,
};
use sqlx::AssertSqlSafe;

use crate::support::{Crm, SERVICE_SECRET};

const OFTEN: Duration = Duration::from_millis(100);

/// A kind of row: how to plant some of an age, and which ages are young and old.
struct Plant {
    table: &'static str,
    /// Which rows of the table are of this kind.
    only: &'static str,
    insert: &'static str,
    young: &'static str,
    old: &'static str,
}

#[rustfmt::skip]
const PLANTS: &[Plant] = &[
    Plant {
        table: "answers", only: "true",
        insert: "(account_id, actor, method, request_id, fingerprint, create_time)
                 SELECT 1 + n % 2, 'employee:1', 'm', gen_random_uuid(), '', {then} FROM {many}",
        young: "24 hours 50 minutes", old: "25 hours 10 minutes",
    },
    Plant {
        table: "audit_events", only: "true",
        insert: "(account_id, time, actor, action, subject, subject_id, network, request_id, details)
                 SELECT 1 + n % 2, {then}, 'employee:1', 'a', 's', 1, '', '', '{}' FROM {many}",
        young: "729 days", old: "731 days",
    },
    Plant {
        table: "client_changes", only: "true",
        insert: "(account_id, number, client_id, time, before)
                 SELECT 1 + n % 2, n + (SELECT count(*) FROM crm.client_changes), 1, {then}, '{}'
                 FROM {many}",
        young: "6 days", old: "8 days",
    },
    Plant {
        table: "client_imports", only: "true",
        insert: "(account_id, actor, request_id, fingerprint, row_number, create_time)
                 SELECT 1 + n % 2, 'employee:1', gen_random_uuid(), '', 1, {then} FROM {many}",
        young: "24 hours 50 minutes", old: "25 hours 10 minutes",
    },
    Plant {
        table: "stripe_events", only: "state <> 'parked'",
        insert: "(account_id, event_id, endpoint_id, type, charge_id, customer_id, event_time,
                  create_time, facts, state)
                 SELECT 1 + n % 2, gen_random_uuid(), 1, 't', '', '', {then}, {then}, '{}',
                     (ARRAY['applied', 'ignored'])[1 + n % 2] FROM {many}",
        young: "29 days", old: "31 days",
    },
    Plant {
        table: "stripe_events", only: "state = 'parked'",
        insert: "(account_id, event_id, endpoint_id, type, charge_id, customer_id, event_time,
                  create_time, facts, state)
                 SELECT 1 + n % 2, gen_random_uuid(), 1, 't', '', '', {then}, {then}, '{}', 'parked'
                 FROM {many}",
        young: "364 days", old: "366 days",
    },
];

impl Plant {
    /// As it is called where rows are counted.
    fn kind(&self) -> (&'static str, &'static str) {
        (self.table, self.only)
    }

    async fn plant(&self, database: &TestDatabase, age: &str, number: u32) {
        let insert = self.insert.replace("{many}", &format!("generate_series(1, {number}) n"));
        let insert = insert.replace("{then}", &format!("now() - interval '{age}'"));
        database
            .execute(&format!(
                "INSERT INTO crm.accounts (id) VALUES (1), (2) ON CONFLICT DO NOTHING;
                 INSERT INTO crm.{} {insert}",
                self.table
            ))
            .await;
    }
}

async fn plant(database: &TestDatabase, age: impl Fn(&Plant) -> &str, number: u32) {
    for plant in PLANTS {
        plant.plant(database, age(plant), number).await;
    }
}

/// How many there are of each kind.
type Rows = BTreeMap<(&'static str, &'static str), i64>;

async fn rows(database: &TestDatabase) -> Rows {
    let mut rows = BTreeMap::new();
    for plant in PLANTS {
        let (table, only) = plant.kind();
        let count = format!("SELECT count(*) FROM crm.{table} WHERE {only}");
        let count = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&database.owner).await;
        rows.insert(plant.kind(), count.unwrap());
    }
    rows
}

fn everywhere(number: i64) -> Rows {
    PLANTS.iter().map(|plant| (plant.kind(), number)).collect()
}

async fn become_rows(database: &TestDatabase, expected: &Rows) {
    for _ in 0..200 {
        if rows(database).await == *expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // A few rounds later it is the same.
    tokio::time::sleep(OFTEN * 4).await;
    assert_eq!(rows(database).await, *expected);
}

async fn sweeping() -> Crm {
    Crm::with(SERVICE_SECRET, |settings| settings.housekeeping.every = OFTEN).await
}

#[tokio::test]
async fn what_is_old_goes_and_what_is_young_stays() {
    let crm = sweeping().await;
    plant(&crm.database, |plant| plant.young, 3).await;
    plant(&crm.database, |plant| plant.old, 1200).await;
    become_rows(&crm.database, &everywhere(3)).await;
}

#[tokio::test]
async fn a_sweep_is_a_batch_and_finds_it_by_an_index() {
    let database = TestDatabase::new(&SCHEMA).await;
    plant(&database, |_| "900 days", 10).await;
    let mut service = connected_as(&database, "crm_sweep").await;
    let mut sweeps = plans::recorded("crm", &[]);
    sweeps.retain(|statement| statement.text.contains("AS old"));
    assert_eq!(sweeps.len(), PLANTS.len());
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
    for (table, young, old) in [
        ("answers", "23 hours", "25 hours"),
        ("audit_events", "29 days", "31 days"),
        ("stripe_events", "29 days", "31 days"),
    ] {
        let plant = PLANTS.iter().find(|plant| plant.table == table).unwrap();
        plant.plant(&database, young, 2).await;
        plant.plant(&database, old, 3).await;
    }
    let parked = PLANTS.last().unwrap();
    parked.plant(&database, parked.young, 2).await;
    parked.plant(&database, parked.old, 3).await;
    let mut service = connected_as(&database, "crm_sweep").await;
    for delete in
        ["DELETE FROM crm.answers", "DELETE FROM crm.audit_events", "DELETE FROM crm.stripe_events"]
    {
        let gone = sqlx::query(delete).execute(&mut service).await.unwrap();
        let kinds = PLANTS.iter().filter(|plant| delete.ends_with(plant.table)).count();
        assert_eq!(gone.rows_affected(), 3 * kinds as u64, "{delete}");
    }
    let mut expected = everywhere(0);
    for (kind, number) in &mut expected {
        *number =
            if ["answers", "audit_events", "stripe_events"].contains(&kind.0) { 2 } else { 0 };
    }
    assert_eq!(rows(&database).await, expected);
    let beyond_it = [
        "SELECT answer FROM crm.answers",
        "SELECT fingerprint FROM crm.answers",
        "SELECT details FROM crm.audit_events",
        "SELECT facts FROM crm.stripe_events",
        "SELECT fingerprint FROM crm.client_imports",
        "SELECT id FROM crm.clients",
        "DELETE FROM crm.clients",
        "DELETE FROM crm.accounts",
        "UPDATE crm.audit_events SET time = now() - interval '9 years'",
        "INSERT INTO crm.audit_events (account_id) VALUES (1)",
        "TRUNCATE crm.audit_events",
    ];
    may_not(&mut service, &beyond_it).await;
}
