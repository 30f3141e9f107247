//! How does a schema come to be, and who may do what in it?

use futures::future::BoxFuture;
use sqlx::{
    AssertSqlSafe, PgConnection,
    migrate::{MigrateError, Migrator},
};

use super::{Constraint, Roles, Sql, connect};
use crate::config::{DatabaseSettings, StartError};

/// A service's schema.
#[derive(Debug)]
pub struct Schema {
    pub name: &'static str,
    /// What lies in `migrations/<name>`.
    pub migrator: Migrator,
    /// `roles.sql` beside the migrations: who may do what, said again after each of them.
    pub grants: &'static str,
    /// What running into a constraint means.
    pub constraints: &'static [Constraint],
    /// Draws the id of a tenant, in the schema where tenants begin.
    pub draw_tenant: Option<Sql>,
    /// Reads the newest migration that was applied.
    pub applied: Sql,
    /// Fills in what SQL alone cannot, after the migrations.
    pub fill: Option<Fill>,
}

/// Works as the owner, on rows of all accounts; must be safe to repeat, and to run twice at once.
pub type Fill = for<'a> fn(&'a mut PgConnection) -> BoxFuture<'a, Result<(), sqlx::Error>>;

/// Brings the schema up to date and its roles with it. Safe to repeat, and to run twice at once.
pub async fn migrate(settings: &DatabaseSettings, schema: &Schema) -> Result<(), StartError> {
    let mut connection = connect::wait_for_database(&connect::options(settings)?).await?;
    let roles = Roles::new(&settings.pool.role_prefix, schema.name);
    // What is not there yet is no news to anybody.
    quiet(&mut connection).await?;
    let mut migrator = Migrator::with_migrations(schema.migrator.iter().cloned().collect());
    migrator.create_schema(schema.name);
    migrator.dangerous_set_table_name(format!("{}.migrations", schema.name));
    migrator.run(&mut connection).await.map_err(|error| {
        let said = match &error {
            MigrateError::Execute(error) => connect::in_words(error),
            MigrateError::ExecuteMigration(error, version) => {
                format!("{} in the migration {version}", connect::in_words(error))
            }
            error => error.to_string(),
        };
        StartError::new(format!("The schema {} cannot be migrated: {said}.", schema.name))
    })?;
    grant(&mut connection, schema, &roles).await.map_err(|error| {
        let said = connect::in_words(&error);
        StartError::new(format!("The roles of the schema {} cannot be made: {said}.", schema.name))
    })?;
    let Some(fill) = schema.fill else { return Ok(()) };
    fill(&mut connection).await.map_err(|error| {
        StartError::new(format!(
            "The rows of the schema {} cannot be filled in: {}.",
            schema.name,
            connect::in_words(&error)
        ))
    })
}

async fn quiet(connection: &mut PgConnection) -> Result<(), StartError> {
    let quiet = sqlx::raw_sql("SET client_min_messages = warning").execute(connection).await;
    quiet.map(drop).map_err(|error| {
        StartError::new(format!("The database does not answer: {}.", connect::in_words(&error)))
    })
}

async fn grant(
    connection: &mut PgConnection,
    schema: &Schema,
    roles: &Roles,
) -> Result<(), sqlx::Error> {
    for role in roles.all() {
        sqlx::raw_sql(AssertSqlSafe(make_role(role))).execute(&mut *connection).await?;
    }
    let quoted = |role: &str| format!("\"{role}\"");
    let grants = schema
        .grants
        .replace("{app}", &quoted(&roles.app))
        .replace("{lookup}", &quoted(&roles.lookup))
        .replace("{sweep}", &quoted(&roles.sweep));
    let revokes = revoke_all(schema.name, &roles.all().map(quoted).join(", "));
    // A lock, because two at once would change the same rows of the catalogue; a transaction,
    // because a service that runs must not see half of it.
    let script =
        format!("BEGIN; SELECT pg_advisory_xact_lock(7042001); {revokes}; {grants}; COMMIT");
    sqlx::raw_sql(AssertSqlSafe(script)).execute(connection).await?;
    Ok(())
}

/// So that the script says all that the roles may do: what is no longer in it is taken away.
fn revoke_all(schema: &str, roles: &str) -> String {
    format!(
        "REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {roles};
         REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM {roles}"
    )
}

/// Roles belong to the whole server, so another database's migration may be making the same
/// one. From PostgreSQL 16 on, whoever makes a role administers it and may still not take it
/// on, until they grant it to themselves.
fn make_role(role: &str) -> String {
    format!(
        "DO $$ BEGIN
             BEGIN
                 IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{role}') THEN
                     CREATE ROLE \"{role}\" NOLOGIN;
                 END IF;
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
             END;
             IF NOT pg_has_role(current_user, '{role}', CASE
                 WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
             THEN
                 GRANT \"{role}\" TO CURRENT_USER;
             END IF;
         END $$"
    )
}
