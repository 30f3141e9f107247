//! How do cost and latency grow with accounts, clients, depth and callers?
//!
//! Each as a picture beside the results.

use std::path::{Path, PathBuf};

use super::{
    Bench,
    get_client::get_client,
    list_clients::{first_page, page, page_tokens},
};
use crate::{
    Outcome,
    figures::{
        plot::{Curve, plot},
        table::{Line, Report},
    },
    load::{Load, Measure, Target, drive},
};

const ACCOUNTS: [i64; 4] = [10, 100, 1_000, 10_000];
const CLIENTS: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const PAGES: [u32; 4] = [1, 10, 100, 1_000];
const CALLERS: [usize; 6] = [1, 4, 16, 64, 256, 1_024];

pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    let mut report = Report::new("growth", "throughput and p99 as things grow");
    let folder = pictures();
    bench.progress.expect((ACCOUNTS.len() + CLIENTS.len() + PAGES.len() + CALLERS.len()) as u64);
    by_callers(bench, &mut report, &folder).await?;
    by_accounts(bench, &mut report, &folder).await?;
    by_page(bench, &mut report, &folder).await?;
    by_clients(bench, &mut report, &folder).await?;
    Ok(report)
}

/// Beside the source, wherever this was built.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("growth")
}

async fn by_callers(bench: &Bench<'_>, report: &mut Report, folder: &Path) -> Outcome<()> {
    let (stack, account) = (bench.stack, bench.stack.account(1_000).await?);
    let target = get_client("GetClient", &stack.crm, &account).target(64).await?;
    let mut points = Vec::new();
    for callers in CALLERS {
        points.push((callers as u64, point(bench, &target, callers, report).await?));
    }
    draw(folder, "callers", "callers at once (GetClient, call mode)", &points)
}

async fn by_accounts(bench: &Bench<'_>, report: &mut Report, folder: &Path) -> Outcome<()> {
    let (stack, account) = (bench.stack, bench.stack.account(1_000).await?);
    let mut points = Vec::new();
    for accounts in ACCOUNTS {
        account.neighbours(stack, accounts).await?;
        let name = format!("GetClient, {accounts} accounts");
        let target = get_client(&name, &stack.crm, &account).target(4).await?;
        let callers = bench.options.callers as usize;
        points.push((accounts.unsigned_abs(), point(bench, &target, callers, report).await?));
    }
    draw(folder, "accounts", "accounts of 100 clients (GetClient, call mode)", &points)
}

async fn by_page(bench: &Bench<'_>, report: &mut Report, folder: &Path) -> Outcome<()> {
    let (stack, account) = (bench.stack, bench.stack.account(100_000).await?);
    let tokens = page_tokens(bench, &account, &PAGES).await?;
    let mut points = Vec::new();
    for (number, token) in PAGES.into_iter().zip(tokens) {
        let name = format!("ListClients, page {number}");
        let target = page(&name, &stack.crm, &account, token).target(4).await?;
        points.push((u64::from(number), point(bench, &target, 8, report).await?));
    }
    draw(folder, "pages", "page (ListClients, 50 of 100,000 clients)", &points)
}

async fn by_clients(bench: &Bench<'_>, report: &mut Report, folder: &Path) -> Outcome<()> {
    let stack = bench.stack;
    let mut points = Vec::new();
    for clients in CLIENTS {
        bench.progress.say(&format!("Loading {clients} clients"));
        let account = stack.account(clients).await?;
        let name = format!("ListClients, {clients} clients");
        let target = first_page(&name, &stack.crm, &account).target(4).await?;
        points.push((clients, point(bench, &target, 8, report).await?));
    }
    draw(folder, "clients", "clients in the account (ListClients, page 1)", &points)
}

/// One point, after a warm-up.
async fn point(
    bench: &Bench<'_>,
    target: &Target,
    callers: usize,
    report: &mut Report,
) -> Outcome<Measure> {
    bench.progress.say(&format!("{}, {callers} callers", target.name));
    let duration = bench.options.duration();
    drive(target, Load { callers, duration: duration / 3 }).await?;
    let measure = drive(target, Load { callers, duration }).await?;
    if measure.answered == 0 {
        return Err(format!("{} answered nothing", target.name).into());
    }
    report.lines.push(Line {
        name: format!("{}, {callers} callers", target.name),
        per_second: measure.rate(),
        p50_us: measure.latencies.value_at_quantile(0.5),
        p99_us: measure.latencies.value_at_quantile(0.99),
        ratio: None,
        cpu_us: measure.cpu.clone(),
        resident_kib: measure.resident.clone(),
    });
    if measure.refused > 0 {
        let (refused, all) = (measure.refused, measure.refused + measure.answered);
        report
            .notes
            .push(format!("{}, {callers} callers: {refused} of {all} refused", target.name));
    }
    bench.progress.step();
    Ok(measure)
}

fn draw(folder: &Path, name: &str, axis: &str, points: &[(u64, Measure)]) -> Outcome<()> {
    #[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^52 microseconds")]
    let p99 = |measure: &Measure| measure.latencies.value_at_quantile(0.99) as f64 / 1000.0;
    let rate = points.iter().map(|(at, measure)| (*at, measure.rate())).collect();
    let latency = points.iter().map(|(at, measure)| (*at, p99(measure))).collect();
    std::fs::create_dir_all(folder)?;
    let curves = [
        Curve { name: "answers per second", points: rate },
        Curve { name: "p99, ms", points: latency },
    ];
    plot(&folder.join(format!("{name}.svg")), axis, &curves)
}
