//! The database of the stack: as durable as one that is in use.

use std::path::Path;

use local_postgres::{Durability, Server, Settings, Source, ThrowawayFolder, throwaway_folder};
use service_kit::{
    config::{DatabaseSettings, PoolSettings, Secret},
    db::{Roles, Schema, migrate},
};
use sqlx::{AssertSqlSafe, Executor, PgPool, postgres::PgPoolOptions};

use crate::Outcome;

const DATABASE: &str = "postgres";

pub struct Postgres {
    owner: PgPool,
    server: Server,
    /// Removed when the server is gone.
    folder: ThrowawayFolder,
}

impl Postgres {
    pub async fn start() -> Outcome<Self> {
        let folder = throwaway_folder("bench")?;
        let server = Server::start(Settings {
            folder: folder.path().join("postgres"),
            source: std::env::var("CLIENTELE_POSTGRES").unwrap_or_default().parse::<Source>()?,
            durability: Durability::Kept,
            max_connections: 200,
            binaries: local_postgres::default_data_folder().join("postgresql"),
        })
        .await?;
        let owner = PgPoolOptions::new().max_connections(8).connect(&server.url(DATABASE)).await?;
        let postgres = Self { owner, server, folder };
        postgres.migrate(&identity_service::SCHEMA).await?;
        postgres.migrate(&crm_service::SCHEMA).await?;
        postgres.run(
            "CREATE SCHEMA bench;
             CREATE TABLE bench.rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, client_id bigint NOT NULL, note text NOT NULL)",
        )
        .await?;
        Ok(postgres)
    }

    async fn migrate(&self, schema: &'static Schema) -> Outcome<()> {
        let pool = PoolSettings { size: 4, role_prefix: String::new() };
        let settings = DatabaseSettings { url: Secret::new(self.owner_url()), pool };
        migrate(&settings, schema).await?;
        let roles = Roles::new("", schema.name).all().join(", ");
        let member = member(schema.name);
        self.run(&format!(
            "CREATE ROLE {member} LOGIN NOINHERIT PASSWORD '{member}'; GRANT {roles} TO {member}"
        ))
        .await
    }

    async fn run(&self, statements: &str) -> Outcome<()> {
        self.owner.execute(sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))).await?;
        Ok(())
    }

    pub fn owner(&self) -> &PgPool {
        &self.owner
    }

    pub fn owner_url(&self) -> String {
        self.server.url(DATABASE)
    }

    /// As whom a service logs in: a mere member of its narrow roles, as in production.
    pub fn member_url(&self, schema: &str) -> String {
        let member = member(schema);
        let superuser = format!("{}:{}@", self.server.user(), self.server.password());
        self.owner_url().replacen(&superuser, &format!("{member}:{member}@"), 1)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> u32 {
        let file = self.folder.path().join("postgres/cluster/postmaster.pid");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().next().and_then(|pid| pid.parse().ok()).unwrap_or(0)
    }
}

fn member(schema: &str) -> String {
    format!("bench_{schema}")
}
