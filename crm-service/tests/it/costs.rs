//! What lists and statistics of clients read: no more of many than of few.
//!
//! Counted in rows and buffers, not in time: the statements of the service, as its own role, on
//! an account of few clients and one of many.

use crm_service::SCHEMA;
use serde_json::Value;
use service_kit::testing::{
    TestDatabase,
    conventions::connected_as,
    plans::{self, each_scan},
};
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

/// Account 1 has few clients, account 2 many. Employee 11 coaches all of the first, 21 all of the
/// second.
const FEW: i64 = 1_000;
const MANY: i64 = 100_000;

async fn populated() -> TestDatabase {
    let database = TestDatabase::new(&SCHEMA).await;
    // Foreign keys are not looked at: it is only about how much there is.
    database
        .execute(&format!(
            "SET session_replication_role = replica;
             INSERT INTO crm.accounts VALUES (1), (2);
             INSERT INTO crm.employees
             SELECT a, a * 10 + 1, 'Name', 'active', 'epoch', 1 FROM generate_series(1, 2) a;
             INSERT INTO crm.clients
             SELECT a, a * 1000000 + n, 'First', 'Last', lpad((n * 7919 % 1000000)::text, 7, '0'), '',
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
             GROUP BY account_id, employee_id, status;
             SET session_replication_role = DEFAULT;
             VACUUM (ANALYZE) crm.clients;
             VACUUM (ANALYZE) crm.client_members;
             VACUUM (ANALYZE) crm.client_counts"
        ))
        .await;
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
        let prepare = format!("SET app.account_id = '{account}'; PREPARE counted AS {text}");
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

/// The one statement of the service that is this.
fn recorded(is: impl Fn(&str) -> bool) -> String {
    let mut found: Vec<_> =
        plans::recorded("crm", &[]).into_iter().map(|it| it.text).filter(|text| is(text)).collect();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[tokio::test]
async fn statistics_of_many_clients_read_what_those_of_few_read() {
    let database = populated().await;
    let mut service = connected_as(&database, "crm_app").await;
    let text = recorded(|text| text.contains("FROM crm.client_counts"));
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
    let worn = Cost::of(&mut service, &text, 2, "2, 0").await;
    assert_eq!(worn.rows, 2.0);
    assert!(worn.buffers <= 12.0, "{worn:?}");
}

/// A page of a list: the beginning of its statement, what narrows it, and where it is found.
struct List {
    from: &'static str,
    narrowed: &'static str,
    /// The arguments before those of the page.
    arguments: &'static str,
    order: &'static str,
}

const LISTS: [List; 7] = [
    List { from: "FROM crm.clients WHERE", narrowed: "", arguments: "2", order: "create_time" },
    List { from: "FROM crm.clients WHERE", narrowed: "", arguments: "2", order: "name_key" },
    List {
        from: "FROM crm.clients WHERE",
        narrowed: " AND status = $2",
        arguments: "2, 'active'",
        order: "create_time",
    },
    List {
        from: "FROM crm.clients WHERE",
        narrowed: " AND country = $2",
        arguments: "2, 'NL'",
        order: "create_time",
    },
    List {
        from: "FROM crm.clients WHERE",
        narrowed: " AND coach_id = $2",
        arguments: "2, 21",
        order: "create_time",
    },
    List {
        from: "FROM crm.client_members WHERE",
        narrowed: "",
        arguments: "2, 21, 2",
        order: "create_time",
    },
    List {
        from: "FROM crm.client_members WHERE",
        narrowed: "",
        arguments: "2, 21, 2",
        order: "name_key",
    },
];

impl List {
    /// The statement of its pages: of the first one, or of those behind a place.
    fn page(&self, direction: &str, place: bool) -> String {
        let (given, order) = (self.arguments.split(',').count(), self.order);
        let compared = if direction.is_empty() { '>' } else { '<' };
        let end = if place {
            format!(
                "delete_time IS NULL{} AND ({order}, id) {compared} (${}, ${}) ORDER BY {order}{direction}, id{direction} LIMIT ${}",
                self.narrowed,
                given + 1,
                given + 2,
                given + 3
            )
        } else {
            format!(
                "delete_time IS NULL{} ORDER BY {order}{direction}, id{direction} LIMIT ${} OFFSET ${}",
                self.narrowed,
                given + 1,
                given + 2
            )
        };
        recorded(|text| text.contains(self.from) && text.ends_with(&end))
    }
}

#[tokio::test]
async fn page_1000_reads_what_page_1_reads() {
    let database = populated().await;
    let mut service = connected_as(&database, "crm_app").await;
    for list in LISTS {
        for direction in ["", " DESC"] {
            let what = format!("{} {}{direction}", list.from, list.narrowed) + list.order;
            let first = format!("{}, 51, 0", list.arguments);
            let first = Cost::of(&mut service, &list.page(direction, false), 2, &first).await;
            // 999 pages of 50 in, or near the end where there are fewer.
            let condition = list.narrowed.replace("$2", list.arguments.split(", ").last().unwrap());
            let place = format!(
                "SELECT {0}::text, id FROM crm.clients WHERE account_id = 2{condition}
                 ORDER BY {0}{direction}, id{direction}
                 OFFSET (SELECT least(49949, count(*) - 51) FROM crm.clients
                         WHERE account_id = 2{condition})
                 LIMIT 1",
                list.order
            );
            let (key, id): (String, i64) =
                sqlx::query_as(AssertSqlSafe(place)).fetch_one(&database.owner).await.unwrap();
            let deep = format!("{}, '{key}', {id}, 51", list.arguments);
            let deep = Cost::of(&mut service, &list.page(direction, true), 2, &deep).await;
            deep.is_no_more_than(first, &what);
            assert!(first.rows <= 102.0, "{what}: a page and what is looked up for it: {first:?}");
            assert!(deep.rows >= 50.0, "{what}: there is such a page: {deep:?}");
        }
    }
}
