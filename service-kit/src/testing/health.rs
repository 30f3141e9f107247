//! Who is told that a service works, and when?

use std::time::Duration;

use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::TestDatabase;

/// It serves while the newest migration it knows is applied, and says so by itself.
pub async fn it_serves_while_the_schema_is_what_it_needs(
    channel: &Channel,
    database: &TestDatabase,
    services: &[&str],
) {
    becomes(channel, services, ServingStatus::Serving).await;
    let migrations = format!("{}.migrations", database.schema());
    database
        .execute(&format!(
            "UPDATE {migrations} SET success = false WHERE version = (SELECT max(version) FROM {migrations})"
        ))
        .await;
    becomes(channel, services, ServingStatus::NotServing).await;
    database.execute(&format!("UPDATE {migrations} SET success = true")).await;
    becomes(channel, services, ServingStatus::Serving).await;
}

/// It does not serve while its database lets nobody in.
pub async fn without_its_database_it_does_not_serve(
    channel: &Channel,
    database: &TestDatabase,
    services: &[&str],
) {
    becomes(channel, services, ServingStatus::Serving).await;
    database.let_in(false).await;
    becomes(channel, services, ServingStatus::NotServing).await;
    database.let_in(true).await;
    becomes(channel, services, ServingStatus::Serving).await;
}

/// Waits until the server says this of itself and of each of its services.
async fn becomes(channel: &Channel, services: &[&str], expected: ServingStatus) {
    for service in [&[""], services].concat() {
        let mut tries = 0;
        loop {
            let request = HealthCheckRequest { service: service.to_owned() };
            let mut health = HealthClient::new(channel.clone());
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
