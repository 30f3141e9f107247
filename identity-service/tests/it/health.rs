//! Who is told that the service works, and when.

use proto::identity::v1 as pb;
use service_kit::testing::health;

use crate::support::{Identity, PASSWORD, login, signed};

const SERVICES: &[&str] = &[
    "identity.v1.AccountService",
    "identity.v1.ApiKeyService",
    "identity.v1.AuditService",
    "identity.v1.AuthService",
    "identity.v1.DirectoryService",
    "identity.v1.EmployeeService",
    "identity.v1.RoleService",
    "identity.v1.TokenService",
];

#[tokio::test]
async fn it_serves_while_the_schema_is_what_it_needs() {
    let identity = Identity::start().await;
    let (channel, database) = (&identity.channel, &identity.database);
    health::it_serves_while_the_schema_is_what_it_needs(channel, database, SERVICES).await;
}

#[tokio::test]
async fn without_its_database_it_does_not_serve() {
    let identity = Identity::start().await;
    let (channel, database) = (&identity.channel, &identity.database);
    health::without_its_database_it_does_not_serve(channel, database, SERVICES).await;
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
