//! What is kept of identity's answers is good for as long as a lease and no longer, whatever
//! becomes of identity-service and of what lies between; and afterwards everything goes on by
//! itself.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{common::v1::Role, crm::v1 as pb, identity::v1 as id};
use rustix::process::Signal;
use service_kit::testing::cluster;
use tokio::{task::JoinHandle, time::sleep};
use tonic::Code;

use crate::{
    services::{Services, free_address},
    stalling::{Passage, Proxy},
    support::{Caller, PATIENCE, Program, run_with},
};

/// A lease, and how exactly a test on a busy machine can tell when something was.
const LEASE: Duration = Duration::from_millis(1_000 + 100);
/// How long crm-service waits for an answer of identity-service.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// As long as all this and a while.
const LONG: Duration = Duration::from_secs(8);

/// What became of each call.
type Calls = Arc<Mutex<Vec<(Instant, Result<(), Code>)>>>;

/// Somebody who calls all the time, whether they were answered or not.
struct Busy {
    calls: Calls,
    over: Arc<AtomicBool>,
    calling: JoinHandle<()>,
}

impl Busy {
    fn as_(caller: &Caller) -> Self {
        let (calls, over) = (Calls::default(), Arc::new(AtomicBool::new(false)));
        let (into, until, caller) = (Arc::clone(&calls), Arc::clone(&over), caller.clone());
        let calling = tokio::spawn(async move {
            while !until.load(Ordering::Relaxed) {
                let (into, caller) = (Arc::clone(&into), caller.clone());
                tokio::spawn(async move {
                    let began = Instant::now();
                    let request = caller.signed(pb::GetClientStatisticsRequest::default());
                    let answer = caller.clients().get_client_statistics(request).await;
                    let said = answer.map(drop).map_err(|status| status.code());
                    into.lock().unwrap().push((began, said));
                });
                sleep(Duration::from_millis(10)).await;
            }
        });
        Self { calls, over, calling }
    }

    /// All that were answered so far.
    fn so_far(&self) -> Vec<(Instant, Result<(), Code>)> {
        self.calls.lock().unwrap().clone()
    }

    /// Waits until one is let in that began after this.
    async fn is_let_in(&self) {
        let since = Instant::now();
        while !self.so_far().iter().any(|(began, said)| *began > since && said.is_ok()) {
            assert!(since.elapsed() < PATIENCE, "it did not recover");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(mut self) -> Vec<(Instant, Result<(), Code>)> {
        self.over.store(true, Ordering::Relaxed);
        (&mut self.calling).await.unwrap();
        sleep(Duration::from_millis(200)).await;
        self.so_far()
    }
}

/// Of those that began in a while, how many were let in, and everything else that was said.
fn between(
    calls: &[(Instant, Result<(), Code>)],
    from: Instant,
    to: Instant,
) -> (usize, Vec<Code>) {
    let began = calls.iter().filter(|(began, _)| (from..to).contains(began));
    let (ins, outs): (Vec<_>, Vec<_>) = began.map(|(_, said)| *said).partition(Result::is_ok);
    (ins.len(), outs.into_iter().filter_map(Result::err).collect())
}

/// Identity cannot be asked from then on, and answers again after so long, not waited for by those
/// who ask shortly before: let in for as long as a lease at most, then UNAVAILABLE.
fn is_closed(calls: &[(Instant, Result<(), Code>)], from: Instant, answers_after: Duration) {
    let to = from + answers_after.saturating_sub(Duration::from_millis(200));
    let (ins, outs) = between(calls, from + LEASE, to);
    assert_eq!(ins, 0, "let in after the lease was over");
    assert!(outs.len() > 50, "{outs:?}");
    assert!(outs.iter().all(|code| *code == Code::Unavailable), "{outs:?}");
}

/// Both services, the crm one keeping answers; a super admin and somebody who works for her.
struct Stage {
    services: Services,
    _crm: Program,
    ana: Caller,
    bob: Caller,
    bob_id: i64,
}

impl Stage {
    async fn set(mut services: Services) -> Self {
        services.crm.push(("CRM_AUTHORIZATION", "lease".to_owned()));
        // Room for all who wait for an identity that says nothing: what they are told counts here.
        services.crm.push(("MAX_IN_FLIGHT", "1024".to_owned()));
        let crm = services.start_crm();
        let mut ana = services.caller();
        ana.sign_up("ana").await.unwrap();
        let employee = id::Employee {
            email: "bob@example.com".into(),
            role: Role::Employee.into(),
            ..Default::default()
        };
        let request = id::CreateEmployeeRequest {
            employee: Some(employee),
            password: "correct horse".into(),
            ..Default::default()
        };
        let made = ana.employees().create_employee(ana.signed(request)).await.unwrap();
        let bob_id = made.into_inner().employee.unwrap().id;
        let mut bob = services.caller();
        bob.log_in("bob").await.unwrap();
        crm.line_with("answers are kept");
        Self { services, _crm: crm, ana, bob, bob_id }
    }

    /// Deactivates bob, and returns when that was answered, and how long it took.
    async fn deactivate(&self) -> (Instant, Duration) {
        let began = Instant::now();
        let is_active = Some(false);
        let employee = Some(id::Employee { id: self.bob_id, is_active, ..Default::default() });
        loop {
            let request =
                id::UpdateEmployeeRequest { employee: employee.clone(), ..Default::default() };
            match self.ana.employees().update_employee(self.ana.signed(request)).await {
                Ok(_) => return (Instant::now(), began.elapsed()),
                // While it starts.
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
            }
            assert!(began.elapsed() < PATIENCE);
            sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn wait_until(then: Instant) {
    sleep(then.saturating_duration_since(Instant::now())).await;
}

/// Security checklist 20.
#[tokio::test(flavor = "multi_thread")]
async fn while_identity_is_stopped_or_gone_nobody_is_let_in_longer_than_a_lease() {
    let database = cluster::empty_database().await;
    let services = Services::on(database.url.expose());
    let mut identity = services.start_identity();
    let stage = Stage::set(services).await;
    let busy = Busy::as_(&stage.ana);
    busy.is_let_in().await;

    identity.signal(Signal::STOP);
    let stopped = Instant::now();
    wait_until(stopped + LONG).await;
    let stopped_for = stopped.elapsed();
    identity.signal(Signal::CONT);
    busy.is_let_in().await;
    // Whoever began later may have been answered after it woke, and rightly.
    is_closed(&busy.so_far(), stopped, stopped_for.saturating_sub(ANSWER_TIMEOUT));

    identity.kill();
    let killed = Instant::now();
    wait_until(killed + Duration::from_secs(4)).await;
    let gone_for = killed.elapsed();
    let _identity = stage.services.start_identity();
    busy.is_let_in().await;
    let calls = busy.end().await;
    is_closed(&calls, killed, gone_for);
}

/// What the process that is gone knew of leases is in nobody's memory any more.
///
/// Security checklist 19 and 20.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_identity_forgets_no_lease() {
    let database = cluster::empty_database().await;
    let services = Services::on(database.url.expose());
    let mut identity = services.start_identity();
    let stage = Stage::set(services).await;
    let busy = Busy::as_(&stage.bob);
    busy.is_let_in().await;
    identity.kill();
    let _identity = stage.services.start_identity();
    let (answered, _) = stage.deactivate().await;
    wait_until(answered + Duration::from_secs(2)).await;
    let calls = busy.end().await;
    let (ins, outs) = between(&calls, answered, Instant::now());
    assert_eq!(ins, 0, "let in after it was answered that he is not");
    assert_eq!(outs.last(), Some(&Code::Unauthenticated), "and it goes on by itself");
}

/// Security checklist 19 and 20.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_cut_off_from_identity_lets_nobody_in_whom_it_took_something_from() {
    let database = cluster::empty_database().await;
    let mut services = Services::on(database.url.expose());
    let between_us = free_address();
    let proxy = Proxy::tcp(&between_us, services.identity_address.clone()).await;
    services.crm.retain(|(name, _)| *name != "CRM_IDENTITY_URL");
    services.crm.push(("CRM_IDENTITY_URL", format!("http://{between_us}")));
    let _identity = services.start_identity();
    let stage = Stage::set(services).await;
    for passage in [Passage::Stalled, Passage::Cut] {
        let busy = Busy::as_(&stage.bob);
        busy.is_let_in().await;
        proxy.set(passage);
        let cut = Instant::now();
        let (answered, took) = stage.deactivate().await;
        assert!(took > Duration::from_millis(500), "nobody could tell crm-service: {took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
        wait_until(cut + LONG).await;
        let healed = Instant::now();
        proxy.set(Passage::Open);
        while between(&busy.so_far(), healed, Instant::now()).1.last()
            != Some(&Code::Unauthenticated)
        {
            assert!(healed.elapsed() < PATIENCE, "it did not recover");
            sleep(Duration::from_millis(20)).await;
        }
        let calls = busy.end().await;
        assert_eq!(between(&calls, answered, Instant::now()).0, 0, "{passage:?}");
        is_closed(&calls, cut, (healed - cut).saturating_sub(ANSWER_TIMEOUT));
        // For the next time.
        let is_active = Some(true);
        let employee = Some(id::Employee { id: stage.bob_id, is_active, ..Default::default() });
        let request = id::UpdateEmployeeRequest { employee, ..Default::default() };
        stage.ana.employees().update_employee(stage.ana.signed(request)).await.unwrap();
    }
}

/// A process that cannot read what happened lends nothing.
///
/// Security checklist 20.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_without_its_database_gives_no_lease() {
    let (of_identity, of_crm) = (cluster::empty_database().await, cluster::empty_database().await);
    let folder = tempfile::tempdir().unwrap();
    let (there, through) = socket(of_identity.url.expose(), folder.path());
    let mut services = Services::on_two(of_identity.url.expose(), of_crm.url.expose());
    let proxy = Proxy::unix(folder.path().join(there.file_name().unwrap()), there);
    services.identity.retain(|(name, _)| *name != "IDENTITY_DATABASE_URL");
    services.identity.push(("IDENTITY_DATABASE_URL", through));
    let _identity = services.start_identity();
    let stage = Stage::set(services).await;
    for passage in [Passage::Stalled, Passage::Cut] {
        let busy = Busy::as_(&stage.ana);
        busy.is_let_in().await;
        proxy.set(passage);
        let cut = Instant::now();
        wait_until(cut + LONG).await;
        let healed = Instant::now();
        proxy.set(Passage::Open);
        busy.is_let_in().await;
        let calls = busy.end().await;
        is_closed(&calls, cut, (healed - cut).saturating_sub(ANSWER_TIMEOUT));
    }
}

/// The socket in a URL, and the same URL through one of the same name in another folder.
fn socket(url: &str, folder: &std::path::Path) -> (PathBuf, String) {
    let (who, rest) = url.split_once('@').unwrap();
    let (host, rest) = rest.split_once(':').unwrap();
    let port = rest.split_once('/').unwrap().0;
    let there = PathBuf::from(host.replace("%2F", "/")).join(format!(".s.PGSQL.{port}"));
    let host = folder.to_str().unwrap().replace('/', "%2F");
    (there, format!("{who}@{host}:{rest}"))
}

/// An operator's command is no call, and waits all the same.
///
/// Security checklist 19.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_takes_back_is_gone_when_the_command_ends() {
    let database = cluster::empty_database().await;
    let services = Services::on(database.url.expose());
    let _identity = services.start_identity();
    let stage = Stage::set(services).await;
    let busy = Busy::as_(&stage.bob);
    busy.is_let_in().await;
    let settings: Vec<_> = stage.services.identity.clone();
    let ended = tokio::task::spawn_blocking(move || {
        let settings = crate::services::settings(&settings);
        let whom = ["revoke-all", "--email", "bob@example.com"];
        let said = run_with("", "identity-service", &whom, &settings);
        assert!(said.contains("Tokens and sessions ended: 1."), "{said}");
        Instant::now()
    });
    let ended = ended.await.unwrap();
    wait_until(ended + Duration::from_millis(500)).await;
    let calls = busy.end().await;
    let (ins, outs) = between(&calls, ended, Instant::now());
    assert_eq!(ins, 0, "let in after the command had ended");
    assert!(outs.len() > 10 && outs.iter().all(|code| *code == Code::Unauthenticated), "{outs:?}");
}
