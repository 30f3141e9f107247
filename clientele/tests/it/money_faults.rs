//! Is money counted once, whoever is killed while it is written down?

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use local_postgres::{Durability, Server, Settings, Source};
use proto::{
    common::v1::Money,
    crm::v1::{
        self as pb, instalment_service_client::InstalmentServiceClient,
        payment_service_client::PaymentServiceClient,
    },
};
use rustix::process::{Pid, Signal, kill_process};
use service_kit::testing::cluster;
use sqlx::{Connection, PgConnection};
use tokio::{sync::Semaphore, task::JoinSet};
use tonic::Code;

use crate::{
    services::Services,
    support::{Caller, Program, folder},
};

const PAYMENTS: usize = 1_000;
/// The same, as it is counted.
const COUNT: i64 = 1_000;
const AT_ONCE: usize = 64;
const CLIENTS: usize = 20;
/// Of each client, of 10 and more: some payments cover a part, some several, some stay credit.
const INSTALMENTS: usize = 30;
/// Each of the three goes so many times.
const ROUNDS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(120);

/// Each acknowledged payment is there once, and every sum is what a recount says.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_every_payment_is_there_once_and_every_sum_is_right() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now);
    println!("SEED={seed}");
    let mut chance = Chance(seed);
    let folder = folder("money");
    let mut database = Some(postgres(folder.path()).await);
    let url = database.as_ref().unwrap().url("postgres");
    let services = Services::on(&url);
    let (mut identity, mut crm) = (services.start_identity(), services.start_crm());
    let mut caller = services.caller();
    caller.sign_up("ana").await.unwrap();
    let clients = clients(&caller).await;

    let tally = Arc::new(Tally::default());
    let writing = tokio::spawn(write_all(caller.clone(), clients, Arc::clone(&tally)));
    let kills = ROUNDS * 3;
    for kill in 0..kills {
        // Somewhere in its part of the writing, and then within the next milliseconds.
        let part = PAYMENTS / (kills + 1);
        tally.wait_until_answered(kill * part + chance.below(part), &writing).await;
        tokio::time::sleep(Duration::from_micros(chance.below(20_000) as u64)).await;
        assert!(!writing.is_finished(), "somebody is writing at kill {kill}");
        let before = tally.interrupted.load(Ordering::Relaxed);
        match kill % 3 {
            0 => restart(&mut crm, || services.start_crm()),
            1 => restart(&mut identity, || services.start_identity()),
            _ => {
                kill_postgres(folder.path());
                drop(database.take());
                database = Some(postgres(folder.path()).await);
            }
        }
        println!(
            "kill {kill}: {} were interrupted",
            tally.interrupted.load(Ordering::Relaxed) - before
        );
    }
    let acknowledged = writing.await.unwrap();
    let mut owner = PgConnection::connect(&url).await.unwrap();
    each_is_there_once(&mut owner, &acknowledged).await;
    every_sum_is_right(&mut owner).await;
    statistics_are_a_recount(&mut owner, &caller).await;
    assert!(tally.interrupted.load(Ordering::Relaxed) >= kills, "they were noticed");
}

fn restart(program: &mut Program, start: impl FnOnce() -> Program) {
    program.kill();
    *program = start();
}

/// Keeps what it said it keeps.
async fn postgres(folder: &Path) -> Server {
    let server = Server::start(Settings {
        folder: folder.join("postgres"),
        source: Source::Folder(cluster::binaries().to_owned()),
        durability: Durability::Kept,
        max_connections: 80,
        binaries: local_postgres::default_data_folder().join("postgresql"),
    });
    server.await.unwrap()
}

fn kill_postgres(folder: &Path) {
    let file = folder.join("postgres/cluster/postmaster.pid");
    let pid = std::fs::read_to_string(file).unwrap().lines().next().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Clients with something to pay, by id.
async fn clients(caller: &Caller) -> Vec<i64> {
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let client_id = caller.create(&format!("Client {number}"), "").await.unwrap();
        clients.push(client_id);
        for instalment in 0..INSTALMENTS {
            let instalment = pb::Instalment {
                client_id,
                amount: Some(money(&format!("{}.00", 10 + instalment))),
                schedule_date: format!(
                    "2025-{:02}-{:02}",
                    1 + instalment % 12,
                    1 + instalment % 28
                ),
                ..Default::default()
            };
            let request =
                pb::CreateInstalmentRequest { instalment: Some(instalment), ..Default::default() };
            let mut instalments = InstalmentServiceClient::new(caller.crm());
            instalments.create_instalment(caller.signed(request)).await.unwrap();
        }
    }
    clients
}

fn money(amount: &str) -> Money {
    Money { currency_code: "EUR".into(), amount: amount.into() }
}

/// How the writers fare.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    interrupted: AtomicUsize,
}

impl Tally {
    async fn wait_until_answered<T>(&self, payments: usize, writing: &tokio::task::JoinHandle<T>) {
        let patience = Instant::now() + PATIENCE;
        while self.answered.load(Ordering::Relaxed) < payments {
            assert!(Instant::now() < patience, "nothing is written");
            assert!(!writing.is_finished(), "the writers gave up");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The ids that were acknowledged, by reference.
async fn write_all(caller: Caller, clients: Vec<i64>, tally: Arc<Tally>) -> HashMap<String, i64> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut writers = JoinSet::new();
    for number in 0..PAYMENTS {
        let (caller, tally, room) = (caller.clone(), Arc::clone(&tally), Arc::clone(&room));
        let client = clients[number % clients.len()];
        writers.spawn(async move {
            let _place = room.acquire().await.unwrap();
            pay_until_answered(&caller, client, number, &tally).await
        });
    }
    writers.join_all().await.into_iter().collect()
}

async fn pay_until_answered(
    caller: &Caller,
    client_id: i64,
    number: usize,
    tally: &Tally,
) -> (String, i64) {
    let reference = format!("T-{number}");
    let payment = pb::Payment {
        client_id,
        amount: Some(money(&format!("{}.{:02}", 3 + number % 29, number % 100))),
        external_reference: reference.clone(),
        ..Default::default()
    };
    let request = pb::CreatePaymentRequest {
        payment: Some(payment),
        auto_allocate: !number.is_multiple_of(5),
        request_id: uuid::Uuid::new_v4().to_string(),
        ..Default::default()
    };
    let patience = Instant::now() + PATIENCE;
    loop {
        let mut payments = PaymentServiceClient::new(caller.crm());
        match payments.create_payment(caller.signed(request.clone())).await {
            Ok(answer) => {
                tally.answered.fetch_add(1, Ordering::Relaxed);
                return (reference, answer.into_inner().payment.unwrap().id);
            }
            Err(status) => {
                assert!(may_be_repeated(status.code()), "{reference}: {status}");
                assert!(Instant::now() < patience, "{reference} is never answered: {status}");
            }
        }
        tally.interrupted.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20 + number as u64 % 30)).await;
    }
}

/// Of a server's refusals those that say so; and whatever becomes of a connection that breaks.
fn may_be_repeated(code: Code) -> bool {
    use Code::{Aborted, Cancelled, DeadlineExceeded, ResourceExhausted, Unavailable, Unknown};
    matches!(
        code,
        Unavailable | Aborted | DeadlineExceeded | ResourceExhausted | Cancelled | Unknown
    )
}

async fn each_is_there_once(owner: &mut PgConnection, acknowledged: &HashMap<String, i64>) {
    let found: Vec<(String, i64)> =
        sqlx::query_as("SELECT external_reference, id FROM crm.payments")
            .fetch_all(&mut *owner)
            .await
            .unwrap();
    assert_eq!(found.len(), PAYMENTS, "each once");
    assert_eq!(&found.into_iter().collect::<HashMap<_, _>>(), acknowledged);
    let acts: i64 =
        sqlx::query_scalar("SELECT count(*) FROM crm.payment_events WHERE kind = 'paid'")
            .fetch_one(&mut *owner)
            .await
            .unwrap();
    assert_eq!(acts, COUNT, "and each fact once");
}

/// What is wrong, of each kind: nothing.
const FLAWS: [(&str, &str); 5] = [
    (
        "an instalment covers what was allocated to it",
        "SELECT count(*) FROM crm.instalments i WHERE allocated <> (SELECT coalesce(sum(amount), 0)
         FROM crm.allocation_entries e WHERE e.account_id = i.account_id AND e.instalment_id = i.id)",
    ),
    (
        "a payment covers what was allocated of it",
        "SELECT count(*) FROM crm.payments p WHERE allocated <> (SELECT coalesce(sum(amount), 0)
         FROM crm.allocation_entries e WHERE e.account_id = p.account_id AND e.payment_id = p.id)",
    ),
    (
        "nothing is covered beyond its amount, and none is without a reason",
        "SELECT count(*) FROM crm.instalments WHERE allocated > amount OR status <>
         CASE WHEN allocated = amount THEN 'paid' ELSE 'open' END",
    ),
    (
        "the account's totals are a recount",
        "SELECT count(*) FROM (SELECT account_id, currency, status, count(*), sum(amount)
           FROM crm.payments GROUP BY 1, 2, 3) counted
         FULL JOIN (SELECT account_id, currency, status, sum(payments) AS count, sum(amount)
           FROM crm.payment_totals GROUP BY 1, 2, 3) kept USING (account_id, currency, status)
         WHERE counted.count IS DISTINCT FROM kept.count OR counted.sum IS DISTINCT FROM kept.sum",
    ),
    (
        "each client's totals are a recount",
        "SELECT count(*) FROM (SELECT account_id, client_id, currency, status, count(*), sum(amount)
           FROM crm.payments GROUP BY 1, 2, 3, 4) counted
         FULL JOIN crm.client_payment_totals kept USING (account_id, client_id, currency, status)
         WHERE counted.count IS DISTINCT FROM kept.payments
            OR counted.sum IS DISTINCT FROM kept.amount",
    ),
];

async fn every_sum_is_right(owner: &mut PgConnection) {
    for (rule, flaws) in FLAWS {
        let flaws: i64 = sqlx::query_scalar(flaws).fetch_one(&mut *owner).await.unwrap();
        assert_eq!(flaws, 0, "{rule}");
    }
    let covered: i64 =
        sqlx::query_scalar("SELECT count(*) FROM crm.instalments WHERE status = 'paid'")
            .fetch_one(&mut *owner)
            .await
            .unwrap();
    assert!(covered > 0, "payments went to instalments");
}

async fn statistics_are_a_recount(owner: &mut PgConnection, caller: &Caller) {
    let minor: i64 = sqlx::query_scalar("SELECT sum(amount)::bigint FROM crm.payments")
        .fetch_one(&mut *owner)
        .await
        .unwrap();
    let sum = Money {
        currency_code: "EUR".into(),
        amount: format!("{}.{:02}", minor / 100, minor % 100),
    };
    caller.list_after_recovery().await;
    let request = caller.signed(pb::GetPaymentStatisticsRequest::default());
    let mut payments = PaymentServiceClient::new(caller.crm());
    let said = payments.get_payment_statistics(request).await.unwrap().into_inner();
    assert_eq!((said.total_payments, said.paid), (COUNT, COUNT));
    assert_eq!((said.failed, said.refunded, said.disputed), (0, 0, 0));
    assert_eq!(said.total_amounts, std::slice::from_ref(&sum));
    assert_eq!(said.totals[0].net.as_ref(), Some(&sum));
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Moments by chance, which a seed brings back.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}
