//! How long may a call take, and what ends it?
//!
//! A unary call has the caller's `grpc-timeout` or the server's own limit, whichever is less,
//! for its handler and for its answer to be read. A `grpc-timeout` that is malformed counts as
//! absent: the server's limit holds anyway. A stream has to open within that time; then it
//! lasts until either side ends it, an hour at most, and ends well when the server stops, so
//! that whoever watches comes back to another server.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::{outcome::trailers_for, refuse, unread};
use crate::{
    error::{Error, reason_text},
    telemetry::context::{self, Outcome, RequestContext},
};

/// What an answer is cut into, so that a reader who takes none of it is noticed: the HTTP/2
/// layer takes a frame of any size off our hands at once and would keep it for ever.
const PIECE_BYTES: usize = 64 << 10;

/// Then a stream ends well, and whoever still watches opens a new one and is looked at again.
const MAX_STREAM_AGE: Duration = Duration::from_secs(3600);
/// The same for health and reflection, which anybody may open.
const MAX_PUBLIC_STREAM_AGE: Duration = Duration::from_secs(600);

/// What the layer goes by.
pub struct Limits {
    pub longest: Duration,
    pub stopping: CancellationToken,
}

/// Ends calls that take too long.
pub async fn limit(State(limits): State<Arc<Limits>>, request: Request, next: Next) -> Response {
    let allowed =
        asked_for(request.headers()).map_or(limits.longest, |asked| asked.min(limits.longest));
    let due = Instant::now() + allowed;
    let context = context::current();
    let method = context.as_ref().and_then(|call| call.method());
    let streaming = method.is_some_and(|method| method.streaming);
    let is_public = method.is_some_and(|method| method.quiet);
    let Ok(response) = timeout_at(due, next.run(request)).await else {
        return refuse(Error::DeadlineExceeded);
    };
    if response.body().is_end_stream() {
        return response;
    }
    response.map(|body| {
        if streaming {
            let age = if is_public { MAX_PUBLIC_STREAM_AGE } else { MAX_STREAM_AGE };
            Body::new(Stream::new(body, age, limits.stopping.clone()))
        } else {
            Body::new(Answer::new(body, due, context))
        }
    })
}

/// `grpc-timeout`: up to eight digits and a unit.
fn asked_for(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The answer of a unary call, which has to be read in time.
struct Answer {
    body: Body,
    due: Instant,
    /// Made only if the body is ever waited for.
    alarm: Option<Pin<Box<Sleep>>>,
    /// What is left of a large frame.
    rest: Bytes,
    over: bool,
    context: Option<Arc<RequestContext>>,
}

impl Answer {
    fn new(body: Body, due: Instant, context: Option<Arc<RequestContext>>) -> Self {
        unread::expect_by(due);
        Self { body, due, alarm: None, rest: Bytes::new(), over: false, context }
    }

    fn next_piece(&mut self) -> Frame<Bytes> {
        let end = self.rest.len().min(PIECE_BYTES);
        Frame::data(self.rest.split_to(end))
    }

    /// Ready once the time is over.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.due;
        self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due))).as_mut().poll(cx)
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.next_piece())));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    self.next_piece()
                }
                Err(trailers) => {
                    self.over = true;
                    trailers
                }
            }))),
            Poll::Ready(end) => {
                self.over = true;
                Poll::Ready(end)
            }
            Poll::Pending => self.poll_alarm(cx).map(|()| {
                self.over = true;
                Some(Ok(Frame::trailers(trailers_for(Error::DeadlineExceeded))))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || (self.rest.is_empty() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // What is in `rest` is no longer in the body.
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        unread::done();
        let late = !self.is_end_stream() && Instant::now() >= self.due;
        if let Some(context) = self.context.as_ref().filter(|_| late) {
            // Nobody read it to its end: no trailers could say so.
            let reason = reason_text(Error::DeadlineExceeded.reason()).to_owned();
            context.finish(Outcome { code: Code::DeadlineExceeded, reason });
        }
    }
}

/// The answer of a streaming call, which ends when the server does.
struct Stream {
    body: Body,
    stopped: BoxFuture<'static, ()>,
    over: bool,
}

impl Stream {
    fn new(body: Body, age: Duration, stopping: CancellationToken) -> Self {
        let stopped = async move {
            // Whichever comes first.
            _ = timeout(age, stopping.cancelled_owned()).await;
        };
        Self { body, stopped: Box::pin(stopped), over: false }
    }
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        // What is there already is still sent: the last word of a health watch, for one.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        self.stopped.as_mut().poll(cx).map(|()| {
            self.over = true;
            let ended_well = [(Status::GRPC_STATUS, HeaderValue::from_static("0"))];
            Some(Ok(Frame::trailers(ended_well.into_iter().collect())))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// Security checklist 47.
    #[tokio::test]
    async fn a_stream_ends_well_when_it_is_old_or_the_server_stops() {
        let silent =
            || Body::new(StreamBody::new(futures::stream::pending::<Result<_, axum::Error>>()));
        let (never, stopped) = (CancellationToken::new(), CancellationToken::new());
        stopped.cancel();
        for (age, stopping) in [(Duration::ZERO, never.clone()), (MAX_STREAM_AGE, stopped)] {
            let mut stream = Stream::new(silent(), age, stopping);
            let last = stream.frame().await.unwrap().unwrap().into_trailers().unwrap();
            assert_eq!(last[Status::GRPC_STATUS], "0");
            assert!(stream.frame().await.is_none() && stream.is_end_stream());
        }
        let mut young = Stream::new(silent(), MAX_STREAM_AGE, never);
        assert!(timeout(Duration::from_millis(50), young.frame()).await.is_err());
    }

    fn parsed(text: &'static str) -> Option<Duration> {
        let headers = [("grpc-timeout".parse().unwrap(), HeaderValue::from_static(text))];
        asked_for(&headers.into_iter().collect())
    }

    #[test]
    fn time_outs_are_read_in_all_units() {
        assert_eq!(parsed("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parsed("3M"), Some(Duration::from_secs(180)));
        assert_eq!(parsed("4S"), Some(Duration::from_secs(4)));
        assert_eq!(parsed("5m"), Some(Duration::from_millis(5)));
        assert_eq!(parsed("6u"), Some(Duration::from_micros(6)));
        assert_eq!(parsed("7n"), Some(Duration::from_nanos(7)));
        assert_eq!(parsed("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
    }

    #[test]
    fn malformed_ones_count_as_absent() {
        for bad in ["", "S", "5", "-5S", "+5S", "5s", "1.5S", "999999999S", "5 S", "SS"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
