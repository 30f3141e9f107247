//! What is crm-service made of? The one assembly: the program, the all-in-one and the tests
//! all call it.

use std::sync::Arc;

use axum::Router;
use proto::crm::v1::{
    client_package_service_server::ClientPackageServiceServer,
    client_service_server::ClientServiceServer, instalment_service_server::InstalmentServiceServer,
    package_service_server::PackageServiceServer, payment_service_server::PaymentServiceServer,
};
use service_kit::{
    auth::{Gate, ServiceSecrets},
    config::{DatabaseSettings, StartError},
    db::Db,
    idempotency::Repeats,
    keys::Keyring,
    limited,
    policy::Policy,
    serve::App,
    telemetry::{metrics::Metrics, spans::Spans},
};
use tonic::service::Routes;

use crate::{
    POLICY, SCHEMA, Settings,
    authenticator::AskIdentity,
    client_packages::rpc::ClientPackages,
    clients::{rpc::Clients, watch::news::News},
    directory::{self, Directory},
    housekeeping,
    identity::Identity,
    instalments::rpc::Instalments,
    packages::rpc::Packages,
    payments::rpc::Payments,
};

/// As metrics and traces know it.
pub const NAME: &str = "crm-service";

/// Puts the service together: connected, but not listening yet.
pub async fn app(settings: &Settings, spans: Option<Spans>) -> Result<App, StartError> {
    let keys = Arc::new(Keyring::from_setting("CRM_KEYS", settings.keys.as_ref())?);
    let identity = Identity::new(&settings.identity)?;
    let db = Db::connect(database(settings)?, &SCHEMA).await?;
    let repeats = Repeats::new(keys.clone());
    let metrics = Metrics::new(NAME);
    let directory = Directory { db: db.clone(), identity: identity.clone() };
    let news = Arc::new(News::new(db.clone()));
    let background = vec![
        news.task(),
        directory::follow::task(directory.clone()),
        housekeeping::task(&db, &settings.housekeeping, &metrics),
    ];

    let clients =
        Clients { db: db.clone(), keys: keys.clone(), repeats: repeats.clone(), directory, news };
    let packages = Packages { db: db.clone(), keys: keys.clone(), repeats: repeats.clone() };
    let client_packages =
        ClientPackages { db: db.clone(), keys: keys.clone(), repeats: repeats.clone() };
    let instalments = Instalments { db: db.clone(), keys: keys.clone(), repeats: repeats.clone() };
    let payments = Payments { db: db.clone(), keys, repeats };
    let server = &settings.server;
    let routes = Routes::new(limited!(ClientServiceServer::new(clients), server))
        .add_service(limited!(PackageServiceServer::new(packages), server))
        .add_service(limited!(ClientPackageServiceServer::new(client_packages), server))
        .add_service(limited!(InstalmentServiceServer::new(instalments), server))
        .add_service(limited!(PaymentServiceServer::new(payments), server));

    Ok(App {
        name: NAME,
        routes,
        pages: Router::new(),
        gate: Gate {
            policy: Policy::new(POLICY),
            authenticator: Arc::new(AskIdentity(identity)),
            // No service calls this one.
            service_secrets: ServiceSecrets::default(),
            reflection: server.reflection,
        },
        descriptor: proto::DESCRIPTOR,
        ready: Arc::new(db),
        metrics,
        background,
        spans,
    })
}

/// The database, which nothing works without.
pub fn database(settings: &Settings) -> Result<&DatabaseSettings, StartError> {
    settings.database.as_ref().ok_or_else(|| {
        StartError::new(
            "No database is named: set CRM_DATABASE_URL, DATABASE_URL or the DB_ settings.",
        )
    })
}
