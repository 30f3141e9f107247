//! Who tells the log, the metrics and the collector of each request?
//!
//! The two outermost layers: [`tell`] gives a request its id and its place in a trace and
//! writes its line, [`count`] moves the figures.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::UNIX_EPOCH,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use ipnet::IpNet;
use tonic::Code;

use super::{connections::Peer, ending::Ending, is_rpc, methods::Methods};
use crate::{
    network,
    telemetry::{
        context::{self, Outcome, REQUEST_ID_HEADER, RequestContext},
        line,
        metrics::Metrics,
        spans::Spans,
        trace::Trace,
    },
};

const MAX_REQUEST_ID_CHARS: usize = 64;

/// What [`tell`] needs to know.
pub struct Teller {
    pub service: &'static str,
    pub methods: Methods,
    pub spans: Option<Spans>,
    /// Whose word about a caller's address is taken.
    pub proxies: Vec<IpNet>,
}

/// One id, one line and one span for each request.
pub async fn tell(State(teller): State<Arc<Teller>>, request: Request, next: Next) -> Response {
    let context = teller.begin(&request);
    let ending = Ending::new(teller.line_for(&context, &request));
    let mut response = context::scope(Arc::clone(&context), next.run(request)).await;
    context.answered(response.status());
    if let Ok(id) = HeaderValue::from_str(context.id()) {
        response.headers_mut().insert(REQUEST_ID_HEADER, id);
    }
    response.map(|body| ending.after(Body::new(Inside { context, body })))
}

impl Teller {
    fn begin(&self, request: &Request) -> Arc<RequestContext> {
        let id = request_id(request.headers());
        let trace = Trace::incoming(request.headers());
        let method = self.methods.find(request.uri().path()).cloned();
        let peer = request.extensions().get::<Peer>();
        let client = peer.map(|peer| network::client(peer.0, request.headers(), &self.proxies));
        Arc::new(RequestContext::new(id, trace).from(client).addressed_to(self.service, method))
    }

    /// What is told when the answer is through.
    fn line_for(
        self: Arc<Self>,
        context: &Arc<RequestContext>,
        request: &Request,
    ) -> impl FnOnce(bool) + Send + Unpin + 'static {
        let context = Arc::clone(context);
        let uri = request.uri().clone();
        let verb = request.method().clone();
        let rpc = is_rpc(request.headers());
        move |complete| {
            if let Some(outcome) = rpc_outcome(&context, rpc, complete) {
                line::write_rpc(&context, uri.path(), &outcome);
                self.export(&context, &outcome);
            } else {
                let status = context.status().filter(|_| complete);
                line::write_http(&context, &verb, uri.path(), status);
            }
        }
    }

    fn export(&self, context: &RequestContext, outcome: &Outcome) {
        if let (Some(spans), Some(method)) = (&self.spans, context.method()) {
            spans.record(context, method.name.to_string(), outcome);
        }
    }
}

/// The figures of each request.
pub async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let Some(context) = context::current().filter(|_| is_rpc(request.headers())) else {
        let response = next.run(request).await;
        metrics.count_http(response.status());
        return response;
    };
    metrics.begin();
    let ending = Ending::new(move |complete| {
        let outcome = rpc_outcome(&context, true, complete);
        let unknown = || Outcome { code: Code::Unknown, reason: String::new() };
        let outcome = outcome.unwrap_or_else(unknown);
        let (statements, _) = context.database();
        metrics.end(context.method(), &outcome, context.started.elapsed(), statements);
    });
    next.run(request).await.map(|body| ending.after(body))
}

/// How an RPC ended. Nothing, if HTTP alone can say: it was none, or not a well-formed one.
fn rpc_outcome(context: &RequestContext, rpc: bool, complete: bool) -> Option<Outcome> {
    let cancelled = || Outcome { code: Code::Cancelled, reason: String::new() };
    match context.outcome() {
        Some(outcome) => Some(outcome.clone()),
        None => (rpc && !complete).then(cancelled),
    }
}

/// The caller's own id, if it can stand in a log line as it is, and else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sent = headers.get(REQUEST_ID_HEADER).and_then(|value| value.to_str().ok());
    let well_formed = |id: &&str| {
        (1..=MAX_REQUEST_ID_CHARS).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    sent.filter(well_formed).map_or_else(new_request_id, str::to_owned)
}

/// A UUID of version 7, whose random part is not fetched from the system for each call, as
/// `Uuid::now_v7` would.
fn new_request_id() -> String {
    let since_epoch = UNIX_EPOCH.elapsed().unwrap_or_default();
    let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid().to_string()
}

/// A body that is part of its request: what a stream logs while it is read has the id too.
struct Inside {
    context: Arc<RequestContext>,
    body: Body,
}

impl HttpBody for Inside {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { context, body } = self.get_mut();
        context::enter(context, || Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id_for(sent: &'static [u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID_HEADER, HeaderValue::from_bytes(sent).unwrap());
        request_id(&headers)
    }

    #[test]
    fn a_harmless_request_id_is_kept() {
        assert_eq!(id_for(b"order-7_of.9"), "order-7_of.9");
        assert_eq!(id_for(&[b'x'; 64]), "x".repeat(64));
    }

    #[test]
    fn any_other_is_replaced() {
        for bad in [&b""[..], &[b'x'; 65], b"a b", b"a=b", b"\xc3\xa9", b"a\"b", b"a\tb"] {
            let id = id_for(bad);
            assert!(Uuid::parse_str(&id).is_ok(), "{bad:?} became {id}");
        }
    }
}
