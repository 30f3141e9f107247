//! Does the schema keep to the rules of the house?
//!
//! Asked of PostgreSQL's own catalogue, so that no table can be forgotten. The rules keep
//! accounts apart, and keep the crm schema one that can be spread over several servers.

use std::collections::BTreeSet;

use sqlx::{Executor, PgConnection};

use crate::db::Constraint;

/// What holds for a schema beyond what holds for all.
pub struct Rules<'a> {
    pub schema: &'a str,
    /// Tables that belong to no account.
    pub global_tables: &'a [&'a str],
    /// Unique keys that do not begin with the account, each for a reason.
    pub global_keys: &'a [&'a str],
    /// What the service says about its constraints.
    pub constraints: &'a [Constraint],
}

/// Everything that breaks a rule: nothing, or sentences.
pub async fn complaints(owner: &mut PgConnection, rules: &Rules<'_>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (rule, query) in RULES {
        let found: Vec<String> = sqlx::query_scalar(*query)
            .bind(rules.schema)
            .bind(rules.global_tables)
            .bind(rules.global_keys)
            .fetch_all(&mut *owner)
            .await
            .unwrap_or_else(|error| panic!("{rule}: {error}"));
        complaints.extend(found.into_iter().map(|what| format!("{what}: {rule}")));
    }
    complaints.extend(unlisted_constraints(owner, rules).await);
    complaints
}

/// Each with a query over `$1` the schema, `$2` its global tables, `$3` its global keys.
const RULES: &[(&str, &str)] = &[
    (
        "a tenant's table has account_id bigint NOT NULL (accounts: id)",
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations'
           AND c.relname <> ALL ($2) AND $3 IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnotnull
               AND a.atttypid = 'int8'::regtype
               AND a.attname = CASE WHEN c.relname = 'accounts' THEN 'id' ELSE 'account_id' END)",
    ),
    (
        "row security is enabled, and not forced",
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations'
           AND c.relname <> ALL ($2) AND $3 IS NOT NULL AND NOT (c.relrowsecurity AND NOT c.relforcerowsecurity)",
    ),
    (
        "a policy for everyone and everything compares the account with app.account_id",
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations'
           AND c.relname <> ALL ($2) AND $3 IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd = '*'
               AND p.polpermissive AND p.polroles = '{0}' AND p.polwithcheck IS NULL
               AND pg_get_expr(p.polqual, c.oid) = format(
                   '(%s = (NULLIF(current_setting(''app.account_id''::text, true), ''''::text))::bigint)',
                   CASE WHEN c.relname = 'accounts' THEN 'id' ELSE 'account_id' END))",
    ),
    (
        "no other policy lets anybody write, or the working role read more",
        "SELECT format('%s.%s', p.tablename, p.policyname) FROM pg_policies p
         WHERE p.schemaname = $1 AND $2 IS NOT NULL AND $3 IS NOT NULL
           AND p.policyname <> 'tenant'
           AND NOT (p.cmd = 'SELECT' AND p.roles = ARRAY[($1 || '_lookup')::name])",
    ),
    (
        "a unique key begins with the account",
        "SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
         JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND x.indisunique AND c.relname <> 'migrations'
           AND c.relname <> ALL ($2) AND i.relname <> ALL ($3)
           AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = x.indkey[0]
               AND a.attname = CASE WHEN c.relname = 'accounts' THEN 'id' ELSE 'account_id' END)",
    ),
    (
        "a foreign key goes from (account_id, …) to the same account, and cascades or does nothing",
        "SELECT k.conname::text FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
         WHERE n.nspname = $1 AND k.contype = 'f' AND $2 IS NOT NULL AND $3 IS NOT NULL
           AND NOT (k.confdeltype IN ('a', 'c') AND k.confupdtype = 'a'
               AND EXISTS (SELECT 1 FROM pg_attribute a
                   JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
                   JOIN pg_class t ON t.oid = k.confrelid
                   WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1] AND a.attname = 'account_id'
                     AND b.attname = CASE WHEN t.relname = 'accounts' THEN 'id' ELSE 'account_id' END))",
    ),
    (
        "there are no triggers",
        "SELECT t.tgname::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND NOT t.tgisinternal AND $2 IS NOT NULL AND $3 IS NOT NULL",
    ),
    (
        "tables are logged",
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relpersistence <> 'p'
           AND $2 IS NOT NULL AND $3 IS NOT NULL",
    ),
    (
        "ids are bigint, and can be given by an import",
        "SELECT format('%s.%s', c.relname, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations' AND a.attnum > 0
           AND $2 IS NOT NULL AND $3 IS NOT NULL
           AND ((a.attname LIKE '%id' AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)) OR a.attidentity = 'a')",
    ),
    (
        "the working role owns nothing and bypasses nothing",
        "SELECT r.rolname::text FROM pg_roles r
         WHERE r.rolname IN ($1 || '_app', $1 || '_lookup') AND $2 IS NOT NULL AND $3 IS NOT NULL
           AND (r.rolsuper OR r.rolbypassrls OR r.rolcanlogin OR r.rolcreaterole OR EXISTS (
               SELECT 1 FROM pg_class c WHERE c.relowner = r.oid))",
    ),
    (
        "the look-up role writes nothing, the working role truncates nothing",
        "SELECT format('%s on %s', g.privilege_type, g.table_name) FROM information_schema.role_table_grants g
         WHERE g.table_schema = $1 AND $2 IS NOT NULL AND $3 IS NOT NULL
           AND ((g.grantee = $1 || '_lookup' AND g.privilege_type <> 'SELECT')
             OR (g.grantee = $1 || '_app' AND g.privilege_type IN ('TRUNCATE', 'TRIGGER', 'REFERENCES'))
             OR g.grantee = 'PUBLIC')",
    ),
];

/// Constraints and unique indexes that the service does not list, and listed ones that are not.
async fn unlisted_constraints(owner: &mut PgConnection, rules: &Rules<'_>) -> Vec<String> {
    let there: BTreeSet<String> = sqlx::query_scalar(
        "SELECT k.conname::text FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
         JOIN pg_class c ON c.oid = k.conrelid
         WHERE n.nspname = $1 AND c.relname <> 'migrations' AND k.contype <> 'n'
         UNION
         SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
         JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND x.indisunique AND c.relname <> 'migrations'",
    )
    .bind(rules.schema)
    .fetch_all(owner)
    .await
    .unwrap()
    .into_iter()
    .collect();
    let listed: BTreeSet<String> =
        rules.constraints.iter().map(|known| known.name.to_owned()).collect();
    let unlisted = there.difference(&listed).map(|name| format!("{name}: no line in CONSTRAINTS"));
    let gone = listed
        .difference(&there)
        .map(|name| format!("{name}: in CONSTRAINTS and not in the schema"));
    unlisted.chain(gone).collect()
}

/// Breaks every rule at least once, so that a test can see each of them complain.
pub async fn break_every_rule(owner: &mut PgConnection, schema: &str) {
    let wreck = format!(
        "CREATE UNLOGGED TABLE {schema}.wrong (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, other_id bigint);
         CREATE TABLE {schema}.bare (account_id bigint NOT NULL, id bigint, PRIMARY KEY (account_id, id),
             FOREIGN KEY (id) REFERENCES {schema}.accounts (id) ON DELETE SET NULL);
         CREATE FUNCTION {schema}.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER wrong BEFORE INSERT ON {schema}.bare FOR EACH ROW EXECUTE FUNCTION {schema}.nothing();
         ALTER TABLE {schema}.bare ENABLE ROW LEVEL SECURITY;
         CREATE POLICY open ON {schema}.bare USING (true);
         GRANT TRUNCATE ON {schema}.bare TO {schema}_app;
         GRANT INSERT ON {schema}.bare TO {schema}_lookup;
         ALTER TABLE {schema}.bare FORCE ROW LEVEL SECURITY;
         ALTER TABLE {schema}.wrong OWNER TO {schema}_app;"
    );
    owner.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(wreck))).await.unwrap();
}

/// How many rules there are, for the test that sees them all complain.
pub fn rules() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(rule, _)| *rule)
}
