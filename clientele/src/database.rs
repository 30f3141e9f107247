//! Which database do the services get when nobody names one?
//!
//! A private PostgreSQL, one database, two schemas. Its owner migrates; the services log in as
//! a mere member of the narrow roles, as they should in production.

use local_postgres::{Durability, Server};
use service_kit::{
    config::{DatabaseSettings, Secret, StartError},
    db::{Roles, Schema, migrate},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::{config::Settings, keys};

const DATABASE: &str = "clientele";
const MEMBER: &str = "clientele_services";
const MAX_CONNECTIONS: u16 = 100;
const POOL_SIZE: u32 = 8;

/// The database of each service, migrated; and the server, if one had to be started.
pub async fn complete(settings: &mut Settings) -> Result<Option<Server>, StartError> {
    let (identity, crm) = (settings.identity.database.is_none(), settings.crm.database.is_none());
    let server = if identity || crm { Some(start(settings).await?) } else { None };
    if let Some(server) = &server {
        let password = keys::database_password(settings)?;
        let setup = Setup { server, password };
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
    password: Secret,
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

    /// Migrates a schema, and returns how its service connects.
    async fn migrated(&self, schema: &Schema) -> Result<DatabaseSettings, StartError> {
        let owner = settings(&self.server.url(DATABASE));
        migrate(&owner, schema).await?;
        let roles = Roles::new(&owner.role_prefix, schema.name);
        let mut connection = self.connect(DATABASE).await?;
        // The password consists of hexadecimal digits: there is nothing to escape.
        let member = format!(
            "DO $$ BEGIN CREATE ROLE {MEMBER}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
             ALTER ROLE {MEMBER} LOGIN NOINHERIT PASSWORD '{}';
             GRANT {}, {} TO {MEMBER}",
            self.password.expose(),
            roles.app,
            roles.lookup
        );
        run(&mut connection, member).await?;
        connection.close().await.map_err(flaw)?;
        Ok(settings(&self.member_url()))
    }

    fn member_url(&self) -> String {
        let owner = format!("{}:{}@", self.server.user(), self.server.password());
        let member = format!("{MEMBER}:{}@", self.password.expose());
        self.server.url(DATABASE).replacen(&owner, &member, 1)
    }

    async fn connect(&self, database: &str) -> Result<PgConnection, StartError> {
        PgConnection::connect(&self.server.url(database)).await.map_err(flaw)
    }
}

async fn run(connection: &mut PgConnection, statement: String) -> Result<(), StartError> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.map_err(flaw)?;
    Ok(())
}

fn settings(url: &str) -> DatabaseSettings {
    DatabaseSettings { url: Secret::new(url), pool_size: POOL_SIZE, role_prefix: String::new() }
}

#[expect(clippy::needless_pass_by_value, reason = "it goes into map_err")]
fn flaw(error: sqlx::Error) -> StartError {
    StartError::new(format!("The private PostgreSQL cannot be set up: {error}."))
}
