//! The program `identity-service`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use identity_service::{NAME, SCHEMA, Settings, app, database};
use service_kit::{
    config::{Reader, Source, StartError, TelemetrySettings},
    db::migrate,
    serve::{self, Bound, shutdown_token},
    telemetry,
};

/// Accounts, the people in them, and the credentials they show.
#[derive(Parser)]
#[command(version, after_help = "Settings come from the environment; the README lists them.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer calls until told to stop.
    Serve,
    /// Bring the schema up to date and make the roles that `serve` works as. Safe to repeat.
    Migrate,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve => serve().await,
        Command::Migrate => migrate_schema().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), StartError> {
    let (settings, telemetry, described) = settings()?;
    let telemetry = telemetry::init(&telemetry)?;
    for setting in described.lines() {
        tracing::info!("{setting}");
    }
    let bound = Bound::bind(&settings.server).await?;
    let app = app(&settings, telemetry.spans()).await?;
    let served = serve::serve(app, bound, &settings.server, shutdown_token()).await;
    telemetry.flush().await;
    served
}

async fn migrate_schema() -> Result<(), StartError> {
    let (settings, telemetry, _) = settings()?;
    telemetry::init(&telemetry)?;
    migrate(database(&settings)?, &SCHEMA).await?;
    tracing::info!("the schema {} is up to date", SCHEMA.name);
    Ok(())
}

fn settings() -> Result<(Settings, TelemetrySettings, String), StartError> {
    let source = Source::environment();
    let mut reader = Reader::new(&source);
    let settings = Settings::read(&mut reader);
    let telemetry = TelemetrySettings::read(&mut reader, NAME);
    let described = reader.describe();
    reader.finish(&["IDENTITY_"])?;
    Ok((settings, telemetry, described))
}
