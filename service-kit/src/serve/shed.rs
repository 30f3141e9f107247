//! How many calls at once, and what happens to the one too many?

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tokio::sync::Semaphore;

use super::{ending::Ending, refuse};
use crate::{
    error::Error,
    policy::{Access, Policy},
    telemetry::{context, metrics::Metrics},
};

/// When a refused caller may try again.
const RETRY: Duration = Duration::from_secs(1);

/// Places of other services, however few the public has: each of them has as many callers.
const SERVICES_AT_LEAST: usize = 1024;

/// Counts the calls in flight.
pub struct Gauge {
    permits: Arc<Semaphore>,
    /// Other services' calls have places of their own: what the public does here must not end
    /// what everyone does there.
    services_permits: Arc<Semaphore>,
    services_methods: HashSet<&'static str>,
    metrics: Metrics,
}

impl Gauge {
    pub fn new(max_in_flight: usize, policy: &Policy, metrics: Metrics) -> Self {
        let places = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self {
            permits: places(max_in_flight),
            services_permits: places(max_in_flight.max(SERVICES_AT_LEAST)),
            services_methods: policy.methods_for(Access::Service).collect(),
            metrics,
        }
    }

    fn permits_for(&self, path: &str) -> &Arc<Semaphore> {
        if self.services_methods.contains(path) { &self.services_permits } else { &self.permits }
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
    let Ok(permit) = Arc::clone(gauge.permits_for(request.uri().path())).try_acquire_owned() else {
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
