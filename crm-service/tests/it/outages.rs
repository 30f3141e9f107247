//! What callers are told while something is down, and that it passes by itself.

use std::time::Duration;

use proto::{common::v1::ErrorReason as Reason, crm::v1 as pb};
use service_kit::{
    error::Error,
    testing::refusal::{Refusal, refusal},
};
use tonic::Code;

use crate::support::{Crm, Person, named, signed};

async fn refused(crm: &Crm, by: &Person) -> Refusal {
    refusal(crm.clients().list_clients(signed(by, pb::ListClientsRequest::default())).await)
}

/// Security checklist 40.
#[tokio::test]
async fn without_identity_nobody_is_let_in_and_afterwards_everyone_is_again() {
    let mut crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    crm.create(&ana, named("Ada", "")).await;
    crm.identity.stop().await;
    for _ in 0..3 {
        let refused = refused(&crm, &ana).await;
        assert_eq!(refused.said(), (Code::Unavailable, "IDENTITY_UNAVAILABLE"));
        assert_eq!(refused.retry_after.as_deref(), Some("1"));
        assert_eq!(refused.retry_delay, Some(Duration::from_secs(1)));
    }
    crm.identity.start_again().await;
    for _ in 0..100 {
        if crm.clients().list_clients(signed(&ana, pb::ListClientsRequest::default())).await.is_ok()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it did not recover within ten seconds");
}

/// Security checklist 40: a caller's token is none the worse for it.
#[tokio::test]
async fn a_service_that_identity_does_not_know_is_unavailable() {
    let crm = Crm::known_by("a-secret-of-somebody-else").await;
    let ana = crm.sign_up("ana").await;
    let refused = refused(&crm, &ana).await;
    assert_eq!(refused.said(), (Code::Unavailable, "IDENTITY_UNAVAILABLE"));
    assert_eq!(refused.message, "Nobody can be identified at the moment: try again shortly.");
    assert_eq!(refused.retry_after.as_deref(), Some("1"));
}

#[tokio::test]
async fn what_the_database_says_has_a_meaning_for_callers() {
    let crm = Crm::start().await;
    for (state, reason) in [
        ("40001", Reason::Conflict),
        ("40P01", Reason::Conflict),
        ("55P03", Reason::Conflict),
        ("57014", Reason::DeadlineExceeded),
        ("57P01", Reason::DatabaseUnavailable),
        ("53300", Reason::DatabaseUnavailable),
        ("08006", Reason::DatabaseUnavailable),
        ("25006", Reason::DatabaseUnavailable),
        ("22012", Reason::Internal),
    ] {
        let raise = format!("DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$");
        let raised = sqlx::raw_sql(sqlx::AssertSqlSafe(raise)).execute(&crm.database.owner).await;
        assert_eq!(Error::from(raised.unwrap_err()).reason(), reason, "{state}");
    }
}

#[tokio::test]
async fn connections_that_the_database_ended_are_replaced_unnoticed() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    crm.create(&ana, named("Ada", "")).await;
    crm.database.end_connections().await;
    let found = crm.list(&ana, pb::ListClientsRequest::default()).await;
    assert_eq!(found.clients.len(), 1);
}

/// Security checklist 53.
#[tokio::test]
async fn a_database_that_is_not_as_it_should_be_is_our_fault_and_no_text_of_it_leaves() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    crm.create(&ana, named("Ada", "")).await;
    crm.database.execute("ALTER TABLE crm.clients RENAME TO elsewhere").await;
    let refused = refused(&crm, &ana).await;
    assert_eq!(refused.said(), (Code::Internal, "INTERNAL"));
    assert!(refused.message.starts_with("Internal error. Request id: "), "{}", refused.message);
    for told in ["clients", "crm.", "relation", "42P01"] {
        assert!(!refused.message.contains(told));
    }
}

/// Security checklist 46: what one account waits for makes nobody else wait.
#[tokio::test]
async fn an_account_that_waits_for_a_row_leaves_connections_to_others() {
    let crm = Crm::start().await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    let (hers, his) = (crm.create(&ana, named("Ada", "")).await, named("Bo", ""));
    let his = crm.create(&bob, his).await;
    let mut other = crm.database.owner.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM crm.clients FOR UPDATE").execute(&mut *other).await.unwrap();
    let updates: Vec<_> = (0..40)
        .map(|_| {
            let client = pb::Client { notes: "later".into(), id: hers.id, ..Default::default() };
            let request = pb::UpdateClientRequest { client: Some(client), ..Default::default() };
            let (mut clients, request) = (crm.clients(), signed(&ana, request));
            tokio::spawn(async move { clients.update_client(request).await })
        })
        .collect();
    let waits = "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waiting = async || sqlx::query_scalar::<_, i64>(waits).fetch_one(&crm.database.owner).await;
    while waiting().await.unwrap() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..20 {
        let request = signed(&bob, pb::GetClientRequest { id: his.id });
        crm.clients().get_client(request).await.unwrap();
    }
    assert_eq!(waiting().await.unwrap(), 3, "three quarters of four connections, and no more");
    other.rollback().await.unwrap();
    for update in updates {
        update.await.unwrap().unwrap();
    }
}
