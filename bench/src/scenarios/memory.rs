//! What each service holds in memory under load, and for each further connection.

use super::{Bench, always, get_client::get_client};
use crate::{
    Outcome,
    figures::{
        process::resident,
        table::{Floor, Report},
    },
    load::{Load, drive},
    stack::{
        LOADED_PASSWORD, Service, Stack,
        grpc::{Method, connect},
    },
};
use proto::identity::v1::{LoginRequest, ValidateTokenRequest};

const CONNECTIONS: u32 = 64;
const FURTHER: u32 = 1_000;
/// What design asks for, in KiB.
const UNDER_LOAD: f64 = 64.0 * 1024.0;
const EACH_FURTHER: f64 = 40.0;
const EACH_HASHING_THREAD: f64 = 20.0 * 1024.0;

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 KiB")]
pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    let (stack, account) = (bench.stack, bench.stack.account(1_000).await?);
    let mut report = Report::new("memory", "resident memory of each service");
    let load = Load { callers: 64, duration: bench.options.duration() };
    let read = get_client("GetClient", &stack.crm, &account).target(CONNECTIONS).await?;
    let validate = Method {
        name: "ValidateToken".into(),
        address: stack.identity.address,
        path: "/identity.v1.TokenService/ValidateToken",
        metadata: vec![Stack::service_metadata()],
        message: always(&ValidateTokenRequest { credential: account.token.clone() }),
        watched: Vec::new(),
    };
    let validate = validate.target(CONNECTIONS).await?;
    for (name, service, target) in
        [("crm", &stack.crm, &read), ("identity", &stack.identity, &validate)]
    {
        bench.progress.say(&format!("{name} under load, {CONNECTIONS} connections"));
        drive(target, load).await?.all_answered(&target.name)?;
        let under_load = resident(service.child.pid());
        let what = format!("{name} at {CONNECTIONS} connections, KiB");
        report.floors.push(Floor::at_most(&what, under_load as f64, UNDER_LOAD));
        bench.progress.say(&format!("{name} with {FURTHER} further connections"));
        let each = each_further(service, under_load).await?;
        report.floors.push(Floor::at_most(
            &format!("{name}, each further connection, KiB"),
            each,
            EACH_FURTHER,
        ));
    }
    bench.progress.say("identity while it hashes");
    let before = resident(stack.identity.child.pid());
    let (email, password) = (account.email.clone(), LOADED_PASSWORD.to_owned());
    let login = Method {
        name: "Login".into(),
        address: stack.identity.address,
        path: "/identity.v1.AuthService/Login",
        metadata: Vec::new(),
        message: always(&LoginRequest { email, password }),
        watched: vec![stack.identity.watched("identity")],
    };
    let measured = drive(&login.target(4).await?, Load { callers: 8, ..load }).await?;
    let measured = measured.all_answered("Login")?;
    let hashing = measured.resident.first().map_or(0, |(_, kib)| *kib);
    let each = hashing.saturating_sub(before) as f64 / 2.0;
    report.floors.push(Floor::at_most(
        "identity, each hashing thread, KiB",
        each,
        EACH_HASHING_THREAD,
    ));
    Ok(report)
}

/// KiB for each connection that is open and does nothing.
#[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 KiB")]
async fn each_further(service: &Service, before: u64) -> Outcome<f64> {
    let mut held = Vec::new();
    for _ in 0..FURTHER {
        held.push(connect(service.address).await?);
    }
    let after = resident(service.child.pid());
    Ok(after.saturating_sub(before) as f64 / f64::from(FURTHER))
}
