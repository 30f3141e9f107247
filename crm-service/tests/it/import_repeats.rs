//! Imports that are sent again, twice at once, or too fast.

use crate::imports::{ID, Imported, OTHER_ID, messages, numbered, options, rows};
use crate::support::{Crm, Person, SERVICE_SECRET, named, signed};
use proto::crm::v1::{self as pb, ImportOutcome as Outcome};
use service_kit::testing::refusal::{Refusal, refusal};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Streaming, transport::Endpoint};

#[tokio::test]
async fn after_a_broken_connection_the_same_rows_go_on_where_they_were() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    // Without addresses: nothing but the request id keeps them from being created twice.
    let all: Vec<_> = (0..2_200).map(|n| named(&format!("C{n}"), "")).collect();
    let (sender, requests) = mpsc::channel(1);
    let sending = tokio::spawn({
        let messages = messages(options(ID, false), &all[..1_700]);
        async move {
            for message in messages {
                sender.send(message).await.unwrap();
            }
            // It stays open, with more to come.
            std::future::pending::<()>().await;
        }
    });
    let requests = signed(&ana, ReceiverStream::new(requests));
    let mut answers = crm.clients().import_clients(requests).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert!(!first.complete);
    drop(answers);
    sending.abort();

    let again = repeated(&crm, &ana, &all).await;
    let known = again.count(Outcome::AlreadyApplied);
    assert!(known >= first.results.len() && known <= 1_700, "{known}");
    assert!(again.outcomes()[..known].iter().all(|outcome| *outcome == Outcome::AlreadyApplied));
    assert_eq!(again.count(Outcome::Created), all.len() - known);
    assert_eq!(crm.live_clients().await, 2_200);
    assert_eq!(crm.total(&ana).await, 2_200);

    let before = crm.database.digest().await;
    let third = repeated(&crm, &ana, &all).await;
    assert_eq!(third.totals.already_applied, 2_200);
    // More rows behind the same ones go on.
    assert_eq!(crm.database.digest().await, before);
    let more = [all, numbered(1)].concat();
    assert_eq!(repeated(&crm, &ana, &more).await.totals.created, 1);
}

/// As a sender does it: whoever was still at work under the same id is waited for.
pub async fn repeated(crm: &Crm, by: &Person, rows: &[pb::Client]) -> Imported {
    for _ in 0..50 {
        match crm.import(by, messages(options(ID, false), rows)).await {
            Ok(all) => return all,
            Err(status) => assert_eq!(Refusal::of(&status).said(), (Code::Aborted, "CONFLICT")),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it never gets through");
}

#[tokio::test]
async fn other_rows_under_the_same_id_are_refused() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let all = numbered(700);
    crm.import(&ana, messages(options(ID, false), &all)).await.unwrap();
    let before = crm.database.digest().await;
    let mut other = all.clone();
    other[3].last_name = "Other".into();
    let swapped: Vec<_> = all.iter().rev().cloned().collect();
    for rows in [&other[..], &swapped, &all[..699], &numbered(800)[100..], &[]] {
        let refused = refusal(crm.import(&ana, messages(options(ID, false), rows)).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    }
    let refused = refusal(crm.import(&ana, messages(options(ID, true), &all)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    assert_eq!(crm.database.digest().await, before);
    // Somebody else's id is another one.
    let bob = crm.sign_up("bob").await;
    let his = crm.import(&bob, messages(options(ID, false), &other)).await.unwrap();
    assert_eq!(his.totals.created, 700);
}

#[tokio::test]
async fn two_streams_of_the_same_rows_make_no_client_twice() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let all = numbered(900);
    let backwards: Vec<_> = all.iter().rev().cloned().collect();
    let (one, other) = tokio::join!(
        crm.import(&ana, messages(options(ID, false), &all)),
        crm.import(&ana, messages(options(OTHER_ID, false), &backwards)),
    );
    let (one, other) = (one.unwrap().totals, other.unwrap().totals);
    assert_eq!(one.created + other.created, 900, "{one:?} {other:?}");
    assert_eq!(one.unchanged + other.unchanged, 900, "{one:?} {other:?}");
    assert_eq!((crm.live_clients().await, crm.total(&ana).await), (900, 900));
    crm.assert_counted().await;
}

#[tokio::test]
async fn two_streams_under_one_id_make_no_client_twice() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let all: Vec<_> = (0..1_200).map(|n| named(&format!("C{n}"), "")).collect();
    tokio::join!(repeated(&crm, &ana, &all), repeated(&crm, &ana, &all));
    assert_eq!((crm.live_clients().await, crm.total(&ana).await), (1_200, 1_200));
}

#[tokio::test]
async fn an_import_and_single_calls_do_not_get_in_each_others_way() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let all = numbered(1_000);
    let single = async {
        let mut created = 0;
        for client in all.iter().step_by(50).cloned() {
            let request = pb::CreateClientRequest { client: Some(client), ..Default::default() };
            match crm.clients().create_client(signed(&ana, request)).await {
                Ok(_) => created += 1,
                Err(status) => {
                    let said = Refusal::of(&status);
                    assert!(["CLIENT_EMAIL_TAKEN", "CONFLICT"].contains(&said.reason.as_str()));
                }
            }
        }
        created
    };
    let (imported, created) =
        tokio::join!(crm.import(&ana, messages(options("", false), &all)), single);
    let totals = imported.unwrap().totals;
    assert_eq!((totals.created + created, totals.unchanged), (1_000, created), "{totals:?}");
    crm.assert_counted().await;
}

pub async fn all_but_first(mut answers: Streaming<pb::ImportClientsResponse>) -> usize {
    let mut results = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        results += answer.results.len();
    }
    results
}

/// The rows of a stream, and how many of them were drawn from it.
pub fn counted(rows: usize) -> (impl Stream<Item = pb::ImportClientsRequest>, Arc<AtomicUsize>) {
    let drawn = Arc::new(AtomicUsize::new(0));
    let counter = drawn.clone();
    let stream = tokio_stream::iter(0..rows / 10).map(move |_| {
        counter.fetch_add(10, Ordering::SeqCst);
        let row = pb::Client { notes: "x".repeat(1_000), ..named("C", "") };
        self::rows(vec![row; 10])
    });
    (stream, drawn)
}

/// Nothing piles up on either side, however many rows there are: who does not read the results is
/// not read from.
#[tokio::test]
async fn an_unread_stream_of_results_holds_up_its_sender() {
    const ROWS: usize = 50_000;
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    // As little as HTTP/2 lets an answer run ahead of its reader.
    let narrow = Endpoint::from_shared(format!("http://{}", crm.address()))
        .unwrap()
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(65_535)
        .connect_lazy();
    let mut clients = pb::client_service_client::ClientServiceClient::new(narrow);
    let (requests, drawn) = counted(ROWS);
    let answers = clients.import_clients(signed(&ana, requests)).await.unwrap().into_inner();
    let mut before = usize::MAX;
    while before != drawn.load(Ordering::SeqCst) {
        before = drawn.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Two windows of rows under way, and what fits into an unread one of results.
    assert!(before < ROWS / 4, "{before} rows were taken from a sender who reads nothing");
    let dealt_with = crm.live_clients().await;
    assert!(dealt_with < i64::try_from(before).unwrap(), "{dealt_with}");
    drop(answers);
}

#[tokio::test]
async fn two_batches_of_the_same_rows_make_no_client_twice() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let batch = |rows| pb::BatchImportClientsRequest { rows, ..Default::default() };
    let all = numbered(300);
    let backwards = all.iter().rev().cloned().collect();
    let (one, other) =
        tokio::join!(crm.import_batch(&ana, batch(all)), crm.import_batch(&ana, batch(backwards)));
    assert_eq!(one.unwrap().totals.created + other.unwrap().totals.created, 300);
    assert_eq!(crm.total(&ana).await, 300);
}

/// Security checklist 47.
#[tokio::test]
async fn who_sends_nothing_for_too_long_is_not_waited_for() {
    let limit = Duration::from_millis(700);
    let crm = Crm::with(SERVICE_SECRET, |settings| settings.import_idle_limit = limit).await;
    let ana = crm.sign_up("ana").await;
    let (sender, requests) = mpsc::channel(1);
    sender.send(rows(numbered(1))).await.unwrap();
    let requests = signed(&ana, ReceiverStream::new(requests));
    let mut answers = crm.clients().import_clients(requests).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    // Each message is waited for anew.
    for _ in 0..2 {
        sleep(limit / 2).await;
        sender.send(rows(numbered(1))).await.unwrap();
        answers.message().await.unwrap().unwrap();
    }
    let began = Instant::now();
    let last = timeout(Duration::from_secs(8), answers.message()).await.unwrap();
    assert_eq!(refusal(last).said(), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    assert!(began.elapsed() >= limit / 2, "{:?}", began.elapsed());
    assert_eq!(crm.live_clients().await, 1, "what took effect stays");
    drop(sender);
}
