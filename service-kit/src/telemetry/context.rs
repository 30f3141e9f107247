//! What is known about the request being served, from wherever the code is.
//!
//! The outermost layer makes a [`RequestContext`], keeps it for the log line and runs
//! everything below inside its scope; the layers and the database add what they learn.

use std::{
    future::Future,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::StatusCode;
use tonic::{Code, metadata::MetadataMap};

use super::trace::{TRACEPARENT_HEADER, Trace};
use crate::{caller::Caller, serve::methods::Method};

/// The header that carries a request's id, in and on to the next service.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// One request, as it is being served.
#[derive(Debug)]
pub struct RequestContext {
    id: String,
    /// Where this request stands in a trace that may span services.
    pub trace: Trace,
    /// When its first byte was seen.
    pub started: Instant,
    client: Option<IpAddr>,
    service: &'static str,
    method: Option<Arc<Method>>,
    caller: OnceLock<(i64, String)>,
    status: OnceLock<StatusCode>,
    outcome: OnceLock<Outcome>,
    queries: AtomicU32,
    database_nanos: AtomicU64,
    took_back: AtomicBool,
}

/// How a call ended, in the words of gRPC.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub code: Code,
    /// The `error-reason`; empty for OK.
    pub reason: String,
}

tokio::task_local! {
    static CURRENT: Arc<RequestContext>;
}

impl RequestContext {
    pub fn new(id: String, trace: Trace) -> Self {
        Self {
            id,
            trace,
            started: Instant::now(),
            client: None,
            service: "",
            method: None,
            caller: OnceLock::new(),
            status: OnceLock::new(),
            outcome: OnceLock::new(),
            queries: AtomicU32::new(0),
            database_nanos: AtomicU64::new(0),
            took_back: AtomicBool::new(false),
        }
    }

    /// From where it comes.
    #[must_use]
    pub fn from(self, client: Option<IpAddr>) -> Self {
        Self { client, ..self }
    }

    /// The caller's address, if there is a connection: a test may call without one.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// Which service is asked, and for which of its methods if there is such a one.
    #[must_use]
    pub fn addressed_to(self, service: &'static str, method: Option<Arc<Method>>) -> Self {
        Self { service, method, ..self }
    }

    /// The service being asked: one process may run two.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// The method, if it exists.
    pub fn method(&self) -> Option<&Arc<Method>> {
        self.method.as_ref()
    }

    /// What a caller quotes when something went wrong.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Account and actor, once the auth layer knows them.
    pub fn caller(&self) -> Option<&(i64, String)> {
        self.caller.get()
    }

    /// What HTTP says of the answer, once it has begun.
    pub fn status(&self) -> Option<StatusCode> {
        self.status.get().copied()
    }

    /// Says that the answer begins.
    pub fn answered(&self, status: StatusCode) {
        let _only_once = self.status.set(status);
    }

    /// How the call ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    /// Says how the call ended; the first word counts.
    pub fn finish(&self, outcome: Outcome) {
        let _first_word_counts = self.outcome.set(outcome);
    }

    /// Statements sent to the database, and the time spent waiting for them.
    pub fn database(&self) -> (u32, Duration) {
        let nanos = self.database_nanos.load(Ordering::Relaxed);
        (self.queries.load(Ordering::Relaxed), Duration::from_nanos(nanos))
    }

    /// Whether it changed, or tried to change, what a credential is good for.
    pub fn took_back(&self) -> bool {
        self.took_back.load(Ordering::Relaxed)
    }
}

/// Runs a future as part of a request.
pub fn scope<F: Future>(
    context: Arc<RequestContext>,
    future: F,
) -> impl Future<Output = F::Output> {
    CURRENT.scope(context, future)
}

/// Does something as part of a request, where there is no future to run.
pub fn enter<T>(context: &Arc<RequestContext>, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(Arc::clone(context), work)
}

/// The request that this code runs for, if it runs for one.
pub fn current() -> Option<Arc<RequestContext>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Notes who is calling.
pub fn identify(caller: &Caller) {
    if let Some(request) = current() {
        let _once = request.caller.set((caller.account_id(), caller.actor().to_string()));
    }
}

/// Notes a statement and how long it took.
pub fn count_query(took: Duration) {
    let _outside_of_a_request = CURRENT.try_with(|request| {
        request.queries.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        request.database_nanos.fetch_add(nanos, Ordering::Relaxed);
    });
}

/// Notes that what a credential is good for changes with this request.
pub fn takes_back() {
    let _outside_of_a_request =
        CURRENT.try_with(|request| request.took_back.store(true, Ordering::Relaxed));
}

/// Puts the request's id and its place in the trace on a call to another service.
pub fn carry(metadata: &mut MetadataMap) {
    if let Some(request) = current() {
        if let Ok(id) = request.id().parse() {
            metadata.insert(REQUEST_ID_HEADER, id);
        }
        if let Ok(traceparent) = request.trace.outgoing().parse() {
            metadata.insert(TRACEPARENT_HEADER, traceparent);
        }
    }
}
