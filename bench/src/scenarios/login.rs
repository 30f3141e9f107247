//! Login against Argon2 alone; and what a storm of log-ins does to everybody else.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use futures::future::BoxFuture;
use proto::identity::v1::LoginRequest;

use super::{Bench, always, get_client::get_client};
use crate::{
    Outcome,
    compare::Comparison,
    figures::table::{Floor, Report, milliseconds},
    load::{Load, Target, drive},
    stack::{LOADED_PASSWORD, grpc::Method},
};

/// As many as passwords are hashed at once.
const HASHING_THREADS: usize = 2;
/// Log-ins that are always under way in the storm.
const STORM: usize = 32;
/// Those who read meanwhile.
const READERS: usize = 4;

pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    let mut report = Report::new("login", "a log-in with an address and a password");
    against_argon2(bench, &mut report).await?;
    during_a_storm(bench, &mut report).await?;
    Ok(report)
}

async fn against_argon2(bench: &Bench<'_>, report: &mut Report) -> Outcome<()> {
    let raw = Target {
        name: "Argon2 alone".into(),
        call: Arc::new(|_, _| {
            let hashed: BoxFuture<'static, Result<(), String>> = Box::pin(async {
                let hashing = tokio::task::spawn_blocking(hash).await;
                hashing.map_err(|error| error.to_string())?
            });
            hashed
        }),
        watched: Vec::new(),
    };
    let login = login(bench).await?.target(bench.options.connections).await?;
    let comparison = Comparison::new(bench.options, bench.progress).with_callers(HASHING_THREADS);
    report.lines = comparison.run(&[raw, login]).await?;
    let floor = Floor::ratio("Login against Argon2 alone", &report.lines[1], 0.95);
    report.floors.push(floor);
    Ok(())
}

async fn login(bench: &Bench<'_>) -> Outcome<Method> {
    let (stack, account) = (bench.stack, bench.stack.account(1_000).await?);
    let (email, password) = (account.email.clone(), LOADED_PASSWORD.to_owned());
    Ok(Method {
        name: "Login".into(),
        address: stack.identity.address,
        path: "/identity.v1.AuthService/Login",
        metadata: Vec::new(),
        message: always(&LoginRequest { email, password }),
        watched: vec![stack.identity.watched("identity"), stack.watched_postgres()],
    })
}

/// With the parameters of every stored hash.
fn hash() -> Result<(), String> {
    let params = Params::new(19_456, 2, 1, None).map_err(|error| error.to_string())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut output = [0; 32];
    let password = LOADED_PASSWORD.as_bytes();
    argon2
        .hash_password_into(password, b"sixteen bytes of", &mut output)
        .map_err(|error| error.to_string())
}

/// The p99 of `GetClient` with and without a storm, in turn.
async fn during_a_storm(bench: &Bench<'_>, report: &mut Report) -> Outcome<()> {
    let (stack, account) = (bench.stack, bench.stack.account(1_000).await?);
    let connections = bench.options.connections;
    let read = get_client("GetClient", &stack.crm, &account).target(connections).await?;
    let storm = login(bench).await?.target(connections).await?;
    let duration = bench.options.duration();
    let reading = Load { callers: READERS, duration };
    let storming = Load { callers: STORM, duration };
    let (mut quiet, mut stormy) = (Vec::new(), Vec::new());
    bench.progress.expect(2 * u64::from(bench.options.rounds));
    for _ in 0..bench.options.rounds {
        bench.progress.say("GetClient, quiet");
        let measured = drive(&read, reading).await?.all_answered("GetClient")?;
        quiet.push(measured.latencies.value_at_quantile(0.99));
        bench.progress.step();
        bench.progress.say("GetClient, in a storm of log-ins");
        let (measured, _) = tokio::try_join!(drive(&read, reading), drive(&storm, storming))?;
        stormy.push(measured.all_answered("GetClient")?.latencies.value_at_quantile(0.99));
        bench.progress.step();
    }
    quiet.sort_unstable();
    stormy.sort_unstable();
    let (quiet, stormy) = (quiet[quiet.len() / 2], stormy[stormy.len() / 2]);
    #[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^52 microseconds")]
    let ratio = stormy as f64 / quiet.max(1) as f64;
    report.floors.push(Floor::at_most("p99 of GetClient in a storm against quiet", ratio, 2.0));
    report.notes.push(format!(
        "p99 of GetClient, {READERS} callers: {} quiet, {} while {STORM} log-ins are under way",
        milliseconds(quiet),
        milliseconds(stormy)
    ));
    Ok(())
}
