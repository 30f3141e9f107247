//! Streams of changes that end, cursors that expire, and what is kept for how long.

use crate::support::{Crm, SERVICE_SECRET, named, signed};
use crate::watch::{PATIENCE, Watcher, make};
use crm_service::SCHEMA;
use proto::{
    common::v1::Permission,
    identity::v1::{self as id, auth_service_client::AuthServiceClient},
};
use service_kit::testing::{TestDatabase, conventions::connected_as, refusal::refusal};
use sqlx::AssertSqlSafe;
use std::{num::NonZeroUsize, time::Duration};
use tokio::time::{sleep, timeout};
use tonic::Code;

#[tokio::test]
async fn a_cursor_that_nothing_follows_any_more_has_expired() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let mut watcher = Watcher::new(&crm, &ana).await;
    let mut cursors = vec![watcher.cursor.clone()];
    for n in 0..4 {
        crm.create(&ana, named(&format!("Client {n}"), "")).await;
        watcher.take(1).await;
        cursors.push(watcher.cursor.clone());
    }
    let expired = async |cursor: &str| {
        let refused = refusal(Watcher::from(&crm, &ana, cursor).await.map(|_| ()));
        assert_eq!(refused.said(), (Code::OutOfRange, "CURSOR_EXPIRED"));
    };
    // Not swept in the order of numbers: nobody goes on over a gap.
    crm.database.execute("DELETE FROM crm.client_changes WHERE number = 3").await;
    for cursor in &cursors[..3] {
        expired(cursor).await;
    }
    assert_eq!(Watcher::from(&crm, &ana, &cursors[3]).await.unwrap().take(1).await.len(), 1);
    crm.database.execute("DELETE FROM crm.client_changes").await;
    expired(&cursors[3]).await;
    Watcher::from(&crm, &ana, &cursors[4]).await.unwrap();
    // After a restore, those who watch learn it too.
    crm.database.execute("UPDATE crm.client_feeds SET number = 1").await;
    expired(&cursors[4]).await;
    crm.create(&ana, named("New", "")).await;
    crm.create(&ana, named("Newer", "")).await;
    let (code, reason, _) = watcher.end().await;
    assert_eq!((code, reason.as_str()), (Code::OutOfRange, "CURSOR_EXPIRED"));
}

/// What a restore of the database to the state at some moment brings back.
const OF_THE_FEED: [&str; 2] = ["client_feeds", "client_changes"];

/// However much was written after it.
#[tokio::test]
async fn after_a_restore_whoever_was_further_has_expired_and_the_others_go_on() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let mut watcher = Watcher::new(&crm, &ana).await;
    let mut cursors = vec![watcher.cursor.clone()];
    for n in 0..5 {
        if n == 3 {
            for table in OF_THE_FEED {
                let save = format!("CREATE TABLE public.{table} AS TABLE crm.{table}");
                crm.database.execute(&save).await;
            }
        }
        crm.create(&ana, named(&format!("Client {n}"), "")).await;
        watcher.take(1).await;
        cursors.push(watcher.cursor.clone());
    }
    let account_id: i64 = sqlx::query_scalar("SELECT account_id FROM crm.clients LIMIT 1")
        .fetch_one(&crm.database.owner)
        .await
        .unwrap();
    // At once, so that nobody sees how far the feed was in between: it is restored and goes on to
    // beyond where everybody was.
    let mut tx = crm.database.owner.begin().await.unwrap();
    for table in OF_THE_FEED {
        for statement in [
            format!("DELETE FROM crm.{table}"),
            format!("INSERT INTO crm.{table} SELECT * FROM public.{table}"),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
        }
    }
    for n in 0..4 {
        make(&mut tx, account_id, &format!("New {n}")).await;
    }
    tx.commit().await.unwrap();
    let (code, reason, _) = watcher.end().await;
    assert_eq!((code, reason.as_str()), (Code::OutOfRange, "CURSOR_EXPIRED"));
    for cursor in &cursors[4..] {
        let refused = refusal(Watcher::from(&crm, &ana, cursor).await.map(|_| ()));
        assert_eq!(refused.said(), (Code::OutOfRange, "CURSOR_EXPIRED"));
    }
    for (dealt_with, cursor) in cursors[..4].iter().enumerate() {
        let mut resumed = Watcher::from(&crm, &ana, cursor).await.unwrap();
        assert_eq!(resumed.take(7 - dealt_with).await.len(), 7 - dealt_with);
    }
}

/// Security checklist 19 and 47.
#[tokio::test]
async fn a_stream_ends_within_seconds_when_its_caller_is_let_in_no_more() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let bound = Duration::from_secs(7);
    let names = ["out", "idle", "gone", "stays"];
    let mut people = Vec::new();
    for name in names {
        people.push(crm.hire(&ana, name).await);
    }
    let mut watchers = Vec::new();
    for employee in &people {
        watchers.push(Watcher::new(&crm, &employee.person).await);
    }
    let mut auth = AuthServiceClient::new(crm.identity.channel.clone());
    auth.logout(signed(&people[0].person, id::LogoutRequest {})).await.unwrap();
    crm.deactivate(&ana, people[1].id).await;
    crm.dismiss(&ana, people[2].id).await;
    let mut stays = watchers.pop().unwrap();
    let ends = futures::future::join_all(watchers.into_iter().map(Watcher::end)).await;
    let said: Vec<_> = ends.iter().map(|(code, reason, _)| (*code, reason.as_str())).collect();
    assert_eq!(said[0], (Code::Unauthenticated, "TOKEN_REVOKED"));
    assert!(said[1..].iter().all(|(code, _)| *code == Code::Unauthenticated), "{said:?}");
    assert!(ends.iter().all(|(.., after)| *after < bound), "{ends:?}");
    crm.create(&ana, named("Ada", "")).await;
    stays.take(1).await;
}

/// Security checklist 19.
#[tokio::test]
async fn a_stream_ends_when_what_its_caller_sees_is_something_else() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let (bob, eve) = (crm.hire(&ana, "bob").await, crm.hire(&ana, "eve").await);
    crm.grant(&ana, &eve.person, &[Permission::ViewAllClients]).await;
    let (his, mut hers) =
        (Watcher::new(&crm, &bob.person).await, Watcher::new(&crm, &eve.person).await);
    let (before, hers_before) = (his.cursor.clone(), hers.cursor.clone());
    crm.show_only_assigned(&ana).await;
    let (code, reason, after) = his.end().await;
    assert_eq!((code, reason.as_str()), (Code::OutOfRange, "CURSOR_EXPIRED"));
    assert!(after < Duration::from_secs(7), "{after:?}");
    // Nobody told him what he lost by it: he has to read it.
    let refused = refusal(Watcher::from(&crm, &bob.person, &before).await.map(|_| ()));
    assert_eq!(refused.said(), (Code::OutOfRange, "CURSOR_EXPIRED"));
    let mut anew = Watcher::new(&crm, &bob.person).await;
    crm.create(&ana, named("Ada", "")).await;
    anew.is_silent().await;
    // She sees what she saw.
    hers.take(1).await;
    crm.grant(&ana, &eve.person, &[]).await;
    let (code, reason, _) = hers.end().await;
    assert_eq!((code, reason.as_str()), (Code::OutOfRange, "CURSOR_EXPIRED"));
    let refused = refusal(Watcher::from(&crm, &eve.person, &hers_before).await.map(|_| ()));
    assert_eq!(refused.said(), (Code::OutOfRange, "CURSOR_EXPIRED"));
    // One's own cursor is nobody else's.
    let refused = refusal(Watcher::from(&crm, &eve.person, &anew.cursor).await.map(|_| ()));
    assert_eq!(refused.said(), (Code::OutOfRange, "CURSOR_EXPIRED"));
}

#[tokio::test]
async fn a_stream_does_not_go_on_while_nobody_can_tell_who_its_caller_is() {
    let mut crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let watcher = Watcher::new(&crm, &ana).await;
    let cursor = watcher.cursor.clone();
    crm.identity.stop().await;
    let (code, reason, _) = watcher.end().await;
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "IDENTITY_UNAVAILABLE"));
    crm.identity.start_again().await;
    let again = async {
        while Watcher::from(&crm, &ana, &cursor).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

/// Security checklist 47.
#[tokio::test]
async fn a_stream_shows_that_it_is_alive_and_ends_well_with_the_server() {
    let mut crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    crm.create(&ana, named("Ada", "")).await;
    let mut watcher = Watcher::new(&crm, &ana).await;
    let cursor = watcher.cursor.clone();
    assert_eq!(watcher.next().await.unwrap().unwrap(), []);
    // Of the same place, but that is nobody else's business.
    assert_ne!(watcher.cursor, cursor);
    crm.stop().await;
    assert_eq!(watcher.next().await.unwrap(), None);
    crm.start_again().await;
    let mut resumed = Watcher::from(&crm, &ana, &cursor).await.unwrap();
    assert_eq!(resumed.next().await.unwrap().unwrap(), []);
    crm.create(&ana, named("Bob", "")).await;
    resumed.take(1).await;
}

/// Security checklist 46 and 47.
#[tokio::test]
async fn one_account_cannot_watch_without_end() {
    const MOST: NonZeroUsize = NonZeroUsize::new(3).unwrap();
    let crm = Crm::with(SERVICE_SECRET, |settings| settings.watchers_per_account = MOST).await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    let mut watchers = Vec::new();
    for _ in 0..MOST.get() {
        watchers.push(Watcher::from(&crm, &ana, "").await.unwrap());
    }
    let refused = refusal(Watcher::from(&crm, &ana, "").await.map(|_| ()));
    assert_eq!(refused.said(), (Code::ResourceExhausted, "OVERLOADED"));
    Watcher::from(&crm, &bob, "").await.unwrap();
    // A place that is left is there for the next one.
    drop(watchers.pop());
    let again = async {
        while Watcher::from(&crm, &ana, "").await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn old_changes_are_swept_and_young_ones_stay() {
    let crm = Crm::with(SERVICE_SECRET, |settings| {
        settings.housekeeping.every = Duration::from_millis(100);
    })
    .await;
    let plant = |from: i64, age: &str, number: i64| {
        format!(
            "INSERT INTO crm.accounts (id) VALUES (1), (2) ON CONFLICT DO NOTHING;
             INSERT INTO crm.client_changes
             SELECT 1 + n % 2, n, n, now() - interval '{age}', '{{}}'
             FROM generate_series({from}, {}) n",
            from + number - 1
        )
    };
    crm.database.execute(&plant(1, "7 days 10 minutes", 1200)).await;
    crm.database.execute(&plant(2001, "6 days 23 hours 50 minutes", 3)).await;
    let left = async || -> i64 {
        let count = "SELECT count(*) FROM crm.client_changes";
        sqlx::query_scalar(count).fetch_one(&crm.database.owner).await.unwrap()
    };
    let swept = async {
        while left().await != 3 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, swept).await.unwrap();
    sleep(Duration::from_millis(400)).await;
    assert_eq!(left().await, 3);
}

/// Security checklist 61: whatever the service asks for.
#[tokio::test]
async fn no_change_goes_that_somebody_may_still_go_on_from() {
    let database = TestDatabase::new(&SCHEMA).await;
    database
        .execute(
            "INSERT INTO crm.accounts (id) VALUES (1);
             INSERT INTO crm.client_changes
             SELECT 1, n, n, now() - n * interval '1 day', '{}' FROM generate_series(1, 9) n",
        )
        .await;
    let mut sweep = connected_as(&database, "crm_sweep").await;
    let gone = sqlx::query("DELETE FROM crm.client_changes").execute(&mut sweep).await.unwrap();
    assert_eq!(gone.rows_affected(), 3);
}
