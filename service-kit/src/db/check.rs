//! What would `migrate` have to do?

use sqlx::{AssertSqlSafe, PgConnection, migrate::Migration};

use super::{Roles, Schema, connect};
use crate::config::{DatabaseSettings, StartError};

/// A sentence for each thing that `migrate` would have to do, or could not: none where the schema
/// and its roles are up to date. Writes nothing.
pub async fn to_do(
    settings: &DatabaseSettings,
    schema: &Schema,
) -> Result<Vec<String>, StartError> {
    let mut connection = connect::to_look(settings).await?;
    let roles = Roles::new(&settings.pool.role_prefix, schema.name);
    to_do_on(&mut connection, schema, &roles).await.map_err(connect::cannot_look)
}

/// The same, on a connection that is there.
pub(crate) async fn to_do_on(
    connection: &mut PgConnection,
    schema: &Schema,
    roles: &Roles,
) -> Result<Vec<String>, sqlx::Error> {
    let applied = applied(connection, schema, roles).await?;
    let wanted: Vec<&Migration> = schema.migrator.iter().collect();
    let mut sentences = compare(schema.name, &wanted, &applied);
    sentences.extend(unusable_roles(connection, roles).await?);
    Ok(sentences)
}

/// A migration as the database remembers it.
#[derive(Debug, sqlx::FromRow)]
struct Applied {
    version: i64,
    description: String,
    success: bool,
    checksum: Vec<u8>,
}

async fn applied(
    connection: &mut PgConnection,
    schema: &Schema,
    roles: &Roles,
) -> Result<Vec<Applied>, sqlx::Error> {
    let there: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE n.nspname = $1 AND c.relname = 'migrations')",
    )
    .bind(schema.name)
    .fetch_one(&mut *connection)
    .await?;
    if !there {
        return Ok(Vec::new());
    }
    match read_applied(connection, schema.name).await {
        // A mere member of the narrow roles may read it as one of them.
        Err(error) if is_denied(&error) => {
            let adopt = format!("SET ROLE \"{}\"", roles.lookup);
            sqlx::raw_sql(AssertSqlSafe(adopt)).execute(&mut *connection).await?;
            let applied = read_applied(connection, schema.name).await;
            sqlx::raw_sql("RESET ROLE").execute(connection).await?;
            applied
        }
        applied => applied,
    }
}

async fn read_applied(
    connection: &mut PgConnection,
    schema: &str,
) -> Result<Vec<Applied>, sqlx::Error> {
    let text = format!("SELECT version, description, success, checksum FROM {schema}.migrations");
    sqlx::query_as(AssertSqlSafe(text)).fetch_all(connection).await
}

fn is_denied(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42501"))
}

/// What stands between the migrations of this program and those that were applied.
fn compare(schema: &str, wanted: &[&Migration], applied: &[Applied]) -> Vec<String> {
    let ours = wanted.iter().filter_map(|wanted| {
        let name = format!("{} ({}) of the schema {schema}", wanted.version, wanted.description);
        match applied.iter().find(|applied| applied.version == wanted.version) {
            None => Some(format!("The migration {name} is not applied: run `migrate`.")),
            Some(applied) if !applied.success => Some(format!(
                "The migration {name} was begun and not ended: restore the database as it was before, and run `migrate`."
            )),
            Some(applied) if applied.checksum != *wanted.checksum => Some(format!(
                "The migration {name} was applied in another form than this program has: use the program that it came with, or a later release."
            )),
            Some(_) => None,
        }
    });
    let unknown = applied
        .iter()
        .filter(|applied| !wanted.iter().any(|wanted| wanted.version == applied.version));
    let unknown = unknown.map(|applied| {
        format!(
            "The migration {} ({}) of the schema {schema} is not one of this program: use the release that applied it, or a later one.",
            applied.version, applied.description
        )
    });
    ours.chain(unknown).collect()
}

async fn unusable_roles(
    connection: &mut PgConnection,
    roles: &Roles,
) -> Result<Vec<String>, sqlx::Error> {
    let found: Vec<(String, String, bool, bool)> = sqlx::query_as(
        "SELECT wanted.name, current_user::text, r.oid IS NOT NULL,
                coalesce(pg_has_role(current_user, r.oid, CASE
                    WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET'
                    ELSE 'MEMBER' END), false)
         FROM unnest($1::text[]) AS wanted (name) LEFT JOIN pg_roles r ON r.rolname = wanted.name",
    )
    .bind(roles.all().map(str::to_owned).to_vec())
    .fetch_all(connection)
    .await?;
    let sentences = found.into_iter().filter_map(|(role, login, there, usable)| {
        if !there {
            return Some(format!("The role {role} is missing: run `migrate`."));
        }
        (!usable).then(|| {
            format!("The role {role} cannot be taken on by {login}: GRANT it, or run `migrate` as {login}.")
        })
    });
    Ok(sentences.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{SqlSafeStr, migrate::MigrationType};

    fn wanted(version: i64, text: &'static str) -> Migration {
        let kind = MigrationType::Simple;
        Migration::new(version, "things".into(), kind, text.into_sql_str(), false)
    }

    fn as_applied(migration: &Migration) -> Applied {
        Applied {
            version: migration.version,
            description: migration.description.to_string(),
            success: true,
            checksum: migration.checksum.to_vec(),
        }
    }

    #[test]
    fn each_difference_is_a_sentence_that_names_the_migration() {
        let (one, two) = (wanted(1, "SELECT 1"), wanted(2, "SELECT 2"));
        let say = |applied: &[Applied]| compare("x", &[&one, &two], applied);
        assert!(say(&[as_applied(&one), as_applied(&two)]).is_empty());

        let said = say(&[as_applied(&one)]);
        assert_eq!(
            said,
            ["The migration 2 (things) of the schema x is not applied: run `migrate`."]
        );
        let changed = Applied { checksum: vec![1], ..as_applied(&one) };
        let halfway = Applied { success: false, ..as_applied(&two) };
        let later = Applied { version: 3, ..as_applied(&two) };
        let said = say(&[changed, halfway, later]);
        assert!(said[0].contains("1 (things)") && said[0].contains("another form"), "{said:?}");
        assert!(said[1].contains("2 (things)") && said[1].contains("not ended"), "{said:?}");
        assert!(said[2].contains("3 (things)") && said[2].contains("not one of"), "{said:?}");
        assert_eq!(said.len(), 3);
    }
}
