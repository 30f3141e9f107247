//! How much of the database may one account use at once?
//!
//! Connections are few. Whoever makes many calls that wait for one row must not hold all of them,
//! or everybody else waits too: an account has most of a pool at most, and those of its calls that
//! cannot be served soon are told so at once, while they can still go elsewhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::error::Error;

/// Accounts share a slot only where there are more than so many; nobody can make more slots.
const SLOTS: usize = 1024;
/// Calls of an account that wait for one of its own, for each of its places.
const WAITING_FOR_EACH: usize = 12;
/// At least so many, however few connections there are.
const FEWEST_WAITING: usize = 64;
/// When a call that is turned away may come again.
const RETRY: Duration = Duration::from_secs(1);

/// The places of all accounts.
#[derive(Debug, Clone)]
pub struct Places {
    slots: Arc<[Slot]>,
    /// Of calls that are not about an account yet.
    nobodys: Arc<Slot>,
    most_waiting: usize,
    patience: Duration,
}

#[derive(Debug)]
struct Slot {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A call that waits, however it ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    /// For a pool of so many connections; nobody waits longer than that.
    pub fn of_pool(size: u32, patience: Duration) -> Self {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        // A quarter is always somebody else's.
        let each = (size - size / 4).clamp(1, Semaphore::MAX_PERMITS);
        let slot =
            move || Slot { free: Arc::new(Semaphore::new(each)), waiting: AtomicUsize::new(0) };
        Self {
            nobodys: Arc::new(slot()),
            slots: std::iter::repeat_with(slot).take(SLOTS).collect(),
            most_waiting: each.saturating_mul(WAITING_FOR_EACH).max(FEWEST_WAITING),
            patience,
        }
    }

    /// A place of an account, kept until it is dropped.
    ///
    /// # Errors
    /// Where too many of the account's calls wait already, or one waits too long.
    pub async fn take(&self, account_id: i64) -> Result<OwnedSemaphorePermit, Error> {
        let number = usize::try_from(account_id.unsigned_abs() % SLOTS as u64).unwrap_or(0);
        self.take_in(&self.slots[number]).await
    }

    /// The same, where it is not known yet whose it is, or never will be.
    pub async fn take_nobodys(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.take_in(&self.nobodys).await
    }

    async fn take_in(&self, slot: &Slot) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(place) = Arc::clone(&slot.free).try_acquire_owned() {
            return Ok(place);
        }
        let before = slot.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&slot.waiting);
        if before >= self.most_waiting {
            return Err(Error::Overloaded { retry: RETRY });
        }
        match timeout(self.patience, Arc::clone(&slot.free).acquire_owned()).await {
            Ok(place) => place.map_err(Error::internal),
            Err(_elapsed) => Err(Error::Overloaded { retry: RETRY }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    fn refused(taken: &Result<OwnedSemaphorePermit, Error>) -> bool {
        matches!(taken, Err(Error::Overloaded { .. }))
    }

    /// Security checklist 46.
    #[tokio::test]
    async fn an_account_never_has_all_of_a_pool() {
        let places = Places::of_pool(8, PATIENCE);
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(places.take(1).await.unwrap());
        }
        assert!(refused(&places.take(1).await), "a seventh waits, and in vain");
        drop(places.take(2).await.unwrap());
        // Nor what is nobody's yet.
        drop(places.take_nobodys().await.unwrap());
        held.pop();
        drop(places.take(1).await.unwrap());
    }

    #[tokio::test]
    async fn whoever_waits_is_next_and_too_many_are_turned_away_at_once() {
        let places = Places::of_pool(1, Duration::from_secs(60));
        let held = places.take(1).await.unwrap();
        let waiting: Vec<_> = (0..FEWEST_WAITING)
            .map(|_| {
                let places = places.clone();
                tokio::spawn(async move { places.take(1).await.map(drop) })
            })
            .collect();
        while places.slots[1].waiting.load(Ordering::Relaxed) < FEWEST_WAITING {
            tokio::task::yield_now().await;
        }
        assert!(refused(&places.take(1).await));
        drop(held);
        for waited in waiting {
            waited.await.unwrap().unwrap();
        }
        assert_eq!(places.slots[1].waiting.load(Ordering::Relaxed), 0);
        drop(places.take(1).await.unwrap());
    }

    #[tokio::test]
    async fn the_smallest_pool_has_a_place_for_everybody() {
        let places = Places::of_pool(1, PATIENCE);
        drop(places.take(i64::MIN).await.unwrap());
        drop(places.take(0).await.unwrap());
        drop(places.take_nobodys().await.unwrap());
        drop(places.take(i64::MAX).await.unwrap());
    }
}
