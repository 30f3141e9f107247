//! How does a layer learn that an answer is through, in whatever way that happens?
//!
//! A handler may be dropped half way because its caller hung up, and a body may be dropped
//! unread. So a layer makes an [`Ending`] before it calls the next one and ties it to the
//! body after: wherever things stop, the ending is told, once.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Does something when an answer is through. `true` says that it was complete.
pub struct Ending<F: FnOnce(bool)>(Option<F>);

impl<F: FnOnce(bool) + Send + Unpin + 'static> Ending<F> {
    pub fn new(then: F) -> Self {
        Self(Some(then))
    }

    /// The same body, at whose end this is told.
    pub fn after(self, body: Body) -> Body {
        Body::new(Followed { body: Some(body), ending: self })
    }
}

impl<F: FnOnce(bool)> Ending<F> {
    fn tell(&mut self, complete: bool) {
        if let Some(then) = self.0.take() {
            then(complete);
        }
    }
}

impl<F: FnOnce(bool)> Drop for Ending<F> {
    fn drop(&mut self) {
        self.tell(false);
    }
}

struct Followed<F: FnOnce(bool)> {
    /// Until this is dropped.
    body: Option<Body>,
    ending: Ending<F>,
}

impl<F: FnOnce(bool) + Send + Unpin + 'static> HttpBody for Followed<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => self.ending.tell(true),
            // Nobody polls beyond trailers.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => self.ending.tell(true),
            Poll::Ready(Some(Err(_))) => self.ending.tell(false),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl<F: FnOnce(bool)> Drop for Followed<F> {
    fn drop(&mut self) {
        let complete = self.body.as_ref().is_none_or(HttpBody::is_end_stream);
        // First the layers further in, which may know why it ends.
        self.body = None;
        self.ending.tell(complete);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use http_body_util::BodyExt;

    use super::*;

    fn followed(body: Body) -> (Body, mpsc::Receiver<bool>) {
        let (tell, told) = mpsc::channel();
        let ending = Ending::new(move |complete| tell.send(complete).unwrap());
        (ending.after(body), told)
    }

    #[tokio::test]
    async fn a_body_read_to_its_end_is_complete() {
        let (body, told) = followed(Body::from("answer"));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "answer");
        assert_eq!(told.iter().collect::<Vec<_>>(), [true]);
    }

    #[tokio::test]
    async fn an_empty_body_that_nobody_polls_is_complete() {
        let (body, told) = followed(Body::empty());
        drop(body);
        assert_eq!(told.iter().collect::<Vec<_>>(), [true]);
    }

    #[tokio::test]
    async fn a_body_dropped_before_its_end_is_not() {
        let (body, told) = followed(Body::from("answer"));
        drop(body);
        assert_eq!(told.iter().collect::<Vec<_>>(), [false]);
    }

    #[tokio::test]
    async fn a_layer_dropped_before_there_is_a_body_tells_too() {
        let (tell, told) = mpsc::channel();
        drop(Ending::new(move |complete| tell.send(complete).unwrap()));
        assert_eq!(told.iter().collect::<Vec<_>>(), [false]);
    }
}
