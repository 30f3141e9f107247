//! What goes on in a server beside its calls?

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::sleep;

/// What is waited before a task begins anew that ended, lest it does nothing but end.
const PAUSE: Duration = Duration::from_secs(1);

/// A task that goes on for as long as the server does.
pub struct Background {
    name: &'static str,
    begin: Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Background {
    /// `begin` begins it; it should not end.
    pub fn new<F>(name: &'static str, begin: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { name, begin: Box::new(move || begin().boxed()) }
    }

    /// Begins it, again where it ended: a panic in there must not be the end of something that
    /// everybody relies on and nobody looks at.
    pub(super) async fn keep_going(self) {
        loop {
            let _logged_by_the_hook = AssertUnwindSafe((self.begin)()).catch_unwind().await;
            tracing::error!(task = self.name, "a task ended that should go on: it begins anew");
            sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_or_ends_begins_anew() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = begun.clone();
        let task = Background::new("test", move || {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            async move { assert!(number > 0, "the first one panics") }
        });
        let going = tokio::spawn(task.keep_going());
        sleep(PAUSE * 5 / 2).await;
        assert_eq!(begun.load(Ordering::Relaxed), 3);
        going.abort();
    }
}
