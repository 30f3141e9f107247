//! What is crm-service made of? The one assembly: the program, the all-in-one and the tests
//! all call it.

use std::sync::Arc;

use axum::Router;
use proto::crm::v1::client_service_server::ClientServiceServer;
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
    clients::{imports::Places, rpc::Clients, watch::news::News},
    directory::{self, Directory},
    housekeeping,
    identity::Identity,
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
    let places = Places::default();
    let clients = Clients { db: db.clone(), keys, repeats, directory, news, places };
    let server = &settings.server;
    let routes = Routes::new(limited!(ClientServiceServer::new(clients), server));

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
