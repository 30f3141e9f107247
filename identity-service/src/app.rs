//! What is identity-service made of? The one assembly: the program, the all-in-one and the
//! tests all call it.

use std::sync::Arc;

use proto::identity::v1::{
    auth_service_server::AuthServiceServer, employee_service_server::EmployeeServiceServer,
    token_service_server::TokenServiceServer,
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
    POLICY, SCHEMA, Settings, auth::rpc::Auth, authenticator::OwnTables, employees::rpc::Employees,
    passwords::Passwords, tokens::rpc::Tokens,
};

/// As metrics and traces know it.
pub const NAME: &str = "identity-service";

/// Puts the service together: connected, but not listening yet.
pub async fn app(settings: &Settings, spans: Option<Spans>) -> Result<App, StartError> {
    let keys = Arc::new(Keyring::from_setting("IDENTITY_KEYS", settings.keys.as_ref())?);
    let db = Db::connect(database(settings)?, &SCHEMA).await?;
    let passwords = Arc::new(Passwords::start(settings.hashing_threads));
    let metrics = Metrics::new(NAME);
    metrics.register(|registry| passwords.register(registry));
    let repeats = Repeats::new(keys.clone());

    let auth =
        Auth { db: db.clone(), keys, passwords: passwords.clone(), repeats: repeats.clone() };
    let employees = Employees { db: db.clone(), passwords, repeats };
    let tokens = Tokens { db: db.clone() };
    let server = &settings.server;
    // Anybody may call these, and nobody has much to say in them.
    let auth = limited!(AuthServiceServer::new(auth), server).max_decoding_message_size(64 << 10);
    let routes = Routes::new(auth)
        .add_service(limited!(EmployeeServiceServer::new(employees), server))
        .add_service(limited!(TokenServiceServer::new(tokens), server));

    Ok(App {
        name: NAME,
        routes,
        gate: Gate {
            policy: Policy::new(POLICY),
            authenticator: Arc::new(OwnTables(db.clone())),
            service_secrets: ServiceSecrets::from_setting(
                "IDENTITY_SERVICE_SECRETS",
                settings.service_secrets.as_ref(),
            )?,
            reflection: server.reflection,
        },
        descriptor: proto::DESCRIPTOR,
        ready: Arc::new(db),
        metrics,
        spans,
    })
}

/// The database, which nothing works without.
pub fn database(settings: &Settings) -> Result<&DatabaseSettings, StartError> {
    settings.database.as_ref().ok_or_else(|| {
        StartError::new(
            "No database is named: set IDENTITY_DATABASE_URL, DATABASE_URL or the DB_ settings.",
        )
    })
}
