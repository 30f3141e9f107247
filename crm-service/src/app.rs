//! What is crm-service made of? The one assembly: the program, the all-in-one and the tests
//! all call it.

use std::sync::Arc;

use proto::crm::v1::{
    audit_service_server::AuditServiceServer,
    client_package_service_server::ClientPackageServiceServer,
    client_service_server::ClientServiceServer, instalment_service_server::InstalmentServiceServer,
    package_service_server::PackageServiceServer, payment_service_server::PaymentServiceServer,
    report_service_server::ReportServiceServer,
    stripe_customer_service_server::StripeCustomerServiceServer,
    stripe_endpoint_service_server::StripeEndpointServiceServer,
};
use service_kit::{
    auth::{Authenticator, Gate, ServiceSecrets},
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
    audit::rpc::Audit,
    authenticator::AskIdentity,
    client_packages::rpc::ClientPackages,
    clients::{imports::Places, rpc::Clients, watch::news::News},
    config::Authorization,
    directory::{self, Directory},
    housekeeping,
    identity::Identity,
    instalments::rpc::Instalments,
    lease::{follow, keeper::Keeper},
    packages::rpc::Packages,
    payments::rpc::Payments,
    reports::rpc::Reports,
    stripe_customers::rpc::StripeCustomers,
    stripe_endpoints::rpc::StripeEndpoints,
    stripe_events,
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
    let news = Arc::new(News::new(db.clone(), settings.watchers_per_account));
    let mut background = vec![
        news.task(),
        directory::follow::task(directory.clone()),
        housekeeping::task(&db, &settings.housekeeping, &metrics),
        stripe_events::backlog::task(&db),
    ];
    let authenticator: Arc<dyn Authenticator> = match settings.authorization {
        Authorization::Call => Arc::new(AskIdentity(identity)),
        Authorization::Lease => {
            let keeper = Arc::new(Keeper::new(AskIdentity(identity)));
            metrics.register(|registry| keeper.register(registry));
            background.extend([follow::task(keeper.clone()), follow::notice(keeper.clone())]);
            keeper
        }
    };

    let audit = Audit { db: db.clone(), keys: keys.clone() };
    let clients = Clients {
        db: db.clone(),
        keys: keys.clone(),
        repeats: repeats.clone(),
        directory,
        news,
        places: Places::default(),
        import_idle_limit: settings.import_idle_limit,
    };
    let packages = Packages { db: db.clone(), keys: keys.clone(), repeats: repeats.clone() };
    let client_packages =
        ClientPackages { db: db.clone(), keys: keys.clone(), repeats: repeats.clone() };
    let instalments = Instalments { db: db.clone(), keys: keys.clone(), repeats: repeats.clone() };
    let payments = Payments { db: db.clone(), keys: keys.clone(), repeats: repeats.clone() };
    let reports = Reports { db: db.clone() };
    let stripe_customers =
        StripeCustomers { db: db.clone(), keys: keys.clone(), repeats: repeats.clone() };
    let stripe_endpoints = StripeEndpoints {
        db: db.clone(),
        keys: keys.clone(),
        repeats,
        public_url: settings.public_url.clone(),
    };
    let pages = stripe_events::page::pages(db.clone(), keys);
    let server = &settings.server;
    let routes = Routes::new(limited!(ClientServiceServer::new(clients), server))
        .add_service(limited!(AuditServiceServer::new(audit), server))
        .add_service(limited!(PackageServiceServer::new(packages), server))
        .add_service(limited!(ClientPackageServiceServer::new(client_packages), server))
        .add_service(limited!(InstalmentServiceServer::new(instalments), server))
        .add_service(limited!(PaymentServiceServer::new(payments), server))
        .add_service(limited!(ReportServiceServer::new(reports), server))
        .add_service(limited!(StripeCustomerServiceServer::new(stripe_customers), server))
        .add_service(limited!(StripeEndpointServiceServer::new(stripe_endpoints), server));

    Ok(App {
        name: NAME,
        routes,
        pages,
        gate: Gate {
            policy: Policy::new(POLICY),
            authenticator,
            // No service calls this one.
            service_secrets: ServiceSecrets::default(),
            reflection: server.reflection,
        },
        descriptor: proto::DESCRIPTOR,
        ready: Arc::new(db),
        metrics,
        background,
        // Nobody keeps what this service says.
        settle: None,
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
