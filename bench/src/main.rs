//! How fast is it, next to what it cannot be faster than?
//!
//! Starts a stack of its own (PostgreSQL, identity-service, crm-service and bare references, each
//! a process), loads data, and drives each subject and its reference in turn within one run. What
//! counts is the ratio of the two: a machine that is slow today is slow for both.

mod compare;
mod figures;
mod load;
mod options;
mod progress;
mod roles;
mod scenarios;
mod stack;

use std::process::ExitCode;

use clap::Parser;

use options::{Cli, Command};

/// What goes wrong here is told to whoever started it, and ends it.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Role { role }) => roles::serve(role).await,
        None => scenarios::run(&cli.options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
