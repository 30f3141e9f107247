//! Who is told that the service works, and when.

use std::time::Duration;

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use proto::identity::v1 as pb;

use crate::support::{Identity, PASSWORD, login, signed};

const SERVICES: [&str; 4] =
    ["", "identity.v1.AuthService", "identity.v1.EmployeeService", "identity.v1.TokenService"];

/// Waits until every service says this of itself.
async fn becomes(identity: &Identity, expected: ServingStatus) {
    for service in SERVICES {
        let mut tries = 0;
        loop {
            let request = HealthCheckRequest { service: service.to_owned() };
            let mut health = HealthClient::new(identity.channel.clone());
            let status = health.check(request).await.unwrap().into_inner().status();
            if status == expected {
                break;
            }
            tries += 1;
            assert!(tries < 200, "{service:?} is still {status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn it_serves_while_the_schema_is_what_it_needs() {
    let identity = Identity::start().await;
    becomes(&identity, ServingStatus::Serving).await;
    identity
        .database
        .execute("UPDATE identity.migrations SET success = false WHERE version = 2")
        .await;
    becomes(&identity, ServingStatus::NotServing).await;
    identity.database.execute("UPDATE identity.migrations SET success = true").await;
    becomes(&identity, ServingStatus::Serving).await;
}

#[tokio::test]
async fn without_its_database_it_does_not_serve() {
    let identity = Identity::start().await;
    becomes(&identity, ServingStatus::Serving).await;
    identity
        .database
        .execute(
            "UPDATE pg_database SET datallowconn = false WHERE datname = current_database();
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE usename = 'service' AND datname = current_database()",
        )
        .await;
    becomes(&identity, ServingStatus::NotServing).await;
    identity
        .database
        .execute("UPDATE pg_database SET datallowconn = true WHERE datname = current_database()")
        .await;
    becomes(&identity, ServingStatus::Serving).await;
}

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
    identity
        .database
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE usename = 'service' AND datname = current_database()",
        )
        .await;
    identity.auth().get_me(signed(&ana, pb::GetMeRequest {})).await.unwrap();
    identity.log_in("ana@example.com").await;
}
