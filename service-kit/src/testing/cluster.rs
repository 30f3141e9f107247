//! Where do tests get a database from, each its own?

use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use local_postgres::{Durability, Server, Settings, Source};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::sync::Mutex;

use crate::{
    config::{DatabaseSettings, PoolSettings, Secret},
    db::{Roles, Schema, migrate},
};

/// What the services under test log in as: a mere member of the narrow roles, as in production.
const MEMBER: &str = "service";

const END_CONNECTIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = 'service' AND datname = current_database()";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A migrated database of one test; clones are the same one.
#[derive(Clone)]
pub struct TestDatabase {
    /// As whom a service connects.
    pub settings: DatabaseSettings,
    /// As whom a test looks on: the owner, whom row security does not bind.
    pub owner: PgPool,
    schema: &'static str,
    ignored: &'static [&'static str],
}

impl TestDatabase {
    /// A copy of a template that is migrated once for each test program.
    pub async fn new(schema: &'static Schema) -> Self {
        let template = template(schema).await;
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        create(&name, &format!("TEMPLATE {template} STRATEGY FILE_COPY")).await;
        let owner =
            PgPoolOptions::new().max_connections(2).connect(&server().url(&name)).await.unwrap();
        Self {
            settings: settings(&url_of(&name, MEMBER)),
            owner,
            schema: schema.name,
            ignored: &[],
        }
    }

    /// Leaves tables out of the digest that change by themselves, beside the calls.
    #[must_use]
    pub fn ignoring(self, ignored: &'static [&'static str]) -> Self {
        Self { ignored, ..self }
    }

    /// One that a test has migrated by itself.
    pub async fn at(settings: DatabaseSettings, schema: &'static Schema) -> Self {
        let url = settings.url.expose();
        let owner = PgPoolOptions::new().max_connections(2).connect(url).await.unwrap();
        Self { settings, owner, schema: schema.name, ignored: &[] }
    }

    /// Every row of the schema, digested: equal before and after a call that wrote nothing.
    pub async fn digest(&self) -> Vec<(String, Option<String>)> {
        let mut digest = self.each_table("md5(string_agg(t::text, '|' ORDER BY t::text))").await;
        digest.retain(|(table, _)| !self.ignored.contains(&table.as_str()));
        digest
    }

    /// Every row of the schema as text.
    pub async fn dump(&self) -> String {
        let tables = self.each_table("string_agg(t::text, '|')").await;
        tables.into_iter().filter_map(|(_, rows)| rows).collect()
    }

    /// An aggregate over each table's rows `t`.
    async fn each_table(&self, aggregate: &str) -> Vec<(String, Option<String>)> {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = $1 ORDER BY tablename",
        )
        .bind(self.schema)
        .fetch_all(&self.owner)
        .await
        .unwrap();
        let mut found = Vec::new();
        for table in tables {
            let query = format!("SELECT {aggregate} FROM {}.{table} t", self.schema);
            let value =
                sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&self.owner).await.unwrap();
            found.push((table, value));
        }
        found
    }

    /// The name of the schema in it.
    pub(super) fn schema(&self) -> &'static str {
        self.schema
    }

    /// Ends every connection of the service to it.
    pub async fn end_connections(&self) {
        self.execute(END_CONNECTIONS).await;
    }

    /// Whether anybody gets new connections to it; where not, those of the service are ended.
    pub async fn let_in(&self, allowed: bool) {
        let allow = format!(
            "UPDATE pg_database SET datallowconn = {allowed} WHERE datname = current_database()"
        );
        // On one connection: there is no other one once nobody is let in.
        let end = if allowed { "" } else { END_CONNECTIONS };
        self.execute(&format!("{allow}; {end}")).await;
    }

    /// Runs a statement as the owner.
    pub async fn execute(&self, statement: &str) {
        self.owner.execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))).await.unwrap();
    }
}

/// An empty database, for tests of migrating itself; the URL is the superuser's.
pub async fn empty_database() -> DatabaseSettings {
    let name = format!("empty_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    create(&name, "").await;
    settings(&server().url(&name))
}

/// The name of a schema's template, which the first test to need it makes.
async fn template(schema: &'static Schema) -> String {
    static MADE: Mutex<BTreeMap<&str, String>> = Mutex::const_new(BTreeMap::new());
    let mut made = MADE.lock().await;
    if !made.contains_key(schema.name) {
        made.insert(schema.name, make_template(schema).await);
    }
    made[schema.name].clone()
}

/// Where the programs of this test program's server are, for tests that start one of their own.
pub fn binaries() -> &'static std::path::Path {
    server().binaries()
}

/// Gives a database to a new role that may make roles and is no superuser; returns its URL.
pub async fn owned_by_a_role_maker(database: &DatabaseSettings, owner: &str) -> Secret {
    let mut connection = PgConnection::connect(database.url.expose()).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let make = format!(
        "CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD '{owner}'; ALTER DATABASE {name} OWNER TO {owner}"
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(make))).await.unwrap();
    connection.close().await.unwrap();
    Secret::new(url_of(&name, owner))
}

async fn make_template(schema: &'static Schema) -> String {
    let name = format!("template_{}", schema.name);
    create(&name, "").await;
    let owner = settings(&server().url(&name));
    migrate(&owner, schema).await.unwrap();
    let roles = Roles::new("", schema.name);
    let mut connection = PgConnection::connect(owner.url.expose()).await.unwrap();
    let member = format!(
        "DO $$ BEGIN CREATE ROLE {MEMBER} LOGIN PASSWORD '{MEMBER}'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT {} TO {MEMBER}",
        roles.all().join(", ")
    );
    connection.execute(sqlx::raw_sql(AssertSqlSafe(member))).await.unwrap();
    connection.close().await.unwrap();
    name
}

async fn create(name: &str, how: &str) {
    let mut connection = PgConnection::connect(&server().url("postgres")).await.unwrap();
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name} {how}"))))
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// The URL of a role whose password is its name.
fn url_of(database: &str, role: &str) -> String {
    let superuser = format!("{}:{}@", server().user(), server().password());
    server().url(database).replacen(&superuser, &format!("{role}:{role}@"), 1)
}

fn settings(url: &str) -> DatabaseSettings {
    let pool = PoolSettings { size: 4, role_prefix: String::new() };
    DatabaseSettings { url: Secret::new(url), pool }
}

/// The one server of this test program, whatever `DATABASE_URL` says. It ends with the program.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| thread::spawn(start).join().unwrap())
}

/// On a runtime of its own: the tests' come and go.
fn start() -> Server {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = local_postgres::throwaway_folder("test").unwrap();
    let settings = Settings {
        folder: folder.path().join("postgres"),
        source: source(),
        durability: Durability::Throwaway,
        max_connections: 400,
        binaries: local_postgres::default_data_folder().join("postgresql"),
    };
    let server = runtime.block_on(Server::start(settings)).unwrap();
    // Swept by the next test program.
    std::mem::forget(folder);
    server
}

/// Tests use what `cargo run` would use.
fn source() -> Source {
    std::env::var("CLIENTELE_POSTGRES").unwrap_or_default().parse().unwrap()
}
