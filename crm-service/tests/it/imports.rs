//! Imports: many clients at once, in one call or as a stream.

use crate::import_repeats::{all_but_first, repeated};
use crate::support::{Crm, Person, named, signed};
use proto::{
    common::v1::{ErrorReason as Reason, Permission},
    crm::v1::{self as pb, ClientStatus, ImportOutcome as Outcome},
};
use service_kit::testing::refusal::refusal;
use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

pub const ID: &str = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f";

pub const OTHER_ID: &str = "7a2d2f6e-9f1b-4d63-8e4d-1b6c7d8e9f0a";

/// All that an import answered.
#[derive(Debug, Default)]
pub struct Imported {
    pub results: Vec<pb::ImportResult>,
    pub totals: pb::ImportTotals,
}

impl Imported {
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.results.iter().map(pb::ImportResult::outcome).collect()
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.outcomes().into_iter().filter(|other| *other == outcome).count()
    }
}

impl Crm {
    /// Sends messages, and reads all answers.
    pub async fn import(
        &self,
        by: &Person,
        messages: Vec<pb::ImportClientsRequest>,
    ) -> Result<Imported, Status> {
        let requests = signed(by, tokio_stream::iter(messages));
        all_of(self.clients().import_clients(requests).await?.into_inner()).await
    }

    pub async fn import_batch(
        &self,
        by: &Person,
        request: pb::BatchImportClientsRequest,
    ) -> Result<Imported, Status> {
        let answer = self.clients().batch_import_clients(signed(by, request)).await?.into_inner();
        Ok(Imported { results: answer.results, totals: answer.totals.unwrap() })
    }

    pub async fn live_clients(&self) -> i64 {
        let count = "SELECT count(*) FROM crm.clients WHERE delete_time IS NULL";
        sqlx::query_scalar(count).fetch_one(&self.database.owner).await.unwrap()
    }

    pub async fn total(&self, by: &Person) -> i64 {
        let request = signed(by, pb::GetClientStatisticsRequest::default());
        let answer = self.clients().get_client_statistics(request).await.unwrap();
        answer.into_inner().statistics.unwrap().total
    }
}

/// Reads to the end, and checks that the answers agree with each other.
async fn all_of(mut answers: Streaming<pb::ImportClientsResponse>) -> Result<Imported, Status> {
    let mut all = Imported::default();
    let mut complete = false;
    while let Some(answer) = answers.message().await? {
        assert!(!complete, "nothing follows the last answer");
        complete = answer.complete;
        all.results.extend(answer.results);
        all.totals = answer.totals.unwrap();
        assert_eq!(all.totals.rows, i64::try_from(all.results.len()).unwrap());
    }
    assert!(complete, "it ended well and says so");
    for (number, result) in (1..).zip(&all.results) {
        assert_eq!(result.row_number, number);
    }
    let counted = [Outcome::Created, Outcome::Updated, Outcome::Unchanged, Outcome::Refused]
        .map(|outcome| all.count(outcome) as i64);
    let totals = all.totals;
    assert_eq!(counted, [totals.created, totals.updated, totals.unchanged, totals.refused]);
    Ok(all)
}

pub fn options(request_id: &str, dry_run: bool) -> pb::ImportClientsRequest {
    let options = pb::ImportClientsOptions { dry_run, request_id: request_id.into() };
    pb::ImportClientsRequest { options: Some(options), rows: vec![] }
}

pub fn rows(rows: Vec<pb::Client>) -> pb::ImportClientsRequest {
    pb::ImportClientsRequest { options: None, rows }
}

/// Rows in messages of a hundred.
pub fn messages(
    first: pb::ImportClientsRequest,
    all: &[pb::Client],
) -> Vec<pb::ImportClientsRequest> {
    let more = all.chunks(100).map(|some| rows(some.to_vec()));
    std::iter::once(first).chain(more).collect()
}

fn with_email(first_name: &str, email: &str) -> pb::Client {
    pb::Client { email: email.into(), ..named(first_name, "") }
}

pub fn numbered(count: usize) -> Vec<pb::Client> {
    (1..=count).map(|n| with_email(&format!("C{n}"), &format!("c{n}@example.com"))).collect()
}

/// New, there already and changed, there already and as it should be, bad, twice in a row.
fn mixed() -> Vec<pb::Client> {
    let labels = [("tier".to_owned(), "Gold".to_owned())].into();
    vec![
        with_email("New", "new@example.com"),
        pb::Client { country: "NL".into(), labels, ..with_email("", "ADA@example.com") },
        with_email("Bob", "bob@example.com"),
        pb::Client { country: "XX".into(), email: "nobody".into(), ..Default::default() },
        pb::Client { status: ClientStatus::Paused.into(), ..with_email("Twice", "t@example.com") },
        pb::Client { last_name: "Again".into(), ..with_email("", "T@example.com") },
        with_email("Twice", "T@example.com"),
        named("Nameless", ""),
        with_email("", "missing@example.com"),
    ]
}

const MIXED: [Outcome; 9] = [
    Outcome::Created,
    Outcome::Updated,
    Outcome::Unchanged,
    Outcome::Refused,
    Outcome::Created,
    Outcome::Updated,
    Outcome::Unchanged,
    Outcome::Created,
    Outcome::Refused,
];

/// An account with two clients, for [`mixed`].
async fn with_two() -> (Crm, Person, pb::Client) {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let labels = [("from".to_owned(), "fair".to_owned())].into();
    let ada = pb::Client { labels, ..with_email("Ada", "Ada@Example.com") };
    let ada = crm.create(&ana, ada).await;
    crm.create(&ana, with_email("Bob", "bob@example.com")).await;
    (crm, ana, ada)
}

#[tokio::test]
async fn every_row_is_dealt_with_by_itself() {
    let (crm, ana, ada) = with_two().await;
    let all = crm.import(&ana, messages(options("", false), &mixed())).await.unwrap();
    assert_eq!(all.outcomes(), MIXED);
    let changed = crm.get(&ana, ada.id).await.unwrap();
    assert_eq!((changed.first_name.as_str(), changed.country.as_str()), ("Ada", "NL"));
    assert_eq!(
        (changed.labels["from"].as_str(), changed.labels["tier"].as_str()),
        ("fair", "Gold")
    );
    assert_eq!(all.results[1].client_id, ada.id);
    let twice = crm.get(&ana, all.results[4].client_id).await.unwrap();
    assert_eq!((twice.last_name.as_str(), twice.status()), ("Again", ClientStatus::Paused));
    assert_eq!(all.results[6].client_id, twice.id);
    assert_eq!(crm.get(&ana, all.results[7].client_id).await.unwrap().first_name, "Nameless");

    let refused = &all.results[3];
    assert_eq!((refused.reason(), refused.client_id), (Reason::InvalidFields, 0));
    let fields: Vec<_> = refused.violations.iter().map(|flaw| flaw.field.as_str()).collect();
    assert_eq!(fields, ["first_name", "email", "country"]);
    assert_eq!(all.results[8].reason(), Reason::MissingFields);
    assert_eq!(all.results[8].violations[0].description, "is required");

    crm.assert_counted().await;
    assert_eq!(crm.total(&ana).await, 5);
    let found = pb::ListClientsRequest { search: "again".into(), ..Default::default() };
    assert_eq!(crm.list(&ana, found).await.clients, [twice]);
}

/// Security checklist 60.
#[tokio::test]
async fn every_change_is_recorded_and_nothing_else() {
    let (crm, ana, _) = with_two().await;
    let all = crm.import(&ana, messages(options("", false), &mixed())).await.unwrap();
    let recorded: Vec<(String, i64)> = sqlx::query_as(
        "SELECT action, subject_id FROM crm.audit_events
         WHERE details ->> 'imported' = 'true' ORDER BY subject_id, action",
    )
    .fetch_all(&crm.database.owner)
    .await
    .unwrap();
    let mut expected: Vec<_> = all
        .results
        .iter()
        .filter_map(|result| match result.outcome() {
            Outcome::Created => Some(("client.create".to_owned(), result.client_id)),
            Outcome::Updated => Some(("client.update".to_owned(), result.client_id)),
            _ => None,
        })
        .collect();
    expected.sort_by_key(|(action, id)| (*id, action.clone()));
    assert_eq!(recorded, expected);
}

#[tokio::test]
async fn a_dry_run_answers_the_same_and_writes_nothing() {
    let (crm, ana, _) = with_two().await;
    let before = crm.database.digest().await;
    // Another address for each chunk, and one that comes in two of them.
    let mut many = mixed();
    many.extend(numbered(600));
    many.push(with_email("C1", "c1@example.com"));
    many.push(pb::Client { country: "NL".into(), ..with_email("C2", "C2@example.com") });
    many.push(pb::Client { country: "NL".into(), ..with_email("", "C3@example.com") });
    many.push(pb::Client { country: "XX".into(), ..with_email("", "c4@example.com") });
    many.push(with_email("", "nobody.new@example.com"));
    let dry = crm.import(&ana, messages(options(ID, true), &many)).await.unwrap();
    assert_eq!(crm.database.digest().await, before);
    let batch =
        pb::BatchImportClientsRequest { rows: mixed(), dry_run: true, request_id: ID.into() };
    assert_eq!(crm.import_batch(&ana, batch.clone()).await.unwrap().outcomes(), MIXED);
    assert_eq!(crm.database.digest().await, before);
    assert!(dry.results.iter().all(|result| {
        result.client_id == 0 || matches!(result.outcome(), Outcome::Updated | Outcome::Unchanged)
    }));

    // The same id is still good for the import itself.
    let wet = crm.import(&ana, messages(options(ID, false), &many)).await.unwrap();
    assert_eq!(dry.outcomes(), wet.outcomes());
    assert_eq!(dry.results.len(), many.len());
    let places = many.len() - 3..many.len() - 1;
    assert_eq!(dry.outcomes()[places], [Outcome::Updated, Outcome::Refused]);
    assert_eq!(dry.totals, wet.totals);
    let batch = pb::BatchImportClientsRequest { dry_run: false, ..batch };
    crm.import_batch(&ana, batch).await.unwrap();
}

/// Whoever sends a row and waits for its result gets it.
#[tokio::test]
async fn a_row_does_not_wait_for_others() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let (sender, requests) = mpsc::channel(1);
    sender.send(rows(numbered(1))).await.unwrap();
    let requests = signed(&ana, ReceiverStream::new(requests));
    let mut answers = crm.clients().import_clients(requests).await.unwrap().into_inner();
    for number in 1..=3_i64 {
        let answer = timeout(Duration::from_secs(10), answers.message()).await.unwrap();
        let answer = answer.unwrap().unwrap();
        assert_eq!(answer.results[0].row_number, number);
        let row = with_email("Next", &format!("next{number}@example.com"));
        sender.send(rows(vec![row])).await.unwrap();
    }
    drop(sender);
    assert_eq!(all_but_first(answers).await, 1);
}

#[tokio::test]
async fn fifty_thousand_rows_are_not_too_many() {
    const ROWS: usize = 50_000;
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    // Nearly all are refused, which costs least.
    let all = (0..ROWS).map(|n| if n % 100 == 0 { named("C", "") } else { named("", "") });
    let all: Vec<_> = all.collect();
    let done = crm.import(&ana, messages(options(ID, false), &all)).await.unwrap();
    assert_eq!((done.totals.created, done.totals.refused), (500, 49_500));
    let again = repeated(&crm, &ana, &all).await;
    assert_eq!(again.totals.already_applied, 50_000);
}

/// Security checklist 35 and 36.
#[tokio::test]
async fn parts_go_to_active_employees_of_the_account_only() {
    let crm = Crm::start().await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    let (coach, idle) = (crm.hire(&ana, "coach").await, crm.hire(&ana, "idle").await);
    let foreign = crm.id_of(&bob).await;
    crm.deactivate(&ana, idle.id).await;
    crm.is_told().await;
    let good = pb::Client { coach_id: coach.id, ..with_email("Ada", "ada@example.com") };
    let all = [
        good.clone(),
        pb::Client { coach_id: idle.id, setter_id: foreign, ..named("Eve", "") },
        pb::Client { closer_id: foreign, ..named("Eve", "") },
        pb::Client { closer_id: 999_999, ..named("Eve", "") },
        pb::Client { setter_id: coach.id, ..with_email("", "ada@example.com") },
    ];
    let done = crm.import(&ana, messages(options("", false), &all)).await.unwrap();
    let reasons: Vec<_> = done.results.iter().map(pb::ImportResult::reason).collect();
    let (fine, unknown) = (Reason::Unspecified, Reason::NotFound);
    assert_eq!(reasons, [fine, Reason::AssigneeNotActive, unknown, unknown, fine]);
    let fields: Vec<_> =
        done.results[1].violations.iter().map(|flaw| flaw.field.as_str()).collect();
    assert_eq!(fields, ["coach_id", "setter_id"]);
    // Another account's employee reads as nobody.
    let said =
        |row: usize| (done.results[row].message.clone(), done.results[row].violations.clone());
    assert_eq!(said(2), said(3));
    crm.assert_counted().await;
    // Whoever has a part keeps it while they are away.
    crm.deactivate(&ana, coach.id).await;
    crm.is_told().await;
    let again = pb::Client { country: "NL".into(), ..good };
    let done = crm.import(&ana, vec![rows(vec![again])]).await.unwrap();
    assert_eq!(done.outcomes(), [Outcome::Updated]);
}

#[tokio::test]
async fn a_client_that_the_caller_does_not_see_is_not_changed() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let eve = crm.hire(&ana, "eve").await;
    crm.grant(&ana, &eve.person, &[Permission::ImportData]).await;
    crm.show_only_assigned(&ana).await;
    crm.create(&ana, with_email("Ada", "ada@example.com")).await;
    let hers = pb::Client { coach_id: eve.id, ..with_email("Bob", "bob@example.com") };
    let hers = crm.create(&ana, hers).await;
    let all = [
        pb::Client { country: "NL".into(), ..with_email("Eve", "ADA@example.com") },
        pb::Client { country: "NL".into(), ..with_email("", "bob@example.com") },
        with_email("New", "new@example.com"),
    ];
    let done = crm.import(&eve.person, messages(options("", false), &all)).await.unwrap();
    assert_eq!(done.outcomes(), [Outcome::Refused, Outcome::Updated, Outcome::Created]);
    let refused = &done.results[0];
    assert_eq!((refused.reason(), refused.client_id), (Reason::ClientEmailTaken, 0));
    assert_eq!(done.results[1].client_id, hers.id);
    assert_eq!(crm.total(&ana).await, 3);
}

/// Security checklist 43 and 52.
#[tokio::test]
async fn what_cannot_be_an_import_is_refused_and_nothing_is_written() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let before = crm.database.digest().await;
    let refused = refusal(crm.import(&ana, vec![options("x", false), rows(numbered(1))]).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(refused.fields, ["options.request_id"]);
    let twice = vec![options(ID, false), options(ID, true)];
    assert_eq!(refusal(crm.import(&ana, twice).await).fields, ["options"]);
    for (rows, fields) in
        [(numbered(501), ["request_id", "rows"]), (vec![], ["request_id", "rows"])]
    {
        let request =
            pb::BatchImportClientsRequest { rows, request_id: "x".into(), ..Default::default() };
        assert_eq!(refusal(crm.import_batch(&ana, request).await).fields, fields);
    }
    let nothing = crm.import(&ana, vec![]).await.unwrap();
    assert_eq!(nothing.totals, pb::ImportTotals::default());
    assert_eq!(crm.database.digest().await, before);
}

#[tokio::test]
async fn a_batch_is_one_call_with_one_answer() {
    let (crm, ana, ada) = with_two().await;
    let request =
        pb::BatchImportClientsRequest { rows: mixed(), dry_run: false, request_id: ID.into() };
    let done = crm.import_batch(&ana, request.clone()).await.unwrap();
    assert_eq!(done.outcomes(), MIXED);
    assert_eq!(done.results[1].client_id, ada.id);
    let numbers: Vec<_> = done.results.iter().map(|result| result.row_number).collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
    crm.assert_counted().await;
    let before = crm.database.digest().await;
    assert_eq!(crm.import_batch(&ana, request.clone()).await.unwrap().results, done.results);
    let other = pb::BatchImportClientsRequest { rows: numbered(3), ..request };
    let refused = refusal(crm.import_batch(&ana, other).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    assert_eq!(crm.database.digest().await, before);
}

/// Security checklist 19: also when the stream is idle.
#[tokio::test]
async fn an_import_ends_with_the_right_to_it() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let (sender, requests) = mpsc::channel(1);
    sender.send(rows(numbered(1))).await.unwrap();
    let requests = signed(&ana, ReceiverStream::new(requests));
    let mut answers = crm.clients().import_clients(requests).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    crm.identity.database.execute("UPDATE identity.employees SET role = 'employee'").await;
    let last = timeout(Duration::from_secs(8), answers.message()).await.unwrap();
    assert_eq!(refusal(last).said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    assert_eq!(crm.live_clients().await, 1);
}
