//! Who is told that the service works, and when.

use service_kit::testing::health;

use crate::support::Identity;

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
