//! How does a service become a server?
//!
//! `main`, the all-in-one and the tests all put an [`App`] together, bind a port and call
//! [`serve`]: there is one assembly and one stack of layers ([`stack`]), so what the tests
//! see is what runs.

mod admin;
mod arrival;
mod background;
mod bound;
mod connections;
mod cors;
mod deadline;
mod ending;
mod health;
pub mod methods;
mod outcome;
mod reflection;
mod settle;
mod shed;
pub mod stack;
mod telling;
mod unread;

use std::sync::Arc;

use axum::{Router, response::Response};
use http::{HeaderMap, HeaderValue};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Status, service::Routes};

pub use self::{background::Background, bound::Bound, settle::Settle};
use self::{health::Health, methods::Methods};
use crate::{
    auth::Gate,
    config::{Reflection, ServerSettings, StartError},
    error::Error,
    telemetry::{metrics::Metrics, spans::Spans},
};

/// A service, ready to be served.
pub struct App {
    /// As metrics and traces name it: `identity-service`.
    pub name: &'static str,
    /// Its gRPC services, each registered with [`limited!`](crate::limited).
    pub routes: Routes,
    /// What it answers over plain HTTP on the same port.
    pub pages: Router,
    /// Who may call what.
    pub gate: Gate,
    /// The encoded `FileDescriptorSet` in which its services are described.
    pub descriptor: &'static [u8],
    /// What it needs in order to work.
    pub ready: Arc<dyn Ready>,
    pub metrics: Metrics,
    /// What goes on beside the calls.
    pub background: Vec<Background>,
    /// What calls that take something back wait for before they are answered, if for anything.
    pub settle: Option<Arc<dyn Settle>>,
    /// Where its traces go, if anywhere.
    pub spans: Option<Spans>,
}

/// What a server needs in order to work: its database.
#[tonic::async_trait]
pub trait Ready: Send + Sync + 'static {
    /// Whether calls can be served now; if not, why, for the log.
    async fn ready(&self) -> Result<(), String>;

    /// The connections at this moment, for the metrics.
    fn pool(&self) -> PoolFigures;
}

/// Connections of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolFigures {
    pub size: u32,
    pub idle: u32,
}

/// Serves until `shutdown` is cancelled, and then until the calls in flight are through or
/// the time for that is over.
pub async fn serve(
    app: App,
    bound: Bound,
    settings: &ServerSettings,
    shutdown: CancellationToken,
) -> Result<(), StartError> {
    let services = app.gate.policy.services().to_vec();
    let (health, health_service) = Health::new(&services, Arc::clone(&app.ready)).await;
    let mut routes = app.routes.add_service(health_service);
    if app.gate.reflection != Reflection::Off {
        routes = reflection::add(routes, app.descriptor, &services)?;
    }
    app.metrics.register_pool(app.ready);

    // Whoever stops us is heard here first: balancers are told before anything closes.
    let stopping = CancellationToken::new();
    let parts = stack::Parts {
        service: app.name,
        pages: app.pages,
        methods: Methods::of(app.descriptor, &services)?,
        gate: app.gate,
        settle: app.settle,
        metrics: app.metrics.clone(),
        spans: app.spans,
        stopping: stopping.clone(),
    };
    let stack = stack::build(routes, parts, settings);
    let mut background = JoinSet::new();
    for task in app.background {
        background.spawn(task.keep_going());
    }
    let admin = tokio::spawn(admin::serve(bound.admin, app.metrics, health.state()));
    let health = tokio::spawn(health.keep_asking(shutdown, stopping.clone()));
    connections::serve(bound.listener, bound.tls, stack, settings, stopping).await;
    background.shutdown().await;
    // Metrics are scraped to the last.
    admin.abort();
    health.abort();
    Ok(())
}

/// Completes when the program is told to stop: by Ctrl-C or, as containers do it, SIGTERM.
async fn shutdown_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        result = interrupt => if result.is_err() {
            // Without a handler the signal still ends the process, the hard way.
            std::future::pending::<()>().await;
        },
        () = terminate => {}
    }
}

/// Is cancelled when the program is told to stop.
pub fn shutdown_token() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        shutdown_signal().await;
        cancelled.cancel();
    });
    token
}

/// An error as a whole answer, from a layer: its status stands in the headers, where every
/// kind of client finds it.
pub fn refuse(error: Error) -> Response {
    Status::from(error).into_http()
}

/// Sets the limits and compressions that all services have, on a generated tonic server:
/// `limited!(ClientServiceServer::new(clients), &settings)`.
#[macro_export]
macro_rules! limited {
    ($server:expr, $settings:expr) => {{
        let settings: &$crate::config::ServerSettings = $settings;
        $server
            .max_decoding_message_size(settings.max_message_bytes)
            .max_encoding_message_size(settings.max_message_bytes)
            .accept_compressed(::tonic::codec::CompressionEncoding::Gzip)
            .accept_compressed(::tonic::codec::CompressionEncoding::Zstd)
            .send_compressed(::tonic::codec::CompressionEncoding::Gzip)
            .send_compressed(::tonic::codec::CompressionEncoding::Zstd)
    }};
}

/// Whether a request means to be an RPC, in either of the two wire formats.
fn is_rpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let format = content_type.and_then(|format| format.strip_prefix(b"application/grpc"));
    format.is_some_and(|rest| {
        rest.is_empty() || rest.starts_with(b"-web") || b"+;".contains(&rest[0])
    })
}
