//! What is identity-service made of? The one assembly: the program, the all-in-one and the
//! tests all call it.

use std::sync::Arc;

use axum::{Router, routing::get};
use chrono::TimeDelta;
use proto::identity::v1::{
    account_service_server::AccountServiceServer, api_key_service_server::ApiKeyServiceServer,
    audit_service_server::AuditServiceServer, auth_service_server::AuthServiceServer,
    directory_service_server::DirectoryServiceServer,
    employee_service_server::EmployeeServiceServer, role_service_server::RoleServiceServer,
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
    serve::{App, Background},
    telemetry::{metrics::Metrics, spans::Spans},
};
use tonic::service::Routes;

use crate::{
    POLICY, SCHEMA, Settings,
    accounts::rpc::Accounts,
    api_keys::rpc::ApiKeys,
    attempts::{Attempts, Limits},
    audit::rpc::Audit,
    auth::{door::Door, rpc::Auth},
    authenticator::OwnTables,
    codes::requests::Clerk,
    config::SessionSettings,
    directory::{news::News, rpc::Directory},
    employees::rpc::Employees,
    housekeeping,
    leases::{giver::Giver, keep},
    mail::{
        post::{Post, Postman},
        transport::Transport,
    },
    passwords::Passwords,
    roles::rpc::Roles,
    sessions::{access_token::AccessTokens, model::Lifetimes, work::Sessions},
    tokens::{idle::IdleLimit, judge::Judge, rpc::Tokens},
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

    let access_tokens = Arc::new(AccessTokens::new(
        &keys,
        settings.sessions.issuer.clone(),
        settings.sessions.access_token,
    ));
    let idle = Arc::new(IdleLimit::new(settings.sessions.token_idle));
    let judge = Judge { db: db.clone(), access_tokens: access_tokens.clone(), idle: idle.clone() };
    let attempts = Arc::new(Attempts::new(&Limits::default().times(settings.attempts_factor)));
    metrics.register(|registry| attempts.register(registry));
    let door = Door {
        db: db.clone(),
        passwords: passwords.clone(),
        attempts: attempts.clone(),
        verified_only: settings.require_verified_email,
    };
    let sessions = Sessions {
        keys: keys.clone(),
        access_tokens: access_tokens.clone(),
        lifetimes: lifetimes(&settings.sessions),
        rotates: settings.sessions.rotation,
    };

    let post = Post {
        keys: keys.clone(),
        app_url: settings.mail.app_url.as_deref().map(Into::into),
        domain: settings.mail.from.email.domain().into(),
    };
    let transport = Transport::from_settings(&settings.mail)?;
    let postman = Postman::new(db.clone(), post.clone(), transport);
    metrics.register(|registry| postman.register(registry));
    let postman = Arc::new(postman);
    let clerk = Arc::new(Clerk { db: db.clone(), keys: keys.clone(), post: post.clone() });

    let auth = Auth {
        db: db.clone(),
        keys: keys.clone(),
        door: door.clone(),
        judge: judge.clone(),
        sessions,
        post: post.clone(),
        repeats: repeats.clone(),
        open_to_all: settings.sign_up,
    };
    let accounts = Accounts { db: db.clone(), repeats: repeats.clone() };
    let employees =
        Employees { db: db.clone(), keys: keys.clone(), door, post, repeats: repeats.clone() };
    let roles = Roles { db: db.clone(), keys: keys.clone(), repeats: repeats.clone() };
    let api_keys = ApiKeys { db: db.clone(), keys: keys.clone(), repeats };
    let audit = Audit { db: db.clone(), keys };
    let giver = Arc::new(Giver::new(db.clone()));
    metrics.register(|registry| giver.register(registry));
    let tokens = Tokens { judge: judge.clone(), giver: giver.clone() };
    let news = Arc::new(News::new(db.clone()));
    let directory = Directory { news: news.clone() };
    let token_idle = settings.sessions.token_idle;
    let mut background = vec![
        follow(news),
        housekeeping::task(&db, &settings.housekeeping, token_idle, &metrics, attempts),
        carry(postman),
        look_into(clerk),
        keep::task(giver.clone()),
    ];
    background.extend(idle.task(&db));
    let server = &settings.server;
    // Anybody may call these, and nobody has much to say in them.
    let auth = limited!(AuthServiceServer::new(auth), server).max_decoding_message_size(64 << 10);
    let routes = Routes::new(auth)
        .add_service(limited!(AccountServiceServer::new(accounts), server))
        .add_service(limited!(ApiKeyServiceServer::new(api_keys), server))
        .add_service(limited!(AuditServiceServer::new(audit), server))
        .add_service(limited!(DirectoryServiceServer::new(directory), server))
        .add_service(limited!(EmployeeServiceServer::new(employees), server))
        .add_service(limited!(RoleServiceServer::new(roles), server))
        .add_service(limited!(TokenServiceServer::new(tokens), server));

    Ok(App {
        name: NAME,
        routes,
        pages: pages(&access_tokens),
        gate: Gate {
            policy: Policy::new(POLICY),
            authenticator: Arc::new(OwnTables(judge)),
            service_secrets: ServiceSecrets::from_setting(
                "IDENTITY_SERVICE_SECRETS",
                settings.service_secrets.as_ref(),
            )?,
            reflection: server.reflection,
        },
        descriptor: proto::DESCRIPTOR,
        ready: Arc::new(db),
        metrics,
        background,
        settle: Some(giver),
        spans,
    })
}

/// What is answered over plain HTTP: the public keys of access tokens, for whoever verifies them
/// by themselves.
fn pages(access_tokens: &AccessTokens) -> Router {
    let jwks = access_tokens.jwks();
    let headers = [("content-type", "application/json"), ("cache-control", "public, max-age=300")];
    Router::new().route("/.well-known/jwks.json", get(move || async move { (headers, jwks) }))
}

/// Asks for news of the directory, for all who watch it.
fn follow(news: Arc<News>) -> Background {
    Background::new("directory", move || {
        let news = news.clone();
        async move { news.ask().await }
    })
}

fn carry(postman: Arc<Postman>) -> Background {
    Background::new("post", move || {
        let postman = postman.clone();
        async move { postman.work().await }
    })
}

fn look_into(clerk: Arc<Clerk>) -> Background {
    Background::new("clerk", move || {
        let clerk = clerk.clone();
        async move { clerk.work().await }
    })
}

fn lifetimes(settings: &SessionSettings) -> Lifetimes {
    let delta = |time| TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
    Lifetimes { idle: delta(settings.idle), absolute: delta(settings.absolute) }
}

/// The database, which nothing works without.
pub fn database(settings: &Settings) -> Result<&DatabaseSettings, StartError> {
    settings.database.as_ref().ok_or_else(|| {
        StartError::new(
            "No database is named: set IDENTITY_DATABASE_URL, DATABASE_URL or the DB_ settings.",
        )
    })
}
