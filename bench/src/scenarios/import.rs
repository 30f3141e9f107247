//! Does an import of 1,000,000 rows stay as fast and as small as it begins?

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::stream;
use proto::crm::v1::{
    Client, ImportClientsOptions, ImportClientsRequest, ImportClientsResponse,
    client_service_client::ClientServiceClient,
};
use tokio::sync::Semaphore;
use tonic::{Streaming, metadata::AsciiMetadataValue};
use uuid::Uuid;

use super::Bench;
use crate::{
    Outcome,
    figures::{
        process::{Usage, Watched, resident},
        table::{Floor, Line, Report},
    },
    stack::{Account, grpc::connect},
};

const ROWS: u64 = 1_000_000;
const PARTS: u64 = 10;
/// Rows of a message, and rows that were sent and not answered.
const MESSAGE: u64 = 500;
const WINDOW: usize = 5_000;
/// What the service may hold more at the end than after the first part, in KiB.
const GROWTH: f64 = 16.0 * 1024.0;
/// As long as nothing may come.
const PATIENCE: Duration = Duration::from_secs(60);

#[expect(clippy::cast_precision_loss, reason = "these are small")]
pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    let (stack, account) = (bench.stack, bench.stack.account(1).await?);
    let mut report = Report::new("import", "1,000,000 new clients in one stream");
    let watched = [stack.crm.watched("crm"), stack.watched_postgres()];
    let window = Arc::new(Semaphore::new(WINDOW));
    let mut answers = import(bench, &account, window.clone()).await?;
    bench.progress.expect(PARTS);
    let (mut held, mut answered) = (Vec::new(), 0);
    for part in 1..=PARTS {
        bench.progress.say(&format!("Importing: part {part} of {PARTS}"));
        let (began, before) = (Instant::now(), Usage::of(&watched));
        while answered < part * ROWS / PARTS {
            let answer = tokio::time::timeout(PATIENCE, answers.message()).await??;
            let answer = answer.ok_or("the import ended early")?;
            let created = answer.totals.map_or(0, |totals| totals.created);
            answered += answer.results.len() as u64;
            if created.unsigned_abs() != answered {
                return Err("a row of the import was refused".into());
            }
            window.add_permits(answer.results.len());
        }
        report.lines.push(line(part, began, &before, &watched));
        held.push(resident(stack.crm.child.pid()));
        bench.progress.step();
    }
    complete(answers).await?;
    let rates: Vec<_> = report.lines.iter().map(|line| line.per_second).collect();
    let (first, last) = (rates[0], rates[rates.len() - 1]);
    report.floors.push(Floor::at_most(
        "crm holds more at the end than after the first tenth, KiB",
        held[held.len() - 1].saturating_sub(held[0]) as f64,
        GROWTH,
    ));
    report.floors.push(Floor::at_least("the last tenth against the first", last / first, 0.5));
    Ok(report)
}

async fn import(
    bench: &Bench<'_>,
    account: &Account,
    window: Arc<Semaphore>,
) -> Outcome<Streaming<ImportClientsResponse>> {
    let mut clients = ClientServiceClient::new(connect(bench.stack.crm.address).await?);
    let options = ImportClientsOptions { dry_run: false, request_id: Uuid::new_v4().to_string() };
    let rows = stream::unfold(0, move |sent| {
        let (window, options) = (window.clone(), options.clone());
        async move {
            if sent >= ROWS {
                return None;
            }
            let places = window.acquire_many(u32::try_from(MESSAGE).unwrap_or(1)).await.ok()?;
            places.forget();
            let rows = (sent..sent + MESSAGE).map(client).collect();
            let options = (sent == 0).then_some(options);
            Some((ImportClientsRequest { options, rows }, sent + MESSAGE))
        }
    });
    let mut request = tonic::Request::new(rows);
    let authorization: AsciiMetadataValue = account.authorization().parse()?;
    request.metadata_mut().insert("authorization", authorization);
    Ok(clients.import_clients(request).await?.into_inner())
}

fn client(number: u64) -> Client {
    Client {
        first_name: format!("First{number}"),
        last_name: format!("Last{number}"),
        email: format!("import{number}@example.com"),
        phone_number: "+31 20 1234567".into(),
        notes: "Met at the fair, wants to be called on Mondays.".into(),
        ..Default::default()
    }
}

fn line(part: u64, began: Instant, before: &Usage, watched: &[Watched]) -> Line {
    let (usage, rows) = (Usage::of(watched), ROWS / PARTS);
    #[expect(clippy::cast_precision_loss, reason = "these are small")]
    let per_second = rows as f64 / began.elapsed().as_secs_f64();
    Line {
        name: format!("rows up to {}", part * rows),
        per_second,
        p50_us: 0,
        p99_us: 0,
        ratio: None,
        cpu_us: usage.since(before, rows),
        resident_kib: usage.resident(),
    }
}

async fn complete(mut answers: Streaming<ImportClientsResponse>) -> Outcome<()> {
    while let Some(answer) = answers.message().await? {
        if answer.complete {
            return Ok(());
        }
    }
    Err("the import did not end as complete".into())
}
