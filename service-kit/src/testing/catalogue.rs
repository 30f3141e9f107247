//! Does the schema keep to the rules of the house?
//!
//! Asked of PostgreSQL's own catalogue, so that no table can be forgotten. The rules keep
//! accounts apart, and keep the crm schema one that can be spread over several servers.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

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
    for rule in RULES {
        let says = rule.says;
        let found: Vec<String> = sqlx::query_scalar(rule.query)
            .bind(rules.schema)
            .bind(rules.global_tables)
            .bind(rules.global_keys)
            .fetch_all(&mut *owner)
            .await
            .unwrap_or_else(|error| panic!("{says}: {error}"));
        complaints.extend(found.into_iter().map(|what| format!("{what}: {says}")));
    }
    complaints.extend(unlisted_constraints(owner, rules).await);
    complaints
}

/// A rule, and every way to break it.
struct Law {
    says: &'static str,
    /// Over `$1` the schema, `$2` its global tables, `$3` its global keys.
    query: &'static str,
    /// Statements inside the schema, each of which must be noticed.
    breaches: &'static [&'static str],
}

const RULES: &[Law] = &[
    Law {
        says: "a tenant's table has account_id bigint NOT NULL (accounts: id)",
        query: "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations'
           AND c.relname <> ALL ($2) AND $3 IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnotnull
               AND a.atttypid = 'int8'::regtype
               AND a.attname = CASE WHEN c.relname = 'accounts' THEN 'id' ELSE 'account_id' END)",
        breaches: &[
            "CREATE TABLE wrong (id bigint PRIMARY KEY)",
            "CREATE TABLE wrong (account_id int NOT NULL)",
            "CREATE TABLE wrong (account_id bigint)",
        ],
    },
    Law {
        says: "a table has a primary key that begins with the account",
        query: "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations'
           AND c.relname <> ALL ($2)
           AND NOT EXISTS (SELECT 1 FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
               LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]
               WHERE x.indrelid = c.oid AND x.indisprimary AND (i.relname = ANY ($3)
                 OR a.attname = CASE WHEN c.relname = 'accounts' THEN 'id' ELSE 'account_id' END))",
        breaches: &[
            "CREATE TABLE wrong (account_id bigint NOT NULL UNIQUE)",
            "CREATE TABLE wrong (account_id bigint, id bigint, PRIMARY KEY (id, account_id))",
        ],
    },
    Law {
        says: "row security is enabled, and not forced",
        query: "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations'
           AND c.relname <> ALL ($2) AND $3 IS NOT NULL AND NOT (c.relrowsecurity AND NOT c.relforcerowsecurity)",
        breaches: &[
            "CREATE TABLE wrong (account_id bigint NOT NULL)",
            "ALTER TABLE answers DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE answers FORCE ROW LEVEL SECURITY",
        ],
    },
    Law {
        says: "a policy for everyone and everything compares the account with app.account_id",
        query: "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations'
           AND c.relname <> ALL ($2) AND $3 IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd = '*'
               AND p.polpermissive AND p.polroles = '{0}' AND p.polwithcheck IS NULL
               AND pg_get_expr(p.polqual, c.oid) = format(
                   '(%s = (NULLIF(current_setting(''app.account_id''::text, true), ''''::text))::bigint)',
                   CASE WHEN c.relname = 'accounts' THEN 'id' ELSE 'account_id' END))",
        breaches: &[
            "DROP POLICY tenant ON answers",
            "ALTER POLICY tenant ON answers USING (true)",
            "ALTER POLICY tenant ON answers TO {schema}_app",
            "ALTER POLICY tenant ON answers WITH CHECK (true)",
            "DROP POLICY tenant ON answers; CREATE POLICY tenant ON answers FOR SELECT USING ({tenant})",
            "DROP POLICY tenant ON answers; CREATE POLICY tenant ON answers AS RESTRICTIVE USING ({tenant})",
        ],
    },
    Law {
        says: "no other policy lets anybody write, or the working role read more",
        query: "SELECT format('%s.%s', p.tablename, p.policyname) FROM pg_policies p
         WHERE p.schemaname = $1 AND $2 IS NOT NULL AND $3 IS NOT NULL
           AND p.policyname <> 'tenant'
           AND NOT (p.cmd = 'SELECT' AND p.roles = ARRAY[($1 || '_lookup')::name])
           AND p.roles <> ARRAY[($1 || '_sweep')::name]",
        breaches: &[
            "CREATE POLICY open ON answers USING (true)",
            "CREATE POLICY open ON answers FOR SELECT TO {schema}_app USING (true)",
            "CREATE POLICY open ON answers FOR UPDATE TO {schema}_lookup USING (true)",
        ],
    },
    Law {
        says: "a unique key begins with the account",
        query: "SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
         JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND x.indisunique AND c.relname <> 'migrations'
           AND c.relname <> ALL ($2) AND i.relname <> ALL ($3)
           AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = x.indkey[0]
               AND a.attname = CASE WHEN c.relname = 'accounts' THEN 'id' ELSE 'account_id' END)",
        breaches: &[
            "CREATE UNIQUE INDEX wrong ON answers (request_id, account_id)",
            "CREATE UNIQUE INDEX wrong ON answers ((account_id + 1))",
        ],
    },
    Law {
        says: "a foreign key goes from (account_id, …) to the same account, and cascades or does nothing",
        query: "SELECT k.conname::text FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
         WHERE n.nspname = $1 AND k.contype = 'f' AND $2 IS NOT NULL AND $3 IS NOT NULL
           AND NOT (k.confdeltype IN ('a', 'c') AND k.confupdtype = 'a'
               AND EXISTS (SELECT 1 FROM pg_attribute a
                   JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
                   JOIN pg_class t ON t.oid = k.confrelid
                   WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1] AND a.attname = 'account_id'
                     AND b.attname = CASE WHEN t.relname = 'accounts' THEN 'id' ELSE 'account_id' END))",
        breaches: &[
            "ALTER TABLE answers ADD FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE SET NULL",
            "ALTER TABLE answers ADD FOREIGN KEY (account_id) REFERENCES accounts (id) ON UPDATE CASCADE",
            "CREATE TABLE wrong (account_id bigint, other_id bigint REFERENCES accounts (id))",
            "CREATE TABLE wrong (account_id bigint, id bigint UNIQUE); ALTER TABLE answers ADD FOREIGN KEY (account_id) REFERENCES wrong (id)",
        ],
    },
    Law {
        says: "there are no triggers",
        query: "SELECT t.tgname::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND NOT t.tgisinternal AND $2 IS NOT NULL AND $3 IS NOT NULL",
        breaches: &[
            "CREATE FUNCTION wrong() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER wrong BEFORE INSERT ON answers FOR EACH ROW EXECUTE FUNCTION wrong()",
        ],
    },
    Law {
        says: "there are no views and no foreign tables, which row security does not bind",
        query: "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('v', 'm', 'f') AND $2 IS NOT NULL AND $3 IS NOT NULL",
        breaches: &[
            "CREATE VIEW wrong AS SELECT account_id FROM answers",
            "CREATE MATERIALIZED VIEW wrong AS SELECT account_id FROM answers",
        ],
    },
    Law {
        says: "no function runs with the rights of its owner",
        query: "SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname = $1 AND p.prosecdef AND $2 IS NOT NULL AND $3 IS NOT NULL",
        breaches: &[
            "CREATE FUNCTION wrong() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        ],
    },
    Law {
        says: "tables are logged",
        query: "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relpersistence <> 'p'
           AND $2 IS NOT NULL AND $3 IS NOT NULL",
        breaches: &[
            "CREATE UNLOGGED TABLE wrong (account_id bigint)",
        ],
    },
    Law {
        says: "ids are bigint, and can be given by an import",
        query: "SELECT format('%s.%s', c.relname, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations' AND a.attnum > 0
           AND $2 IS NOT NULL AND $3 IS NOT NULL
           AND ((a.attname LIKE '%id' AND a.atttypid IN ('int2'::regtype, 'int4'::regtype)) OR a.attidentity = 'a')",
        breaches: &[
            "CREATE TABLE wrong (client_id int)",
            "CREATE TABLE wrong (id smallint)",
            "CREATE TABLE wrong (number bigint GENERATED ALWAYS AS IDENTITY)",
        ],
    },
    Law {
        says: "the working role owns nothing and bypasses nothing",
        query: "SELECT r.rolname::text FROM pg_roles r
         WHERE r.rolname IN ($1 || '_app', $1 || '_lookup', $1 || '_sweep') AND $2 IS NOT NULL AND $3 IS NOT NULL
           AND (r.rolsuper OR r.rolbypassrls OR r.rolcanlogin OR r.rolcreaterole OR EXISTS (
               SELECT 1 FROM pg_class c WHERE c.relowner = r.oid))",
        breaches: &[
            "ALTER TABLE answers OWNER TO {schema}_app",
            "ALTER ROLE {schema}_app SUPERUSER",
            "ALTER ROLE {schema}_app BYPASSRLS",
            "ALTER ROLE {schema}_app LOGIN",
            "ALTER ROLE {schema}_lookup CREATEROLE",
            "ALTER ROLE {schema}_sweep BYPASSRLS",
        ],
    },
    Law {
        says: "the look-up role writes nothing, the sweeping one at most deletes, the working one truncates nothing",
        query: "SELECT DISTINCT format('%s on %s', g.privilege_type, g.table_name)
         FROM (SELECT grantee, table_schema, table_name, privilege_type FROM information_schema.role_table_grants
               UNION ALL
               SELECT grantee, table_schema, table_name, privilege_type FROM information_schema.role_column_grants) g
         WHERE g.table_schema = $1 AND $2 IS NOT NULL AND $3 IS NOT NULL
           AND ((g.grantee = $1 || '_lookup' AND g.privilege_type <> 'SELECT')
             OR (g.grantee = $1 || '_sweep' AND g.privilege_type NOT IN ('SELECT', 'DELETE'))
             OR (g.grantee = $1 || '_app' AND g.privilege_type IN ('TRUNCATE', 'TRIGGER', 'REFERENCES'))
             OR g.grantee = 'PUBLIC')",
        breaches: &[
            "GRANT INSERT ON answers TO {schema}_lookup",
            "GRANT UPDATE ON answers TO {schema}_sweep",
            "GRANT UPDATE (answer) ON answers TO {schema}_lookup",
            "GRANT TRUNCATE ON answers TO {schema}_app",
            "GRANT TRIGGER ON answers TO {schema}_app",
            "GRANT REFERENCES ON answers TO {schema}_app",
            "GRANT SELECT ON answers TO PUBLIC",
            "GRANT SELECT (answer) ON answers TO PUBLIC",
        ],
    },
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

/// Breaks every rule in every way, each for itself, and returns what was not noticed.
///
/// Nothing of it is ever committed, because roles belong to other databases too.
pub async fn unnoticed(owner: &mut PgConnection, rules: &Rules<'_>) -> Vec<String> {
    let mut unnoticed = Vec::new();
    for rule in RULES {
        assert!(!rule.breaches.is_empty(), "nothing breaks: {}", rule.says);
        for breach in rule.breaches {
            let complaints = complaints_after(owner, rules, breach).await;
            if !complaints.iter().any(|complaint| complaint.ends_with(rule.says)) {
                unnoticed.push(format!("{breach}: {}", rule.says));
            }
        }
    }
    unnoticed
}

/// What is wrong once a statement was run, which is then undone.
pub async fn complaints_after(
    owner: &mut PgConnection,
    rules: &Rules<'_>,
    breach: &str,
) -> Vec<String> {
    let tenant = "account_id = nullif(current_setting('app.account_id', true), '')::bigint";
    let breach = breach.replace("{schema}", rules.schema).replace("{tenant}", tenant);
    let mut undone = owner.begin().await.unwrap();
    let breach = format!("SET LOCAL search_path = {}; {breach}", rules.schema);
    let broken = undone.execute(sqlx::raw_sql(AssertSqlSafe(breach.clone()))).await;
    broken.unwrap_or_else(|error| panic!("{breach}: {error}"));
    // The rules read names as they are printed outside of the schema.
    undone.execute("SET LOCAL search_path = DEFAULT").await.unwrap();
    let complaints = complaints(&mut undone, rules).await;
    undone.rollback().await.unwrap();
    complaints
}
