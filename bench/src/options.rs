//! What can be asked for?

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures Clientele against what it cannot be faster than.
///
/// Each subject and its reference are driven in turn, several rounds in one run. Figures are
/// medians of the rounds; the ratio is the median of the rounds' ratios.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Subcommand)]
pub enum Command {
    /// What a process of the stack runs.
    #[command(hide = true)]
    Role { role: Role },
}

/// What a process of the stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Identity,
    Crm,
    /// crm-service to which everybody is one and the same super admin.
    CrmOpen,
    Bare,
}

#[derive(Debug, Clone, Args)]
pub struct Options {
    /// What to measure; several, or `all`.
    #[arg(required = true, value_name = "SCENARIO")]
    pub scenarios: Vec<Scenario>,
    /// How many times each is driven.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub rounds: u32,
    /// How many seconds each time.
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    pub seconds: f64,
    /// How many calls are under way at once.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub callers: u32,
    /// Over how many connections.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub connections: u32,
    /// Writes the figures to this file as well, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes the tables to this file as well, as Markdown.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

impl Options {
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.1..=600.0).contains(&seconds) { Ok(seconds) } else { Err("0.1 to 600".to_owned()) }
}

/// What can be measured.
#[expect(clippy::doc_markdown, reason = "it is printed as it stands here")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// All of them.
    All,
    /// ValidateToken against a bare unary call with one indexed read.
    ValidateToken,
    /// GetClient against the same handler without authorisation.
    GetClient,
    /// A read under row security against the same read without.
    RowSecurity,
    /// ListClients, 50 rows, against bare tonic and sqlx.
    ListClients,
    /// CreatePayment with an allocation against a durable one-row insert.
    CreatePayment,
    /// Login against Argon2 alone, and GetClient during a storm of log-ins.
    Login,
    /// Page 1,000 against page 1.
    Pages,
    /// Statistics of 1,000,000 clients against those of 1,000.
    Statistics,
    /// What each service holds in memory.
    Memory,
    /// An import of 1,000,000 rows: how fast, and in how much memory.
    Import,
    /// 1,000,000 clients out to a file and in from it, with the commands: in how much memory.
    Transfer,
    /// Ten times too many callers; idle connections and open streams.
    Overload,
    /// Throughput and p99 against accounts, clients, pages and callers, as pictures.
    Growth,
    /// What a stranger could learn from the time of an answer.
    EqualCost,
}
