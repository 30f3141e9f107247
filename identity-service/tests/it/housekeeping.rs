//! What goes away by itself, and what stays.

use std::{collections::BTreeMap, time::Duration};

use identity_service::SCHEMA;
use proto::identity::v1 as pb;
use service_kit::testing::{
    TestDatabase,
    conventions::{connected_as, may_not},
    plans,
    refusal::refusal,
};
use sqlx::{AssertSqlSafe, Connection};

use crate::support::{Identity, from_service, login};

const OFTEN: Duration = Duration::from_millis(100);

/// A kind of row: how to plant two of an age, and which ages are young and old.
struct Plant {
    table: &'static str,
    insert: &'static str,
    young: &'static str,
    old: &'static str,
}

#[rustfmt::skip]
const PLANTS: &[Plant] = &[
    Plant {
        table: "answers",
        insert: "(account_id, actor, method, request_id, fingerprint, create_time)
                 SELECT 1, 'employee:1', 'm', gen_random_uuid(), '', {then} FROM {two}",
        young: "24 hours 50 minutes", old: "25 hours 10 minutes",
    },
    Plant {
        table: "public_answers",
        insert: "(scope, fingerprint, create_time)
                 SELECT decode(md5(gen_random_uuid()::text), 'hex'), '', {then} FROM {two}",
        young: "24 hours 50 minutes", old: "25 hours 10 minutes",
    },
    Plant {
        table: "employee_tokens",
        insert: "(key, account_id, user_id, created, last_used_time, sealed)
                 SELECT md5(gen_random_uuid()::text), 1,
                     100 + nextval(pg_get_serial_sequence('identity.letters', 'id')),
                     now() - interval '99 years', {then}, '' FROM {two}",
        young: "24 hours 50 minutes", old: "25 hours 10 minutes",
    },
    Plant {
        table: "revoked_tokens",
        insert: "(key, account_id, revoke_time)
                 SELECT md5(gen_random_uuid()::text), 1, {then} FROM {two}",
        young: "29 days", old: "31 days",
    },
    Plant {
        table: "revoked_sessions",
        insert: "(id, account_id, revoke_time)
                 SELECT nextval(pg_get_serial_sequence('identity.sessions', 'id')), 1, {then} FROM {two}",
        young: "29 days", old: "31 days",
    },
    // One that was idle too long, and one that was too old.
    Plant {
        table: "sessions",
        insert: "(account_id, employee_id, device_label, network, nonce, create_time, last_seen_time, idle_time, expire_time)
                 SELECT 1, 1, '', '', '', {then}, {then},
                     CASE n WHEN 1 THEN {then} ELSE now() + interval '9 days' END,
                     CASE n WHEN 2 THEN {then} ELSE now() + interval '9 days' END FROM {two}",
        young: "23 hours", old: "25 hours",
    },
    Plant {
        table: "api_keys",
        insert: "(account_id, digest, name, permissions, creator_id, create_time, expire_time)
                 SELECT 1, decode(md5(gen_random_uuid()::text), 'hex'), '', '{}', 1, {then}, {then} FROM {two}",
        young: "29 days", old: "31 days",
    },
    Plant {
        table: "codes",
        insert: "(account_id, employee_id, purpose, digest, email_key, expire_time)
                 SELECT 1, 100 + nextval(pg_get_serial_sequence('identity.letters', 'id')), 'reset',
                     decode(md5(gen_random_uuid()::text), 'hex'), '', {then} FROM {two}",
        young: "23 hours", old: "25 hours",
    },
    Plant {
        table: "invitations",
        insert: "(account_id, email, email_key, role, inviter, digest, create_time, expire_time)
                 SELECT 1, '', gen_random_uuid()::text, 'employee', '', decode(md5(gen_random_uuid()::text), 'hex'), {then}, {then} FROM {two}",
        young: "29 days", old: "31 days",
    },
    Plant {
        table: "audit_events",
        insert: "(account_id, time, actor, action, subject, subject_id, network, request_id, details)
                 SELECT 1, {then}, 'employee:1', 'a', 's', 1, '', '', '{}' FROM {two}",
        young: "729 days", old: "731 days",
    },
    Plant {
        table: "revocations",
        insert: "(number, account_id, kind, id, time)
                 SELECT (SELECT count(*) FROM identity.revocations) + n, 1, 'employee', 1, {then} FROM {two}",
        young: "6 days", old: "8 days",
    },
    Plant {
        table: "directory_events",
        insert: "(number, account_id, kind, id, body, time)
                 SELECT (SELECT count(*) FROM identity.directory_events) + n, 1, 'robot', 1, '{}', {then} FROM {two}",
        young: "6 days", old: "8 days",
    },
];

impl Plant {
    /// Two rows for each round.
    async fn plant(&self, database: &TestDatabase, age: &str, rounds: usize) {
        let insert = self.insert.replace("{two}", "generate_series(1, 2) n");
        let insert = insert.replace("{then}", &format!("now() - interval '{age}'"));
        for _ in 0..rounds {
            database.execute(&format!("INSERT INTO identity.{} {insert}", self.table)).await;
        }
    }
}

async fn plant_somebody(database: &TestDatabase) {
    database
        .execute(
            "INSERT INTO identity.accounts (id, name, email, default_currency, create_time, update_time)
             VALUES (1, 'Acme', 'a@example.com', 'USD', now(), now()), (2, 'Globex', 'g@example.com', 'USD', now(), now());
             INSERT INTO identity.employees (account_id, id, email, email_key, name, first_name, last_name, role,
                 job_role, phone_number, is_active, password_change_advised, create_time, update_time)
             SELECT 1, id, 'e', 'e' || id, '', '', '', 'employee', '', '', true, false, now(), now()
             FROM (SELECT 1 UNION ALL SELECT generate_series(101, 120)) AS ids (id)",
        )
        .await;
}

async fn rows(database: &TestDatabase) -> BTreeMap<&'static str, i64> {
    let mut rows = BTreeMap::new();
    for Plant { table, .. } in PLANTS {
        let count = format!("SELECT count(*) FROM identity.{table}");
        let count = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&database.owner).await;
        rows.insert(*table, count.unwrap());
    }
    rows
}

fn everywhere(number: i64) -> BTreeMap<&'static str, i64> {
    PLANTS.iter().map(|plant| (plant.table, number)).collect()
}

async fn become_rows(database: &TestDatabase, expected: &BTreeMap<&'static str, i64>) {
    for _ in 0..200 {
        if rows(database).await == *expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(rows(database).await, *expected);
}

#[tokio::test]
async fn what_is_old_goes_and_what_is_young_stays() {
    let identity = Identity::set_up(|settings| {
        settings.housekeeping.every = OFTEN;
        settings.sessions.token_idle = Some(Duration::from_secs(3600));
    })
    .await;
    let database = &identity.database;
    plant_somebody(database).await;
    for plant in PLANTS {
        plant.plant(database, plant.old, 2).await;
        plant.plant(database, plant.young, 1).await;
    }
    database.execute("UPDATE identity.feeds SET number = 6").await;
    become_rows(database, &everywhere(2)).await;
    // A few rounds later it is the same.
    tokio::time::sleep(OFTEN * 4).await;
    assert_eq!(rows(database).await, everywhere(2));
    let swept = identity.figure("rows_swept_total").await;
    assert_eq!(swept, 4 * u64::try_from(PLANTS.len()).unwrap());

    // Whose cursor is before what is kept has to begin anew; the others go on.
    let head = identity
        .directory()
        .watch_directory(from_service(pb::WatchDirectoryRequest::default()))
        .await;
    let head = head.unwrap().into_inner().message().await.unwrap().unwrap().cursor.unwrap();
    let watch = async |number| {
        let cursor = Some(pb::DirectoryPosition { number, ..head.clone() });
        let request = from_service(pb::WatchDirectoryRequest { cursor });
        identity.directory().watch_directory(request).await
    };
    assert_eq!(refusal(watch(3).await).reason, "CURSOR_EXPIRED");
    let response = watch(4).await.unwrap().into_inner().message().await.unwrap().unwrap();
    let told: Vec<_> = response.events.into_iter().map(|it| (it.number, it.subject)).collect();
    assert_eq!(told, [(5, None), (6, None)]);
}

#[tokio::test]
async fn the_last_event_of_a_log_stays_however_old_it_is() {
    let identity = Identity::set_up(|settings| settings.housekeeping.every = OFTEN).await;
    for plant in PLANTS.iter().filter(|plant| plant.insert.starts_with("(number")) {
        plant.plant(&identity.database, "90 days", 2).await;
    }
    let expected =
        PLANTS.iter().map(|plant| (plant.table, i64::from(plant.insert.starts_with("(number"))));
    become_rows(&identity.database, &expected.collect()).await;
}

/// An old event behind a young one: clocks differ.
#[tokio::test]
async fn a_log_never_has_a_gap() {
    let identity = Identity::set_up(|settings| settings.housekeeping.every = OFTEN).await;
    let events = PLANTS.iter().find(|plant| plant.table == "directory_events").unwrap();
    for age in [events.old, events.young, events.old, events.young] {
        events.plant(&identity.database, age, 1).await;
    }
    let mut expected = everywhere(0);
    expected.insert(events.table, 6);
    become_rows(&identity.database, &expected).await;
}

#[tokio::test]
async fn more_than_a_batch_goes_too_and_records_as_soon_as_told() {
    let identity = Identity::set_up(|settings| {
        settings.housekeeping.every = OFTEN;
        settings.housekeeping.audit_retention = Duration::from_secs(40 * 24 * 3600);
    })
    .await;
    let database = &identity.database;
    plant_somebody(database).await;
    let young = rows(database).await;
    database
        .execute(
            "INSERT INTO identity.audit_events
                 (account_id, time, actor, action, subject, subject_id, network, request_id, details)
             SELECT 1 + n % 2, now() - interval '41 days', 'employee:1', 'a', 's', 1, '', '', '{}'
             FROM generate_series(1, 1700) n;
             INSERT INTO identity.directory_events
             SELECT n, 1, 'robot', 1, '{}', now() - interval '8 days' FROM generate_series(1, 1700) n",
        )
        .await;
    let mut expected = young;
    expected.insert("directory_events", 1);
    become_rows(database, &expected).await;
}

#[tokio::test]
async fn an_outage_of_the_database_is_outlasted() {
    let identity = Identity::set_up(|settings| settings.housekeeping.every = OFTEN).await;
    let database = &identity.database;
    plant_somebody(database).await;
    tokio::time::sleep(OFTEN * 2).await;
    database.let_in(false).await;
    tokio::time::sleep(OFTEN * 4).await;
    database.let_in(true).await;
    let answers = PLANTS.iter().find(|plant| plant.table == "answers").unwrap();
    answers.plant(database, answers.old, 1).await;
    become_rows(database, &everywhere(0)).await;
}

fn sweeps() -> Vec<plans::Recorded> {
    let mut sweeps = plans::recorded("identity", &[]);
    sweeps.retain(|statement| statement.text.contains("AS old"));
    assert_eq!(sweeps.len(), PLANTS.len());
    sweeps
}

/// No sweep holds anybody up: it takes a few rows at a time, and finds them by an index.
#[tokio::test]
async fn a_sweep_is_a_batch_and_finds_it_by_an_index() {
    let database = TestDatabase::new(&SCHEMA).await;
    plant_somebody(&database).await;
    for plant in PLANTS {
        plant.plant(&database, "900 days", 3).await;
    }
    let mut service = connected_as(&database, "identity_sweep").await;
    for sweep in sweeps() {
        let plan = plans::explain(&mut service, "identity", &sweep.text).await;
        plans::each_scan(&plan, &mut |scan| {
            let is_by_index = scan["Node Type"].as_str().unwrap().contains("Index")
                || scan["Node Type"] == "Bitmap Heap Scan";
            assert!(is_by_index, "{}: {scan:#}", sweep.text);
        });
        let swept = sqlx::query(AssertSqlSafe(sweep.text.clone()))
            .bind(service_kit::clock::now() - chrono::TimeDelta::days(800))
            .bind(4_i64)
            .execute(&mut service)
            .await
            .unwrap()
            .rows_affected();
        assert!((3..=4).contains(&swept), "{swept}: {}", sweep.text);
    }
}

/// Security checklist 61: whoever has the sweeping role cannot hide what was done lately.
#[tokio::test]
async fn the_sweeping_role_can_do_nothing_but_sweep() {
    let database = TestDatabase::new(&SCHEMA).await;
    plant_somebody(&database).await;
    for plant in PLANTS {
        plant.plant(&database, "23 hours", 1).await;
    }
    let audit = PLANTS.iter().find(|plant| plant.table == "audit_events").unwrap();
    audit.plant(&database, "29 days", 1).await;
    let mut service = connected_as(&database, "identity_sweep").await;
    for (table, age) in [("answers", "25 hours"), ("audit_events", "31 days")] {
        let before = rows(&database).await[table];
        let delete = format!("DELETE FROM identity.{table}");
        let mut undone = service.begin().await.unwrap();
        let gone = sqlx::query(AssertSqlSafe(delete.clone())).execute(&mut *undone).await.unwrap();
        undone.rollback().await.unwrap();
        assert_eq!(gone.rows_affected(), 0, "{table}");
        // And it is not for another reason that they stay.
        PLANTS.iter().find(|plant| plant.table == table).unwrap().plant(&database, age, 1).await;
        let gone = sqlx::query(AssertSqlSafe(delete)).execute(&mut service).await.unwrap();
        assert_eq!(gone.rows_affected(), 2, "{table}");
        assert_eq!(rows(&database).await[table], before);
    }
    let beyond_it = [
        "SELECT answer FROM identity.answers",
        "SELECT fingerprint FROM identity.answers",
        "SELECT answer FROM identity.public_answers",
        "SELECT details FROM identity.audit_events",
        "SELECT digest FROM identity.api_keys",
        "SELECT nonce FROM identity.sessions",
        "SELECT body FROM identity.directory_events",
        "SELECT name FROM identity.accounts",
        "SELECT id FROM identity.employees",
        "SELECT sealed FROM identity.employee_tokens",
        "DELETE FROM identity.employees",
        "DELETE FROM identity.accounts",
        "DELETE FROM identity.feeds",
        "UPDATE identity.sessions SET expire_time = now()",
        "UPDATE identity.audit_events SET time = now() - interval '9 years'",
        "INSERT INTO identity.audit_events (account_id) VALUES (1)",
        "TRUNCATE identity.audit_events",
    ];
    may_not(&mut service, &beyond_it).await;
}

/// Of attempts nothing is in the database; what is remembered of them is a figure.
#[tokio::test]
async fn attempts_are_forgotten_once_they_do_not_count_any_more() {
    let keeping = Identity::start().await;
    let sweeping = keeping.changed_replica(|settings| settings.housekeeping.every = OFTEN).await;
    for identity in [&keeping, &sweeping] {
        let wrong = login("nobody@example.com", "not the password");
        refusal(identity.auth().login(wrong).await);
    }
    for _ in 0..200 {
        if sweeping.figure("attempts_kept").await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sweeping.figure("attempts_kept").await, 0);
    // Of the network and of everybody; of the address from there, and from all strangers.
    assert_eq!(keeping.figure("attempts_kept").await, 4, "nobody has swept there");
}
