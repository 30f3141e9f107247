//! What other services keep of accounts and employees.

use std::time::Duration;

use proto::{
    common::v1::Role,
    identity::v1::{
        self as pb, AccountState, EmployeeClientVisibility, EmployeeState,
        directory_event::Subject, directory_service_client::DirectoryServiceClient,
    },
};
use service_kit::{
    keys::Keyring,
    testing::{TestDatabase, plans, refusal::refusal},
};
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction, types::Json};
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming};

use crate::support::{Identity, Person, create_employee, from_service, signed};

const PATIENCE: Duration = Duration::from_secs(20);

/// A stream, and what came out of it.
struct Watcher {
    stream: Streaming<pb::WatchDirectoryResponse>,
    cursor: Option<pb::DirectoryPosition>,
}

impl Watcher {
    async fn from(
        identity: &Identity,
        cursor: Option<pb::DirectoryPosition>,
    ) -> Result<Self, Status> {
        let request = from_service(pb::WatchDirectoryRequest { cursor });
        let stream = identity.directory().watch_directory(request).await?.into_inner();
        Ok(Self { stream, cursor: None })
    }

    /// From now on.
    async fn new(identity: &Identity) -> Self {
        let mut watcher = Self::from(identity, None).await.unwrap();
        assert_eq!(watcher.next().await.unwrap().unwrap(), []);
        watcher
    }

    /// The next response; none when the stream has ended well.
    async fn next(&mut self) -> Result<Option<Vec<pb::DirectoryEvent>>, Status> {
        let Some(response) = timeout(PATIENCE, self.stream.message()).await.unwrap()? else {
            return Ok(None);
        };
        let (cursor, events) = (response.cursor.unwrap(), response.events);
        if let Some(last) = events.last() {
            assert_eq!(cursor.number, last.number);
        }
        self.cursor = Some(cursor);
        Ok(Some(events))
    }

    /// As many events as there must be, one after the other.
    async fn take(&mut self, number: usize) -> Vec<pb::DirectoryEvent> {
        let mut events = Vec::new();
        let all = async {
            while events.len() < number {
                events.extend(self.next().await.unwrap().expect("the stream goes on"));
            }
        };
        // Signs of life alone are not enough.
        timeout(PATIENCE, all).await.expect("all events in time");
        assert_eq!(events.len(), number, "{events:?}");
        assert!(events.windows(2).all(|two| two[1].number == two[0].number + 1), "{events:?}");
        events
    }

    async fn is_silent(&mut self) {
        let next = timeout(Duration::from_millis(700), self.stream.message()).await;
        assert!(next.is_err(), "{next:?}");
    }
}

async fn resolve(
    identity: &Identity,
    account_id: i64,
    employee_ids: Vec<i64>,
) -> pb::BatchResolveEmployeesResponse {
    let request = from_service(pb::BatchResolveEmployeesRequest { account_id, employee_ids });
    identity.directory().batch_resolve_employees(request).await.unwrap().into_inner()
}

async fn update(identity: &Identity, by: &Person, employee: pb::Employee) {
    let request = pb::UpdateEmployeeRequest { employee: Some(employee), ..Default::default() };
    identity.employees().update_employee(signed(by, request)).await.unwrap();
}

async fn rename(identity: &Identity, by: &Person, id: i64, name: &str) {
    update(identity, by, pb::Employee { id, name: name.into(), ..Default::default() }).await;
}

fn employee(id: i64, name: &str, state: EmployeeState) -> Subject {
    Subject::Employee(pb::DirectoryEmployee { id, name: name.into(), state: state.into() })
}

#[tokio::test]
async fn what_happens_to_accounts_and_employees_is_told_in_order() {
    let identity = Identity::start().await;
    let mut watcher = Watcher::new(&identity).await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    let id = bob.id;
    rename(&identity, &ana, id, "Robert").await;
    for is_active in [Some(false), Some(true)] {
        update(&identity, &ana, pb::Employee { id, is_active, ..Default::default() }).await;
    }
    let request = pb::DeleteEmployeeRequest { id, ..Default::default() };
    identity.employees().delete_employee(signed(&ana, request)).await.unwrap();
    let request = pb::UndeleteEmployeeRequest { id, ..Default::default() };
    identity.employees().undelete_employee(signed(&ana, request)).await.unwrap();
    let settings = pb::AccountSettings {
        default_currency: "CHF".into(),
        employee_client_visibility: EmployeeClientVisibility::Assigned.into(),
        time_zone: "Europe/Zurich".into(),
    };
    let account = Some(pb::Account { settings: Some(settings), ..Default::default() });
    let request = pb::UpdateAccountRequest { account, ..Default::default() };
    identity.accounts().update_account(signed(&ana, request)).await.unwrap();
    let request = pb::CloseAccountRequest::default();
    identity.accounts().close_account(signed(&ana, request)).await.unwrap();

    let account = |changed: bool, state: AccountState| {
        let settings = pb::AccountSettings {
            default_currency: if changed { "CHF" } else { "USD" }.into(),
            employee_client_visibility: if changed {
                EmployeeClientVisibility::Assigned.into()
            } else {
                EmployeeClientVisibility::Account.into()
            },
            time_zone: if changed { "Europe/Zurich" } else { "UTC" }.into(),
        };
        Subject::Account(pb::DirectoryAccount {
            id: ana.account_id,
            name: "ana Ltd".into(),
            settings: Some(settings),
            state: state.into(),
        })
    };
    let expected = [
        account(false, AccountState::Open),
        employee(ana.id, "ana", EmployeeState::Active),
        employee(id, "bob", EmployeeState::Active),
        employee(id, "Robert", EmployeeState::Active),
        employee(id, "Robert", EmployeeState::Inactive),
        employee(id, "Robert", EmployeeState::Active),
        employee(id, "Robert", EmployeeState::Deleted),
        employee(id, "Robert", EmployeeState::Active),
        account(true, AccountState::Open),
        account(true, AccountState::Closed),
    ];
    let events = watcher.take(expected.len()).await;
    assert!(events.iter().all(|event| event.account_id == ana.account_id));
    let subjects: Vec<_> = events.into_iter().map(|event| event.subject.unwrap()).collect();
    assert_eq!(subjects, expected);
    watcher.is_silent().await;
}

#[tokio::test]
async fn employees_are_resolved_with_the_place_in_the_log_that_they_are_true_at() {
    let identity = Identity::start().await;
    let (ana, eve) = (identity.sign_up("ana").await, identity.sign_up("eve").await);
    let mut watcher = Watcher::new(&identity).await;
    let names = ["bob", "cleo", "dan"];
    let mut ids = Vec::new();
    for name in names {
        ids.push(identity.add(&ana, name, Role::Employee).await.id);
    }
    let (bob, cleo, dan) = (ids[0], ids[1], ids[2]);
    let inactive = pb::Employee { id: cleo, is_active: Some(false), ..Default::default() };
    update(&identity, &ana, inactive).await;
    let request = pb::DeleteEmployeeRequest { id: dan, ..Default::default() };
    identity.employees().delete_employee(signed(&ana, request)).await.unwrap();

    let asked = vec![dan, bob, cleo, bob, eve.id, 999_999];
    let found = resolve(&identity, ana.account_id, asked.clone()).await;
    let shown = |id, name: &str, state: EmployeeState| pb::DirectoryEmployee {
        id,
        name: name.into(),
        state: state.into(),
    };
    let expected = [
        shown(bob, "bob", EmployeeState::Active),
        shown(cleo, "cleo", EmployeeState::Inactive),
        shown(dan, "dan", EmployeeState::Deleted),
    ];
    assert_eq!(found.employees, expected);
    watcher.take(5).await;
    assert_eq!(found.sequence, watcher.cursor);
    rename(&identity, &ana, bob, "Robert").await;
    let renamed = resolve(&identity, ana.account_id, vec![bob]).await;
    assert_eq!(renamed.employees, [shown(bob, "Robert", EmployeeState::Active)]);
    assert_eq!(
        renamed.sequence.clone().unwrap().number,
        found.sequence.clone().unwrap().number + 1
    );

    let nobody = resolve(&identity, 999_999, asked).await;
    assert_eq!((nobody.employees.len(), nobody.sequence.is_some()), (0, true));
    assert_eq!(nobody.account, None);
    // The account itself, also alone.
    let alone = resolve(&identity, ana.account_id, vec![]).await;
    assert_eq!((alone.employees.len(), alone.sequence), (0, renamed.sequence));
    let account = alone.account.unwrap();
    assert_eq!(Some(&account), renamed.account.as_ref());
    let settings = account.settings.clone().unwrap();
    assert_eq!((account.id, account.name.as_str()), (ana.account_id, "ana Ltd"));
    assert_eq!((settings.time_zone.as_str(), account.state()), ("UTC", AccountState::Open));
    for (account_id, employee_ids, fields) in [
        (0, vec![1], "account_id"),
        (1, vec![1, 0], "employee_ids[1]"),
        (1, (1..=501).collect(), "employee_ids"),
    ] {
        let request = from_service(pb::BatchResolveEmployeesRequest { account_id, employee_ids });
        let refused = refusal(identity.directory().batch_resolve_employees(request).await);
        assert_eq!(
            (refused.code, refused.fields),
            (Code::InvalidArgument, vec![fields.to_owned()])
        );
    }
    resolve(&identity, ana.account_id, (1..=500).collect()).await;
}

#[tokio::test]
async fn a_cursor_is_followed_by_exactly_the_rest() {
    let identity = Identity::start().await;
    let mut watcher = Watcher::new(&identity).await;
    let beginning = watcher.cursor.clone();
    let ana = identity.sign_up("ana").await;
    for name in ["one", "two", "three"] {
        rename(&identity, &ana, ana.id, name).await;
    }
    let all = watcher.take(5).await;
    for dealt_with in 0..=all.len() {
        let number = i64::try_from(dealt_with).unwrap();
        let cursor = pb::DirectoryPosition { number, ..beginning.clone().unwrap() };
        let mut resumed = Watcher::from(&identity, Some(cursor.clone())).await.unwrap();
        if dealt_with == all.len() {
            // It says at once that there is nothing.
            assert_eq!(resumed.next().await.unwrap().unwrap(), []);
            assert_eq!(resumed.cursor, Some(cursor));
        }
        assert_eq!(resumed.take(all.len() - dealt_with).await, all[dealt_with..]);
        resumed.is_silent().await;
    }
}

#[tokio::test]
async fn nothing_is_lost_or_repeated_when_either_side_goes_down() {
    let mut identity = Identity::start().await;
    let mut watcher = Watcher::new(&identity).await;
    let ana = identity.sign_up("ana").await;
    let mut seen = watcher.take(2).await;
    for round in 0..3 {
        rename(&identity, &ana, ana.id, &format!("before {round}")).await;
        if round == 1 {
            // What was read and not dealt with is sent again.
            let cursor = watcher.cursor.clone();
            watcher.take(1).await;
            watcher.cursor = cursor;
        } else {
            seen.extend(watcher.take(1).await);
        }
        // The server goes while the stream is open; something happens before somebody watches.
        let cursor = watcher.cursor.take();
        identity = identity.with_keys(&Keyring::generate()).await;
        rename(&identity, &ana, ana.id, &format!("after {round}")).await;
        while watcher.next().await.is_ok_and(|next| next.is_some()) {}
        watcher = Watcher::from(&identity, cursor).await.unwrap();
        seen.extend(watcher.take(if round == 1 { 2 } else { 1 }).await);
    }
    let numbers: Vec<_> = seen.iter().map(|event| event.number).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    let Some(Subject::Employee(last)) = &seen.last().unwrap().subject else {
        panic!("an employee")
    };
    assert_eq!(last.name, "after 2");
}

/// What [`service_kit::db::TenantTx`] does at the end of a transaction, as the owner.
/// Whoever watches one process hears of what is done in another.
#[tokio::test]
async fn a_watcher_of_one_process_hears_the_others() {
    let one = Identity::start().await;
    let two = one.replica().await;
    let ana = one.sign_up("ana").await;
    let mut watcher = Watcher::new(&two).await;
    for number in 0..3 {
        let (by, name) = (if number % 2 == 0 { &one } else { &two }, format!("Ana {number}"));
        rename(by, &ana, ana.id, &name).await;
        let [event] = watcher.take(1).await.try_into().unwrap();
        assert_eq!(event.subject, Some(employee(ana.id, &name, EmployeeState::Active)));
    }
}

async fn append(connection: &mut PgConnection, ids: &[i64], name: &str) {
    let append = plans::recorded("identity", &[])
        .into_iter()
        .find(|statement| statement.text.contains("INSERT INTO identity.directory_events"))
        .unwrap();
    let body = serde_json::json!({ "name": name, "state": "active" });
    sqlx::query(AssertSqlSafe(append.text))
        .bind(1_i64)
        .bind(service_kit::clock::now())
        .bind(vec!["employee"; ids.len()])
        .bind(ids)
        .bind(vec![Json(body); ids.len()])
        .execute(connection)
        .await
        .unwrap();
}

async fn begin(database: &TestDatabase) -> Transaction<'static, Postgres> {
    database.owner.begin().await.unwrap()
}

async fn draw_id(tx: &mut Transaction<'static, Postgres>) -> i64 {
    sqlx::query_scalar("SELECT nextval(pg_get_serial_sequence('identity.employees', 'id'))")
        .fetch_one(&mut **tx)
        .await
        .unwrap()
}

#[tokio::test]
async fn transactions_that_overlap_are_told_in_the_order_of_their_commits() {
    let identity = Identity::start().await;
    let mut watcher = Watcher::new(&identity).await;
    let (mut slow, mut quick) = (begin(&identity.database).await, begin(&identity.database).await);
    // Whoever takes its ids first commits last.
    let (first, second) = (draw_id(&mut slow).await, draw_id(&mut quick).await);
    assert!(first < second);
    append(&mut quick, &[second], "quick").await;
    let late = tokio::spawn(async move {
        append(&mut slow, &[first, first], "slow").await;
        slow.commit().await.unwrap();
    });
    // The other waits for the counter, and nothing is true yet.
    watcher.is_silent().await;
    assert!(!late.is_finished());
    quick.commit().await.unwrap();
    late.await.unwrap();
    // What is rolled back leaves no gap.
    let mut vain = begin(&identity.database).await;
    append(&mut vain, &[first], "vain").await;
    vain.rollback().await.unwrap();
    let mut last = begin(&identity.database).await;
    append(&mut last, &[first], "last").await;
    last.commit().await.unwrap();

    let events = watcher.take(4).await;
    let told: Vec<_> = events.into_iter().map(|event| (event.number, event.subject)).collect();
    let active = EmployeeState::Active;
    let expected = [
        (1, Some(employee(second, "quick", active))),
        (2, Some(employee(first, "slow", active))),
        (3, Some(employee(first, "slow", active))),
        (4, Some(employee(first, "last", active))),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn who_is_slow_misses_nothing() {
    const EVENTS: usize = 24_000;
    let identity = Identity::start().await;
    let (mut slow, mut quick) = (Watcher::new(&identity).await, Watcher::new(&identity).await);
    let mut tx = begin(&identity.database).await;
    append(&mut tx, &vec![1; EVENTS], &"n".repeat(255)).await;
    tx.commit().await.unwrap();
    quick.take(EVENTS).await;
    // More than what is kept for the slow went by meanwhile.
    slow.take(EVENTS).await;
    assert_eq!(slow.cursor, quick.cursor);
    let mut tx = begin(&identity.database).await;
    append(&mut tx, &[1], "news").await;
    tx.commit().await.unwrap();
    assert_eq!(slow.take(1).await, quick.take(1).await);
}

#[tokio::test]
async fn a_cursor_that_nothing_follows_any_more_has_expired() {
    let identity = Identity::start().await;
    let mut watcher = Watcher::new(&identity).await;
    let beginning = watcher.cursor.clone().unwrap();
    identity.sign_up("ana").await;
    identity.sign_up("bob").await;
    watcher.take(4).await;
    let expired = async |cursor| {
        let refused = refusal(Watcher::from(&identity, Some(cursor)).await.map(|_| ()));
        assert_eq!(refused.said(), (Code::OutOfRange, "CURSOR_EXPIRED"));
    };
    let at = |number| pb::DirectoryPosition { number, ..beginning.clone() };
    // One of another history, one that was never given, and then those that were swept.
    expired(pb::DirectoryPosition { epoch: uuid::Uuid::nil().to_string(), ..at(1) }).await;
    expired(at(5)).await;
    expired(at(i64::MAX)).await;
    Watcher::from(&identity, Some(at(0))).await.unwrap();
    identity.database.execute("DELETE FROM identity.directory_events WHERE number <= 2").await;
    expired(at(0)).await;
    expired(at(1)).await;
    let mut resumed = Watcher::from(&identity, Some(at(2))).await.unwrap();
    assert_eq!(resumed.take(2).await[0].number, 3);
    identity.database.execute("DELETE FROM identity.directory_events").await;
    expired(at(3)).await;
    Watcher::from(&identity, Some(at(4))).await.unwrap();

    // After a restore, those who watch learn it too.
    identity
        .database
        .execute("UPDATE identity.feeds SET epoch = gen_random_uuid(), number = 2")
        .await;
    let refused = refusal(watcher.next().await);
    assert_eq!(refused.said(), (Code::OutOfRange, "CURSOR_EXPIRED"));
    let anew = Watcher::new(&identity).await.cursor.unwrap();
    assert_ne!(anew.epoch, beginning.epoch);
    for bad in [pb::DirectoryPosition { epoch: "x".into(), ..at(1) }, at(-1)] {
        let refused = refusal(Watcher::from(&identity, Some(bad)).await.map(|_| ()));
        assert_eq!((refused.code, refused.fields), (Code::InvalidArgument, vec!["cursor".into()]));
    }
}

/// Security checklist 47.
#[tokio::test]
async fn a_stream_shows_that_it_is_alive_and_ends_well_with_the_server() {
    let identity = Identity::start().await;
    identity.sign_up("ana").await;
    let mut watcher = Watcher::new(&identity).await;
    let cursor = watcher.cursor.clone();
    assert_eq!(watcher.next().await.unwrap().unwrap(), []);
    assert_eq!(watcher.cursor, cursor);
    drop(identity);
    assert_eq!(watcher.next().await.unwrap(), None);
}

/// Security checklist 40 and 45.
#[tokio::test]
async fn only_services_may_ask_and_watch() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut directory: DirectoryServiceClient<_> = identity.directory();
    let ask = || pb::BatchResolveEmployeesRequest {
        account_id: ana.account_id,
        employee_ids: vec![ana.id],
    };
    let watch = || pb::WatchDirectoryRequest { cursor: None };
    for refused in [
        refusal(directory.batch_resolve_employees(Request::new(ask())).await),
        refusal(directory.batch_resolve_employees(signed(&ana, ask())).await),
        refusal(directory.watch_directory(Request::new(watch())).await),
        refusal(directory.watch_directory(signed(&ana, watch())).await),
    ] {
        assert_eq!(refused.said(), (Code::Unauthenticated, "SERVICE_CREDENTIAL_INVALID"));
    }
}

#[tokio::test]
async fn an_outage_of_the_database_is_outlasted() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let mut watcher = Watcher::new(&identity).await;
    identity.database.end_connections().await;
    let request = create_employee("bob", Role::Employee);
    identity.employees().create_employee(signed(&ana, request)).await.unwrap();
    let events = watcher.take(1).await;
    assert!(matches!(&events[0].subject, Some(Subject::Employee(bob)) if bob.name == "bob"));
}
