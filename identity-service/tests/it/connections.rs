//! Connections to the database: what becomes of them between two calls.

use std::time::Duration;

use proto::identity::v1 as pb;
use service_kit::testing::refusal::refusal;
use tonic::Code;

use crate::support::{Identity, PASSWORD, login, signed};

#[tokio::test]
async fn connections_that_the_database_ended_are_replaced_unnoticed() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    // Several of each pool, so that several are dead.
    let logins = (0..8).map(|_| {
        let mut auth = identity.auth();
        tokio::spawn(async move { auth.login(login("ana@example.com", PASSWORD)).await.unwrap() })
    });
    for login in logins.collect::<Vec<_>>() {
        login.await.unwrap();
    }
    identity.database.end_connections().await;
    identity.auth().get_me(signed(&ana, pb::GetMeRequest {})).await.unwrap();
    identity.log_in("ana@example.com").await;
}

#[tokio::test]
async fn a_read_leaves_no_transaction_open() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    for _ in 0..20 {
        let seen = identity.seen(&ana, ana.id).await.unwrap();
        assert_eq!(seen.id, ana.id);
        refusal(identity.seen(&ana, 999_999).await);
    }
    // A task of the service's own may be in the middle of one at any moment, for a moment.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let open = "SELECT count(*) FROM pg_stat_activity
                WHERE usename = 'service' AND datname = current_database()
                  AND state LIKE 'idle in transaction%'
                  AND state_change < clock_timestamp() - interval '1 second'";
    assert_eq!(identity.rows::<(i64,)>(open).await, [(0,)]);
}

/// There is one connection, so that the next call gets the one that somebody gave up.
#[tokio::test]
async fn what_was_given_up_changes_nothing_and_answers_nobody_else() {
    let identity = Identity::set_up(|settings| {
        settings.database.as_mut().unwrap().pool.size = 1;
    })
    .await;
    let ana = identity.sign_up("ana").await;
    identity.set_name(&ana, "Ana").await;
    identity.no_letters_left().await;
    for _ in 0..3 {
        let mut other = identity.database.owner.begin().await.unwrap();
        let lock = "SELECT name FROM identity.employees FOR UPDATE";
        sqlx::query(lock).execute(&mut *other).await.unwrap();
        let employee = Some(pb::Employee { name: "Given up".into(), ..Default::default() });
        let mut update = signed(&ana, pb::UpdateMeRequest { employee, ..Default::default() });
        update.set_timeout(Duration::from_millis(300));
        let given_up = identity.auth().update_me(update).await.unwrap_err();
        // Whichever side is first.
        assert!(matches!(given_up.code(), Code::DeadlineExceeded | Code::Cancelled), "{given_up}");
        other.commit().await.unwrap();

        let me = identity.me(&ana.token).await.unwrap();
        assert_eq!((me.id, me.name.as_str()), (ana.id, "Ana"));
    }
}
