//! Do 1,000,000 clients go out to a file and come in from it in the memory that a few need?

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::process::{Child, Command};

use super::Bench;
use crate::{
    Outcome,
    figures::{
        process::{Usage, Watched, resident},
        table::{Floor, Line, Report},
    },
    stack::Account,
};

const ROWS: u64 = 1_000_000;
/// What a process may hold more at its most than in the first tenth of the time, in KiB.
const GROWTH: f64 = 16.0 * 1024.0;
/// Far longer than either takes.
const PATIENCE: Duration = Duration::from_secs(1800);

pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    let command = build().await?;
    let (from, to) = (bench.stack.account(ROWS).await?, bench.stack.account(2).await?);
    let mut report = Report::new("transfer", "1,000,000 clients out to a file, and in from it");
    bench.progress.expect(2);
    let file = std::env::temp_dir().join(format!("clientele-bench-{}.csv", std::process::id()));
    let outcome = there_and_back(bench, &mut report, &command, &file, [&from, &to]).await;
    // Where there is none, that is not what went wrong.
    let _gone = std::fs::remove_file(file);
    outcome.map(|()| report)
}

async fn there_and_back(
    bench: &Bench<'_>,
    report: &mut Report,
    command: &Path,
    file: &Path,
    [from, to]: [&Account; 2],
) -> Outcome<()> {
    for (name, account) in [("export-clients", from), ("import-clients", to)] {
        bench.progress.say(name);
        let mut program = Command::new(command);
        program
            .arg(name)
            .arg(file)
            .args(["--server", &format!("http://{}", bench.stack.crm.address)]);
        program
            .env("CLIENTELE_TOKEN", &account.token)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let found = watch(bench, program.kill_on_drop(true).spawn()?).await?;
        report.floors.extend(found.floors(name));
        report.lines.push(found.line(name));
        bench.progress.step();
    }
    Ok(())
}

/// The command, built as this program is.
async fn build() -> Outcome<PathBuf> {
    let here = std::env::current_exe()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "clientele"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    if cargo.status().await?.success() {
        Ok(here.with_file_name("clientele"))
    } else {
        Err("the command was not built".into())
    }
}

/// What a command and crm-service held and used meanwhile.
struct Found {
    took: Duration,
    cpu_us: Vec<(String, f64)>,
    resident_kib: Vec<(String, u64)>,
    /// Of the command and of crm-service, one after another.
    held: Vec<[u64; 2]>,
}

async fn watch(bench: &Bench<'_>, mut child: Child) -> Outcome<Found> {
    let stack = bench.stack;
    let pid = child.id().ok_or("it has begun")?;
    let watched =
        [Watched::process("command", pid), stack.crm.watched("crm"), stack.watched_postgres()];
    let (began, before) = (Instant::now(), Usage::of(&watched));
    let (mut held, mut last) = (Vec::new(), Usage::of(&watched));
    while child.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            return Err("the command does not end".into());
        }
        let usage = Usage::of(&watched);
        let now = [pid, stack.crm.child.pid()].map(resident);
        // It has nothing any more once it has ended.
        if now[0] > 0 {
            held.push(now);
            last = usage;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let output = child.wait_with_output().await?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if !output.status.success() || !said.contains("1,000,000 ") {
        return Err(format!("the command ended with {}: {said}", output.status).into());
    }
    let cpu_us = last.since(&before, ROWS);
    Ok(Found { took: began.elapsed(), cpu_us, resident_kib: last.resident(), held })
}

impl Found {
    fn line(self, name: &str) -> Line {
        #[expect(clippy::cast_precision_loss, reason = "these are small")]
        let per_second = ROWS as f64 / self.took.as_secs_f64();
        Line {
            name: name.to_owned(),
            per_second,
            p50_us: 0,
            p99_us: 0,
            ratio: None,
            cpu_us: self.cpu_us,
            resident_kib: self.resident_kib,
        }
    }

    fn floors(&self, name: &str) -> [Floor; 2] {
        let tenth = self.held.len().div_ceil(10);
        [(0, name), (1, "crm")].map(|(which, whose)| {
            let most = |of: &[[u64; 2]]| of.iter().map(|held| held[which]).max().unwrap_or(0);
            #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 KiB")]
            let more = most(&self.held).saturating_sub(most(&self.held[..tenth])) as f64;
            let what = format!("{whose} during {name} holds more than in its first tenth, KiB");
            Floor::at_most(&what, more, GROWTH)
        })
    }
}
