//! The program `identity-service`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use identity_service::{NAME, SCHEMA, Settings, app, database};
use service_kit::{
    config::StartError,
    db::migrate,
    program::{self, Program},
    serve::{self, Bound, shutdown_token},
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
    program::exit(match Cli::parse().command {
        Command::Serve => serve().await,
        Command::Migrate => migrate_schema().await,
    })
}

async fn serve() -> Result<(), StartError> {
    let program = begin()?;
    program.show_settings();
    let bound = Bound::bind(&program.settings.server).await?;
    let app = app(&program.settings, program.spans()).await?;
    let served = serve::serve(app, bound, &program.settings.server, shutdown_token()).await;
    program.end().await;
    served
}

async fn migrate_schema() -> Result<(), StartError> {
    let program = begin()?;
    migrate(database(&program.settings)?, &SCHEMA).await?;
    tracing::info!("the schema {} is up to date", SCHEMA.name);
    Ok(())
}

fn begin() -> Result<Program<Settings>, StartError> {
    Program::begin(NAME, "IDENTITY_", Settings::read)
}
