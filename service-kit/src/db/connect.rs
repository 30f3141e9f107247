//! How does a service connect, and as whom?

use std::{str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use tokio::sync::OwnedSemaphorePermit;

use super::{Schema, Sweeper, System, TenantTx, Unscoped, places::Places, tx::counted};
use crate::{
    caller::{Actor, Caller},
    config::{DatabaseSettings, StartError},
    error::Error,
    serve::{PoolFigures, Ready},
};

/// The narrow roles that a service works as. Neither owns a table or bypasses row security.
#[derive(Debug, Clone)]
pub struct Roles {
    /// Reads and writes the rows of one account at a time.
    pub app: String,
    /// Reads a few columns of all accounts, to find out which account it is about.
    pub lookup: String,
    /// Deletes what has expired, of all accounts.
    pub sweep: String,
}

impl Roles {
    /// `identity_app` and `identity_lookup`, with the installation's prefix before them.
    pub fn new(prefix: &str, schema: &str) -> Self {
        let named = |power: &str| format!("{prefix}{schema}_{power}");
        Self { app: named("app"), lookup: named("lookup"), sweep: named("sweep") }
    }

    /// All of them.
    pub fn all(&self) -> [&str; 3] {
        [&self.app, &self.lookup, &self.sweep]
    }
}

/// A service's database. The pools do not leave this folder.
#[derive(Debug, Clone)]
pub struct Db {
    app: PgPool,
    lookup: PgPool,
    sweep: PgPool,
    places: Places,
    schema: &'static Schema,
}

/// Accounts begin at 1.
const NOBODY: i64 = 0;
const SWEEP_IDLE: Duration = Duration::from_secs(30);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a service waits at its start for a database that does not answer yet.
const START_TIMEOUT: Duration = Duration::from_secs(30);

impl Db {
    /// Connects and takes the narrow roles on.
    ///
    /// # Errors
    /// When nothing answers, or when the roles cannot be taken on, or would not be narrow.
    pub async fn connect(
        settings: &DatabaseSettings,
        schema: &'static Schema,
    ) -> Result<Self, StartError> {
        let options = options(settings)?;
        let roles = Roles::new(&settings.pool.role_prefix, schema.name);
        wait_for_database(&options).await?;
        for role in roles.all() {
            refuse_wide_role(&options, role, schema.name).await?;
        }
        Ok(Self {
            app: pool(settings.pool.size, &roles.app, schema.name, "")
                .connect_lazy_with(options.clone()),
            lookup: pool(
                settings.pool.size,
                &roles.lookup,
                schema.name,
                "; SET default_transaction_read_only = on",
            )
            .connect_lazy_with(options.clone()),
            // Once in a while, by one task.
            sweep: pool(1, &roles.sweep, schema.name, "")
                .idle_timeout(SWEEP_IDLE)
                .connect_lazy_with(options),
            places: Places::of_pool(settings.pool.size, ACQUIRE_TIMEOUT),
            schema,
        })
    }

    /// A transaction inside the caller's account.
    pub async fn begin(&self, caller: &Caller) -> Result<TenantTx, Error> {
        self.begin_in(caller.account_id(), caller.actor()).await
    }

    /// A transaction inside the account that a task found by itself.
    pub async fn begin_system(&self, system: System) -> Result<TenantTx, Error> {
        self.begin_in(system.account_id(), Actor::System(system.task())).await
    }

    /// A transaction inside an account that another service named in its answer to a question of
    /// ours, over a channel on which we know each other. Never one that a caller named: their
    /// account comes with the [`Caller`].
    pub async fn begin_named(
        &self,
        account_id: i64,
        task: &'static str,
    ) -> Result<TenantTx, Error> {
        self.begin_in(account_id, Actor::System(task)).await
    }

    /// Single reads that precede a tenant.
    pub fn unscoped(&self) -> Unscoped<'_> {
        Unscoped::new(&self.lookup)
    }

    /// A transaction that reaches no account's rows, only what belongs to none.
    pub async fn begin_without_tenant(&self, task: &'static str) -> Result<TenantTx, Error> {
        let place = self.places.take_nobodys().await?;
        self.begin_as(NOBODY, Actor::System(task), Some(place)).await
    }

    /// The same for what the service does by itself, one after the other: it waits behind no
    /// caller.
    pub async fn begin_in_background(&self, task: &'static str) -> Result<TenantTx, Error> {
        self.begin_as(NOBODY, Actor::System(task), None).await
    }

    /// Deletes what has expired.
    pub fn sweeper(&self) -> Sweeper {
        Sweeper::new(self.sweep.clone())
    }

    /// The scope of a tenant that does not exist yet: its id is drawn here.
    pub async fn new_tenant(&self, task: &'static str) -> Result<System, Error> {
        let draw = self.schema.draw_tenant;
        let draw = draw.ok_or_else(|| Error::internal("tenants do not begin in this schema"))?;
        let mut dead = 0;
        loop {
            match counted(sqlx::query_scalar(draw).fetch_one(&self.app)).await {
                Err(error) if was_ended(&error) && dead < most(&self.app) => dead += 1,
                id => return Ok(System::new(id?, task)),
            }
        }
    }

    async fn begin_in(&self, account_id: i64, actor: Actor) -> Result<TenantTx, Error> {
        let place = self.places.take(account_id).await?;
        self.begin_as(account_id, actor, Some(place)).await
    }

    async fn begin_as(
        &self,
        account_id: i64,
        actor: Actor,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<TenantTx, Error> {
        // One round trip; the account is a number, so there is nothing to escape.
        let begin = format!("BEGIN; SET LOCAL app.account_id = '{account_id}'");
        let tx = self.begin_alive(&begin).await?;
        Ok(TenantTx::new(tx, place, account_id, actor, self.schema.constraints))
    }

    /// After a restart of the database every pooled connection is dead. Nothing was asked yet,
    /// so the next one is tried, until they are used up.
    async fn begin_alive(&self, begin: &str) -> Result<Transaction<'static, Postgres>, Error> {
        let mut dead = 0;
        loop {
            match counted(self.app.begin_with(AssertSqlSafe(begin.to_owned()))).await {
                Err(error) if was_ended(&error) && dead < most(&self.app) => dead += 1,
                transaction => return Ok(transaction?),
            }
        }
    }
}

/// How many of a pool's connections can be dead.
pub(super) fn most(pool: &PgPool) -> u32 {
    pool.options().get_max_connections()
}

/// Whether a connection turned out to have been ended by the other side.
pub(super) fn was_ended(error: &sqlx::Error) -> bool {
    let by_operator = |code: &str| matches!(code, "57P01" | "57P02");
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.code().as_deref().is_some_and(by_operator),
        _ => false,
    }
}

#[tonic::async_trait]
impl Ready for Db {
    async fn ready(&self) -> Result<(), String> {
        let applied: Option<i64> = sqlx::query_scalar(self.schema.applied)
            .fetch_one(&self.lookup)
            .await
            .map_err(|error| error.to_string())?;
        let needed = self.schema.migrator.iter().map(|migration| migration.version).max();
        if applied < needed {
            return Err(format!(
                "the schema is at {applied:?} and must be at {needed:?}: run migrate"
            ));
        }
        Ok(())
    }

    fn pool(&self) -> PoolFigures {
        PoolFigures {
            size: self.app.size() + self.lookup.size(),
            idle: u32::try_from(self.app.num_idle() + self.lookup.num_idle()).unwrap_or(u32::MAX),
        }
    }
}

/// What a URL says, with everything that logs statements switched off: they are counted, and
/// their parameters are nobody's business.
pub(super) fn options(settings: &DatabaseSettings) -> Result<PgConnectOptions, StartError> {
    use sqlx::ConnectOptions;
    PgConnectOptions::from_str(settings.url.expose())
        .map(PgConnectOptions::disable_statement_logging)
        .map_err(|error| StartError::new(format!("The database URL cannot be read ({error}): write it as postgres://user:password@host:5432/database.")))
}

/// One connection as the URL says, for looking and not for touching. Names of tables are printed
/// with their schema on it.
pub(crate) async fn to_look(settings: &DatabaseSettings) -> Result<PgConnection, StartError> {
    let mut connection = wait_for_database(&options(settings)?).await?;
    let look = "SET default_transaction_read_only = on; SET search_path = pg_catalog, pg_temp; SET client_min_messages = warning";
    sqlx::raw_sql(look).execute(&mut connection).await.map_err(cannot_look)?;
    Ok(connection)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
pub(crate) fn cannot_look(error: sqlx::Error) -> StartError {
    StartError::new(format!("The database cannot be looked at: {}.", in_words(&error)))
}

/// What the database said, without where in its own source it said so.
pub(crate) fn in_words(error: &sqlx::Error) -> String {
    let said = error.as_database_error().map(|error| error.message().to_owned());
    said.unwrap_or_else(|| error.to_string())
}

fn pool(size: u32, role: &str, schema: &str, also: &str) -> PgPoolOptions {
    let adopt = adopt(role, schema) + also;
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Costs a round trip per request; whoever meets a dead connection takes another instead.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let adopt = adopt.clone();
            Box::pin(async move {
                sqlx::raw_sql(AssertSqlSafe(adopt)).execute(connection).await?;
                Ok(())
            })
        })
}

/// Takes a role on. Only the service's own schema is on the path, so that nothing of another
/// application in the same database is ever meant by accident, nor a temporary table.
fn adopt(role: &str, schema: &str) -> String {
    format!(
        "SET ROLE \"{role}\"; SET search_path = {schema}, pg_temp; SET lock_timeout = '5s'; SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'"
    )
}

/// One connection, if the database answers within a while.
pub(super) async fn wait_for_database(
    options: &PgConnectOptions,
) -> Result<PgConnection, StartError> {
    let patience = tokio::time::Instant::now() + START_TIMEOUT;
    loop {
        match PgConnection::connect_with(options).await {
            Ok(connection) => return Ok(connection),
            Err(error) if is_permanent(&error) || tokio::time::Instant::now() > patience => {
                let said = in_words(&error);
                return Err(StartError::new(format!("The database does not answer: {said}.")));
            }
            Err(error) => {
                tracing::warn!(%error, "the database does not answer yet");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

/// A wrong password or a missing database do not mend themselves; a server that is starting does.
fn is_permanent(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() != Some("57P03"))
}

async fn refuse_wide_role(
    options: &PgConnectOptions,
    role: &str,
    schema: &str,
) -> Result<(), StartError> {
    let mut connection = wait_for_database(options).await?;
    sqlx::raw_sql(AssertSqlSafe(adopt(role, schema))).execute(&mut connection).await.map_err(|error| {
        StartError::new(format!(
            "The role {role} cannot be taken on ({}): run the service's `migrate` once, as the owner of the database.",
            in_words(&error)
        ))
    })?;
    let wide: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolbypassrls))
             OR EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                         WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
                           AND pg_has_role(current_user, c.relowner, 'MEMBER'))",
    )
    .bind(schema)
    .fetch_one(&mut connection)
    .await
    .map_err(|error| {
        StartError::new(format!("The role {role} cannot be checked: {}.", in_words(&error)))
    })?;
    connection.close().await.ok();
    if wide {
        return Err(StartError::new(format!(
            "The role {role} owns tables of the schema {schema} or bypasses row security, so it would not keep accounts apart: take that from it."
        )));
    }
    Ok(())
}
