//! Two services as two processes, and what happens when one of them, or the database, goes.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use local_postgres::{Durability, Server, Settings, Source};
use proto::{
    crm::v1 as pb,
    identity::v1::{self as id, directory_event::Subject},
};
use service_kit::testing::{
    cluster,
    refusal::{Refusal, refusal},
};
use sqlx::{Connection, Executor, PgConnection};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    services::Services,
    support::{Caller, PATIENCE, code_in_a_letter, folder},
};

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

/// 500 calls by ten callers, each with a `request_id`, each sent again until it is answered.
const WRITERS: usize = 10;
const CALLS_OF_EACH: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_crm_killed_while_it_writes_loses_nothing_and_doubles_nothing() {
    let database = cluster::empty_database().await;
    let services = Services::on(database.url.expose());
    let _identity = services.start_identity();
    let mut crm = services.start_crm();
    let mut caller = services.caller();
    caller.sign_up("ana").await.unwrap();

    let tally = Arc::new(Tally::default());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(caller.clone(), Arc::clone(&tally), writer)))
        .collect();
    for kill in 1..=3 {
        tally.wait_until_answered(kill * WRITERS * CALLS_OF_EACH / 5).await;
        let noticed_before = tally.interrupted();
        crm.kill();
        assert!(writers.iter().any(|writer| !writer.is_finished()), "somebody was writing");
        crm = services.start_crm();
        assert!(tally.interrupted() > noticed_before, "somebody noticed kill {kill}");
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
    assert_eq!(found.len(), WRITERS * CALLS_OF_EACH, "each once");
    assert_eq!(found, acknowledged, "under the id that was acknowledged");
}

/// How the writers fare.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    interrupted: AtomicUsize,
}

impl Tally {
    fn interrupted(&self) -> usize {
        self.interrupted.load(Ordering::Relaxed)
    }

    async fn wait_until_answered(&self, calls: usize) {
        let patience = Instant::now() + Duration::from_secs(60);
        while self.answered.load(Ordering::Relaxed) < calls {
            assert!(Instant::now() < patience, "nothing is written");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn write(caller: Caller, tally: Arc<Tally>, writer: usize) -> Vec<(i64, String)> {
    let mut acknowledged = Vec::new();
    for number in 0..CALLS_OF_EACH {
        let name = format!("{writer}-{number}");
        acknowledged.push((create_until_answered(&caller, &tally, &name).await, name));
        tally.answered.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

async fn create_until_answered(caller: &Caller, tally: &Tally, name: &str) -> i64 {
    let request_id = uuid::Uuid::new_v4().to_string();
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        match caller.create(name, &request_id).await {
            Ok(id) => return id,
            Err(status) => assert!(Instant::now() < patience, "never answered: {status}"),
        }
        tally.interrupted.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// It arrives once or more often, and not never.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_outlives_whoever_was_about_to_send_it() {
    let database = cluster::empty_database().await;
    let letters = folder("letters-after-a-crash");
    let mut services = Services::on(database.url.expose());
    // A mail server that answers the call and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("smtp://{}", silent.local_addr().unwrap());
    services.identity.push(("IDENTITY_MAIL_URL", server));
    services.identity.push(("IDENTITY_MAIL_FROM", "post@example.com".to_owned()));
    let mut identity = services.start_identity();
    let mut caller = services.caller();
    caller.sign_up("ana").await.unwrap();
    let (_held, _) = silent.accept().await.unwrap();
    let email = "ana@example.com".to_owned();
    let ask = id::RequestPasswordResetRequest { email, ..Default::default() };
    caller.auth().request_password_reset(ask).await.unwrap();
    identity.kill();

    services.identity.retain(|(name, _)| *name != "IDENTITY_MAIL_URL");
    services.identity.push(("IDENTITY_MAIL_FOLDER", letters.path().display().to_string()));
    // As if the time that one attempt may take were over.
    let mut owner = PgConnection::connect(database.url.expose()).await.unwrap();
    owner.execute("UPDATE identity.letters SET due_time = now()").await.unwrap();
    let _identity = services.start_identity();
    let code = code_in_a_letter(letters.path(), "clv_").await;
    let verify = id::VerifyEmailRequest { code, ..Default::default() };
    caller.auth().verify_email(verify).await.unwrap();
    let (code, new_password) =
        (code_in_a_letter(letters.path(), "clp_").await, "a sandwich".into());
    let reset = id::ResetPasswordRequest { code, new_password, ..Default::default() };
    caller.auth().reset_password(reset).await.unwrap();
}

const RENAMES: usize = 120;

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_killed_while_it_tells_of_changes_loses_and_repeats_none() {
    let database = cluster::empty_database().await;
    let services = Services::on(database.url.expose());
    let mut identity = services.start_identity();
    let mut caller = services.caller();
    let mut first = caller.watch(None).await.unwrap();
    let cursor = first.message().await.unwrap().unwrap().cursor.unwrap();
    drop(first);
    caller.sign_up("ana").await.unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let follower = tokio::spawn(follow(caller.clone(), cursor, Arc::clone(&heard)));
    let writer = tokio::spawn(rename(caller));
    for kill in 1..=3 {
        wait_until_heard(&heard, kill * RENAMES / 5).await;
        identity.kill();
        assert!(!writer.is_finished(), "somebody was writing");
        identity = services.start_identity();
    }
    let written = writer.await.unwrap();
    wait_until_heard(&heard, RENAMES + 2).await;
    follower.abort();
    let heard = heard.lock().unwrap();
    let numbers: Vec<_> = heard.iter().map(|event| event.number).collect();
    assert!(numbers.is_sorted() && numbers.len() == RENAMES + 2, "{numbers:?}");
    assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
    let names = heard.iter().filter_map(|event| match event.subject.as_ref().unwrap() {
        Subject::Employee(employee) => Some(employee.name.clone()),
        Subject::Account(_) => None,
    });
    assert_eq!(names.skip(1).collect::<Vec<_>>(), written);
}

type Heard = Arc<Mutex<Vec<id::DirectoryEvent>>>;

/// Goes on from where it was, whenever it is cut off.
async fn follow(caller: Caller, mut cursor: id::DirectoryPosition, heard: Heard) {
    loop {
        if let Ok(mut stream) = caller.watch(Some(cursor.clone())).await {
            while let Ok(Some(response)) = stream.message().await {
                heard.lock().unwrap().extend(response.events);
                cursor = response.cursor.unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Gives somebody one name after the other, each until it is answered.
async fn rename(caller: Caller) -> Vec<String> {
    let mut written = Vec::new();
    for number in 0..RENAMES {
        let name = format!("Ana {number}");
        let me = id::Employee { name: name.clone(), ..Default::default() };
        let request_id = uuid::Uuid::new_v4().to_string();
        let update = id::UpdateMeRequest { employee: Some(me), request_id, ..Default::default() };
        let patience = Instant::now() + PATIENCE;
        while let Err(status) = caller.auth().update_me(caller.signed(update.clone())).await {
            assert!(Instant::now() < patience, "never answered: {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        written.push(name);
    }
    written
}

async fn wait_until_heard(heard: &Heard, events: usize) {
    let patience = Instant::now() + PATIENCE;
    while heard.lock().unwrap().len() < events {
        assert!(Instant::now() < patience, "nothing is told");
        tokio::time::sleep(Duration::from_millis(2)).await;
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
    let postgres = || postgres_in(folder.path());
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

/// Each has a server of its own, so that identity has nothing to complain about.
#[tokio::test(flavor = "multi_thread")]
async fn while_only_crms_postgres_is_away_only_crm_refuses_and_afterwards_goes_on() {
    let folder = folder("outage-of-crm");
    let server = postgres_in(folder.path()).await.unwrap();
    let database = cluster::empty_database().await;
    let services = Services::on_two(database.url.expose(), &server.url("postgres"));
    let _identity = services.start_identity();
    let _crm = services.start_crm();
    let mut caller = services.caller();
    caller.sign_up("ana").await.unwrap();
    caller.create("Ada", "").await.unwrap();

    server.stop().await.unwrap();
    let status = caller.list().await.unwrap_err();
    let refused = Refusal::of(&status);
    assert_eq!(refused.said(), (Code::Unavailable, "DATABASE_UNAVAILABLE"));
    assert_eq!(refused.retry_after.as_deref(), Some("1"));
    let retry = status.get_details_retry_info().unwrap();
    assert_eq!(retry.retry_delay, Some(Duration::from_secs(1)));
    caller.log_in("ana").await.unwrap();

    let _server = postgres_in(folder.path()).await.unwrap();
    assert_eq!(caller.list_after_recovery().await.len(), 1);
    caller.create("Bob", "").await.unwrap();
}

/// A server of the test's own, which can be taken away.
async fn postgres_in(folder: &Path) -> Result<Server, local_postgres::Error> {
    Server::start(Settings {
        folder: folder.join("postgres"),
        source: Source::Folder(cluster::binaries().to_owned()),
        durability: Durability::Throwaway,
        max_connections: 50,
        binaries: local_postgres::default_data_folder().join("postgresql"),
    })
    .await
}
