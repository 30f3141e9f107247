//! What is measured, a file for each.

mod create_payment;
mod equal_cost;
mod get_client;
mod growth;
mod import;
mod list_clients;
mod login;
mod memory;
mod overload;
mod pages;
mod row_security;
mod statistics;
mod transfer;
mod validate_token;

use std::sync::Arc;

use bytes::Bytes;
use clap::ValueEnum;
use prost::Message;

use crate::{
    Outcome,
    figures::table::{Floor, Line, Report},
    options::{Options, Scenario},
    progress::Progress,
    stack::{Stack, grpc},
};

/// What a scenario has to work with.
pub struct Bench<'a> {
    pub stack: &'a Stack,
    pub options: &'a Options,
    pub progress: &'a Progress,
}

/// Runs what was asked for, on one stack, and shows what was found.
pub async fn run(options: &Options) -> Outcome<()> {
    let progress = Progress::new();
    progress.say("Starting PostgreSQL, both services and the references");
    let stack = Stack::start().await?;
    let bench = Bench { stack: &stack, options, progress: &progress };
    let mut reports = Vec::new();
    for scenario in chosen(options) {
        let report = bench.run(scenario).await?;
        progress.show(&report.markdown());
        reports.push(report);
    }
    progress.end();
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_string_pretty(&reports)?)?;
    }
    if let Some(file) = &options.markdown {
        let tables: Vec<_> = reports.iter().map(Report::markdown).collect();
        std::fs::write(file, tables.join("\n"))?;
    }
    Ok(())
}

fn chosen(options: &Options) -> Vec<Scenario> {
    if options.scenarios.contains(&Scenario::All) {
        let all = Scenario::value_variants().iter().copied();
        return all.filter(|scenario| *scenario != Scenario::All).collect();
    }
    options.scenarios.clone()
}

impl Bench<'_> {
    async fn run(&self, scenario: Scenario) -> Outcome<Report> {
        match scenario {
            Scenario::ValidateToken => validate_token::run(self).await,
            Scenario::GetClient => get_client::run(self).await,
            Scenario::RowSecurity => row_security::run(self).await,
            Scenario::ListClients => list_clients::run(self).await,
            Scenario::CreatePayment => create_payment::run(self).await,
            Scenario::Login => login::run(self).await,
            Scenario::Pages => pages::run(self).await,
            Scenario::Statistics => statistics::run(self).await,
            Scenario::Memory => memory::run(self).await,
            Scenario::Import => import::run(self).await,
            Scenario::Transfer => transfer::run(self).await,
            Scenario::Overload => overload::run(self).await,
            Scenario::Growth => growth::run(self).await,
            Scenario::EqualCost => equal_cost::run(self).await,
            Scenario::All => Err("all of them are run one by one".into()),
        }
    }
}

/// The same message each time.
fn always(message: &impl Message) -> grpc::Message {
    let bytes = Bytes::from(message.encode_to_vec());
    Arc::new(move |_| bytes.clone())
}

/// A message for each number.
fn each<M: Message>(message: impl Fn(u64) -> M + Send + Sync + 'static) -> grpc::Message {
    Arc::new(move |number| message(number).encode_to_vec().into())
}

/// One after another, and again from the beginning.
fn turn<T: Copy>(of: &[T], number: u64) -> T {
    of[usize::try_from(number).unwrap_or(0) % of.len()]
}

/// How the median latency of a line stands to that of another.
#[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^52 microseconds")]
fn latency_floor(what: &str, line: &Line, reference: &Line, bound: f64) -> Floor {
    Floor::at_most(what, line.p50_us as f64 / reference.p50_us.max(1) as f64, bound)
}
