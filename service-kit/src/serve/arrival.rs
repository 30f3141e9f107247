//! How long may a message take to arrive?
//!
//! A unary call whose message does not come is cut off long before its deadline: it holds a
//! place among the calls in flight that others wait for.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    middleware::Next,
    response::Response,
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use crate::{error::Error, telemetry::context};

const LIMIT: Duration = Duration::from_secs(5);

/// Gives the message of a unary call its time.
pub async fn limit(request: Request, next: Next) -> Response {
    let streaming =
        context::current().is_some_and(|call| call.method().is_some_and(|method| method.streaming));
    if streaming || request.body().is_end_stream() {
        return next.run(request).await;
    }
    next.run(request.map(|body| Body::new(Arriving { body, alarm: None }))).await
}

/// A body that has to be complete in time.
struct Arriving {
    body: Body,
    /// Made only if the body is ever waited for.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(LIMIT)));
        // tonic finds the status in the error, and answers with it.
        alarm.as_mut().poll(cx).map(|()| Some(Err(Status::from(Error::DeadlineExceeded).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
