//! Who is told that the service works, and when.

use service_kit::testing::health;

use crate::support::Crm;

const SERVICES: &[&str] = &["crm.v1.AuditService", "crm.v1.ClientService", "crm.v1.ReportService"];

#[tokio::test]
async fn it_serves_while_the_schema_is_what_it_needs() {
    let crm = Crm::start().await;
    let (channel, database) = (&crm.channel, &crm.database);
    health::it_serves_while_the_schema_is_what_it_needs(channel, database, SERVICES).await;
}

#[tokio::test]
async fn without_its_database_it_does_not_serve() {
    let crm = Crm::start().await;
    let (channel, database) = (&crm.channel, &crm.database);
    health::without_its_database_it_does_not_serve(channel, database, SERVICES).await;
}
