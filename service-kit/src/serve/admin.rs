//! What do operators see, on a port of their own?

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::{net::TcpListener, sync::watch};

use crate::telemetry::metrics::Metrics;

/// The content type of what [`Metrics::render`] writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the figures and the state, until it is dropped.
pub async fn serve(
    listener: Option<TcpListener>,
    metrics: Metrics,
    serving: watch::Receiver<bool>,
) {
    let Some(listener) = listener else { return };
    let routes = Router::new()
        .route("/metrics", get(figures).with_state(metrics))
        .route("/healthz", get(state).with_state(serving));
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!(%error, "metrics are no longer served");
    }
}

async fn figures(State(metrics): State<Metrics>) -> ([(&'static str, &'static str); 1], String) {
    ([("content-type", OPEN_METRICS)], metrics.render())
}

async fn state(State(serving): State<watch::Receiver<bool>>) -> (StatusCode, &'static str) {
    if *serving.borrow() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}
