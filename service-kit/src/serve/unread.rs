//! What ends an answer that nobody reads?
//!
//! The HTTP layer stops asking a body for more as soon as its reader is behind, so nothing
//! inside the body can notice that time is up. What drives the body can: each stream of
//! HTTP/2, and each connection of HTTP/1.1, runs inside [`until_due`], is told by the deadline
//! layer when its present answer is due, and is dropped when that time comes. The peer sees a
//! reset stream or a closed connection, and all the answer held is free again.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use tokio::time::{Instant, sleep_until};

tokio::task_local! {
    /// When the answer being sent has to be read.
    static DUE: Cell<Option<Instant>>;
}

/// Runs what drives an answer, but not beyond the time that the answer is due.
pub async fn until_due<F: Future>(work: F) -> Option<F::Output> {
    let driven = async {
        let mut work = pin!(work);
        let mut alarm = pin!(sleep_until(Instant::now()));
        poll_fn(|cx| {
            // First the work: an answer that can still end by itself does.
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            let Some(due) = DUE.with(Cell::get) else {
                return Poll::Pending;
            };
            if alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            alarm.as_mut().poll(cx).map(|()| None)
        })
        .await
    };
    DUE.scope(Cell::new(None), driven).await
}

/// An answer begins, and is due then.
pub fn expect_by(due: Instant) {
    // Nobody drives us where a test calls the stack directly.
    let _driven = DUE.try_with(|cell| cell.set(Some(due)));
}

/// The answer is through.
pub fn done() {
    let _driven = DUE.try_with(|cell| cell.set(None));
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_without_an_answer_may_take_any_time() {
        let work = tokio::time::sleep(Duration::from_secs(3600));
        assert!(until_due(work).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unread_answer_is_dropped_when_it_is_due() {
        let began = Instant::now();
        let stuck = async {
            expect_by(Instant::now() + Duration::from_secs(3));
            pending::<()>().await;
        };
        assert!(until_due(stuck).await.is_none());
        assert_eq!(began.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_answer_of_a_connection_has_its_own_time() {
        let two_answers = async {
            expect_by(Instant::now() + Duration::from_secs(1));
            done();
            tokio::time::sleep(Duration::from_secs(5)).await;
            expect_by(Instant::now() + Duration::from_secs(2));
            tokio::time::sleep(Duration::from_secs(1)).await;
            done();
            tokio::time::sleep(Duration::from_secs(5)).await;
        };
        assert!(until_due(two_answers).await.is_some());
    }
}
