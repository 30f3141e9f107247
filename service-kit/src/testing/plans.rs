//! How does PostgreSQL run the statements of a service, and does each keep to its account?
//!
//! The planner is asked, not the text: under a generic plan every scan of a tenant's table must
//! carry the condition `account_id = $n` that came from the statement, and must use an index
//! that begins with it.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use super::TestDatabase;
use crate::db::{families, statements};

/// A statement and where it stands.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub text: String,
    pub place: String,
}

/// Every statement linked into this test program that concerns a schema.
pub fn recorded(schema: &str, not: &[&str]) -> Vec<Recorded> {
    let fixed =
        statements().map(|s| Recorded { text: s.text.to_owned(), place: s.place.to_owned() });
    let varied = families().flat_map(|family| {
        (family.variants)()
            .into_iter()
            .map(|text| Recorded { text, place: family.place.to_owned() })
    });
    let foreign = ["identity", "crm"].into_iter().filter(|other| *other != schema);
    let foreign: Vec<String> = foreign.map(|other| format!("{other}.")).collect();
    fixed
        .chain(varied)
        .filter(|statement| !foreign.iter().any(|other| statement.text.contains(other.as_str())))
        .filter(|statement| !not.iter().any(|part| statement.text.contains(part)))
        .collect()
}

/// What holds for the statements of a service beyond what holds for all.
pub struct Exceptions<'a> {
    /// Parts of statements that look into all accounts, or at what belongs to none.
    pub across_accounts: &'a [&'a str],
    /// Parts of statements that find their one row by another unique key.
    pub by_another_key: &'a [&'a str],
    /// Parts of statements that the kit has for the other service only.
    pub not_ours: &'a [&'a str],
}

/// Every statement of a service that does not keep to one account or does not use an index by
/// it; and every exception that is none.
pub async fn complaints(
    database: &TestDatabase,
    schema: &str,
    exceptions: &Exceptions<'_>,
) -> Vec<String> {
    let mut owner = database.owner.acquire().await.unwrap();
    let mut service = PgConnection::connect(database.settings.url.expose()).await.unwrap();
    service.execute(AssertSqlSafe(format!("SET ROLE {schema}_app"))).await.unwrap();
    let is_one_of = |statement: &Recorded, parts: &[&str]| {
        parts.iter().any(|part| statement.text.contains(part))
    };
    let statements = recorded(schema, exceptions.not_ours);
    let mut complaints = Vec::new();
    for part in exceptions.across_accounts.iter().chain(exceptions.by_another_key) {
        if !statements.iter().any(|statement| statement.text.contains(part)) {
            complaints.push(format!("{part} is no exception to anything"));
        }
    }
    for statement in &statements {
        let across = is_one_of(statement, exceptions.across_accounts);
        complaints.extend(indistributable(statement, across));
        if across {
            // It has to fit the schema all the same.
            explain(&mut owner, schema, &statement.text).await;
            continue;
        }
        complaints.extend(unbound_scans(&mut owner, schema, statement).await);
        if !is_one_of(statement, exceptions.by_another_key) {
            complaints.extend(unindexed_scans(&mut service, schema, statement).await);
        }
    }
    complaints
}

/// What is wrong with a statement's use of tenant tables: nothing, or sentences.
///
/// As the owner, whom row security does not bind, every condition in the plan is the
/// statement's own.
pub async fn unbound_scans(
    owner: &mut PgConnection,
    schema: &str,
    statement: &Recorded,
) -> Vec<String> {
    let plan = explain(owner, schema, &statement.text).await;
    let mut wrong = Vec::new();
    if writes_without_account(&statement.text) {
        wrong.push(format!("{}: inserts without account_id", statement.place));
    }
    each_scan(&plan, &mut |scan| {
        let conditions = conditions(scan, &["Index Cond", "Recheck Cond", "Filter", "TID Cond"]);
        if !binds_account(scan, &conditions) {
            let table = scan["Relation Name"].as_str().unwrap_or("?");
            wrong.push(format!(
                "{}: scans {table} without its account: {}",
                statement.place, statement.text
            ));
        }
    });
    wrong
}

/// Scans that would read more of a table than the account's part of an index.
///
/// As the service's own role, with row security in the plan.
pub async fn unindexed_scans(
    service: &mut PgConnection,
    schema: &str,
    statement: &Recorded,
) -> Vec<String> {
    let plan = explain(service, schema, &statement.text).await;
    let mut wrong = Vec::new();
    each_scan(&plan, &mut |scan| {
        let conditions = conditions(scan, &["Index Cond", "Recheck Cond"]);
        if !binds_account(scan, &conditions) {
            let table = scan["Relation Name"].as_str().unwrap_or("?");
            wrong.push(format!(
                "{}: no index by account for {table}: {}",
                statement.place, statement.text
            ));
        }
    });
    wrong
}

/// The generic plan of a statement, which also proves that it fits the schema.
pub async fn explain(connection: &mut PgConnection, schema: &str, text: &str) -> Value {
    let parameters = (1..100).take_while(|n| mentions_parameter(text, *n)).count();
    let nulls = vec!["NULL"; parameters].join(", ");
    let arguments = if parameters == 0 { String::new() } else { format!("({nulls})") };
    let prepare = format!(
        "SET search_path = {schema}; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
         PREPARE checked AS {text}"
    );
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(prepare)))
        .await
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE checked{arguments}");
    let row = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(&mut *connection).await.unwrap();
    let plan: String = row.try_get_unchecked(0).unwrap();
    connection.execute("DEALLOCATE checked").await.unwrap();
    serde_json::from_str(&plan).unwrap()
}

fn mentions_parameter(text: &str, number: usize) -> bool {
    let parameter = format!("${number}");
    text.match_indices(&parameter).any(|(at, found)| {
        !text[at + found.len()..].starts_with(|next: char| next.is_ascii_digit())
    })
}

/// Calls `look` with every node of a plan that scans a table.
pub fn each_scan(plan: &Value, look: &mut dyn FnMut(&Value)) {
    match plan {
        Value::Array(nodes) => nodes.iter().for_each(|node| each_scan(node, look)),
        Value::Object(node) => {
            // A bitmap heap scan repeats the condition of the index scans below it.
            let scans = node
                .get("Node Type")
                .and_then(Value::as_str)
                .is_some_and(|kind| kind.ends_with("Scan") && kind != "Bitmap Index Scan");
            if scans && node.contains_key("Relation Name") {
                look(plan);
            }
            node.values()
                .filter(|value| value.is_array() || value.is_object())
                .for_each(|value| each_scan(value, look));
        }
        _ => {}
    }
}

/// The conditions of a scan, as PostgreSQL prints them.
pub fn conditions(scan: &Value, kinds: &[&str]) -> String {
    kinds.iter().filter_map(|kind| scan[*kind].as_str()).collect::<Vec<_>>().join(" AND ")
}

fn binds_account(scan: &Value, conditions: &str) -> bool {
    let column = if scan["Relation Name"] == "accounts" { "id" } else { "account_id" };
    conjuncts(conditions).iter().any(|condition| {
        // `account_id = $1` or, where a join gave it, `e.account_id = $1`.
        condition.split_once(" = $").is_some_and(|(left, parameter)| {
            let named = left == column || left.ends_with(&format!(".{column}"));
            // $0 is what a sub-select found.
            named && parameter != "0" && parameter.bytes().all(|byte| byte.is_ascii_digit())
        })
    })
}

/// The parts of a condition that must all be true, as PostgreSQL prints it.
fn conjuncts(condition: &str) -> Vec<&str> {
    let condition = condition.trim();
    if let Some(inner) = in_parentheses(condition) {
        return conjuncts(inner);
    }
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, byte) in condition.bytes().enumerate() {
        depth += i32::from(byte == b'(') - i32::from(byte == b')');
        if depth == 0 && condition[at..].starts_with(" OR ") {
            return Vec::new();
        }
        if depth == 0 && condition[at..].starts_with(" AND ") {
            parts.push(&condition[start..at]);
            start = at + " AND ".len();
        }
    }
    if parts.is_empty() {
        return vec![condition];
    }
    parts.push(&condition[start..]);
    parts.into_iter().flat_map(conjuncts).collect()
}

/// What is inside a pair of parentheses around the whole.
fn in_parentheses(condition: &str) -> Option<&str> {
    let inner = condition.strip_prefix('(')?.strip_suffix(')')?;
    let mut depth = 0;
    for byte in inner.bytes() {
        depth += i32::from(byte == b'(') - i32::from(byte == b')');
        if depth < 0 {
            return None;
        }
    }
    Some(inner)
}

/// What a statement does that cannot be done to tables which are spread over several servers:
/// nothing, or sentences.
pub fn indistributable(statement: &Recorded, across_accounts: bool) -> Vec<String> {
    let Recorded { text, place } = statement;
    let lower = text.to_lowercase();
    let is_part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let words: Vec<&str> =
        lower.split(|c| !is_part_of_word(c)).filter(|word| !word.is_empty()).collect();
    let mut flaws = Vec::new();
    if words.contains(&"merge") {
        flaws.push(format!("{place}: merges: {text}"));
    }
    let volatile = VOLATILE.iter().filter(|function| words.contains(function));
    for function in volatile.filter(|_| changes_rows(&words)) {
        flaws.push(format!("{place}: changes rows by {function}(): {text}"));
    }
    if across_accounts && LOCKS.iter().any(|lock| words.windows(lock.len()).any(|w| w == *lock)) {
        flaws.push(format!("{place}: locks rows across accounts: {text}"));
    }
    flaws
}

/// Whether `UPDATE` or `DELETE` is said other than as the name of a lock.
fn changes_rows(words: &[&str]) -> bool {
    (0..words.len()).any(|at| {
        let locks = words[..at].ends_with(&["for"]) || words[..at].ends_with(&["no", "key"]);
        matches!(words[at], "update" | "delete") && !locks
    })
}

/// What would be another value on each server, or is computed in another place than it seems.
const VOLATILE: &[&str] = &[
    "now",
    "current_timestamp",
    "statement_timestamp",
    "clock_timestamp",
    "random",
    "gen_random_uuid",
    "nextval",
];

const LOCKS: &[&[&str]] = &[
    &["for", "update"],
    &["for", "no", "key", "update"],
    &["for", "share"],
    &["for", "key", "share"],
];

fn writes_without_account(text: &str) -> bool {
    text.split("INSERT INTO ").skip(1).any(|insert| {
        let table = insert.split_whitespace().next().unwrap_or_default();
        let columns = insert.split(')').next().unwrap_or_default();
        let column = if table.ends_with("accounts") { "(id" } else { "account_id" };
        !columns.contains(column)
    })
}

/// Places where a query is made out of a text that these checks never see: none, or sentences.
pub fn unregistered(source: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(unregistered(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.extend(hidden_queries(&text).map(|place| format!("{}: {place}", path.display())));
        }
    }
    found
}

/// The source files in which something is said.
pub fn files_with(source: &std::path::Path, said: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, said));
        } else if std::fs::read_to_string(&path).unwrap().contains(said) {
            found.push(path);
        }
    }
    found
}

/// A query must be made of `sql!`, a list must be registered as a family.
pub fn hidden_queries(text: &str) -> impl Iterator<Item = String> {
    let queries = text.match_indices("sqlx::query").filter_map(|(at, _)| {
        let (_, argument) = text[at..].split_once('(')?;
        let registered = argument.trim_start().starts_with("sql!(");
        (!registered).then(|| text[at..].lines().next().unwrap_or_default().to_owned())
    });
    let list = (text.contains("ListQuery::new(") && !text.contains("sql_family!("))
        .then(|| "a ListQuery without sql_family!".to_owned());
    queries.collect::<Vec<_>>().into_iter().chain(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_taken_apart_where_it_is_joined_by_and() {
        let of = |condition| conjuncts(condition);
        assert_eq!(of("(account_id = $1)"), ["account_id = $1"]);
        assert_eq!(of("((account_id = $1) AND (id = $2))"), ["account_id = $1", "id = $2"]);
        assert!(of("((account_id = $1) OR (id = $2))").is_empty());
        assert_eq!(of("((a = $1) AND ((b = $2) OR (c = $3)))"), ["a = $1"]);
    }

    #[test]
    fn what_no_distributed_table_can_do_is_noticed() {
        let flaws = |text: &str, across| {
            let statement = Recorded { text: text.to_owned(), place: "here".to_owned() };
            indistributable(&statement, across).len()
        };
        for bad in [
            "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DO NOTHING",
            "UPDATE t SET a = now() WHERE account_id = $1",
            "UPDATE t SET a = $2 WHERE account_id = $1 AND b < clock_timestamp()",
            "DELETE FROM t WHERE account_id = $1 AND b < random()",
            "WITH a AS (SELECT 1) UPDATE t SET a = gen_random_uuid()",
            "INSERT INTO t (account_id) VALUES ($1) ON CONFLICT (account_id) DO UPDATE SET a = now()",
        ] {
            assert_eq!(flaws(bad, false), 1, "{bad}");
        }
        for good in [
            "INSERT INTO t (account_id, a) VALUES ($1, now())",
            "UPDATE t SET a = $2 WHERE account_id = $1 AND merged",
            "SELECT now() FROM t WHERE account_id = $1 FOR UPDATE",
            "SELECT now() FROM t WHERE account_id = $1 FOR NO KEY UPDATE",
        ] {
            assert_eq!(flaws(good, false), 0, "{good}");
        }
        for lock in ["UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"] {
            let locking = format!("SELECT a FROM t WHERE b = $1 FOR {lock}");
            assert_eq!((flaws(&locking, true), flaws(&locking, false)), (1, 0), "{locking}");
        }
        assert_eq!(flaws("SELECT a FROM t WHERE b = $1", true), 0);
    }

    #[test]
    fn a_query_of_any_other_text_is_noticed() {
        assert_eq!(hidden_queries("sqlx::query_as(sql!(\"SELECT 1\"))").count(), 0);
        assert_eq!(hidden_queries("sqlx::query(\n    sql!(\"SELECT 1\"))").count(), 0);
        assert_eq!(hidden_queries("sqlx::query_scalar(\"SELECT 1\")").count(), 1);
        assert_eq!(hidden_queries("ListQuery::new(\"SELECT \", 1)").count(), 1);
    }
}
