//! What those who keep answers of `ValidateToken` are told, and who waits for it.

use std::time::{Duration, Instant};

use proto::{
    common::v1::Role,
    identity::v1::{
        self as pb, revocation::Holder as Named, token_service_client::TokenServiceClient,
    },
};
use service_kit::lease::SURELY_OVER;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use crate::support::{Identity, Person, from_service, signed};

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than anything takes that waits for nobody, and well below what waiting takes.
const AT_ONCE: Duration = Duration::from_millis(700);

type Responses = Streaming<pb::WatchRevocationsResponse>;

/// A process that keeps answers, as far as can be seen from outside.
struct Holder {
    start_id: String,
    requests: mpsc::UnboundedSender<pb::WatchRevocationsRequest>,
    /// Until it is open, which takes a first request.
    opening: Option<JoinHandle<Result<Responses, Status>>>,
    responses: Option<Responses>,
    ping: i64,
    applied: Option<pb::LogPosition>,
}

impl Holder {
    fn of(identity: &Identity) -> Self {
        Self::start(identity, &Uuid::new_v4().to_string(), None)
    }

    /// One that has a lease.
    async fn leased(identity: &Identity) -> Self {
        let mut holder = Self::of(identity);
        assert!(holder.ask().await.lease.is_some());
        holder
    }

    fn start(identity: &Identity, start_id: &str, applied: Option<pb::LogPosition>) -> Self {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let outgoing = from_service(UnboundedReceiverStream::new(outgoing));
        let mut tokens = TokenServiceClient::new(identity.channel.clone());
        let opening = tokio::spawn(async move {
            tokens.watch_revocations(outgoing).await.map(tonic::Response::into_inner)
        });
        let (opening, responses) = (Some(opening), None);
        Self { start_id: start_id.to_owned(), requests, opening, responses, ping: 0, applied }
    }

    fn send(&self, ping: i64, applied: Option<pb::LogPosition>) {
        let start_id = self.start_id.clone();
        self.requests.send(pb::WatchRevocationsRequest { start_id, applied, ping }).unwrap();
    }

    /// Asks for a lease, having applied nothing more than it said, and returns the answer.
    async fn ask(&mut self) -> pb::WatchRevocationsResponse {
        self.ping += 1;
        self.send(self.ping, self.applied.clone());
        loop {
            let response = self.next().await;
            if response.ping == self.ping {
                return response;
            }
        }
    }

    /// Says that it has applied the log up to there.
    fn acknowledge(&mut self, applied: &pb::LogPosition) {
        self.applied = Some(applied.clone());
        self.send(0, self.applied.clone());
    }

    async fn message(&mut self) -> Result<Option<pb::WatchRevocationsResponse>, Status> {
        if let Some(opening) = self.opening.take() {
            self.responses = Some(opening.await.unwrap()?);
        }
        self.responses.as_mut().unwrap().message().await
    }

    async fn next(&mut self) -> pb::WatchRevocationsResponse {
        let response = timeout(PATIENCE, self.message()).await.expect("in time");
        response.unwrap().expect("the stream goes on")
    }

    /// The next response with something that happened.
    async fn told(&mut self) -> pb::WatchRevocationsResponse {
        loop {
            let response = self.next().await;
            if !response.revocations.is_empty() {
                return response;
            }
        }
    }
}

/// Ends all that somebody calls with, and says how long that took.
fn revoke_all(identity: &Identity, by: &Person) -> JoinHandle<Result<Duration, Status>> {
    let (mut auth, by) = (identity.auth(), by.clone());
    tokio::spawn(async move {
        let began = Instant::now();
        let request = signed(&by, pb::RevokeAllSessionsRequest { target: None });
        auth.revoke_all_sessions(request).await?;
        Ok(began.elapsed())
    })
}

async fn took(call: JoinHandle<Result<Duration, Status>>) -> Duration {
    call.await.unwrap().unwrap()
}

#[tokio::test]
async fn a_ping_is_answered_with_all_that_happened_and_a_lease() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut holder = Holder::of(&identity);
    let first = holder.ask().await;
    let head = first.position.clone().unwrap();
    assert!(first.reset && first.revocations.is_empty(), "it stands nowhere yet");
    assert_eq!(first.lease, Some(prost_types::Duration { seconds: 1, nanos: 0 }));

    took(revoke_all(&identity, &ana)).await;
    // Told by itself, and not again with the ping.
    let told = holder.told().await;
    assert_eq!((told.ping, told.lease, told.reset), (0, None, false));
    let [revocation] = &told.revocations[..] else { panic!("{told:?}") };
    assert_eq!(revocation.number, head.number + 1);
    assert_eq!(revocation.account_id, ana.account_id);
    assert_eq!(revocation.holder, Some(Named::EmployeeId(ana.id)));
    holder.acknowledge(&told.position.clone().unwrap());
    let next = holder.ask().await;
    assert!(!next.reset && next.revocations.is_empty() && next.lease.is_some());
    assert_eq!(next.position, told.position);
}

#[tokio::test]
async fn it_goes_on_where_it_was_unless_that_is_gone() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut holder = Holder::of(&identity);
    let before = holder.ask().await.position.unwrap();
    drop(holder);
    let (again, _) = tokio::join!(identity.log_in(&ana.email), async {
        took(revoke_all(&identity, &ana)).await
    });
    let again = identity.log_in(&again.email).await;
    took(revoke_all(&identity, &again)).await;
    let start = Uuid::new_v4().to_string();
    let mut back = Holder::start(&identity, &start, Some(before.clone()));
    let answer = back.ask().await;
    assert!(!answer.reset && answer.lease.is_some());
    let numbers: Vec<_> = answer.revocations.iter().map(|it| it.number).collect();
    assert_eq!(numbers, (before.number + 1..=before.number + 2).collect::<Vec<_>>());
    let head = answer.position.unwrap();

    let other_epoch = pb::LogPosition { epoch: Uuid::new_v4().to_string(), ..head.clone() };
    let ahead = pb::LogPosition { number: head.number + 1, ..head.clone() };
    for gone in [other_epoch, ahead] {
        let mut holder = Holder::start(&identity, &start, Some(gone));
        let answer = holder.ask().await;
        assert!(answer.reset && answer.lease.is_some());
        assert_eq!(answer.position.as_ref(), Some(&head));
    }
    let sweep = format!("DELETE FROM identity.revocations WHERE number <= {}", before.number + 1);
    identity.database.execute(&sweep).await;
    assert!(Holder::start(&identity, &start, Some(before)).ask().await.reset);
}

#[tokio::test]
async fn more_than_fits_comes_in_parts_and_the_lease_with_the_last() {
    let identity = Identity::start().await;
    let mut holder = Holder::of(&identity);
    let before = holder.ask().await.position.unwrap();
    drop(holder);
    identity
        .database
        .execute(
            "UPDATE identity.feeds SET number = number + 1200 WHERE name = 'revocations';
             INSERT INTO identity.revocations (number, account_id, kind, id, time)
             SELECT number - 1200 + n, 1, 'employee', n, now()
             FROM identity.feeds, generate_series(1, 1200) n WHERE name = 'revocations'",
        )
        .await;
    let start = Uuid::new_v4().to_string();
    let mut holder = Holder::start(&identity, &start, Some(before.clone()));
    holder.send(1, Some(before.clone()));
    let mut numbers = Vec::new();
    let last = loop {
        let part = holder.next().await;
        numbers.extend(part.revocations.iter().map(|it| it.number));
        assert_eq!(part.position.as_ref().unwrap().number, *numbers.last().unwrap());
        if part.ping == 1 {
            break part;
        }
        assert_eq!(part.lease, None);
    };
    assert!(last.lease.is_some());
    assert_eq!(numbers, (before.number + 1..=before.number + 1200).collect::<Vec<_>>());
}

/// Security checklist 19.
#[tokio::test]
async fn whoever_takes_something_back_waits_until_the_holder_knows() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    assert!(took(revoke_all(&identity, &ana)).await < AT_ONCE, "where nobody holds a lease");
    let ana = identity.log_in(&ana.email).await;
    let mut holder = Holder::leased(&identity).await;
    let call = revoke_all(&identity, &ana);
    let told = holder.told().await;
    sleep(Duration::from_millis(300)).await;
    assert!(!call.is_finished(), "it was not said yet that it was applied");
    holder.acknowledge(&told.position.unwrap());
    let took = took(call).await;
    assert!(took >= Duration::from_millis(300) && took < AT_ONCE + AT_ONCE / 2, "{took:?}");
}

/// Security checklist 20.
#[tokio::test]
async fn and_where_the_holder_is_silent_until_its_lease_is_over() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut holder = Holder::leased(&identity).await;
    // It pings on, without ever saying that it knows: what it is given later has the word in it.
    let pinging = tokio::spawn(async move {
        loop {
            holder.ask().await;
            sleep(Duration::from_millis(100)).await;
        }
    });
    sleep(Duration::from_millis(200)).await;
    let silent = took(revoke_all(&identity, &ana)).await;
    assert!(silent > Duration::from_secs(1) && silent < SURELY_OVER + AT_ONCE, "{silent:?}");
    pinging.abort();

    // The note of a lease outlives its stream.
    let ana = identity.log_in(&ana.email).await;
    sleep(SURELY_OVER).await;
    drop(Holder::leased(&identity).await);
    let gone = took(revoke_all(&identity, &ana)).await;
    assert!(gone > Duration::from_millis(900), "{gone:?}");
    let ana = identity.log_in(&ana.email).await;
    assert!(took(revoke_all(&identity, &ana)).await < AT_ONCE, "and then it is over");
}

#[tokio::test]
async fn an_acknowledgement_by_another_start_counts_for_that_one_only() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let _silent = Holder::leased(&identity).await;
    let mut other = Holder::leased(&identity).await;
    let call = revoke_all(&identity, &ana);
    let told = other.told().await;
    other.acknowledge(&told.position.unwrap());
    assert!(took(call).await > Duration::from_millis(900));
}

/// The first call was given up by its caller: nobody knows whether anybody was told.
#[tokio::test]
async fn a_call_that_finds_everything_done_waits_too() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let mut holder = Holder::leased(&identity).await;
    let log_out = || {
        let (mut auth, request) = (identity.auth(), signed(&bob, pb::LogoutRequest {}));
        tokio::spawn(async move { auth.logout(request).await })
    };
    let given_up = log_out();
    let told = holder.told().await;
    given_up.abort();
    let again = log_out();
    sleep(Duration::from_millis(200)).await;
    assert!(!again.is_finished(), "the holder may still go by what was");
    holder.acknowledge(&told.position.unwrap());
    again.await.unwrap().unwrap();

    // A repeat by request_id, too.
    let mut holder = Holder::leased(&identity).await;
    let delete = || {
        let id = bob.id;
        let request_id = "6f1f0b54-6f0c-4b39-8a43-3f1c0a3d8b11".to_owned();
        let request = pb::DeleteEmployeeRequest { id, request_id, ..Default::default() };
        let (mut employees, request) = (identity.employees(), signed(&ana, request));
        tokio::spawn(async move { employees.delete_employee(request).await })
    };
    let given_up = delete();
    let told = holder.told().await;
    given_up.abort();
    let again = delete();
    sleep(Duration::from_millis(200)).await;
    assert!(!again.is_finished());
    holder.acknowledge(&told.position.unwrap());
    again.await.unwrap().unwrap();
}

/// One place and one connection are enough for everybody else meanwhile.
#[tokio::test]
async fn whoever_waits_holds_nothing_that_others_need() {
    let identity = Identity::set_up(|settings| {
        settings.server.max_in_flight = 1;
        settings.database.as_mut().unwrap().pool.size = 1;
    })
    .await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let _silent = Holder::leased(&identity).await;
    let call = revoke_all(&identity, &bob);
    sleep(Duration::from_millis(200)).await;
    for _ in 0..5 {
        identity.me(&ana.token).await.unwrap();
    }
    assert!(!call.is_finished());
    assert!(took(call).await > Duration::from_millis(900));
}

#[tokio::test]
async fn a_lease_of_another_process_is_waited_for_as_well() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let other = identity.replica().await;
    let mut holder = Holder::leased(&other).await;
    let call = revoke_all(&identity, &ana);
    let told = holder.told().await;
    sleep(Duration::from_millis(300)).await;
    assert!(!call.is_finished());
    holder.acknowledge(&told.position.unwrap());
    assert!(took(call).await < AT_ONCE + AT_ONCE / 2);

    let ana = identity.log_in(&ana.email).await;
    assert!(holder.ask().await.lease.is_some());
    drop((holder, other));
    let gone = took(revoke_all(&identity, &ana)).await;
    assert!(gone > Duration::from_millis(800) && gone < SURELY_OVER + AT_ONCE, "{gone:?}");
}

#[tokio::test]
async fn the_row_of_a_process_that_is_gone_goes_in_two_steps() {
    let identity = Identity::start().await;
    let mut holder = Holder::leased(&identity).await;
    let rows = "SELECT id, is_fenced FROM identity.lease_givers";
    let before: Vec<(Uuid, bool)> = identity.rows(rows).await;
    let [(own, false)] = before[..] else { panic!("{before:?}") };
    let gone = Uuid::new_v4();
    let insert = format!(
        "INSERT INTO identity.lease_givers (id, epoch, number) VALUES ('{gone}', '{gone}', 0)"
    );
    identity.database.execute(&insert).await;
    let (began, mut fenced) = (Instant::now(), None);
    loop {
        let rows: Vec<(Uuid, bool)> = identity.rows(rows).await;
        assert!(rows.contains(&(own, false)), "who lives stays");
        match rows.iter().find(|(id, _)| *id == gone) {
            Some((_, true)) if fenced.is_none() => fenced = Some(began.elapsed()),
            Some(_) => {}
            None => break,
        }
        assert!(began.elapsed() < PATIENCE);
        holder.ask().await;
        sleep(Duration::from_millis(50)).await;
    }
    let fenced = fenced.expect("first it is fenced");
    assert!(fenced > Duration::from_secs(9), "{fenced:?}");
    assert!(began.elapsed() >= fenced + Duration::from_secs(1));
}

/// Security checklist 20.
#[tokio::test]
async fn no_lease_is_given_by_a_row_that_is_fenced_or_gone_and_then_by_a_new_one() {
    let identity = Identity::start().await;
    let mut holder = Holder::leased(&identity).await;
    let mut rows = Vec::new();
    for take in
        ["UPDATE identity.lease_givers SET is_fenced = true", "DELETE FROM identity.lease_givers"]
    {
        rows.extend(giving(&identity).await);
        identity.database.execute(take).await;
        let began = Instant::now();
        while holder.ask().await.lease.is_none() {
            assert!(began.elapsed() < PATIENCE, "{take}: there is none by a new row");
        }
        let new = giving(&identity).await;
        assert_eq!(new.len(), 1, "{take}");
        assert!(!rows.contains(&new[0]), "{take}: a lease by a row that was taken away");
    }
}

/// By which leases can be given.
async fn giving(identity: &Identity) -> Vec<Uuid> {
    let rows: Vec<(Uuid,)> =
        identity.rows("SELECT id FROM identity.lease_givers WHERE NOT is_fenced").await;
    rows.into_iter().map(|(id,)| id).collect()
}

#[tokio::test]
async fn nobody_is_watched_for_who_does_not_say_who_they_are() {
    let identity = Identity::start().await;
    for start in ["", "crm"] {
        let mut holder = Holder::start(&identity, start, None);
        holder.send(1, None);
        let refused = holder.message().await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let mut holder = Holder::leased(&identity).await;
    holder.start_id = Uuid::new_v4().to_string();
    holder.send(2, None);
    let refused = loop {
        match holder.message().await {
            Ok(news) => assert!(news.is_some()),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code(), Code::InvalidArgument);
}
