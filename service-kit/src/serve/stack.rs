//! Through which layers does a call pass, in which order, and why in that order?

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_web::GrpcWebLayer;
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService};

use super::{
    Settle, arrival, cors, deadline, is_rpc, methods::Methods, outcome, settle, shed, telling,
};
use crate::{
    auth::{self, Gate},
    config::ServerSettings,
    telemetry::{metrics::Metrics, spans::Spans},
};

/// What the layers work with.
pub struct Parts {
    pub service: &'static str,
    pub pages: Router,
    pub methods: Methods,
    pub gate: Gate,
    pub settle: Option<Arc<dyn Settle>>,
    pub metrics: Metrics,
    pub spans: Option<Spans>,
    /// Cancelled when the server stops.
    pub stopping: CancellationToken,
}

/// Routes inside all layers.
pub type Stack = BoxCloneSyncService<Request, Response, Infallible>;

/// The stack, outermost layer first.
pub fn build(routes: Routes, parts: Parts, settings: &ServerSettings) -> Stack {
    let teller = telling::Teller {
        service: parts.service,
        methods: parts.methods,
        spans: parts.spans,
        proxies: settings.trusted_proxies.clone(),
    };
    let deadline = deadline::Limits { longest: settings.request_timeout, stopping: parts.stopping };
    let shed = shed::Gauge::new(settings.max_in_flight, &parts.gate.policy, parts.metrics.clone());
    let settler = settle::Settler::new(&parts.gate.policy, parts.settle);
    let layers = ServiceBuilder::new()
        // Outermost, so that every request has an id, a place in a trace and one line in the
        // log, however deep it got.
        .layer(middleware::from_fn_with_state(Arc::new(teller), telling::tell))
        // Outside of everything that refuses, so that every refusal is counted.
        .layer(middleware::from_fn_with_state(parts.metrics, telling::count))
        // Outside of everything that refuses, so that browsers may read every refusal.
        .layer(cors::layer(&settings.cors_origins))
        // What is no RPC ends here: the grpc-web layer would call it a bad request.
        .layer(middleware::from_fn_with_state(parts.pages.fallback(nothing_here), only_rpcs))
        // Browsers' calls become ordinary ones, so that nothing further in knows of them.
        .layer(GrpcWebLayer::new())
        .map_request(|request: http::Request<tonic::body::Body>| request.map(Body::new))
        // Outside of all that can fail, to see how it ended and to put into our words what no
        // handler said; inside grpc-web, where a status can still be read.
        .layer(middleware::from_fn(outcome::judge))
        // Outside of the shed, so that time spent anywhere further in counts.
        .layer(middleware::from_fn_with_state(Arc::new(deadline), deadline::limit))
        // Inside the deadline, which it may run into, and outside of the shed: whoever waits here
        // has given their place back.
        .layer(middleware::from_fn_with_state(Arc::new(settler), settle::settle))
        // Outside of auth, which may ask another server: a flood must not get that far.
        .layer(middleware::from_fn_with_state(Arc::new(shed), shed::shed))
        // Inside the shed, because it is the place there that it gives back.
        .layer(middleware::from_fn(arrival::limit))
        // Innermost, so that nothing lies between it and the handlers: whoever gets past it
        // was let in, and only then is a message decoded.
        .layer(middleware::from_fn_with_state(Arc::new(parts.gate), auth::admit));
    BoxCloneSyncService::new(layers.service(routes.prepare().into_axum_router()))
}

/// Where there is no page: says so in words that a browser can show.
async fn nothing_here() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "Nothing is here. This server speaks gRPC and grpc-web.\n")
}

/// Answers what is no RPC by the pages there are.
async fn only_rpcs(State(pages): State<Router>, request: Request, next: Next) -> Response {
    if !is_rpc(request.headers()) {
        return pages.oneshot(request).await.into_response();
    }
    if request.method() != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, "An RPC is a POST.\n").into_response();
    }
    next.run(request).await
}
