//! Changes of clients, as those hear of them who watch.

use crate::support::{Crm, Person, named, signed};
use proto::crm::v1::{
    self as pb, client_change::Change, client_service_client::ClientServiceClient,
};
use service_kit::testing::{plans, refusal::refusal};
use sqlx::{AssertSqlSafe, PgConnection};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
    time::Duration,
};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming, transport::Channel};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// A stream, and the cursor of what came out of it last.
pub struct Watcher {
    pub stream: Streaming<pb::WatchClientsResponse>,
    pub cursor: String,
}

impl Watcher {
    pub async fn over(channel: &Channel, by: &Person, cursor: &str) -> Result<Self, Status> {
        let request = pb::WatchClientsRequest { cursor: cursor.to_owned() };
        let mut clients = ClientServiceClient::new(channel.clone());
        let stream = clients.watch_clients(signed(by, request)).await?.into_inner();
        Ok(Self { stream, cursor: cursor.to_owned() })
    }

    pub async fn from(crm: &Crm, by: &Person, cursor: &str) -> Result<Self, Status> {
        Self::over(&crm.channel, by, cursor).await
    }

    /// From now on.
    pub async fn new(crm: &Crm, by: &Person) -> Self {
        let mut watcher = Self::from(crm, by, "").await.unwrap();
        assert_eq!(watcher.next().await.unwrap().unwrap(), []);
        watcher
    }

    /// The next response; none when the stream has ended well.
    pub async fn next(&mut self) -> Result<Option<Vec<Change>>, Status> {
        let Some(response) = timeout(PATIENCE, self.stream.message()).await.unwrap()? else {
            return Ok(None);
        };
        assert_ne!(response.cursor, "");
        self.cursor = response.cursor;
        Ok(Some(response.changes.into_iter().map(|change| change.change.unwrap()).collect()))
    }

    /// As many changes as there must be, one after the other.
    pub async fn take(&mut self, number: usize) -> Vec<Change> {
        let mut changes = Vec::new();
        let all = async {
            while changes.len() < number {
                changes.extend(self.next().await.unwrap().expect("the stream goes on"));
            }
        };
        timeout(PATIENCE, all).await.expect("all changes in time");
        assert_eq!(changes.len(), number, "{changes:?}");
        changes
    }

    pub async fn is_silent(&mut self) {
        let next = timeout(Duration::from_millis(700), self.stream.message()).await;
        assert!(next.is_err(), "{next:?}");
    }

    /// The refusal with which it ends, and after how long.
    pub async fn end(mut self) -> (Code, String, Duration) {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "it goes on");
            match self.next().await {
                Ok(Some(changes)) => assert_eq!(changes, []),
                Ok(None) => panic!("it ended well"),
                Err(status) => {
                    let refused = refusal(Err::<(), _>(status));
                    return (refused.code, refused.reason, began.elapsed());
                }
            }
        }
    }
}

/// The ids of clients that are new or changed.
fn ids(changes: &[Change]) -> Vec<i64> {
    changes
        .iter()
        .map(|change| match change {
            Change::Client(client) => client.id,
            Change::RemovedId(id) => panic!("{id} is removed"),
        })
        .collect()
}

async fn undelete(crm: &Crm, by: &Person, id: i64) -> pb::Client {
    let request = pb::UndeleteClientRequest { id, ..Default::default() };
    let answer = crm.clients().undelete_client(signed(by, request)).await.unwrap();
    answer.into_inner().client.unwrap()
}

/// Gives a client a coach, or takes them away.
async fn give(crm: &Crm, by: &Person, id: i64, coach_id: i64) -> pb::Client {
    crm.update(by, pb::Client { id, coach_id, ..Default::default() }, &["coach_id"]).await.unwrap()
}

#[tokio::test]
async fn what_happens_to_clients_is_told_in_order() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let mut watcher = Watcher::new(&crm, &ana).await;
    let ada = crm.create(&ana, named("Ada", "")).await;
    assert_eq!(watcher.take(1).await, [Change::Client(ada.clone())]);
    let bob = crm.create(&ana, named("Bob", "")).await;
    assert_eq!(watcher.take(1).await, [Change::Client(bob.clone())]);
    let change = pb::Client { id: ada.id, first_name: "Augusta".into(), ..Default::default() };
    let ada = crm.update(&ana, change, &["first_name"]).await.unwrap();
    assert_eq!(watcher.take(1).await, [Change::Client(ada.clone())]);
    crm.delete(&ana, ada.id).await;
    assert_eq!(watcher.take(1).await, [Change::RemovedId(ada.id)]);
    let ada = undelete(&crm, &ana, ada.id).await;
    assert_eq!(watcher.take(1).await, [Change::Client(ada.clone())]);
    // What changed nothing is no change.
    undelete(&crm, &ana, ada.id).await;
    crm.update(&ana, ada, &["first_name"]).await.unwrap();
    watcher.is_silent().await;
}

#[tokio::test]
async fn a_cursor_is_followed_by_exactly_the_rest_and_a_client_comes_once() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let mut watcher = Watcher::new(&crm, &ana).await;
    let (mut cursors, mut made) = (vec![watcher.cursor.clone()], Vec::new());
    for name in ["Ada", "Bob", "Cleo"] {
        made.push(crm.create(&ana, named(name, "")).await.id);
        watcher.take(1).await;
        cursors.push(watcher.cursor.clone());
    }
    for (dealt_with, cursor) in cursors.iter().enumerate() {
        let mut resumed = Watcher::from(&crm, &ana, cursor).await.unwrap();
        if dealt_with == made.len() {
            // It says at once that there is nothing.
            assert_eq!(resumed.next().await.unwrap().unwrap(), []);
        }
        assert_eq!(ids(&resumed.take(made.len() - dealt_with).await), made[dealt_with..]);
        resumed.is_silent().await;
    }
    // Whatever became of it, in the place of the last change, as it is now.
    let change = pb::Client { id: made[0], notes: "x".into(), ..Default::default() };
    let ada = crm.update(&ana, change, &["notes"]).await.unwrap();
    crm.delete(&ana, made[1]).await;
    let mut resumed = Watcher::from(&crm, &ana, &cursors[0]).await.unwrap();
    let changes = resumed.take(3).await;
    assert_eq!(ids(&changes[..1]), [made[2]]);
    assert_eq!(changes[1..], [Change::Client(ada), Change::RemovedId(made[1])]);
    // Whoever sees the same clients may go on in their place.
    let eve = crm.hire(&ana, "eve").await.person;
    assert_eq!(Watcher::from(&crm, &eve, &cursors[0]).await.unwrap().take(3).await.len(), 3);
}

/// The service's own statement. Found once: there are tens of thousands to look through, and who
/// looks keeps the thread from all else.
static APPEND: LazyLock<String> = LazyLock::new(|| {
    let mut statements = plans::recorded("crm", &[]).into_iter();
    statements.find(|one| one.text.contains("INSERT INTO crm.client_changes")).unwrap().text
});

/// What a transaction of the service does with a new client, as the owner.
pub async fn make(connection: &mut PgConnection, account_id: i64, name: &str) {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO crm.clients
             (account_id, first_name, last_name, name_key, email, phone_number, status, country,
              currency, notes, labels, create_time, update_time)
         VALUES ($1, $2, '', '', '', '', 'active', '', 'CHF', '', '{}', now(), now())
         RETURNING id",
    )
    .bind(account_id)
    .bind(name)
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    sqlx::query(AssertSqlSafe(APPEND.as_str()))
        .bind(account_id)
        .bind(service_kit::clock::now())
        .bind(["client"])
        .bind([id])
        .bind([sqlx::types::Json(Vec::<i64>::new())])
        .execute(connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn transactions_that_overlap_are_told_in_the_order_of_their_commits() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let first = crm.create(&ana, named("First", "")).await;
    let account_id: i64 = sqlx::query_scalar("SELECT account_id FROM crm.clients")
        .fetch_one(&crm.database.owner)
        .await
        .unwrap();
    let mut watcher = Watcher::new(&crm, &ana).await;
    let mut slow = crm.database.owner.begin().await.unwrap();
    let mut quick = crm.database.owner.begin().await.unwrap();
    // Whoever begins first commits last.
    sqlx::query("SELECT nextval(pg_get_serial_sequence('crm.clients', 'id'))")
        .execute(&mut *slow)
        .await
        .unwrap();
    make(&mut quick, account_id, "Quick").await;
    let late = tokio::spawn(async move {
        make(&mut slow, account_id, "Slow").await;
        slow.commit().await.unwrap();
    });
    // The other waits for the counter, and nothing is true yet.
    watcher.is_silent().await;
    assert!(!late.is_finished());
    quick.commit().await.unwrap();
    late.await.unwrap();
    // What is rolled back leaves no gap.
    let mut vain = crm.database.owner.begin().await.unwrap();
    make(&mut vain, account_id, "Vain").await;
    vain.rollback().await.unwrap();
    crm.delete(&ana, first.id).await;

    let changes = watcher.take(3).await;
    let names: Vec<_> = changes
        .iter()
        .map(|change| match change {
            Change::Client(client) => client.first_name.as_str(),
            Change::RemovedId(_) => "removed",
        })
        .collect();
    assert_eq!(names, ["Quick", "Slow", "removed"]);
}

/// Watches, breaks off and goes on, until it has seen so many clients.
async fn come_and_go(
    channels: Vec<Channel>,
    by: Person,
    cursor: String,
    number: usize,
) -> Vec<i64> {
    let (mut cursor, mut seen) = (cursor, Vec::new());
    for round in 0.. {
        // From one process to the other.
        let channel = &channels[round % channels.len()];
        let mut watcher = Watcher::over(channel, &by, &cursor).await.unwrap();
        for _ in 0..=(round % 4) {
            seen.extend(ids(&watcher.next().await.unwrap().expect("the stream goes on")));
            cursor.clone_from(&watcher.cursor);
            if seen.len() >= number {
                return seen;
            }
        }
    }
    unreachable!("rounds do not end")
}

#[tokio::test]
async fn nothing_is_lost_or_repeated_however_often_somebody_breaks_off_while_others_write() {
    const WRITERS: usize = 6;
    const EACH: usize = 40;
    let crm = Crm::start().await;
    let (other, _running) = crm.beside().await;
    let ana = crm.sign_up("ana").await;
    let cursor = Watcher::new(&crm, &ana).await.cursor;
    let channels = [crm.channel.clone(), other];
    let watchers = (0..4).map(|_| {
        let (channels, by, cursor) = (channels.to_vec(), ana.clone(), cursor.clone());
        tokio::spawn(timeout(PATIENCE * 2, come_and_go(channels, by, cursor, WRITERS * EACH)))
    });
    let watchers: Vec<_> = watchers.collect();
    let writers = (0..WRITERS).map(|writer| {
        let channel = channels[writer % 2].clone();
        let by = ana.clone();
        tokio::spawn(async move {
            let mut clients = ClientServiceClient::new(channel);
            let mut made = Vec::new();
            for n in 0..EACH {
                let client = Some(named(&format!("{writer} {n}"), ""));
                let request = pb::CreateClientRequest { client, ..Default::default() };
                let answer = clients.create_client(signed(&by, request)).await.unwrap();
                made.push(answer.into_inner().client.unwrap().id);
            }
            made
        })
    });
    let mut made = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        made.extend(writer.await.unwrap());
    }
    let commits: Vec<i64> =
        sqlx::query_scalar("SELECT client_id FROM crm.client_changes ORDER BY number")
            .fetch_all(&crm.database.owner)
            .await
            .unwrap();
    assert_eq!(commits.iter().collect::<BTreeSet<_>>(), made.iter().collect());
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap().expect("in time"), commits);
    }
}

/// Of clients that change again and again, who watches ends up with what there is.
#[tokio::test]
async fn whoever_applies_what_is_sent_holds_what_there_is() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let mut watcher = Watcher::new(&crm, &ana).await;
    let mut all = Vec::new();
    for n in 0..5 {
        all.push(crm.create(&ana, named(&format!("Client {n}"), "")).await.id);
    }
    let writers = (0..3_usize).map(|writer| {
        let (mut clients, by, all) = (crm.clients(), ana.clone(), all.clone());
        tokio::spawn(async move {
            for n in 0..30 {
                let id = all[(n * (writer + 1)) % all.len()];
                // Somebody else may have deleted it, or brought it back.
                _ = match (n + writer) % 5 {
                    0 => {
                        let request = pb::DeleteClientRequest { id, ..Default::default() };
                        clients.delete_client(signed(&by, request)).await.map(|_| ())
                    }
                    1 => {
                        let request = pb::UndeleteClientRequest { id, ..Default::default() };
                        clients.undelete_client(signed(&by, request)).await.map(|_| ())
                    }
                    _ => {
                        let notes = format!("{writer} {n}");
                        let client = Some(pb::Client { id, notes, ..Default::default() });
                        let request = pb::UpdateClientRequest { client, ..Default::default() };
                        clients.update_client(signed(&by, request)).await.map(|_| ())
                    }
                };
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let last = crm.create(&ana, named("Last", "")).await.id;
    let mut held = BTreeMap::new();
    while !held.contains_key(&last) {
        for change in watcher.next().await.unwrap().unwrap() {
            match change {
                Change::Client(client) => _ = held.insert(client.id, client),
                Change::RemovedId(id) => _ = held.remove(&id),
            }
        }
    }
    let request = pb::ListClientsRequest { page_size: 100, ..Default::default() };
    let there = crm.list(&ana, request).await.clients;
    assert_eq!(held, there.into_iter().map(|client| (client.id, client)).collect());
}

#[tokio::test]
async fn an_employee_hears_of_their_own_clients_and_of_those_they_lost() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let (bob, eve) = (crm.hire(&ana, "bob").await, crm.hire(&ana, "eve").await);
    crm.show_only_assigned(&ana).await;
    let mut his = Watcher::new(&crm, &bob.person).await;
    let cursor = his.cursor.clone();
    let mut all = Watcher::new(&crm, &ana).await;

    let unseen = crm.create(&ana, named("Unseen", "")).await;
    crm.delete(&ana, unseen.id).await;
    let client = pb::Client { coach_id: bob.id, ..named("Ada", "") };
    let ada = crm.create(&ana, client).await;
    assert_eq!(his.take(1).await, [Change::Client(ada.clone())]);
    // Taken away, given back, and lost by deletion.
    give(&crm, &ana, ada.id, eve.id).await;
    assert_eq!(his.take(1).await, [Change::RemovedId(ada.id)]);
    let change = pb::Client { id: ada.id, notes: "theirs".into(), ..Default::default() };
    crm.update(&ana, change, &["notes"]).await.unwrap();
    let back = give(&crm, &ana, ada.id, bob.id).await;
    assert_eq!(his.take(1).await, [Change::Client(back)]);
    crm.delete(&ana, ada.id).await;
    assert_eq!(his.take(1).await, [Change::RemovedId(ada.id)]);
    let back = undelete(&crm, &ana, ada.id).await;
    assert_eq!(his.take(1).await, [Change::Client(back)]);
    // With the employee who had it.
    crm.dismiss(&ana, eve.id).await;
    crm.is_told().await;
    let nobodys = give(&crm, &ana, ada.id, 0).await;
    assert_eq!(his.take(1).await, [Change::RemovedId(ada.id)]);
    his.is_silent().await;
    // An admin hears of all of it, if of some of it only how it ended.
    let mut heard = Vec::new();
    let all_of_it = async {
        while heard.last() != Some(&Change::Client(nobodys.clone())) {
            heard.extend(all.next().await.unwrap().unwrap());
        }
    };
    timeout(PATIENCE, all_of_it).await.expect("all changes in time");
    assert!(heard.contains(&Change::RemovedId(unseen.id)), "{heard:?}");

    // Whoever was away is told of what they lost, and not of what they never had.
    let mut resumed = Watcher::from(&crm, &bob.person, &cursor).await.unwrap();
    assert_eq!(resumed.take(1).await, [Change::RemovedId(ada.id)]);
    resumed.is_silent().await;
}

/// Security checklist 35.
#[tokio::test]
async fn nobody_hears_of_another_account() {
    let crm = Crm::start().await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    crm.create(&bob, named("Before", "")).await;
    let (mut hers, mut his) = (Watcher::new(&crm, &ana).await, Watcher::new(&crm, &bob).await);
    let beginning = hers.cursor.clone();
    for n in 0..5 {
        crm.create(&bob, named(&format!("His {n}"), "")).await;
    }
    his.take(5).await;
    let ada = crm.create(&ana, named("Ada", "")).await;
    assert_eq!(hers.take(1).await, [Change::Client(ada.clone())]);
    hers.is_silent().await;
    let mut resumed = Watcher::from(&crm, &ana, &beginning).await.unwrap();
    assert_eq!(resumed.take(1).await, [Change::Client(ada)]);
    for foreign in [his.cursor.as_str(), "x", &beginning[1..], &format!("{beginning}A")] {
        let refused = refusal(Watcher::from(&crm, &ana, foreign).await.map(|_| ()));
        assert_eq!((refused.code, refused.fields), (Code::InvalidArgument, vec!["cursor".into()]));
    }
}

/// Security checklist 58: nor how many they are.
#[tokio::test]
async fn a_cursor_does_not_say_what_happened_to_the_clients_of_others() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let bob = crm.hire(&ana, "bob").await;
    crm.show_only_assigned(&ana).await;
    let watchers = [Watcher::new(&crm, &bob.person).await, Watcher::new(&crm, &bob.person).await];
    for n in 0..20 {
        crm.create(&ana, named(&format!("Hidden {n}"), "")).await;
    }
    let later = Watcher::new(&crm, &bob.person).await;
    let cursors = watchers.iter().chain([&later]).map(|watcher| &watcher.cursor);
    let lengths: BTreeSet<_> = cursors.clone().map(String::len).collect();
    assert_eq!(lengths.len(), 1);
    // Each is as different from any other as the next: of the same place or not. Only the number
    // of the key is in clear.
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let pair: Vec<_> = [one, other].map(|n| cursors.clone().nth(n).unwrap().as_bytes()).into();
        let same = pair[0].iter().zip(pair[1]).skip(2).filter(|(a, b)| a == b).count();
        assert!(same < pair[0].len() / 4, "{pair:?}");
    }
}

/// Security checklist 47.
#[tokio::test]
async fn who_is_slow_misses_nothing_and_large_clients_come_in_several_messages() {
    const CLIENTS: usize = 300;
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    crm.create(&ana, named("First", "")).await;
    let (mut slow, mut quick) = (Watcher::new(&crm, &ana).await, Watcher::new(&crm, &ana).await);
    let account_id: i64 = sqlx::query_scalar("SELECT account_id FROM crm.clients")
        .fetch_one(&crm.database.owner)
        .await
        .unwrap();
    for _ in 0..5 {
        let mut tx = crm.database.owner.begin().await.unwrap();
        for n in 0..CLIENTS / 5 {
            make(&mut tx, account_id, &format!("Client {n}")).await;
        }
        sqlx::query("UPDATE crm.clients SET notes = repeat('ë', 20000) WHERE notes = ''")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    // Twelve megabytes, of which a message holds two.
    quick.take(CLIENTS).await;
    slow.take(CLIENTS).await;
    let news = crm.create(&ana, named("News", "")).await;
    assert_eq!(slow.take(1).await, [Change::Client(news.clone())]);
    assert_eq!(quick.take(1).await, [Change::Client(news)]);
}
