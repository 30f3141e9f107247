//! What becomes of everybody when ten times too many come, and what is held by those who wait?

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use prost::Message;
use proto::crm::v1::WatchClientsRequest;

use super::{Bench, get_client::get_client};
use crate::{
    Outcome,
    figures::{
        process::resident,
        table::{Floor, Report, milliseconds},
    },
    load::{Load, Measure, Target, drive},
    stack::{
        Account,
        grpc::{OpenStream, connect, open_stream},
    },
};

/// Times the callers that saturate it.
const TOO_MANY: usize = 10;
const IDLE: usize = 10_000;
const STREAMS: usize = 1_000;
/// Over how many connections the streams come, as from many browsers.
const STREAM_CONNECTIONS: usize = 50;
/// Connections that are being opened at once.
const OPENING: usize = 64;
/// As long as the answer to somebody who is refused may take.
const QUICKLY: u64 = 100_000;
/// What a service may hold in memory meanwhile, in KiB.
const BOUND: f64 = 1024.0 * 1024.0;

pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    let account = bench.stack.account(1_000).await?;
    let mut report = Report::new("overload", "ten times too many callers, and many who wait");
    storm(bench, &account, &mut report).await?;
    waiting(bench, &account, &mut report).await?;
    Ok(report)
}

async fn storm(bench: &Bench<'_>, account: &Account, report: &mut Report) -> Outcome<()> {
    let crm = &bench.stack.crm;
    let target = get_client("GetClient", crm, account).target(64).await?;
    let saturating = bench.options.callers as usize;
    let duration = bench.options.duration();
    let many = saturating * TOO_MANY;
    bench.progress.expect(3);
    let before = phase(bench, &target, saturating, duration).await?;
    let during = phase(bench, &target, many, duration).await?;
    let held = resident(crm.child.pid());
    let after = phase(bench, &target, saturating, duration).await?;

    let p99 = |measure: &Measure| measure.latencies.value_at_quantile(0.99);
    report.floors.push(Floor::at_most(
        "p99 of the admitted, against that at saturation",
        quotient(p99(&during), p99(&before)),
        3.0,
    ));
    report.floors.push(Floor::at_least(
        "answers a second, against those at saturation",
        during.rate() / before.rate(),
        0.8,
    ));
    if during.refused > 0 {
        let took = during.refusals.value_at_quantile(0.99);
        report.floors.push(Floor::at_most("p99 of a refusal, ms", ms(took), ms(QUICKLY)));
    }
    report.floors.push(Floor::at_most(
        "p99 afterwards, against that before",
        quotient(p99(&after), p99(&before)),
        1.5,
    ));
    report.floors.push(Floor::at_most("crm meanwhile, KiB", kib(held), BOUND));
    report.notes.push(format!(
        "p99 {} with {saturating} callers, {} with {many}, {} afterwards; {} of {} were refused ({})",
        milliseconds(p99(&before)),
        milliseconds(p99(&during)),
        milliseconds(p99(&after)),
        during.refused,
        during.refused + during.answered,
        during.refusal.as_deref().unwrap_or("nobody"),
    ));
    Ok(())
}

async fn phase(
    bench: &Bench<'_>,
    target: &Target,
    callers: usize,
    duration: Duration,
) -> Outcome<Measure> {
    bench.progress.say(&format!("{callers} callers"));
    let measure = drive(target, Load { callers, duration }).await?;
    bench.progress.step();
    Ok(measure)
}

async fn waiting(bench: &Bench<'_>, account: &Account, report: &mut Report) -> Outcome<()> {
    let crm = &bench.stack.crm;
    let quiet = resident(crm.child.pid());
    bench.progress.say(&format!("{STREAMS} open streams"));
    let streams = watch(bench, account).await?;
    let with_streams = resident(crm.child.pid());
    bench.progress.say(&format!("{IDLE} idle connections"));
    let opening = stream::iter(0..IDLE).map(|_| connect(crm.address));
    let idle: Vec<_> = opening.buffer_unordered(OPENING).try_collect().await?;
    let with_idle = resident(crm.child.pid());
    // Everybody else is served all the same.
    let read = get_client("GetClient", crm, account).target(bench.options.connections).await?;
    let load = Load { callers: 4, duration: bench.options.duration() };
    let measured = drive(&read, load).await?.all_answered("GetClient")?;
    let mut alive = 0;
    for mut stream in streams {
        alive += usize::from(stream.is_open().await);
    }
    report.floors.push(Floor::at_least("streams held", count(alive), count(STREAMS)));
    report.floors.push(Floor::at_least("idle connections held", count(idle.len()), count(IDLE)));
    report.floors.push(Floor::at_most(
        "each idle connection, KiB",
        kib(with_idle.saturating_sub(with_streams)) / count(IDLE),
        40.0,
    ));
    report.notes.push(format!(
        "crm: {} MiB before, {} MiB with {STREAMS} streams, {} MiB with {IDLE} idle connections too; GetClient meanwhile p50 {}, p99 {}",
        quiet / 1024,
        with_streams / 1024,
        with_idle / 1024,
        milliseconds(measured.latencies.value_at_quantile(0.5)),
        milliseconds(measured.latencies.value_at_quantile(0.99)),
    ));
    Ok(())
}

async fn watch(bench: &Bench<'_>, account: &Account) -> Outcome<Vec<OpenStream>> {
    let mut channels = Vec::new();
    for _ in 0..STREAM_CONNECTIONS {
        channels.push(connect(bench.stack.crm.address).await?);
    }
    let metadata = vec![("authorization", account.authorization())];
    let message = Bytes::from(WatchClientsRequest::default().encode_to_vec());
    let opening = stream::iter(0..STREAMS).map(|number| {
        let channel = channels[number % channels.len()].clone();
        let path = "/crm.v1.ClientService/WatchClients";
        open_stream(channel, path, &metadata, message.clone())
    });
    Ok(opening.buffer_unordered(OPENING).try_collect().await?)
}

#[expect(clippy::cast_precision_loss, reason = "these are small")]
fn quotient(one: u64, other: u64) -> f64 {
    one as f64 / other.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "these are small")]
fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "these are small")]
fn kib(kib: u64) -> f64 {
    kib as f64
}

#[expect(clippy::cast_precision_loss, reason = "these are small")]
fn count(count: usize) -> f64 {
    count as f64
}
