//! The copy of identity's directory, whatever is down, goes on elsewhere or dies meanwhile.

use crate::directory::{PATIENCE, active, deleted, office};
use crate::support::{named, signed};
use proto::{
    crm::v1 as pb,
    identity::v1::{self as id, account_service_client::AccountServiceClient},
};
use service_kit::testing::refusal::refusal;
use sqlx::AssertSqlSafe;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

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
        crm.database.end_connections().await;
        crm.rename(&ana, bob.id, "Robert").await;
    }
    crm.dismiss(&ana, bob.id).await;
    crm.is_told().await;
    assert_eq!((crm.parts_of(bob.id).await, crm.kept(bob.id).await), (0, deleted("Robert")));
}

/// Whoever gives somebody a part holds them, and then meets the account. News of both are kept in
/// the same order, so that neither ends the other's work.
#[tokio::test]
async fn news_of_an_account_and_somebody_in_it_do_not_lock_who_gives_them_a_part() {
    let (mut crm, ana, bob, _) = office().await;
    crm.stop().await;
    crm.rename(&ana, bob.id, "Robert").await;
    let account = Some(id::Account { name: "Renamed".into(), ..Default::default() });
    let update = id::UpdateAccountRequest { account, ..Default::default() };
    let mut accounts = AccountServiceClient::new(crm.identity.channel.clone());
    accounts.update_account(signed(&ana, update)).await.unwrap();

    let mut giver = crm.database.owner.begin().await.unwrap();
    for held in [
        "SET LOCAL deadlock_timeout = '10ms'".to_owned(),
        format!("SELECT 1 FROM crm.employees WHERE id = {} FOR SHARE", bob.id),
    ] {
        sqlx::query(AssertSqlSafe(held)).execute(&mut *giver).await.unwrap();
    }
    crm.start_again().await;
    crm.somebody_waits().await;
    let meet = "INSERT INTO crm.accounts (id) SELECT id FROM crm.accounts ON CONFLICT DO NOTHING";
    sqlx::query(meet).execute(&mut *giver).await.unwrap();
    giver.commit().await.unwrap();
    crm.is_told().await;
    assert_eq!(crm.kept(bob.id).await, active("Robert"));
    let name = sqlx::query_scalar::<_, String>("SELECT name FROM crm.accounts");
    assert_eq!(name.fetch_one(&crm.database.owner).await.unwrap(), "Renamed");
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
