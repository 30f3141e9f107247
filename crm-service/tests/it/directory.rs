//! The copy of identity's directory: that it becomes and stays true, and what follows from it.

use crate::{
    people::Employee,
    support::{Crm, Person, named, signed},
};
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
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub const PATIENCE: Duration = Duration::from_secs(30);

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

    pub async fn cursor(&self) -> Option<Place> {
        let cursor = "SELECT epoch, number FROM crm.directory_cursor WHERE name = 'identity'";
        sqlx::query_as(cursor).fetch_optional(&self.database.owner).await.unwrap()
    }

    /// Name and state as they are kept here.
    pub async fn kept(&self, id: i64) -> Option<(String, String)> {
        sqlx::query_as("SELECT name, state FROM crm.employees WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.database.owner)
            .await
            .unwrap()
    }

    pub async fn rename(&self, by: &Person, id: i64, name: &str) {
        let employee = Some(id::Employee { id, name: name.into(), ..Default::default() });
        let request = id::UpdateEmployeeRequest { employee, ..Default::default() };
        self.employees().update_employee(signed(by, request)).await.unwrap();
    }

    pub async fn bring_back(&self, by: &Person, id: i64) {
        let request = id::UndeleteEmployeeRequest { id, ..Default::default() };
        self.employees().undelete_employee(signed(by, request)).await.unwrap();
    }

    pub fn employees(&self) -> EmployeeServiceClient<tonic::transport::Channel> {
        EmployeeServiceClient::new(self.identity.channel.clone())
    }

    /// A client whom these look after.
    pub async fn looked_after(&self, by: &Person, coach_id: i64, closer_id: i64) -> pb::Client {
        self.create(by, pb::Client { coach_id, closer_id, ..named("Ada", "") }).await
    }

    /// How many clients somebody has a part in, whether anybody lists them or not.
    pub async fn parts_of(&self, id: i64) -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM crm.clients WHERE $1 IN (coach_id, closer_id, setter_id)",
        )
        .bind(id)
        .fetch_one(&self.database.owner)
        .await
        .unwrap()
    }

    /// Gives somebody a part in many clients, as if it had been done one by one.
    pub async fn plant_clients(&self, coach_id: i64, number: i64) {
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

pub fn active(name: &str) -> Option<(String, String)> {
    Some((name.to_owned(), "active".to_owned()))
}

pub fn deleted(name: &str) -> Option<(String, String)> {
    Some((name.to_owned(), "deleted".to_owned()))
}

/// An account with two people in it, of whom crm was told.
pub async fn office() -> (Crm, Person, Employee, Employee) {
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
