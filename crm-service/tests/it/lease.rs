//! Answers of identity-service that are kept, and that nothing is kept too long.

use std::time::{Duration, Instant};

use proto::{
    common::v1::Permission,
    crm::v1::{self as pb, client_service_client::ClientServiceClient},
    identity::v1::{self as id, auth_service_client::AuthServiceClient},
};
use service_kit::testing::refusal::{Refusal, refusal};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::support::{Crm, Identity, PASSWORD, Person, named, signed};

const PATIENCE: Duration = Duration::from_secs(20);
/// A lease, and time for a call.
const LAPSED: Duration = Duration::from_millis(1_300);

async fn count(channel: &Channel, by: &Person) -> Result<(), Status> {
    let mut clients = ClientServiceClient::new(channel.clone());
    let request = pb::GetClientStatisticsRequest::default();
    clients.get_client_statistics(signed(by, request)).await.map(drop)
}

async fn refused(crm: &Crm, by: &Person) -> Refusal {
    refusal(count(&crm.channel, by).await)
}

/// Calls until it is answered, and says after how long it was.
async fn works_again(crm: &Crm, by: &Person) -> Duration {
    let began = Instant::now();
    while let Err(status) = count(&crm.channel, by).await {
        assert_eq!(status.code(), Code::Unavailable);
        assert!(began.elapsed() < PATIENCE, "it did not recover: {status}");
        sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

/// Questions that identity-service was asked.
async fn asked(crm: &Crm) -> i64 {
    crm.figure("authorization_answers_total{service=\"crm-service\",source=\"asked\"").await
}

#[tokio::test]
async fn with_a_lease_identity_is_asked_once_about_each_caller() {
    let crm = Crm::leased().await;
    let ana = crm.sign_up("ana").await;
    let bob = crm.hire(&ana, "bob").await.person;
    let nobody = Person { token: "0".repeat(40) };
    for _ in 0..20 {
        count(&crm.channel, &ana).await.unwrap();
        count(&crm.channel, &bob).await.unwrap();
        assert_eq!(refused(&crm, &nobody).await.said(), (Code::Unauthenticated, "TOKEN_INVALID"));
    }
    // Five seconds may be over once.
    assert!(asked(&crm).await <= 6, "{}", asked(&crm).await);
    assert_eq!(crm.figure("authorization_answers_kept").await, 3);
}

#[tokio::test]
async fn many_calls_at_once_are_one_question() {
    let crm = Crm::leased().await;
    let ana = crm.sign_up("ana").await;
    let calls = (0..50).map(|_| count(&crm.channel, &ana));
    for call in futures::future::join_all(calls).await {
        call.unwrap();
    }
    assert!(asked(&crm).await <= 3, "{}", asked(&crm).await);
}

#[tokio::test]
async fn a_refusal_that_is_kept_falls_when_it_is_none_any_more() {
    let crm = Crm::leased().await;
    let ana = crm.sign_up("ana").await;
    let bob = crm.hire(&ana, "bob").await;
    for _ in 0..5 {
        count(&crm.channel, &bob.person).await.unwrap();
        crm.set_active(&ana, bob.id, false).await;
        let said = refused(&crm, &bob.person).await;
        assert_eq!(said.said(), (Code::Unauthenticated, "EMPLOYEE_INACTIVE"));
        assert_eq!(said.message, "User inactive or deleted.");
        crm.set_active(&ana, bob.id, true).await;
    }
}

/// Closed, never open: with the lease goes everything that was kept.
#[tokio::test]
async fn without_identity_what_is_kept_is_good_for_a_second_and_then_for_nothing() {
    let mut crm = Crm::leased().await;
    let ana = crm.sign_up("ana").await;
    count(&crm.channel, &ana).await.unwrap();
    crm.identity.stop().await;
    count(&crm.channel, &ana).await.unwrap();
    sleep(LAPSED).await;
    for _ in 0..3 {
        let refused = refused(&crm, &ana).await;
        assert_eq!(refused.said(), (Code::Unavailable, "IDENTITY_UNAVAILABLE"));
        assert_eq!(refused.retry_after.as_deref(), Some("1"));
    }
    assert_eq!(crm.figure("lease_held").await, 0);
    crm.identity.start_again().await;
    works_again(&crm, &ana).await;
    crm.wait_for_lease().await;
    count(&crm.channel, &ana).await.unwrap();
}

/// Nothing tells of it: this is what five seconds are for.
#[tokio::test]
async fn what_is_changed_by_hand_counts_after_five_seconds() {
    let crm = Crm::leased().await;
    let ana = crm.sign_up("ana").await;
    let (gone, idle) = (crm.hire(&ana, "gone").await, crm.hire(&ana, "idle").await);
    for by_hand in [
        format!("DELETE FROM identity.employee_tokens WHERE user_id = {}", gone.id),
        format!("UPDATE identity.employees SET is_active = false WHERE id = {}", idle.id),
    ] {
        let whose = if by_hand.starts_with("DELETE") { &gone.person } else { &idle.person };
        count(&crm.channel, whose).await.unwrap();
        crm.identity.database.execute(&by_hand).await;
        let began = Instant::now();
        // Others go on asking meanwhile.
        while count(&crm.channel, whose).await.is_ok() {
            assert!(began.elapsed() < Duration::from_secs(6), "{by_hand}");
            count(&crm.channel, &ana).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
        assert!(began.elapsed() < Duration::from_millis(5_200), "{:?}", began.elapsed());
        assert_eq!(refused(&crm, whose).await.code, Code::Unauthenticated);
    }
}

#[tokio::test]
async fn an_answer_ends_with_the_token_it_is_about() {
    let identity = Identity::with(|settings| {
        settings.sessions.access_token = Duration::from_secs(2);
    });
    let crm = Crm::leased_by(identity.await).await;
    crm.sign_up("ana").await;
    let mut auth = AuthServiceClient::new(crm.identity.channel.clone());
    let (email, password) = ("ana@example.com".into(), PASSWORD.into());
    let request = id::IssueTokensRequest { email, password, ..Default::default() };
    let issued = auth.issue_tokens(request).await.unwrap().into_inner();
    let session = Person { token: issued.access_token };
    let began = Instant::now();
    while count(&crm.channel, &session).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(3));
        sleep(Duration::from_millis(10)).await;
    }
    assert!(began.elapsed() < Duration::from_millis(2_300), "{:?}", began.elapsed());
    assert_eq!(refused(&crm, &session).await.said(), (Code::Unauthenticated, "TOKEN_EXPIRED"));
}

async fn watch(crm: &Crm, by: &Person) -> Streaming<pb::WatchClientsResponse> {
    let request = signed(by, pb::WatchClientsRequest::default());
    let mut stream = crm.clients().watch_clients(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    stream
}

async fn end(mut stream: Streaming<pb::WatchClientsResponse>) -> (Code, String) {
    let ended = timeout(PATIENCE, async move {
        loop {
            if let Err(status) = stream.message().await {
                return refusal(Err::<(), _>(status));
            }
        }
    });
    let ended = ended.await.unwrap();
    (ended.code, ended.reason)
}

/// Security checklist 19.
#[tokio::test]
async fn open_streams_end_at_once_when_their_caller_is_let_in_no_more() {
    let mut crm = Crm::leased().await;
    let ana = crm.sign_up("ana").await;
    let bob = crm.hire(&ana, "bob").await;
    let (his, mut hers) = (watch(&crm, &bob.person).await, watch(&crm, &ana).await);
    crm.deactivate(&ana, bob.id).await;
    let began = Instant::now();
    assert_eq!(end(his).await, (Code::Unauthenticated, "EMPLOYEE_INACTIVE".to_owned()));
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    crm.create(&ana, named("Ada", "")).await;
    assert_eq!(hers.message().await.unwrap().unwrap().changes.len(), 1, "hers goes on");

    // And when the lease is over, however quiet it is.
    crm.identity.stop().await;
    let began = Instant::now();
    assert_eq!(end(hers).await, (Code::Unavailable, "IDENTITY_UNAVAILABLE".to_owned()));
    assert!(began.elapsed() < LAPSED, "{:?}", began.elapsed());
}

/// A process that is not there any more is waited for until its lease is over, and one that
/// starts anew begins with nothing.
#[tokio::test]
async fn a_restart_keeps_nothing() {
    let mut crm = Crm::leased().await;
    let ana = crm.sign_up("ana").await;
    let bob = crm.hire(&ana, "bob").await;
    count(&crm.channel, &bob.person).await.unwrap();
    crm.stop().await;
    let began = Instant::now();
    crm.deactivate(&ana, bob.id).await;
    assert!(began.elapsed() < LAPSED + Duration::from_millis(200), "{:?}", began.elapsed());
    crm.start_again().await;
    sleep(Duration::from_millis(300)).await;
    let said = refused(&crm, &bob.person).await;
    assert_eq!(said.said(), (Code::Unauthenticated, "EMPLOYEE_INACTIVE"));
}

/// Nobody waits for a process that asks about every call.
#[tokio::test]
async fn in_call_mode_no_lease_is_asked_for() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    count(&crm.channel, &ana).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    let givers = sqlx::query_scalar("SELECT count(*) FROM identity.lease_givers");
    let givers: i64 = givers.fetch_one(&crm.identity.database.owner).await.unwrap();
    assert_eq!(givers, 0);
    let bob = crm.hire(&ana, "bob").await;
    crm.grant(&ana, &bob.person, &[Permission::ViewAudit]).await;
    crm.deactivate(&ana, bob.id).await;
    assert_eq!(refused(&crm, &bob.person).await.code, Code::Unauthenticated);
}
