//! Are the narrow roles narrow, and is the login no wider than it must be?

use sqlx::PgConnection;

use super::Finding;
use crate::db::{Roles, Schema};

pub async fn findings(
    connection: &mut PgConnection,
    schema: &Schema,
    roles: &Roles,
) -> Result<Vec<Finding>, sqlx::Error> {
    let mut found = wide_roles(connection, schema, roles).await?;
    found.extend(wide_login(connection, schema, roles).await?);
    Ok(found)
}

async fn wide_roles(
    connection: &mut PgConnection,
    schema: &Schema,
    roles: &Roles,
) -> Result<Vec<Finding>, sqlx::Error> {
    let found: Vec<(String, bool, bool)> = sqlx::query_as(
        "SELECT r.rolname::text, r.rolsuper OR r.rolbypassrls,
                EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE c.relowner = r.oid OR (n.nspname = $1 AND c.relkind IN ('r', 'p')
                          AND NOT r.rolsuper AND pg_has_role(r.oid, c.relowner, 'MEMBER')))
         FROM pg_roles r WHERE r.rolname = ANY ($2) ORDER BY r.rolname",
    )
    .bind(schema.name)
    .bind(roles.all().map(str::to_owned).to_vec())
    .fetch_all(connection)
    .await?;
    let sentences = found.into_iter().flat_map(|(role, bypasses, owns)| {
        let bypasses = bypasses.then(|| {
            format!("The role {role} bypasses row security, which keeps accounts apart: ALTER ROLE \"{role}\" NOSUPERUSER NOBYPASSRLS.")
        });
        let owns = owns.then(|| {
            format!("The role {role} owns tables, or is a member of who does, and whoever owns them is not bound by row security: give them to the role that runs `migrate`.")
        });
        [bypasses, owns]
    });
    Ok(sentences.flatten().map(Finding::wrong).collect())
}

async fn wide_login(
    connection: &mut PgConnection,
    schema: &Schema,
    roles: &Roles,
) -> Result<Option<Finding>, sqlx::Error> {
    let (login, is_super, bypasses, owns): (String, bool, bool, bool) = sqlx::query_as(
        "SELECT r.rolname::text, r.rolsuper, r.rolbypassrls,
                EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE n.nspname = $1 AND pg_has_role(r.oid, c.relowner, 'MEMBER'))
         FROM pg_roles r WHERE r.rolname = current_user",
    )
    .bind(schema.name)
    .fetch_one(connection)
    .await?;
    let what = match (is_super, bypasses, owns) {
        (true, _, _) => "is a superuser",
        (_, true, _) => "may bypass row security",
        (_, _, true) => "owns the tables",
        _ => return Ok(None),
    };
    Ok(Some(Finding::warning(format!(
        "The login {login} {what}: keep it for `migrate`, and let `serve` connect as a role that is no more than a member of {}.",
        roles.all().join(", ")
    ))))
}
