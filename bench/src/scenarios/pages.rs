//! Page 1,000 against page 1.

use super::{
    Bench,
    list_clients::{first_page, page, page_tokens},
};
use crate::{Outcome, compare::Comparison, figures::table::Report};

const CLIENTS: u64 = 100_000;
const DEEP: u32 = 1_000;

pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    bench.progress.say("Loading 100,000 clients");
    let (stack, account) = (bench.stack, bench.stack.account(CLIENTS).await?);
    bench.progress.say("Walking to page 1,000");
    let token = page_tokens(bench, &account, &[DEEP]).await?.remove(0);
    let connections = bench.options.connections;
    let first = first_page("page 1", &stack.crm, &account).target(connections).await?;
    let deep = page("page 1,000", &stack.crm, &account, token).target(connections).await?;
    let comparison = Comparison::new(bench.options, bench.progress).with_callers(4);
    let lines = comparison.run(&[first, deep]).await?;
    let mut report = Report::new("pages", "50 clients of 100,000, newest first");
    report.floors.push(super::latency_floor(
        "page 1,000 against page 1",
        &lines[1],
        &lines[0],
        1.2,
    ));
    report.lines = lines;
    Ok(report)
}
