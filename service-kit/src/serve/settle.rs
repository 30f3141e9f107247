//! When may a caller be told that something was taken back?
//!
//! When nobody who keeps answers about credentials goes by what was. A call that can take
//! something back waits for that after its handler is through, whatever the handler found to do:
//! a repeat, and a call that finds everything done already, promise the same.

use std::{collections::HashSet, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::HeaderMap;
use http_body_util::BodyExt;
use tonic::Status;

use super::refuse;
use crate::{error::Error, policy::Policy, telemetry::context};

/// Knows who keeps what.
#[tonic::async_trait]
pub trait Settle: Send + Sync + 'static {
    /// Completes when nobody goes any more by what was before this was called.
    async fn settle(&self);
}

/// What the layer goes by.
pub struct Settler {
    methods: HashSet<&'static str>,
    settle: Option<Arc<dyn Settle>>,
}

impl Settler {
    pub fn new(policy: &Policy, settle: Option<Arc<dyn Settle>>) -> Self {
        Self { methods: policy.methods_that_take_back().collect(), settle }
    }
}

/// Holds an answer back for as long as it would promise too much.
pub async fn settle(State(settler): State<Arc<Settler>>, request: Request, next: Next) -> Response {
    let Some(settle) = &settler.settle else { return next.run(request).await };
    let takes_back = settler.methods.contains(request.uri().path());
    let response = next.run(request).await;
    let Some(call) = context::current() else { return response };
    if call.method().is_none_or(|method| method.streaming) || !(takes_back || call.took_back()) {
        return response;
    }
    // Read to its end here, so that everything further in is let go of: its place, above all.
    let (head, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(body) => body,
        Err(error) => return refuse(Error::internal(error)),
    };
    // Who is refused is promised nothing; but what a refusal did, as one of a replayed token
    // does, holds as well.
    let is_done = is_ok(&head.headers) || body.trailers().is_some_and(is_ok);
    if is_done || call.took_back() {
        settle.settle().await;
    }
    // Whose status came with the headers has nothing behind them, not even an empty frame: a
    // client may take such a stream for one that broke off.
    let is_said = head.headers.contains_key(Status::GRPC_STATUS);
    Response::from_parts(head, if is_said { Body::empty() } else { Body::new(body) })
}

fn is_ok(headers: &HeaderMap) -> bool {
    headers.get(Status::GRPC_STATUS).is_some_and(|status| status == "0")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_status_of_zero_is_ok() {
        let headers = |status| [(Status::GRPC_STATUS, HeaderValue::from_static(status))];
        assert!(is_ok(&headers("0").into_iter().collect()));
        assert!(!is_ok(&headers("16").into_iter().collect()));
        assert!(!is_ok(&HeaderMap::new()));
    }
}
