//! Statistics of 1,000,000 clients against those of 1,000.

use proto::crm::v1::GetClientStatisticsRequest;

use super::{Bench, always};
use crate::{
    Outcome,
    compare::Comparison,
    figures::table::Report,
    stack::{Account, grpc::Method},
};

const MANY: u64 = 1_000_000;
const FEW: u64 = 1_000;

pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    bench.progress.say("Loading 1,000,000 clients");
    let (many, few) = (bench.stack.account(MANY).await?, bench.stack.account(FEW).await?);
    let connections = bench.options.connections;
    let targets = [
        statistics(bench, "of 1,000 clients", &few).target(connections).await?,
        statistics(bench, "of 1,000,000 clients", &many).target(connections).await?,
    ];
    let comparison = Comparison::new(bench.options, bench.progress).with_callers(4);
    let lines = comparison.run(&targets).await?;
    let mut report = Report::new("statistics", "GetClientStatistics of the whole account");
    report.floors.push(super::latency_floor("1,000,000 against 1,000", &lines[1], &lines[0], 1.2));
    report.lines = lines;
    Ok(report)
}

fn statistics(bench: &Bench<'_>, name: &str, account: &Account) -> Method {
    let stack = bench.stack;
    Method {
        name: name.to_owned(),
        address: stack.crm.address,
        path: "/crm.v1.ClientService/GetClientStatistics",
        metadata: vec![("authorization", account.authorization())],
        message: always(&GetClientStatisticsRequest::default()),
        watched: vec![stack.crm.watched("crm"), stack.watched_postgres()],
    }
}
