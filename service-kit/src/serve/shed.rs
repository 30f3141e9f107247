//! How many calls at once, and what happens to the one too many?

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tokio::sync::Semaphore;

use super::{ending::Ending, refuse};
use crate::{
    error::Error,
    telemetry::{context, metrics::Metrics},
};

/// When a refused caller may try again.
const RETRY: Duration = Duration::from_secs(1);

/// Counts the calls in flight.
pub struct Gauge {
    permits: Arc<Semaphore>,
    metrics: Metrics,
}

impl Gauge {
    pub fn new(max_in_flight: usize, metrics: Metrics) -> Self {
        let permits = max_in_flight.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(permits)), metrics }
    }
}

/// Refuses a call at once where it would have to wait: a queue would only make all of them
/// late. Health checks pass, lest a balancer take a busy server for a dead one.
///
/// A unary call counts until its answer is read. A stream counts until it is open: one that
/// waits for news costs nothing, and would keep others out.
pub async fn shed(State(gauge): State<Arc<Gauge>>, request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/grpc.health.v1.Health/") {
        return next.run(request).await;
    }
    let Ok(permit) = Arc::clone(&gauge.permits).try_acquire_owned() else {
        gauge.metrics.count_shed();
        return refuse(Error::Overloaded { retry: RETRY });
    };
    let response = next.run(request).await;
    let streaming =
        context::current().is_some_and(|call| call.method().is_some_and(|m| m.streaming));
    if streaming {
        return response;
    }
    let ending = Ending::new(move |_complete| drop(permit));
    response.map(|body| ending.after(body))
}
