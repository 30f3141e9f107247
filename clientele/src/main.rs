//! The whole product with one command: a private PostgreSQL and both services in one process,
//! over real gRPC. Prints what to call next.

mod config;
mod database;
mod keys;
mod transfer;
mod welcome;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use service_kit::{
    config::StartError,
    program,
    serve::{self, Bound, shutdown_token},
    telemetry::{self, TelemetryGuard},
};
use tokio_util::sync::CancellationToken;

use config::Settings;
use transfer::{ExportOptions, ImportOptions, export_clients, import_clients};

/// The whole product: a private PostgreSQL, identity-service and crm-service.
///
/// Without a command it starts all of them and answers calls until it is told to stop. The
/// commands call a crm-service that runs already.
#[derive(Parser)]
#[command(version, after_help = "Settings come from the environment; the README lists them.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    ImportClients(ImportOptions),
    ExportClients(ExportOptions),
}

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        None => program::exit(run().await),
        Some(Command::ImportClients(options)) => import_clients(options).await,
        Some(Command::ExportClients(options)) => export_clients(options).await,
    }
}

/// Starts everything in the order in which it depends on each other, and ends it in reverse.
async fn run() -> Result<(), StartError> {
    let (mut settings, described) = Settings::read()?;
    let telemetry = Telemetry::start(&settings)?;
    for setting in described.lines() {
        tracing::debug!("{setting}");
    }
    let stop = shutdown_token();
    let identity = Bound::bind(&settings.identity.server).await?;
    let crm = Bound::bind(&settings.crm.server).await?;
    keys::complete(&mut settings, identity.address())?;
    let started = tokio::select! {
        started = database::complete(&mut settings) => started?,
        () = stop.cancelled() => return Ok(()),
    };
    let served = serve_both(&settings, &telemetry, identity, crm, stop).await;
    telemetry.flush().await;
    if let Some(postgres) = started {
        postgres.stop().await.map_err(|error| StartError::new(error.to_string()))?;
    }
    served
}

/// Two services as two servers: the one asks the other over the wire, as it does everywhere.
async fn serve_both(
    settings: &Settings,
    telemetry: &Telemetry,
    identity: Bound,
    crm: Bound,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let identity_app =
        identity_service::app(&settings.identity, telemetry.identity.spans()).await?;
    let crm_app = crm_service::app(&settings.crm, telemetry.crm.spans()).await?;
    println!("{}", welcome::text(settings, identity.address(), crm.address()));

    // The one that asks is stopped first, so that what it still does is still answered.
    let crm_stopped = CancellationToken::new();
    let crm_serving = async {
        let served = serve::serve(crm_app, crm, &settings.crm.server, stop).await;
        crm_stopped.cancel();
        served
    };
    let identity_serving =
        serve::serve(identity_app, identity, &settings.identity.server, crm_stopped.clone());
    let (identity_served, crm_served) = tokio::join!(identity_serving, crm_serving);
    identity_served.and(crm_served)
}

/// What each service tells about itself.
struct Telemetry {
    identity: TelemetryGuard,
    crm: TelemetryGuard,
}

impl Telemetry {
    fn start(settings: &Settings) -> Result<Self, StartError> {
        Ok(Self {
            identity: telemetry::init(&settings.identity_telemetry)?,
            crm: telemetry::init(&settings.crm_telemetry)?,
        })
    }

    async fn flush(self) {
        self.identity.flush().await;
        self.crm.flush().await;
    }
}
