//! What lists and statistics of clients read: no more of many than of few.
//!
//! Counted in rows and buffers, not in time: the statements of the service, as its own role, on
//! an account of few clients and one of many.

use std::ops::Deref;

use crm_service::SCHEMA;
use serde_json::Value;
use service_kit::testing::{
    TestDatabase,
    conventions::connected_as,
    plans::{self, each_scan},
};
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};
use tokio::sync::{Mutex, MutexGuard};

/// Account 1 has few clients, account 2 many, and there are others. Employee 11 coaches all of the
/// first, 21 all of the second.
const FEW: i64 = 1_000;
const MANY: i64 = 100_000;

/// One after the other: what one of these tests is in the middle of keeps the server from tidying
/// up behind another one.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A database to count in, and the turn to do so.
struct Populated {
    database: TestDatabase,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Populated {
    type Target = TestDatabase;

    fn deref(&self) -> &TestDatabase {
        &self.database
    }
}

async fn populated() -> Populated {
    let turn = ONE_AT_A_TIME.lock().await;
    let database = TestDatabase::new(&SCHEMA).await;
    // Foreign keys are not looked at: it is only about how much there is.
    database
        .execute(&format!(
            "SET session_replication_role = replica;
             INSERT INTO crm.accounts SELECT generate_series(1, 1000);
             INSERT INTO crm.employees
             SELECT a, a * 10 + 1, 'Name', 'active', 'epoch', 1 FROM generate_series(1, 2) a;
             INSERT INTO crm.clients
             SELECT a, a * 1000000 + n, 'First', 'Last', lpad((n::bigint * 7919 % 1000000)::text, 7, '0'), '',
                 NULL, '', (ARRAY['active', 'paused'])[1 + n % 2], (ARRAY['NL', 'FR'])[1 + n / 2 % 2],
                 'EUR', '', '{{}}', timestamptz '2025-01-01' + n * interval '1 second', now(), NULL, 1,
                 a * 10 + 1
             FROM generate_series(1, 2) a,
                 generate_series(1, CASE a WHEN 1 THEN {FEW} ELSE {MANY} END) n;
             INSERT INTO crm.client_members
             SELECT account_id, coach_id, id, true, false, false, create_time, name_key, true
             FROM crm.clients;
             INSERT INTO crm.client_counts
             SELECT account_id, employee_id, status, count(*)
             FROM crm.clients, LATERAL (VALUES (0), (coach_id)) AS member (employee_id)
             GROUP BY account_id, employee_id, status
             UNION ALL
             SELECT id, employee_id, 'active', 1
             FROM crm.accounts, generate_series(0, 5) AS employee_id WHERE id > 2;
             SET session_replication_role = DEFAULT"
        ))
        .await;
    for table in ["clients", "client_members", "client_counts"] {
        database.execute(&format!("VACUUM (ANALYZE) crm.{table}")).await;
    }
    Populated { database, _turn: turn }
}

/// What else is listed: one of each for every client.
const OF_EACH_CLIENT: [&str; 9] = [
    "INSERT INTO crm.packages
     SELECT account_id, id, 'Name', name_key, '', NULL, NULL, create_time, now()
     FROM crm.clients",
    "INSERT INTO crm.client_packages
     SELECT account_id, id, id, id, 'EUR', 1000, NULL, 'PIF', '2025-01-31', 'active',
     create_time, now()
     FROM crm.clients",
    "INSERT INTO crm.instalments
     (account_id, id, client_id, client_package_id, instalment_number, currency, amount,
     allocated, schedule_date, state, create_time, update_time)
     SELECT account_id, id, id, id, 1, 'EUR', 1000, 0, date '2025-01-31' + (id % 200)::int,
     'open', create_time, now()
     FROM crm.clients",
    "INSERT INTO crm.payments
     (account_id, id, client_id, currency, amount, paid_at, external_reference, notes,
     stripe_charge_id, create_time, update_time)
     SELECT account_id, id, id, 'EUR', 1000, create_time, '', '', 'ch_' || id, create_time,
     now()
     FROM crm.clients",
    "INSERT INTO crm.payment_totals
     SELECT account_id, 'EUR', 'paid', slot, count(*), 1000, 0
     FROM crm.clients, generate_series(0, 15) slot GROUP BY account_id, slot",
    "INSERT INTO crm.stripe_customers
     (account_id, id, client_id, stripe_customer_id, status, create_time, update_time)
     SELECT account_id, id, id, 'cus_' || id, 'active', create_time, now() FROM crm.clients",
    "INSERT INTO crm.stripe_endpoints
     (account_id, id, address, description, auto_allocate, create_time, update_time)
     SELECT account_id, id, 'address-' || id, '', true, create_time, now()
     FROM crm.clients",
    "INSERT INTO crm.stripe_events
     SELECT account_id, id, 'evt_' || id, id, 'charge.succeeded', '', 'cus_' || id,
     create_time - interval '1 year' * (2 - account_id),
     create_time - interval '1 year' * (2 - account_id), '{}', 'parked'
     FROM crm.clients",
    "INSERT INTO crm.audit_events
     (account_id, time, actor, action, subject, subject_id, network, request_id, details)
     SELECT account_id, create_time, 'employee:1', 'client.update', 'client', id, '', '', '{}'
     FROM crm.clients",
];

/// The same with as many of everything else that is listed.
async fn populated_with_sales() -> Populated {
    let database = populated().await;
    // One after the other: what is long under way keeps others' tests from tidying up.
    for statement in OF_EACH_CLIENT {
        database.execute(&format!("SET session_replication_role = replica; {statement}")).await;
    }
    for table in SALES.iter().map(|list| list.table).chain(["payment_totals"]) {
        database.execute(&format!("VACUUM (ANALYZE) crm.{table}")).await;
    }
    database
}

/// What a statement read.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    rows: f64,
    buffers: f64,
}

impl Cost {
    /// Counted while it runs with these arguments inside an account.
    async fn of(service: &mut PgConnection, text: &str, account: i64, arguments: &str) -> Self {
        let prepare = format!(
            "SET app.account_id = '{account}'; SET search_path = crm; PREPARE counted AS {text}"
        );
        service.execute(sqlx::raw_sql(AssertSqlSafe(prepare))).await.unwrap();
        let explain =
            format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE counted({arguments})");
        // The first time reads what no later one needs.
        let mut plan = Value::Null;
        for _ in 0..2 {
            let row = sqlx::raw_sql(AssertSqlSafe(explain.clone()))
                .fetch_one(&mut *service)
                .await
                .unwrap();
            let text: String = row.try_get_unchecked(0).unwrap();
            plan = serde_json::from_str(&text).unwrap();
        }
        service.execute("DEALLOCATE counted").await.unwrap();
        let number = |node: &Value, key: &str| node[key].as_f64().unwrap_or_default();
        let mut rows = 0.0;
        each_scan(&plan, &mut |scan| {
            let each = number(scan, "Actual Rows") + number(scan, "Rows Removed by Filter");
            rows += each * number(scan, "Actual Loops");
        });
        let root = &plan[0]["Plan"];
        let buffers = number(root, "Shared Hit Blocks") + number(root, "Shared Read Blocks");
        Self { rows, buffers }
    }

    /// Trees of more rows are a little higher, and a page of rows may lie on one block more.
    fn is_no_more_than(self, other: Self, what: &str) {
        let wider = other.buffers.mul_add(1.2, 6.0);
        assert!(self.rows <= other.rows, "{what}: {self:?}, {other:?}");
        assert!(self.buffers <= wider, "{what}: {self:?}, {other:?}");
    }
}

/// The one statement of the service that is this, however its lines are broken.
fn recorded(what: &str, is: impl Fn(&str) -> bool) -> String {
    let in_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let all = plans::recorded("crm", &[]).into_iter().map(|it| in_one_line(&it.text));
    let mut found: Vec<_> = all.filter(|text| is(text)).collect();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 1, "{what}: {found:#?}");
    found.remove(0)
}

#[tokio::test]
async fn statistics_of_many_clients_read_what_those_of_few_read() {
    let database = populated().await;
    let mut service = connected_as(&database, "crm_app").await;
    let text = recorded("counts", |text| text.contains("FROM crm.client_counts"));
    for (few, many) in [("1, 0", "2, 0"), ("1, 11", "2, 21")] {
        let few = Cost::of(&mut service, &text, 1, few).await;
        let many = Cost::of(&mut service, &text, 2, many).await;
        many.is_no_more_than(few, "statistics");
        assert_eq!(few.rows, 2.0, "one of each status");
    }

    // Also right after many changes, which nobody has tidied up behind.
    let change = "UPDATE crm.client_counts SET clients = clients + 1 WHERE account_id = 2";
    for _ in 0..500 {
        database.execute(change).await;
    }
    let mut worn = Cost::of(&mut service, &text, 2, "2, 0").await;
    // As long as another test is in the middle of something, nothing is tidied up anywhere.
    for _ in 0..300 {
        if worn.buffers <= 12.0 {
            break;
        }
        for _ in 0..20 {
            database.execute(change).await;
        }
        worn = Cost::of(&mut service, &text, 2, "2, 0").await;
    }
    assert_eq!(worn.rows, 2.0);
    assert!(worn.buffers <= 12.0, "{worn:?}");
}

/// A page of a list: what it is of, what of that is listed, what narrows it further, and its order.
struct List {
    table: &'static str,
    listed: &'static str,
    narrowed: &'static str,
    /// The arguments before those of the page.
    arguments: &'static str,
    order: &'static str,
}

const LIVE: &str = "delete_time IS NULL";
const ALL: &str = "account_id = $1";

const LISTS: [List; 7] = [
    List { table: "clients", listed: LIVE, narrowed: "", arguments: "2", order: "create_time" },
    List { table: "clients", listed: LIVE, narrowed: "", arguments: "2", order: "name_key" },
    List {
        table: "clients",
        listed: LIVE,
        narrowed: " AND status = $2",
        arguments: "2, 'active'",
        order: "create_time",
    },
    List {
        table: "clients",
        listed: LIVE,
        narrowed: " AND country = $2",
        arguments: "2, 'NL'",
        order: "create_time",
    },
    List {
        table: "clients",
        listed: LIVE,
        narrowed: " AND coach_id = $2",
        arguments: "2, 21",
        order: "create_time",
    },
    List {
        table: "client_members",
        listed: LIVE,
        narrowed: "",
        arguments: "2, 21, 2",
        order: "create_time",
    },
    List {
        table: "client_members",
        listed: LIVE,
        narrowed: "",
        arguments: "2, 21, 2",
        order: "name_key",
    },
];

/// Those that are not about clients, each in every order that there is.
const SALES: [List; 13] = [
    List::of("packages", LIVE, "create_time"),
    List::of("packages", LIVE, "name_key"),
    List::of("client_packages", ALL, "create_time"),
    List::of("instalments", ALL, "schedule_date"),
    List::of("instalments", ALL, "create_time"),
    List::of("payments", "void_time IS NULL", "paid_at"),
    List::of("payments", "void_time IS NULL", "create_time"),
    List::of("payments", ALL, "paid_at"),
    List::of("payments", ALL, "create_time"),
    List::of("stripe_customers", ALL, "create_time"),
    List::of("stripe_endpoints", ALL, "create_time"),
    List::of("stripe_events", "state = 'parked'", "create_time"),
    List::of("audit_events", ALL, "time"),
];

impl List {
    /// A whole one.
    const fn of(table: &'static str, listed: &'static str, order: &'static str) -> Self {
        Self { table, listed, narrowed: "", arguments: "2", order }
    }

    /// The statement of its pages: of the first one, or of those behind a place.
    fn page(&self, direction: &str, place: bool) -> String {
        let (given, order) = (self.arguments.split(',').count(), self.order);
        let compared = if direction.is_empty() { '>' } else { '<' };
        let end = if place {
            format!(
                "{}{} AND ({order}, id) {compared} (${}, ${}) ORDER BY {order}{direction}, id{direction} LIMIT ${}",
                self.listed,
                self.narrowed,
                given + 1,
                given + 2,
                given + 3
            )
        } else {
            format!(
                "{}{} ORDER BY {order}{direction}, id{direction} LIMIT ${} OFFSET ${}",
                self.listed,
                self.narrowed,
                given + 1,
                given + 2
            )
        };
        // What is said for both services names no schema.
        let from = [format!("FROM crm.{} WHERE", self.table), format!("FROM {} WHERE", self.table)];
        recorded(&end, |text| from.iter().any(|it| text.contains(it)) && text.ends_with(&end))
    }

    /// Where page 1,000 begins, or the last whole page where there are fewer.
    async fn far(&self, database: &TestDatabase, direction: &str) -> (String, i64) {
        let narrowed = self.narrowed.replace("$2", self.arguments.split(", ").last().unwrap());
        let of = if self.table == "client_members" { "clients" } else { self.table };
        let rows = format!("FROM crm.{of} WHERE account_id = 2{narrowed}");
        let place = format!(
            "SELECT {0}::text, id {rows} ORDER BY {0}{direction}, id{direction}
             OFFSET (SELECT least(49949, count(*) - 51) {rows}) LIMIT 1",
            self.order
        );
        sqlx::query_as(AssertSqlSafe(place)).fetch_one(&database.owner).await.unwrap()
    }
}

async fn every_page_reads_what_page_1_reads(database: Populated, lists: &[List]) {
    let mut service = connected_as(&database, "crm_app").await;
    for list in lists {
        for direction in ["", " DESC"] {
            let what = [list.table, list.narrowed, list.order, direction].join(" ");
            let first = format!("{}, 51, 0", list.arguments);
            let first = Cost::of(&mut service, &list.page(direction, false), 2, &first).await;
            let (key, id) = list.far(&database, direction).await;
            let deep = format!("{}, '{key}', {id}, 51", list.arguments);
            let deep = Cost::of(&mut service, &list.page(direction, true), 2, &deep).await;
            deep.is_no_more_than(first, &what);
            assert!(first.rows <= 102.0, "{what}: a page and what is looked up for it: {first:?}");
            assert!(deep.rows >= 50.0, "{what}: there is such a page: {deep:?}");
        }
    }
}

#[tokio::test]
async fn page_1000_reads_what_page_1_reads() {
    every_page_reads_what_page_1_reads(populated().await, &LISTS).await;
}

#[tokio::test]
async fn statistics_of_many_payments_read_what_those_of_few_read() {
    let database = populated_with_sales().await;
    let mut service = connected_as(&database, "crm_app").await;
    let text = recorded("totals", |text| {
        text.contains("FROM crm.payment_totals WHERE account_id = $1 GROUP BY")
    });
    let few = Cost::of(&mut service, &text, 1, "1").await;
    let many = Cost::of(&mut service, &text, 2, "2").await;
    many.is_no_more_than(few, "statistics of payments");
    assert!(few.rows <= 32.0, "each slot, and where it stands in the index: {few:?}");
}

#[tokio::test]
async fn page_1000_of_whatever_else_is_listed_reads_what_page_1_reads() {
    every_page_reads_what_page_1_reads(populated_with_sales().await, &SALES).await;
}
