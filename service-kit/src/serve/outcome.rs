//! How did a call end, and what are callers told when no handler said it?
//!
//! Every refusal of ours has an `error-reason`. A status without one was made by a library,
//! mostly by tonic before a handler was asked, and its text may say things about our insides;
//! it is replaced by a reason and a sentence of ours. What tonic 0.14 answers, and what
//! becomes of it:
//!
//! | From tonic | Because | Becomes |
//! |---|---|---|
//! | `INTERNAL`, in the headers | not the message of this method, truncated, none at all, bad compression flag, undecompressable | `INVALID_ARGUMENT` / `MALFORMED_MESSAGE` |
//! | `OUT_OF_RANGE` | larger than the limit, as sent or as answered | `RESOURCE_EXHAUSTED` / `MESSAGE_TOO_LARGE` |
//! | `RESOURCE_EXHAUSTED` | larger than the limit once decompressed | the same |
//! | `UNIMPLEMENTED` with `grpc-accept-encoding` | compressed in a way we do not know | `UNIMPLEMENTED` / `COMPRESSION_UNKNOWN` |
//! | `UNIMPLEMENTED` | no such method | `UNIMPLEMENTED` / `METHOD_UNKNOWN` |
//! | `NOT_FOUND`, `INVALID_ARGUMENT` | health and reflection asked about something unknown | the code with a reason |
//! | `CANCELLED`; `UNKNOWN`, of a body | the caller hung up | `CANCELLED` |
//! | anything else | our fault | `INTERNAL`, without its text |

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    middleware::Next,
    response::Response,
};
use futures::FutureExt;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use proto::common::v1::ErrorReason as Reason;
use tonic::{Code, Status};

use super::refuse;
use crate::{
    error::{Error, REASON_TRAILER, transport_status},
    telemetry::context::{self, Outcome, RequestContext},
};

/// Which headers tonic sends along when it does not know a compression.
const ACCEPT_ENCODING_HEADER: &str = "grpc-accept-encoding";

/// What hyper says when a caller hangs up in the middle of a message.
const BODY_BROKE_OFF: &str = "error reading a body from connection";

/// Notes how each call ends, and puts what no handler said into our words.
pub async fn judge(request: Request, next: Next) -> Response {
    // A panic ends one call and not the connection with all its others.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|_logged_by_the_hook| refuse(panicked()));
    let Some(context) = context::current() else {
        return response;
    };
    if response.headers().contains_key(Status::GRPC_STATUS) {
        settle(response.headers_mut(), Place::Headers, &context);
        return response;
    }
    response.map(|body| Body::new(Judged { body, context, over: false }))
}

/// Where a status was found: before any handler was asked, or at the end of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Headers,
    Trailers,
}

/// Notes the outcome, after making it ours where it was a library's.
fn settle(headers: &mut HeaderMap, place: Place, context: &RequestContext) {
    let found = outcome_in(headers);
    if found.code == Code::Ok || !found.reason.is_empty() {
        context.finish(found);
    } else if let Some(status) = Status::from_header_map(headers) {
        rewrite(headers, &translate(&status, place));
        context.finish(outcome_in(headers));
    }
}

fn outcome_in(headers: &HeaderMap) -> Outcome {
    let code = headers
        .get(Status::GRPC_STATUS)
        .map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes()));
    let reason = headers.get(REASON_TRAILER).and_then(|reason| reason.to_str().ok());
    Outcome { code, reason: reason.unwrap_or_default().to_owned() }
}

/// What callers are told instead of what a library said.
fn translate(found: &Status, place: Place) -> Status {
    let knows_no_such_compression = found.metadata().contains_key(ACCEPT_ENCODING_HEADER);
    match (found.code(), place) {
        (Code::Internal, Place::Headers) => transport_status(
            Code::InvalidArgument,
            Reason::MalformedMessage,
            "This is not the message that the method takes.",
        ),
        (Code::OutOfRange | Code::ResourceExhausted, _) => Error::TooLarge.into(),
        (Code::Unimplemented, _) if knows_no_such_compression => transport_status(
            Code::Unimplemented,
            Reason::CompressionUnknown,
            "The message is compressed in a way that this server does not know.",
        ),
        (Code::Unimplemented, _) => Error::MethodUnknown.into(),
        (Code::NotFound, _) => {
            transport_status(Code::NotFound, Reason::NotFound, "There is nothing of this name.")
        }
        (Code::InvalidArgument, _) => {
            transport_status(Code::InvalidArgument, Reason::InvalidFields, "This cannot be asked.")
        }
        (Code::Cancelled, _) => Status::cancelled(""),
        (Code::Unknown, Place::Headers) if found.message().contains(BODY_BROKE_OFF) => {
            Status::cancelled("")
        }
        _ => Error::internal(format!("unexpected status {found}")).into(),
    }
}

/// Puts a status in place of another one.
fn rewrite(headers: &mut HeaderMap, status: &Status) {
    headers.remove(Status::GRPC_MESSAGE);
    headers.remove(Status::GRPC_STATUS_DETAILS);
    if status.add_header(headers).is_err() {
        headers.insert(Status::GRPC_STATUS, i32::from(Code::Internal).into());
    }
}

fn panicked() -> Error {
    Error::internal("a handler panicked")
}

/// A body whose trailers are judged.
struct Judged {
    body: Body,
    context: Arc<RequestContext>,
    over: bool,
}

impl HttpBody for Judged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let body = &mut self.body;
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx)));
        let frame = match polled {
            Ok(Poll::Ready(Some(Ok(frame)))) => frame,
            Ok(other) => return other,
            Err(_logged_by_the_hook) => Frame::trailers(trailers_for(panicked())),
        };
        Poll::Ready(Some(Ok(match frame.into_trailers() {
            Ok(mut trailers) => {
                self.over = true;
                settle(&mut trailers, Place::Trailers, &self.context);
                Frame::trailers(trailers)
            }
            Err(data) => data,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An error as the end of an answer that has begun.
pub(super) fn trailers_for(error: Error) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    rewrite(&mut trailers, &error.into());
    trailers
}
