//! The copy of identity's directory: that it becomes and stays true, and what follows from it.

use std::time::Duration;

use crm_service::SCHEMA;
use proto::{
    crm::v1 as pb,
    identity::v1::{
        self as id, account_service_client::AccountServiceClient,
        employee_service_client::EmployeeServiceClient,
    },
};
use service_kit::testing::{
    TestDatabase,
    conventions::{connected_as, may_not},
    refusal::refusal,
};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

use crate::{
    people::Employee,
    support::{Crm, Person, named, signed},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A place in the log.
type Place = (String, i64);

impl Crm {
    /// Waits until everything that identity has told was dealt with, by whichever process.
    pub async fn is_told(&self) {
        let (told, mut dealt_with) = (self.log().await, None);
        let deadline = Instant::now() + PATIENCE;
        while dealt_with
            .as_ref()
            .is_none_or(|(epoch, number): &Place| *epoch != told.0 || *number < told.1)
        {
            assert!(Instant::now() < deadline, "{dealt_with:?} is not {told:?}");
            sleep(Duration::from_millis(20)).await;
            dealt_with = self.cursor().await;
        }
    }

    /// Where identity's log stands.
    async fn log(&self) -> Place {
        let log = "SELECT epoch::text, number FROM identity.feeds WHERE name = 'directory'";
        sqlx::query_as(log).fetch_one(&self.identity.database.owner).await.unwrap()
    }

    /// Waits until some transaction waits for another one.
    pub async fn somebody_waits(&self) {
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let deadline = Instant::now() + PATIENCE;
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&self.database.owner).await.unwrap()
            == 0
        {
            assert!(Instant::now() < deadline, "nobody waits");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn cursor(&self) -> Option<Place> {
        let cursor = "SELECT epoch, number FROM crm.directory_cursor WHERE name = 'identity'";
        sqlx::query_as(cursor).fetch_optional(&self.database.owner).await.unwrap()
    }

    /// Name and state as they are kept here.
    async fn kept(&self, id: i64) -> Option<(String, String)> {
        sqlx::query_as("SELECT name, state FROM crm.employees WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.database.owner)
            .await
            .unwrap()
    }

    async fn rename(&self, by: &Person, id: i64, name: &str) {
        let employee = Some(id::Employee { id, name: name.into(), ..Default::default() });
        let request = id::UpdateEmployeeRequest { employee, ..Default::default() };
        self.employees().update_employee(signed(by, request)).await.unwrap();
    }

    async fn bring_back(&self, by: &Person, id: i64) {
        let request = id::UndeleteEmployeeRequest { id, ..Default::default() };
        self.employees().undelete_employee(signed(by, request)).await.unwrap();
    }

    fn employees(&self) -> EmployeeServiceClient<tonic::transport::Channel> {
        EmployeeServiceClient::new(self.identity.channel.clone())
    }

    /// A client whom these look after.
    async fn looked_after(&self, by: &Person, coach_id: i64, closer_id: i64) -> pb::Client {
        self.create(by, pb::Client { coach_id, closer_id, ..named("Ada", "") }).await
    }

    /// How many clients somebody has a part in, whether anybody lists them or not.
    async fn parts_of(&self, id: i64) -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM crm.clients WHERE $1 IN (coach_id, closer_id, setter_id)",
        )
        .bind(id)
        .fetch_one(&self.database.owner)
        .await
        .unwrap()
    }

    /// Gives somebody a part in many clients, as if it had been done one by one.
    async fn plant_clients(&self, coach_id: i64, number: i64) {
        for statement in [
            format!(
                "INSERT INTO crm.clients
                     (account_id, first_name, last_name, name_key, email, phone_number, status,
                      country, currency, notes, labels, create_time, update_time, coach_id)
                 SELECT account_id, 'Ada', '', 'ada', '', '', 'active', '', 'CHF', '', '{{}}',
                     now(), now(), id
                 FROM crm.employees, generate_series(1, {number}) WHERE id = {coach_id}"
            ),
            format!(
                "INSERT INTO crm.client_members
                 SELECT account_id, coach_id, id, true, false, false, create_time, name_key, true
                 FROM crm.clients WHERE coach_id = {coach_id}"
            ),
            format!(
                "INSERT INTO crm.client_counts
                 SELECT account_id, counted, 'active', {number}
                 FROM crm.employees, unnest(ARRAY[0, {coach_id}]) AS counted WHERE id = {coach_id}
                 ON CONFLICT (account_id, employee_id, status)
                 DO UPDATE SET clients = client_counts.clients + EXCLUDED.clients"
            ),
        ] {
            self.database.execute(&statement).await;
        }
    }
}

fn active(name: &str) -> Option<(String, String)> {
    Some((name.to_owned(), "active".to_owned()))
}

fn deleted(name: &str) -> Option<(String, String)> {
    Some((name.to_owned(), "deleted".to_owned()))
}

/// An account with two people in it, of whom crm was told.
async fn office() -> (Crm, Person, Employee, Employee) {
    let crm = Crm::start().await;
    crm.is_told().await;
    let ana = crm.sign_up("ana").await;
    let (bob, eve) = (crm.hire(&ana, "bob").await, crm.hire(&ana, "eve").await);
    crm.is_told().await;
    (crm, ana, bob, eve)
}

#[tokio::test]
async fn what_identity_tells_of_employees_and_accounts_is_kept() {
    let (crm, ana, bob, _) = office().await;
    // Also of those who never called, and whom nobody named.
    assert_eq!(crm.kept(bob.id).await, active("bob"));
    crm.rename(&ana, bob.id, "Robert").await;
    crm.is_told().await;
    assert_eq!(crm.kept(bob.id).await, active("Robert"));
    crm.deactivate(&ana, bob.id).await;
    crm.is_told().await;
    assert_eq!(crm.kept(bob.id).await, Some(("Robert".into(), "inactive".into())));
    crm.dismiss(&ana, bob.id).await;
    crm.is_told().await;
    assert_eq!(crm.kept(bob.id).await, deleted("Robert"));
    crm.bring_back(&ana, bob.id).await;
    crm.is_told().await;
    // As they were when they were deleted.
    assert_eq!(crm.kept(bob.id).await, Some(("Robert".into(), "inactive".into())));

    let account = async || -> (String, String, String, String) {
        sqlx::query_as("SELECT name, default_currency, time_zone, state FROM crm.accounts")
            .fetch_one(&crm.database.owner)
            .await
            .unwrap()
    };
    let expected =
        |zone: &str, state: &str| ("ana".into(), "CHF".into(), zone.into(), state.into());
    assert_eq!(account().await, expected("UTC", "open"));
    let settings =
        Some(id::AccountSettings { time_zone: "Europe/Zurich".into(), ..Default::default() });
    let update = id::UpdateAccountRequest {
        account: Some(id::Account { settings, ..Default::default() }),
        ..Default::default()
    };
    let mut accounts = AccountServiceClient::new(crm.identity.channel.clone());
    accounts.update_account(signed(&ana, update)).await.unwrap();
    accounts.close_account(signed(&ana, id::CloseAccountRequest::default())).await.unwrap();
    crm.is_told().await;
    assert_eq!(account().await, expected("Europe/Zurich", "closed"));
}

#[tokio::test]
async fn an_older_word_never_replaces_a_newer_one_of_the_same_epoch() {
    let (crm, ana, bob, eve) = office().await;
    let newer = format!(
        "UPDATE crm.employees SET name = 'Newer', sequence = 1000000 WHERE id = {};
         UPDATE crm.employees SET name = 'Elsewhere', sequence = 1000000, epoch = 'x' WHERE id = {};
         UPDATE crm.accounts SET name = 'Newer Ltd', sequence = 1000000",
        bob.id, eve.id
    );
    crm.database.execute(&newer).await;
    crm.rename(&ana, bob.id, "Robert").await;
    crm.rename(&ana, eve.id, "Eva").await;
    let mut accounts = AccountServiceClient::new(crm.identity.channel.clone());
    accounts.close_account(signed(&ana, id::CloseAccountRequest::default())).await.unwrap();
    crm.is_told().await;
    assert_eq!(crm.kept(bob.id).await, active("Newer"));
    // Numbers of two epochs do not compare.
    assert_eq!(crm.kept(eve.id).await, active("Eva"));
    let state: String = sqlx::query_scalar("SELECT state FROM crm.accounts")
        .fetch_one(&crm.database.owner)
        .await
        .unwrap();
    assert_eq!(state, "open");
}

#[tokio::test]
async fn whoever_is_deleted_leaves_no_part_behind_and_whoever_is_deactivated_keeps_theirs() {
    let (crm, ana, bob, eve) = office().await;
    let both = crm.looked_after(&ana, bob.id, eve.id).await;
    let twice = crm.looked_after(&ana, bob.id, bob.id).await;
    let gone = crm.looked_after(&ana, bob.id, 0).await;
    crm.delete(&ana, gone.id).await;
    let others = crm.looked_after(&ana, eve.id, 0).await;
    crm.deactivate(&ana, eve.id).await;
    crm.dismiss(&ana, bob.id).await;
    crm.is_told().await;

    assert_eq!((crm.parts_of(bob.id).await, crm.parts_of(eve.id).await), (0, 2));
    crm.assert_counted().await;
    let now = crm.get(&ana, both.id).await.unwrap();
    assert_eq!((now.coach_id, now.closer_id), (0, eve.id));
    assert_ne!(now.etag, both.etag);
    assert_eq!(crm.get(&ana, others.id).await.unwrap(), others);
    let now = crm.get(&ana, twice.id).await.unwrap();
    assert_eq!((now.coach_id, now.closer_id), (0, 0));

    // It is told and recorded like every other change.
    let told: Vec<(i64, Vec<i64>)> = sqlx::query_as(
        "SELECT client_id, before FROM crm.client_changes ORDER BY number DESC LIMIT 3",
    )
    .fetch_all(&crm.database.owner)
    .await
    .unwrap();
    let expected =
        [(gone.id, vec![bob.id]), (twice.id, vec![bob.id]), (both.id, vec![bob.id, eve.id])];
    assert_eq!(told, expected);
    let recorded: Vec<(String, i64, String)> = sqlx::query_as(
        "SELECT action, subject_id, details ->> 'fields' FROM crm.audit_events
         WHERE actor = 'system:directory' ORDER BY id",
    )
    .fetch_all(&crm.database.owner)
    .await
    .unwrap();
    let act = |client: &pb::Client, fields: &str| {
        ("client.update".to_owned(), client.id, fields.to_owned())
    };
    let expected = [
        act(&both, r#"["coach_id"]"#),
        act(&twice, r#"["coach_id", "closer_id"]"#),
        act(&gone, r#"["coach_id"]"#),
    ];
    assert_eq!(recorded, expected);

    // Whoever comes back begins without a part, and can be given one.
    crm.bring_back(&ana, bob.id).await;
    crm.is_told().await;
    assert_eq!(crm.parts_of(bob.id).await, 0);
    crm.looked_after(&ana, bob.id, 0).await;
    // What was told before does not take it away again.
    crm.rename(&ana, bob.id, "Robert").await;
    crm.is_told().await;
    assert_eq!(crm.parts_of(bob.id).await, 1);
}

#[tokio::test]
async fn a_part_given_to_somebody_who_is_being_deleted_does_not_stay() {
    const ROUNDS: usize = 25;
    let (crm, ana, ..) = office().await;
    let old = crm.create(&ana, named("Old", "")).await;
    let (mut given, mut refused_ones) = (0, 0);
    for round in 0..ROUNDS {
        let victim = crm.hire(&ana, &format!("victim{round}")).await.id;
        let writers = (0..4_u64).map(|writer| {
            let (mut clients, by) = (crm.clients(), ana.clone());
            let create = pb::CreateClientRequest {
                client: Some(pb::Client { setter_id: victim, ..named("New", "") }),
                ..Default::default()
            };
            let update = pb::UpdateClientRequest {
                client: Some(pb::Client { id: old.id, coach_id: victim, ..Default::default() }),
                ..Default::default()
            };
            tokio::spawn(async move {
                sleep(Duration::from_millis(60 * writer)).await;
                let created = clients.create_client(signed(&by, create)).await.map(|_| ());
                let updated = clients.update_client(signed(&by, update)).await.map(|_| ());
                [created, updated]
            })
        });
        let writers: Vec<_> = writers.collect();
        crm.dismiss(&ana, victim).await;
        for writer in writers {
            for answer in writer.await.unwrap() {
                match answer {
                    Ok(()) => given += 1,
                    Err(status) => {
                        assert_eq!(refusal(Err::<(), _>(status)).reason, "NOT_FOUND");
                        refused_ones += 1;
                    }
                }
            }
        }
        crm.is_told().await;
        assert_eq!(crm.parts_of(victim).await, 0, "round {round}");
    }
    // Both came to pass, or the rounds have shown nothing.
    assert!(given > 0 && refused_ones > 0, "{given} given, {refused_ones} refused");
    crm.assert_counted().await;
}

#[tokio::test]
async fn what_happened_while_crm_was_down_is_made_up_for() {
    let (mut crm, ana, bob, eve) = office().await;
    crm.looked_after(&ana, bob.id, eve.id).await;
    let gone = crm.looked_after(&ana, bob.id, eve.id).await;
    crm.delete(&ana, gone.id).await;
    crm.stop().await;
    crm.dismiss(&ana, bob.id).await;
    // Back already, when crm hears of it.
    crm.dismiss(&ana, eve.id).await;
    crm.bring_back(&ana, eve.id).await;
    let new = crm.hire(&ana, "new").await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!((crm.parts_of(bob.id).await, crm.kept(new.id).await), (2, None));
    crm.start_again().await;
    crm.is_told().await;
    assert_eq!((crm.parts_of(bob.id).await, crm.parts_of(eve.id).await), (0, 0));
    assert_eq!(crm.kept(new.id).await, active("new"));
    crm.assert_counted().await;
}

#[tokio::test]
async fn an_outage_of_identity_is_outlasted() {
    let (mut crm, ana, bob, _) = office().await;
    crm.looked_after(&ana, bob.id, 0).await;
    crm.identity.stop().await;
    sleep(Duration::from_millis(700)).await;
    crm.identity.start_again().await;
    // Not before its callers can reach it again.
    let gone = async {
        let request = id::DeleteEmployeeRequest { id: bob.id, ..Default::default() };
        while crm.employees().delete_employee(signed(&ana, request.clone())).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    crm.is_told().await;
    assert_eq!(crm.parts_of(bob.id).await, 0);
}

#[tokio::test]
async fn an_outage_of_the_database_is_outlasted() {
    let (crm, ana, bob, _) = office().await;
    crm.looked_after(&ana, bob.id, 0).await;
    for _ in 0..3 {
        crm.database
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE usename = 'service' AND datname = current_database()",
            )
            .await;
        crm.rename(&ana, bob.id, "Robert").await;
    }
    crm.dismiss(&ana, bob.id).await;
    crm.is_told().await;
    assert_eq!((crm.parts_of(bob.id).await, crm.kept(bob.id).await), (0, deleted("Robert")));
}

/// After a restore of identity's database, and after a time that is longer than its log.
#[tokio::test]
async fn where_the_log_goes_on_elsewhere_everyone_is_resolved_anew() {
    for down in [true, false] {
        let (mut crm, ana, bob, eve) = office().await;
        // Somebody of whom the database that was restored knows nothing.
        let lost = 999_999;
        crm.database
            .execute(
                "INSERT INTO crm.employees
                 SELECT account_id, 999999, 'lost', 'active', epoch, 1 FROM crm.employees LIMIT 1",
            )
            .await;
        crm.looked_after(&ana, bob.id, eve.id).await;
        crm.looked_after(&ana, 0, bob.id).await;
        crm.plant_clients(lost, 1).await;
        if down {
            crm.stop().await;
        }
        // One is renamed and one deleted, and no event says so.
        crm.identity
            .database
            .execute(&format!(
                "UPDATE identity.employees SET name = 'Roberta' WHERE id = {};
                 UPDATE identity.employees SET delete_time = now() WHERE id = {};
                 DELETE FROM identity.directory_events;
                 UPDATE identity.feeds SET epoch = gen_random_uuid(), number = 0
                 WHERE name = 'directory'",
                bob.id, eve.id
            ))
            .await;
        if down {
            crm.start_again().await;
        }
        crm.is_told().await;
        assert_eq!(crm.kept(bob.id).await, active("Roberta"));
        assert_eq!(crm.kept(eve.id).await, deleted("eve"));
        assert_eq!(crm.kept(lost).await, deleted("lost"));
        let mut parts = Vec::new();
        for id in [bob.id, eve.id, lost] {
            parts.push(crm.parts_of(id).await);
        }
        assert_eq!(parts, [2, 0, 0]);
        crm.assert_counted().await;
        // And it goes on from there.
        crm.rename(&ana, bob.id, "Bob").await;
        crm.is_told().await;
        assert_eq!(crm.kept(bob.id).await, active("Bob"));
    }
}

#[tokio::test]
async fn a_cursor_whose_next_events_are_swept_is_begun_anew() {
    let (mut crm, ana, bob, eve) = office().await;
    crm.looked_after(&ana, bob.id, eve.id).await;
    crm.stop().await;
    crm.dismiss(&ana, bob.id).await;
    crm.rename(&ana, eve.id, "Eva").await;
    crm.identity.database.execute("DELETE FROM identity.directory_events").await;
    crm.start_again().await;
    crm.is_told().await;
    assert_eq!((crm.parts_of(bob.id).await, crm.kept(eve.id).await), (0, active("Eva")));
}

#[tokio::test]
async fn several_processes_do_it_at_once_and_the_cursor_never_goes_back() {
    let (crm, ana, bob, _) = office().await;
    let _others = [crm.beside().await, crm.beside().await];
    let mut last = crm.cursor().await.unwrap().1;
    for round in 0..4 {
        let victim = crm.hire(&ana, &format!("victim{round}")).await.id;
        crm.is_told().await;
        crm.plant_clients(victim, 250).await;
        crm.dismiss(&ana, victim).await;
        let deadline = Instant::now() + PATIENCE;
        while crm.parts_of(victim).await > 0 {
            assert!(Instant::now() < deadline);
            let now = crm.cursor().await.unwrap().1;
            assert!(now >= last);
            last = now;
        }
        crm.is_told().await;
        crm.assert_counted().await;
    }
    crm.rename(&ana, bob.id, "Robert").await;
    crm.is_told().await;
    assert_eq!(crm.kept(bob.id).await, active("Robert"));
    // Each client changed once, whoever did it.
    let changes: Vec<i64> = sqlx::query_scalar(
        "SELECT count(*) FROM crm.client_changes GROUP BY client_id HAVING count(*) > 1",
    )
    .fetch_all(&crm.database.owner)
    .await
    .unwrap();
    assert_eq!(changes, Vec::<i64>::new());
}

#[tokio::test]
async fn what_a_process_had_only_begun_the_next_one_ends() {
    let (mut crm, ana, bob, _) = office().await;
    crm.plant_clients(bob.id, 1200).await;
    // Somebody holds a client in the middle, so that it does not get any further.
    let mut holder = crm.database.owner.begin().await.unwrap();
    sqlx::query(
        "SELECT 1 FROM crm.clients WHERE id =
             (SELECT id FROM crm.clients WHERE coach_id IS NOT NULL ORDER BY id OFFSET 550 LIMIT 1)
         FOR UPDATE",
    )
    .execute(&mut *holder)
    .await
    .unwrap();
    let before = crm.cursor().await;
    crm.dismiss(&ana, bob.id).await;
    let halfway = async {
        while crm.parts_of(bob.id).await == 1200 {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_millis(700)).await;
    };
    timeout(PATIENCE, halfway).await.unwrap();
    let left = crm.parts_of(bob.id).await;
    assert!((1..1200).contains(&left), "{left}");
    assert_eq!(crm.cursor().await, before);
    crm.assert_counted().await;
    // Nobody gives them a new part meanwhile.
    let client = pb::Client { coach_id: bob.id, ..named("New", "") };
    let request = pb::CreateClientRequest { client: Some(client), ..Default::default() };
    let refused = refusal(crm.clients().create_client(signed(&ana, request)).await);
    assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));

    crm.stop().await;
    holder.rollback().await.unwrap();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(crm.parts_of(bob.id).await, left, "nobody is at it");
    crm.start_again().await;
    crm.is_told().await;
    assert_eq!(crm.parts_of(bob.id).await, 0);
    crm.assert_counted().await;
}

/// Whoever the log told nothing of, because it was opened later, is asked about.
#[tokio::test]
async fn whom_nobody_told_of_is_met_when_they_are_named() {
    let mut crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let (bob, eve) = (crm.hire(&ana, "bob").await, crm.hire(&ana, "eve").await);
    crm.deactivate(&ana, eve.id).await;
    crm.is_told().await;
    let forget = "DELETE FROM crm.employees";
    crm.database.execute(forget).await;
    let made = crm.looked_after(&ana, bob.id, bob.id).await;
    assert_eq!((made.coach_id, made.closer_id), (bob.id, bob.id));
    assert_eq!((crm.kept(bob.id).await, crm.kept(eve.id).await), (active("bob"), None));
    let give = |coach_id| {
        let client = pb::Client { coach_id, ..named("New", "") };
        let request = pb::CreateClientRequest { client: Some(client), ..Default::default() };
        let (mut clients, by) = (crm.clients(), ana.clone());
        async move { refusal(clients.create_client(signed(&by, request)).await) }
    };
    assert_eq!(give(eve.id).await.reason, "ASSIGNEE_NOT_ACTIVE");
    assert_eq!(crm.kept(eve.id).await.unwrap().1, "inactive");
    // Of whom identity does not know nothing is kept.
    for nobody in [999_999, -1] {
        assert_eq!(give(nobody).await.said(), (Code::NotFound, "NOT_FOUND"));
        assert_eq!(crm.kept(nobody).await, None);
    }

    // A call that gives nobody a new part needs no answer; one that does cannot go on without.
    let break_log = "UPDATE identity.feeds SET name = 'elsewhere' WHERE name = 'directory'";
    crm.identity.database.execute(break_log).await;
    let as_it_was = pb::Client { first_name: "Augusta".into(), ..made.clone() };
    let paths = ["first_name", "coach_id", "closer_id"];
    crm.update(&ana, as_it_was, &paths).await.unwrap();
    let silent = (Code::Unavailable, "IDENTITY_UNAVAILABLE");
    for named in [bob.id, 999_998] {
        assert_eq!(give(named).await.said(), silent);
    }
    let another = pb::Client { id: made.id, setter_id: bob.id, ..Default::default() };
    assert_eq!(refusal(crm.update(&ana, another, &["setter_id"]).await).said(), silent);
    let rows = vec![pb::Client { coach_id: bob.id, ..named("Row", "") }];
    let import = pb::BatchImportClientsRequest { rows, ..Default::default() };
    let import = crm.clients().batch_import_clients(signed(&ana, import)).await;
    assert_eq!(refusal(import).said(), silent);
    crm.stop().await;
}

/// Not as they stood when the log was last heard.
#[tokio::test]
async fn whoever_is_given_a_part_is_judged_as_they_stand_at_that_moment() {
    let (crm, ana, bob, _) = office().await;
    let client = crm.create(&ana, named("Ada", "")).await.id;
    let give = async || {
        let given = pb::Client { id: client, setter_id: bob.id, ..Default::default() };
        crm.update(&ana, given, &["setter_id"]).await
    };
    let create = async || {
        let given = pb::Client { coach_id: bob.id, ..named("New", "") };
        let request = pb::CreateClientRequest { client: Some(given), ..Default::default() };
        crm.clients().create_client(signed(&ana, request)).await
    };
    let import = async || {
        let rows = vec![pb::Client { closer_id: bob.id, ..named("Row", "") }];
        let request = pb::BatchImportClientsRequest { rows, ..Default::default() };
        let answer = crm.clients().batch_import_clients(signed(&ana, request)).await.unwrap();
        answer.into_inner().results.swap_remove(0).outcome()
    };
    for _ in 0..4 {
        crm.set_active(&ana, bob.id, false).await;
        assert_eq!(refusal(give().await).reason, "ASSIGNEE_NOT_ACTIVE");
        crm.set_active(&ana, bob.id, true).await;
        give().await.unwrap();
        let taken = pb::Client { id: client, ..Default::default() };
        crm.update(&ana, taken, &["setter_id"]).await.unwrap();

        crm.set_active(&ana, bob.id, false).await;
        assert_eq!(refusal(create().await).reason, "ASSIGNEE_NOT_ACTIVE");
        crm.set_active(&ana, bob.id, true).await;
        create().await.unwrap();

        crm.set_active(&ana, bob.id, false).await;
        assert_eq!(import().await, pb::ImportOutcome::Refused);
        crm.set_active(&ana, bob.id, true).await;
        assert_eq!(import().await, pb::ImportOutcome::Created);
    }
    // What identity does not know any more is nobody, whatever is kept.
    let lost = "INSERT INTO crm.employees
                SELECT account_id, 999999, 'lost', 'active', epoch, 1 FROM crm.employees LIMIT 1";
    crm.database.execute(lost).await;
    let given = pb::Client { id: client, setter_id: 999_999, ..Default::default() };
    let refused = refusal(crm.update(&ana, given, &["setter_id"]).await);
    assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
}

/// Whoever asks about somebody while the log is opened anew, and keeps the answer when everyone who
/// was kept has been resolved: the answer is old by then, and the log begins behind what it misses.
#[tokio::test]
async fn who_is_met_while_the_log_is_opened_is_not_kept_as_they_were_before() {
    for elsewhere in [
        // Of another epoch; of the same one, where what follows the cursor is gone.
        "UPDATE identity.feeds SET epoch = gen_random_uuid(), number = 0 WHERE name = 'directory'",
        "UPDATE identity.feeds SET number = number + 5 WHERE name = 'directory'",
    ] {
        let (crm, ana, bob, _) = office().await;
        crm.create(&ana, named("Old", "")).await;
        crm.database.execute("DELETE FROM crm.employees").await;
        // Somebody holds up whoever keeps the answer.
        let mut holder = crm.database.owner.begin().await.unwrap();
        sqlx::query(
            "INSERT INTO crm.employees SELECT id, $1, 'x', 'active', '', 0 FROM crm.accounts",
        )
        .bind(bob.id)
        .execute(&mut *holder)
        .await
        .unwrap();
        let client = pb::Client { coach_id: bob.id, ..named("New", "") };
        let request = pb::CreateClientRequest { client: Some(client), ..Default::default() };
        let (mut clients, by) = (crm.clients(), ana.clone());
        let call = tokio::spawn(async move { clients.create_client(signed(&by, request)).await });
        crm.somebody_waits().await;

        // Deleted, and no event says so to whoever opens the log from now on.
        let gone = format!(
            "UPDATE identity.employees SET delete_time = now() WHERE id = {};
             DELETE FROM identity.directory_events; {elsewhere}",
            bob.id
        );
        crm.identity.database.execute(&gone).await;
        crm.is_told().await;
        holder.rollback().await.unwrap();
        let refused = refusal(call.await.unwrap());
        assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
        assert_eq!(crm.kept(bob.id).await, deleted("bob"));
    }
}

/// Of accounts that are older than the log that is followed.
#[tokio::test]
async fn an_account_of_which_nobody_told_is_asked_about_once_it_is_met() {
    let mut crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    crm.is_told().await;
    let bob = crm.hire(&ana, "bob").await;
    crm.stop().await;
    for table in ["directory_cursor", "employees", "accounts"] {
        crm.database.execute(&format!("DELETE FROM crm.{table}")).await;
    }
    crm.start_again().await;
    crm.is_told().await;
    let account = async || -> Option<(String, String, String, String)> {
        sqlx::query_as(
            "SELECT name, default_currency, time_zone, state FROM crm.accounts WHERE name <> ''",
        )
        .fetch_optional(&crm.database.owner)
        .await
        .unwrap()
    };
    assert_eq!(account().await, None);
    let expected = Some(("ana".into(), "CHF".into(), "UTC".into(), "open".into()));
    // With somebody who is met in it, at once.
    crm.looked_after(&ana, bob.id, 0).await;
    assert_eq!(account().await, expected);
    // And where nobody is, as soon as identity says anything, be it of others.
    crm.database
        .execute(
            "UPDATE crm.accounts
             SET name = '', default_currency = '', time_zone = '', epoch = '', sequence = 0",
        )
        .await;
    crm.sign_up("eve").await;
    let deadline = Instant::now() + PATIENCE;
    let hers = "SELECT count(*) FROM crm.accounts WHERE name = 'ana' AND time_zone = 'UTC'";
    let is_told = async || {
        let count = sqlx::query_scalar::<_, i64>(hers).fetch_one(&crm.database.owner).await;
        count.unwrap() == 1
    };
    while !is_told().await {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
}

/// Security checklist 61.
#[tokio::test]
async fn the_narrow_roles_read_of_the_directory_what_they_need() {
    let database = TestDatabase::new(&SCHEMA).await;
    database
        .execute(
            "INSERT INTO crm.accounts VALUES (7), (8);
             INSERT INTO crm.employees VALUES (7, 1, 'Ana', 'active', 'e', 1), (8, 2, 'Bob', 'active', 'e', 1);
             INSERT INTO crm.client_feeds VALUES (7, 5), (8, 6);
             INSERT INTO crm.directory_cursor VALUES ('identity', 'e', 1)",
        )
        .await;
    let mut lookup = connected_as(&database, "crm_lookup").await;
    let found: Vec<(i64, i64)> =
        sqlx::query_as("SELECT account_id, id FROM crm.employees ORDER BY id")
            .fetch_all(&mut lookup)
            .await
            .unwrap();
    assert_eq!(found, [(7, 1), (8, 2)]);
    let beyond_it = [
        "SELECT name FROM crm.employees",
        "SELECT state FROM crm.employees",
        "SELECT name FROM crm.accounts",
        "SELECT time_zone FROM crm.accounts",
        "SELECT client_id FROM crm.client_changes",
        "SELECT client_id FROM crm.client_members",
        "UPDATE crm.directory_cursor SET number = 0",
        "UPDATE crm.client_feeds SET number = 0",
        "DELETE FROM crm.employees",
    ];
    may_not(&mut lookup, &beyond_it).await;
    let mut app = connected_as(&database, "crm_app").await;
    let beyond_it = [
        "DELETE FROM crm.employees",
        "DELETE FROM crm.accounts",
        "UPDATE crm.client_changes SET number = 0",
        "DELETE FROM crm.client_changes",
    ];
    may_not(&mut app, &beyond_it).await;
    let mut sweep = connected_as(&database, "crm_sweep").await;
    let beyond_it = [
        "SELECT client_id FROM crm.client_changes",
        "SELECT before FROM crm.client_changes",
        "SELECT id FROM crm.employees",
        "SELECT number FROM crm.client_feeds",
    ];
    may_not(&mut sweep, &beyond_it).await;
}
