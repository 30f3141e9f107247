//! Is somebody asking this already?

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use service_kit::lease::cache::Key;
use tokio::sync::watch;

/// The questions that are on their way, one about each credential.
#[derive(Clone, Default)]
pub struct Flights(Arc<Mutex<HashMap<Key, watch::Receiver<()>>>>);

/// What to do.
pub enum Place {
    /// Ask, and hold on to it until the answer is dealt with.
    Leads(Flight),
    /// Wait for whoever asks.
    Joins(watch::Receiver<()>),
}

/// A question on its way. It is over when this is dropped, however that comes.
pub struct Flight {
    flights: Flights,
    key: Key,
    _over: watch::Sender<()>,
}

impl Flights {
    pub fn board(&self, key: Key) -> Place {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(&key) {
            return Place::Joins(flight.clone());
        }
        let (over, joined) = watch::channel(());
        flights.insert(key, joined);
        Place::Leads(Flight { flights: self.clone(), key, _over: over })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

/// Completes when whoever asked has dealt with the answer, or given up.
pub async fn landed(mut flight: watch::Receiver<()>) {
    while flight.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [1; 32];

    #[tokio::test]
    async fn of_many_one_asks_and_the_others_wait_until_it_is_through() {
        let flights = Flights::default();
        let Place::Leads(flight) = flights.board(KEY) else { panic!("the first one leads") };
        let Place::Joins(joined) = flights.board(KEY) else { panic!("the next one joins") };
        assert!(matches!(flights.board([2; 32]), Place::Leads(_)), "another credential's");
        let waiting = tokio::spawn(landed(joined));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(flight);
        waiting.await.unwrap();
        assert!(matches!(flights.board(KEY), Place::Leads(_)));
        assert!(flights.lock().is_empty(), "nothing is left of them");
    }
}
