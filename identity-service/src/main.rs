//! The program `identity-service`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use identity_service::{
    CHECKS, NAME, SCHEMA, Settings, app, database,
    operators::{CreateSuperAdmin, RevokeAll},
};
use service_kit::{
    config::StartError,
    db::{migrate, to_do},
    doctor,
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
    Migrate {
        /// Change nothing: say what there is to do, and fail if there is anything.
        #[arg(long)]
        check: bool,
    },
    /// Look for what is wrong with the database, and say what to do about it. Changes nothing.
    ///
    /// Warnings end well; what is wrong ends with code 1.
    Doctor,
    /// Make somebody who may do everything in an account.
    ///
    /// Asks for the password at a terminal; otherwise it is the first line of standard input.
    CreateSuperAdmin(CreateSuperAdmin),
    /// Log a person out, or an account, or everyone: end tokens and sessions.
    RevokeAll(RevokeAll),
}

#[tokio::main]
async fn main() -> ExitCode {
    program::exit(run(Cli::parse().command).await)
}

async fn run(command: Command) -> Result<(), StartError> {
    match command {
        Command::Serve => serve().await,
        Command::Migrate { check: false } => migrate_schema().await,
        Command::Migrate { check: true } => check_schema().await,
        Command::Doctor => examine().await,
        Command::CreateSuperAdmin(wanted) => wanted.run(&begin()?.settings).await,
        Command::RevokeAll(whose) => whose.run(&begin()?.settings).await,
    }
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
    let report = doctor::examine(database(&program.settings)?, &SCHEMA, CHECKS).await?;
    println!("{report}");
    report.verdict()
}

fn begin() -> Result<Program<Settings>, StartError> {
    Program::begin(NAME, "IDENTITY_", Settings::read)
}
