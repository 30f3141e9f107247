//! Is the schema still as the migrations left it?

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::{
    Finding,
    expected::{Expected, Grant, Policy},
};
use crate::db::{Roles, Schema};

const RESTORE: &str = "restore it from a backup of the schema, or ask whoever changed it";

pub async fn findings(
    connection: &mut PgConnection,
    schema: &Schema,
    roles: &Roles,
) -> Result<Vec<Finding>, sqlx::Error> {
    let expected = Expected::of(schema, roles);
    let mut found = tables(connection, schema.name, &expected).await?;
    found.extend(indexes(connection, schema.name, &expected).await?);
    found.extend(constraints(connection, schema).await?);
    found.extend(policies(connection, schema.name, &expected).await?);
    found.extend(grants(connection, schema.name, roles, expected).await?);
    Ok(found)
}

async fn tables(
    connection: &mut PgConnection,
    schema: &str,
    expected: &Expected,
) -> Result<Vec<Finding>, sqlx::Error> {
    let there: Vec<(String, bool)> = sqlx::query_as(
        "SELECT c.relname::text, c.relrowsecurity
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations'",
    )
    .bind(schema)
    .fetch_all(connection)
    .await?;
    let names: BTreeSet<_> = there.iter().map(|(name, _)| name.clone()).collect();
    let missing = expected
        .tables
        .difference(&names)
        .map(|table| Finding::wrong(format!("The table {schema}.{table} is gone: {RESTORE}.")));
    let foreign = names.difference(&expected.tables).map(|table| {
        Finding::warning(format!(
            "The table {schema}.{table} is none of ours: move it to a schema of its own."
        ))
    });
    let open = there.iter().filter(|(name, secured)| !secured && expected.secured.contains(name));
    let open = open.map(|(table, _)| {
        Finding::wrong(format!(
            "Row security is off in {schema}.{table}: ALTER TABLE {schema}.{table} ENABLE ROW LEVEL SECURITY."
        ))
    });
    Ok(missing.chain(foreign).chain(open).collect())
}

async fn indexes(
    connection: &mut PgConnection,
    schema: &str,
    expected: &Expected,
) -> Result<Vec<Finding>, sqlx::Error> {
    let valid: BTreeSet<String> = sqlx::query_scalar(
        "SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
         JOIN pg_namespace n ON n.oid = i.relnamespace WHERE n.nspname = $1 AND x.indisvalid",
    )
    .bind(schema)
    .fetch_all(connection)
    .await?
    .into_iter()
    .collect();
    let missing = expected.indexes.difference(&valid).map(|index| {
        Finding::wrong(format!("The index {schema}.{index} is gone or not valid: {RESTORE}."))
    });
    Ok(missing.collect())
}

async fn constraints(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<Vec<Finding>, sqlx::Error> {
    let there: BTreeSet<String> = sqlx::query_scalar(
        "SELECT k.conname::text FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
         JOIN pg_class c ON c.oid = k.conrelid
         WHERE n.nspname = $1 AND c.relname <> 'migrations' AND k.contype <> 'n'
         UNION
         SELECT i.relname::text FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
         JOIN pg_class c ON c.oid = x.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND x.indisunique AND c.relname <> 'migrations'",
    )
    .bind(schema.name)
    .fetch_all(connection)
    .await?
    .into_iter()
    .collect();
    let name = schema.name;
    let known: BTreeSet<String> =
        schema.constraints.iter().map(|constraint| constraint.name.to_owned()).collect();
    let missing = known.difference(&there).map(|constraint| {
        Finding::wrong(format!("The constraint {constraint} of {name} is gone: {RESTORE}."))
    });
    let foreign = there.difference(&known).map(|constraint| {
        Finding::wrong(format!(
            "The constraint {constraint} of {name} is none of ours, and whoever runs into it gets an internal error: drop it."
        ))
    });
    Ok(missing.chain(foreign).collect())
}

async fn policies(
    connection: &mut PgConnection,
    schema: &str,
    expected: &Expected,
) -> Result<Vec<Finding>, sqlx::Error> {
    let there: Vec<Policy> = sqlx::query_as(
        "SELECT tablename::text AS table, policyname::text AS name,
                permissive = 'PERMISSIVE' AS is_permissive, cmd AS command,
                array_to_string(roles, ',') AS role
         FROM pg_policies WHERE schemaname = $1",
    )
    .bind(schema)
    .fetch_all(&mut *connection)
    .await?;
    let there: BTreeSet<_> = there.into_iter().collect();
    let missing = expected.policies.difference(&there).map(|Policy { table, name, .. }| {
        Finding::wrong(format!(
            "The policy {name} of {schema}.{table} is gone or not as it was made: run `migrate`; if that does not mend it, {RESTORE}."
        ))
    });
    let foreign = there.difference(&expected.policies).map(|Policy { table, name, .. }| {
        Finding::wrong(format!(
            "The policy {name} of {schema}.{table} is not as we make ours, and may let somebody see the rows of another account: drop it."
        ))
    });
    let found: Vec<_> = missing.chain(foreign).collect();
    let tables = expected.policies.iter().filter(|policy| policy.name == "tenant");
    let tables = tables.map(|policy| policy.table.clone()).collect::<Vec<_>>();
    let loose: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND p.polname = 'tenant' AND c.relname = ANY ($2)
           AND (p.polwithcheck IS NOT NULL OR pg_get_expr(p.polqual, c.oid) IS DISTINCT FROM format(
               '(%s = (NULLIF(current_setting(''app.account_id''::text, true), ''''::text))::bigint)',
               CASE WHEN c.relname = 'accounts' THEN 'id' ELSE 'account_id' END))",
    )
    .bind(schema)
    .bind(tables)
    .fetch_all(connection)
    .await?;
    let loose = loose.into_iter().map(|table| {
        Finding::wrong(format!(
            "The policy tenant of {schema}.{table} does not keep to one account: {RESTORE}."
        ))
    });
    Ok(found.into_iter().chain(loose).collect())
}

async fn grants(
    connection: &mut PgConnection,
    schema: &str,
    roles: &Roles,
    expected: Expected,
) -> Result<Vec<Finding>, sqlx::Error> {
    let there: Vec<Grant> = sqlx::query_as(
        "WITH granted AS (
             SELECT c.relname, NULL::name AS attname, g.grantee, g.privilege_type
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) g
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'S')
             UNION ALL
             SELECT c.relname, a.attname, g.grantee, g.privilege_type
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) g
             WHERE n.nspname = $1)
         SELECT coalesce(r.rolname::text, 'PUBLIC') AS role, relname::text AS table,
                attname::text AS column, privilege_type::text AS privilege
         FROM granted LEFT JOIN pg_roles r ON r.oid = granted.grantee
         WHERE granted.grantee = 0 OR r.rolname = ANY ($2)",
    )
    .bind(schema)
    .bind(roles.all().map(str::to_owned).to_vec())
    .fetch_all(&mut *connection)
    .await?;
    let sequences: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind = 'S'",
    )
    .bind(schema)
    .fetch_all(&mut *connection)
    .await?;
    let Expected { mut grants, of_sequences, .. } = expected;
    for role in of_sequences {
        grants.extend(sequences.iter().map(|sequence| Grant {
            role: role.clone(),
            table: sequence.clone(),
            column: None,
            privilege: "USAGE".to_owned(),
        }));
    }
    let there = there.into_iter().collect();
    let missing = grants.difference(&there).map(|grant| {
        Finding::wrong(format!(
            "The role {} lacks {}: run `migrate`.",
            grant.role,
            may(schema, grant)
        ))
    });
    let beyond = there.difference(&grants).map(|grant| {
        Finding::wrong(format!(
            "The role {} has {}, which it must not have: REVOKE it.",
            grant.role,
            may(schema, grant)
        ))
    });
    let found: Vec<_> = missing.chain(beyond).collect();
    let locked_out: Vec<String> = sqlx::query_scalar(
        "SELECT rolname::text FROM pg_roles
         WHERE rolname = ANY ($2) AND NOT has_schema_privilege(oid, $1, 'USAGE') ORDER BY rolname",
    )
    .bind(schema)
    .bind(roles.all().map(str::to_owned).to_vec())
    .fetch_all(connection)
    .await?;
    let locked_out = locked_out.into_iter().map(|role| {
        Finding::wrong(format!(
            "The role {role} lacks USAGE on the schema {schema}: run `migrate`."
        ))
    });
    Ok(found.into_iter().chain(locked_out).collect())
}

fn may(schema: &str, Grant { table, column, privilege, .. }: &Grant) -> String {
    let column = column.as_ref().map(|column| format!(" ({column})")).unwrap_or_default();
    format!("{privilege}{column} on {schema}.{table}")
}
