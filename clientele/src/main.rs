//! The whole product with one command: a private PostgreSQL and both services in one process,
//! over real gRPC. Prints what to call next.

mod config;
mod database;
mod demo;
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
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Settings come from the environment; the README lists them."
)]
struct Cli {
    /// Make two companies to look around in, unless they are there, and say how to log in.
    #[arg(long)]
    demo: bool,
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
    let cli = Cli::parse();
    match cli.command {
        None => program::exit(run(cli.demo).await),
        Some(Command::ImportClients(options)) => import_clients(options).await,
        Some(Command::ExportClients(options)) => export_clients(options).await,
    }
}

/// Starts everything in the order in which it depends on each other, and ends it in reverse.
async fn run(with_demo: bool) -> Result<(), StartError> {
    let (mut settings, described) = Settings::read(with_demo)?;
    let telemetry = Telemetry::start(&settings)?;
    for setting in described.lines() {
        tracing::debug!("{setting}");
    }
    let stop = shutdown_token();
    let identity = Bound::bind(&settings.identity.server).await?;
    let crm = Bound::bind(&settings.crm.server).await?;
    let (at_identity, at_crm) = (identity.address(), crm.address());
    keys::complete(&mut settings, at_identity)?;
    let started = tokio::select! {
        started = database::complete(&mut settings) => started?,
        () = stop.cancelled() => return Ok(()),
    };
    let demo = async {
        if with_demo {
            let password = keys::demo_password(&settings.folder)?;
            Box::pin(demo::fill(&settings, &password, at_identity, at_crm)).await;
        }
        Ok(())
    };
    let serving = serve_both(&settings, &telemetry, identity, crm, stop.clone());
    let served = beside(demo, stop, serving).await;
    telemetry.flush().await;
    if let Some(postgres) = started {
        postgres.stop().await.map_err(|error| StartError::new(error.to_string()))?;
    }
    served
}

/// Does something while it is served, at most until it is to stop; what is served decides.
async fn beside(
    work: impl Future<Output = Result<(), StartError>>,
    stop: CancellationToken,
    serving: impl Future<Output = Result<(), StartError>>,
) -> Result<(), StartError> {
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => return served,
        () = stop.cancelled() => {}
        done = work => done?,
    }
    serving.await
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
