//! Two services as two processes, and what happens when one of them, or the database, goes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use local_postgres::{Durability, Server, Settings, Source};
use proto::crm::v1 as pb;
use service_kit::{
    keys::Keyring,
    testing::{cluster, refusal::refusal},
};
use tonic::Code;

use crate::support::{Caller, Program, folder, run};

const SECRET: &str = "a-secret-among-services";

/// The settings of both services; the ports are free ones that stay the same over a restart.
struct Services {
    identity: Vec<(&'static str, String)>,
    crm: Vec<(&'static str, String)>,
    identity_address: String,
    crm_address: String,
}

impl Services {
    fn on(database: &str) -> Self {
        let (identity_address, crm_address) = (free_address(), free_address());
        let identity = vec![
            ("IDENTITY_DATABASE_URL", database.to_owned()),
            ("IDENTITY_LISTEN", identity_address.clone()),
            ("IDENTITY_ADMIN_LISTEN", "off".to_owned()),
            ("IDENTITY_KEYS", Keyring::generate()),
            ("IDENTITY_SERVICE_SECRETS", SECRET.to_owned()),
        ];
        let crm = vec![
            ("CRM_DATABASE_URL", database.to_owned()),
            ("CRM_LISTEN", crm_address.clone()),
            ("CRM_ADMIN_LISTEN", "off".to_owned()),
            ("CRM_KEYS", Keyring::generate()),
            ("CRM_SERVICE_SECRET", SECRET.to_owned()),
            ("CRM_IDENTITY_URL", format!("http://{identity_address}")),
        ];
        let services = Self { identity, crm, identity_address, crm_address };
        run("identity-service", &["migrate"], &settings(&services.identity));
        run("crm-service", &["migrate"], &settings(&services.crm));
        services
    }

    fn start_identity(&self) -> Program {
        start("identity-service", &self.identity)
    }

    fn start_crm(&self) -> Program {
        start("crm-service", &self.crm)
    }

    fn caller(&self) -> Caller {
        Caller::new(&self.identity_address, &self.crm_address)
    }
}

fn settings<'a>(of: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    of.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn start(name: &str, of: &[(&'static str, String)]) -> Program {
    let program = Program::start(name, &["serve"], &settings(of));
    program.line_with("ready to serve");
    program
}

/// Bound and let go again, from below the range out of which connections take theirs.
fn free_address() -> String {
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    (start..32_000)
        .chain(20_000..start)
        .map(|port| format!("127.0.0.1:{port}"))
        .find(|address| std::net::TcpListener::bind(address).is_ok() && taken_once(address))
        .unwrap()
}

/// No two tests of this program get the same one.
fn taken_once(address: &str) -> bool {
    static TAKEN: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap();
    let fresh = !taken.iter().any(|other| other == address);
    taken.push(address.to_owned());
    fresh
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_has_one_id_and_one_trace_in_the_lines_of_both() {
    let database = cluster::empty_database().await;
    let services = Services::on(database.url.expose());
    let identity = services.start_identity();
    let crm = services.start_crm();
    let mut caller = services.caller();
    caller.sign_up("ana").await.unwrap();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut request = caller.signed(pb::ListClientsRequest::default());
    request.metadata_mut().insert("x-request-id", "follow-me".parse().unwrap());
    request
        .metadata_mut()
        .insert("traceparent", format!("00-{trace}-00f067aa0ba902b7-01").parse().unwrap());
    caller.clients().list_clients(request).await.unwrap();
    for (program, method) in
        [(crm, "ClientService/ListClients"), (identity, "TokenService/ValidateToken")]
    {
        let line = program.line_with("request_id=follow-me");
        assert!(line.contains(method) && line.contains(&format!("trace_id={trace}")), "{line}");
        assert!(!line.contains(&caller.token) && !line.contains("example.com"), "{line}");
    }
}

/// The traffic between the two is as private as the traffic with callers.
#[tokio::test(flavor = "multi_thread")]
async fn with_certificates_everything_is_spoken_over_tls() {
    let folder = folder("tls");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();

    let database = cluster::empty_database().await;
    let mut services = Services::on(database.url.expose());
    let (certificate, key) =
        (certificate.to_str().unwrap().to_owned(), key.to_str().unwrap().to_owned());
    let port = services.identity_address.rsplit_once(':').unwrap().1.to_owned();
    for of in [&mut services.identity, &mut services.crm] {
        of.push(("TLS_CERT_FILE", certificate.clone()));
        of.push(("TLS_KEY_FILE", key.clone()));
    }
    services.crm.retain(|(name, _)| *name != "CRM_IDENTITY_URL");
    services.crm.push(("CRM_IDENTITY_URL", format!("https://localhost:{port}")));
    services.crm.push(("CRM_IDENTITY_CA_FILE", certificate));
    let _identity = services.start_identity();
    let _crm = services.start_crm();

    let mut caller =
        Caller::over_tls(&services.identity_address, &services.crm_address, &certified.cert.pem());
    caller.sign_up("ana").await.unwrap();
    caller.create("Ada", "").await.unwrap();
    assert_eq!(caller.list().await.unwrap().len(), 1);
    assert!(services.caller().sign_up("bob").await.is_err(), "nothing is taken in clear");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crm_killed_while_it_writes_loses_nothing_and_doubles_nothing() {
    let database = cluster::empty_database().await;
    let services = Services::on(database.url.expose());
    let _identity = services.start_identity();
    let mut crm = services.start_crm();
    let mut caller = services.caller();
    caller.sign_up("ana").await.unwrap();

    let interrupted = Arc::new(AtomicUsize::new(0));
    // 500 calls by ten callers, each with a request_id, each sent again until it is answered.
    let writers = (0..10).map(|writer| {
        let (caller, interrupted) = (caller.clone(), interrupted.clone());
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..50 {
                acknowledged.push(
                    create_until_answered(&caller, &interrupted, &format!("{writer}-{number}"))
                        .await,
                );
            }
            acknowledged
        })
    });
    let writers: Vec<_> = writers.collect();
    for kill in 1..=3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        crm.kill();
        crm = services.start_crm();
        assert!(interrupted.load(Ordering::Relaxed) >= kill, "somebody noticed each time");
    }
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    let mut found: Vec<(i64, String)> = caller
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|client| (client.id, client.first_name))
        .collect();
    acknowledged.sort();
    found.sort();
    assert_eq!(found.len(), 500, "each once");
    assert_eq!(found, acknowledged, "under the id that was acknowledged");
}

async fn create_until_answered(
    caller: &Caller,
    interrupted: &AtomicUsize,
    name: &str,
) -> (i64, String) {
    let request_id = uuid::Uuid::new_v4().to_string();
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        match caller.create(name, &request_id).await {
            Ok(id) => return (id, name.to_owned()),
            Err(status) => assert!(Instant::now() < patience, "never answered: {status}"),
        }
        interrupted.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_identity_is_away_crm_refuses_and_afterwards_goes_on() {
    let database = cluster::empty_database().await;
    let services = Services::on(database.url.expose());
    let mut identity = services.start_identity();
    let _crm = services.start_crm();
    let mut caller = services.caller();
    caller.sign_up("ana").await.unwrap();
    caller.create("Ada", "").await.unwrap();
    identity.kill();
    let refused = refusal(caller.list().await);
    assert_eq!(refused.said(), (Code::Unavailable, "IDENTITY_UNAVAILABLE"));
    assert_eq!(refused.retry_after.as_deref(), Some("1"));
    let _identity = services.start_identity();
    assert_eq!(caller.list_after_recovery().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgres_is_away_both_refuse_and_afterwards_go_on() {
    let folder = folder("outage");
    let postgres = || {
        Server::start(Settings {
            folder: folder.path().join("postgres"),
            source: Source::Folder(cluster::binaries().to_owned()),
            durability: Durability::Throwaway,
            max_connections: 50,
            binaries: local_postgres::default_data_folder().join("postgresql"),
        })
    };
    let server = postgres().await.unwrap();
    let services = Services::on(&server.url("postgres"));
    let _identity = services.start_identity();
    let _crm = services.start_crm();
    let mut caller = services.caller();
    caller.sign_up("ana").await.unwrap();
    caller.create("Ada", "").await.unwrap();

    server.stop().await.unwrap();
    // Whether crm or identity noticed first: neither lets anybody in, both say when to retry.
    let refused = refusal(caller.list().await);
    assert_eq!(refused.code, Code::Unavailable);
    assert_eq!(refused.retry_after.as_deref(), Some("1"));
    let refused = refusal(caller.clone().log_in("ana").await);
    assert_eq!(refused.said(), (Code::Unavailable, "DATABASE_UNAVAILABLE"));

    let _server = postgres().await.unwrap();
    assert_eq!(caller.list_after_recovery().await.len(), 1);
    caller.log_in("ana").await.unwrap();
    caller.create("Bob", "").await.unwrap();
}
