//! Who is calling, by what is kept or by asking?

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use service_kit::{
    auth::{Authenticator, Credential},
    caller::Facts,
    clock,
    error::Error,
    lease::{
        cache::Key,
        clock::Moment,
        holder::{Fate, Found, Holder},
    },
    telemetry::metrics::register_count,
};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::{
    answer::{Answered, Known},
    flights::{Flights, Place, landed},
};
use crate::authenticator::AskIdentity;

/// How often a question is asked again that something overtook.
const TRIES: usize = 3;

/// Keeps answers, and asks where it has none.
pub struct Keeper {
    identity: AskIdentity,
    holder: Mutex<Holder<Known>>,
    flights: Flights,
    /// Moves when something happened to anybody, or the lease was lost.
    news: watch::Sender<()>,
    answers: Family<Source, Counter>,
}

/// Where an answer came from.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Source {
    source: &'static str,
}

const KEPT: Source = Source { source: "kept" };
const ASKED: Source = Source { source: "asked" };

impl Keeper {
    pub fn new(identity: AskIdentity) -> Self {
        Self {
            identity,
            holder: Mutex::default(),
            flights: Flights::default(),
            news: watch::Sender::new(()),
            answers: Family::default(),
        }
    }

    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        let help = "Answers about callers, kept ones and such that were asked for";
        registry.register("authorization_answers", help, self.answers.clone());
        let (keeper, help) = (Arc::clone(self), "Whether answers about callers may be kept");
        register_count(registry, "lease_held", help, move || keeper.holds());
        let (keeper, help) = (Arc::clone(self), "Answers about callers that are kept");
        register_count(registry, "authorization_answers_kept", help, move || {
            keeper.holder().kept()
        });
    }

    pub(super) fn identity(&self) -> &AskIdentity {
        &self.identity
    }

    pub(super) fn holder(&self) -> MutexGuard<'_, Holder<Known>> {
        // Each change of it is whole, or a panic of its own making.
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever has a stream open looks whether it is still theirs.
    pub(super) fn tell_news(&self) {
        self.news.send_replace(());
    }

    async fn know(&self, credential: &Credential) -> Result<Known, Error> {
        let key: Key = Sha256::digest(credential.expose()).into();
        match self.find(&key) {
            Found::Answer(known) => return Ok(known),
            Found::NoLease => return self.ask(key, credential).await,
            Found::Nothing => {}
        }
        match self.flights.board(key) {
            Place::Leads(_flight) => self.ask(key, credential).await,
            Place::Joins(flight) => {
                landed(flight).await;
                // That question may have been sent before this request began: its answer counts
                // only where any kept one would.
                match self.find(&key) {
                    Found::Answer(known) => Ok(known),
                    Found::NoLease | Found::Nothing => self.ask(key, credential).await,
                }
            }
        }
    }

    fn find(&self, key: &Key) -> Found<Known> {
        let found = self.holder().find(key, Moment::now(), clock::now());
        if matches!(found, Found::Answer(_)) {
            self.answers.get_or_create(&KEPT).inc();
        }
        found
    }

    /// Asks for this very request. What is answered holds for it in any case, because it was read
    /// after the request began; where it was overtaken all the same the newer is better.
    async fn ask(&self, key: Key, credential: &Credential) -> Result<Known, Error> {
        let mut tries = 0;
        loop {
            let asked = Moment::now();
            let Answered { known, read_at } = self.identity.ask(credential).await?;
            self.answers.get_or_create(&ASKED).inc();
            tries += 1;
            let fate = self.holder().keep(key, known.clone(), asked, read_at);
            if fate != Fate::Overtaken || tries == TRIES {
                return Ok(known);
            }
        }
    }
}

#[tonic::async_trait]
impl Authenticator for Keeper {
    async fn authenticate(&self, credential: &Credential) -> Result<Facts, Error> {
        self.know(credential).await?.facts()
    }

    fn news(&self) -> Option<watch::Receiver<()>> {
        Some(self.news.subscribe())
    }

    fn holds(&self) -> bool {
        self.holder().holds(Moment::now())
    }
}
