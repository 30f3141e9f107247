//! Clients in and out of files: the program as somebody uses it who has a spreadsheet.
//!
//! Files are read and written here; the server takes and gives typed rows, checks them and says
//! what became of each. Neither side ever holds more than some thousand of them.

mod columns;
mod csv;
mod export;
pub mod fault;
mod import;
mod jsonl;
mod progress;
mod quotes;
mod rows;
mod server;
mod tally;

use std::process::ExitCode;

pub use export::ExportOptions;
use fault::Fault;
pub use import::ImportOptions;

/// Every row was taken, or some were refused; or it could not be done.
const SOME_REFUSED: u8 = 1;
const NOT_DONE: u8 = 2;

pub async fn import_clients(options: ImportOptions) -> ExitCode {
    exit(import::run(options).await)
}

pub async fn export_clients(options: ExportOptions) -> ExitCode {
    exit(export::run(options).await.map(|()| true))
}

fn exit(done: Result<bool, Fault>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => SOME_REFUSED.into(),
        Err(fault) => {
            eprintln!("{fault}");
            NOT_DONE.into()
        }
    }
}
