//! The program `crm-service`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use crm_service::{NAME, SCHEMA, Settings, app, database};
use service_kit::{
    config::StartError,
    db::{migrate, to_do},
    doctor,
    program::{self, Program},
    serve::{self, Bound, shutdown_token},
};

/// The clients of an account, and what they buy.
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
    Migrate {
        /// Change nothing: say what there is to do, and fail if there is anything.
        #[arg(long)]
        check: bool,
    },
    /// Look for what is wrong with the database, and say what to do about it. Changes nothing.
    ///
    /// Warnings end well; what is wrong ends with code 1.
    Doctor,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::exit(match Cli::parse().command {
        Command::Serve => serve().await,
        Command::Migrate { check: false } => migrate_schema().await,
        Command::Migrate { check: true } => check_schema().await,
        Command::Doctor => examine().await,
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

async fn check_schema() -> Result<(), StartError> {
    let program = begin()?;
    StartError::all(to_do(database(&program.settings)?, &SCHEMA).await?)?;
    println!("There is nothing to do: the schema {} is up to date.", SCHEMA.name);
    Ok(())
}

async fn examine() -> Result<(), StartError> {
    let program = begin()?;
    let report = doctor::examine(database(&program.settings)?, &SCHEMA, &[]).await?;
    println!("{report}");
    report.verdict()
}

fn begin() -> Result<Program<Settings>, StartError> {
    Program::begin(NAME, "CRM_", Settings::read)
}
