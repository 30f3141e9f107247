//! Which database do the services get when nobody names one?
//!
//! A private PostgreSQL, one database, two schemas. Its owner migrates; the services log in as
//! a mere member of the narrow roles, as they should in production.

use std::path::PathBuf;

use local_postgres::{Durability, Server};
use service_kit::{
    config::{DatabaseSettings, PoolSettings, Secret, StartError},
    db::{Roles, Schema, migrate},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::{config::Settings, keys};

const DATABASE: &str = "clientele";
const MAX_CONNECTIONS: u16 = 100;

/// The database of each service, migrated; and the server, if one had to be started.
pub async fn complete(settings: &mut Settings) -> Result<Option<Server>, StartError> {
    let (identity, crm) = (settings.identity.database.is_none(), settings.crm.database.is_none());
    let server = if identity || crm { Some(start(settings).await?) } else { None };
    if let Some(server) = &server {
        let setup = Setup { server, folder: settings.folder.clone(), pool: settings.pool.clone() };
        setup.create_database().await?;
        if identity {
            settings.identity.database = Some(setup.migrated(&identity_service::SCHEMA).await?);
        }
        if crm {
            settings.crm.database = Some(setup.migrated(&crm_service::SCHEMA).await?);
        }
    }
    // A database that somebody named is migrated as whoever they named.
    if !identity {
        migrate(identity_service::database(&settings.identity)?, &identity_service::SCHEMA).await?;
    }
    if !crm {
        migrate(crm_service::database(&settings.crm)?, &crm_service::SCHEMA).await?;
    }
    Ok(server)
}

async fn start(settings: &Settings) -> Result<Server, StartError> {
    let server = Server::start(local_postgres::Settings {
        folder: settings.folder.join("postgres"),
        source: settings.postgres.clone(),
        durability: Durability::Kept,
        max_connections: MAX_CONNECTIONS,
        binaries: settings.folder.join("postgresql"),
    });
    server.await.map_err(|error| StartError::new(error.to_string()))
}

struct Setup<'a> {
    server: &'a Server,
    folder: PathBuf,
    pool: PoolSettings,
}

impl Setup<'_> {
    async fn create_database(&self) -> Result<(), StartError> {
        let mut connection = self.connect("postgres").await?;
        let there: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
                .bind(DATABASE)
                .fetch_one(&mut connection)
                .await
                .map_err(flaw)?;
        if !there {
            run(&mut connection, format!("CREATE DATABASE {DATABASE}")).await?;
        }
        connection.close().await.map_err(flaw)
    }

    /// Migrates a schema, and returns how its service connects: each as somebody of its own, who
    /// can become nobody but the narrow roles of that schema.
    async fn migrated(&self, schema: &Schema) -> Result<DatabaseSettings, StartError> {
        let owner = self.settings(self.server.url(DATABASE));
        migrate(&owner, schema).await?;
        let roles = Roles::new(&owner.pool.role_prefix, schema.name);
        let member = format!("{DATABASE}_{}", schema.name);
        let password = keys::database_password(&self.folder, schema.name)?;
        let mut connection = self.connect(DATABASE).await?;
        // The password consists of hexadecimal digits: there is nothing to escape.
        let make_member = format!(
            "SET client_min_messages = warning;
             DO $$ BEGIN CREATE ROLE {member}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             ALTER ROLE {member} LOGIN NOINHERIT PASSWORD '{}';
             GRANT {} TO {member};
             REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC;
             GRANT CONNECT ON DATABASE {DATABASE} TO {member}",
            password.expose(),
            roles.all().map(|role| format!("\"{role}\"")).join(", "),
        );
        run(&mut connection, make_member).await?;
        connection.close().await.map_err(flaw)?;
        let superuser = format!("{}:{}@", self.server.user(), self.server.password());
        let url =
            owner.url.expose().replacen(&superuser, &format!("{member}:{}@", password.expose()), 1);
        Ok(self.settings(url))
    }

    fn settings(&self, url: String) -> DatabaseSettings {
        DatabaseSettings { url: Secret::new(url), pool: self.pool.clone() }
    }

    async fn connect(&self, database: &str) -> Result<PgConnection, StartError> {
        PgConnection::connect(&self.server.url(database)).await.map_err(flaw)
    }
}

async fn run(connection: &mut PgConnection, statement: String) -> Result<(), StartError> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.map_err(flaw)?;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "it goes into map_err")]
fn flaw(error: sqlx::Error) -> StartError {
    StartError::new(format!("The private PostgreSQL cannot be set up: {error}."))
}
