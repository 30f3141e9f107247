//! People and accounts that are met before anybody told of them.

use crate::directory::{PATIENCE, active, deleted, office};
use crate::support::{Crm, named, signed};
use proto::crm::v1 as pb;
use service_kit::testing::refusal::refusal;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::Code;

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
