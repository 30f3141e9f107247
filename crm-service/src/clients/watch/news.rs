//! Who asks the database whether something happened, for all who watch?

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use service_kit::{
    db::{Db, Found},
    error::Error,
    serve::Background,
};
use tokio::{
    sync::{Notify, broadcast},
    time::sleep,
};

use super::{
    model::{Batch, Place},
    sql::{self, Head},
};

/// How often the database is asked while somebody watches: one question for all accounts.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How many batches are kept for watchers that are busy; one that needs older ones reads for
/// itself.
const KEPT_BATCHES: usize = 4;
/// When a refused caller may try again.
const RETRY: Duration = Duration::from_secs(5);

/// What happened lately, in the accounts in which somebody watches.
pub struct News {
    db: Db,
    accounts: Mutex<HashMap<i64, Account>>,
    wanted: Notify,
    /// How many may watch one account.
    most_watchers: NonZeroUsize,
}

struct Account {
    told: broadcast::Sender<Arc<Batch>>,
    /// The place behind the last change that was told of.
    head: Option<Place>,
}

impl News {
    pub fn new(db: Db, most_watchers: NonZeroUsize) -> Self {
        Self { db, accounts: Mutex::default(), wanted: Notify::new(), most_watchers }
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The task that asks.
    pub fn task(self: &Arc<Self>) -> Background {
        let news = Arc::clone(self);
        Background::new("client news", move || {
            let news = Arc::clone(&news);
            async move { news.ask().await }
        })
    }

    /// All that is told of an account from now on.
    pub fn listen(&self, account_id: i64) -> Result<broadcast::Receiver<Arc<Batch>>, Error> {
        let mut accounts = self.accounts();
        let new = || Account { told: broadcast::Sender::new(KEPT_BATCHES), head: None };
        let account = accounts.entry(account_id).or_insert_with(new);
        if account.told.receiver_count() >= self.most_watchers.get() {
            return Err(Error::Overloaded { retry: RETRY });
        }
        let listener = account.told.subscribe();
        self.wanted.notify_one();
        Ok(listener)
    }

    /// Asks for as long as somebody listens, and tells.
    async fn ask(&self) {
        let mut was_silent = false;
        loop {
            let watched = self.watched();
            if watched.is_empty() {
                self.wanted.notified().await;
                continue;
            }
            match self.ask_once(&watched).await {
                Ok(is_all) => {
                    was_silent = false;
                    if !is_all {
                        continue;
                    }
                }
                // Whoever listens has what there is so far, and the rest is not lost.
                Err(error) if !was_silent => {
                    was_silent = true;
                    tracing::warn!(?error, "changes of clients cannot be followed for now");
                }
                Err(_) => {}
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// The accounts to which somebody listens. The others are forgotten.
    fn watched(&self) -> Vec<i64> {
        let mut accounts = self.accounts();
        accounts.retain(|_, account| account.told.receiver_count() > 0);
        accounts.keys().copied().collect()
    }

    /// Tells of each account what there is to tell; whether that is all. What goes wrong with one
    /// of them is no reason not to go on with the others.
    async fn ask_once(&self, watched: &[i64]) -> Result<bool, Error> {
        let heads = sql::heads(&self.db, watched).await?;
        for account_id in watched {
            if !heads.iter().any(|head| head.account_id == *account_id) {
                self.point_to(*account_id, Place::BEGINNING);
            }
        }
        let (mut is_all, mut failure) = (true, None);
        for head in heads {
            match self.tell_up_to(&head).await {
                Ok(all) => is_all &= all,
                Err(error @ Error::Unavailable { .. }) => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(is_all), Err)
    }

    async fn tell_up_to(&self, head: &Found<Head>) -> Result<bool, Error> {
        let Head { account_id, place } = **head;
        let told = self.accounts().get(&account_id).and_then(|account| account.head);
        let Some(told) = told.filter(|told| told.number < place.number) else {
            self.point_to(account_id, place);
            return Ok(true);
        };
        let mut tx = self.db.begin_system(head.system("watch")).await?;
        match sql::behind(&mut tx, told).await {
            Ok((batch, _)) => {
                let end = batch.end();
                self.tell(account_id, batch);
                Ok(end.number >= place.number)
            }
            // Whoever is not there yet learns it by themselves.
            Err(Error::CursorExpired) => {
                self.point_to(account_id, place);
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells from where on there will be something to hear, if that is news.
    fn point_to(&self, account_id: i64, head: Place) {
        let is_known = |account: &Account| account.head == Some(head);
        if !self.accounts().get(&account_id).is_some_and(is_known) {
            self.tell(account_id, Batch { after: head, changes: Vec::new() });
        }
    }

    fn tell(&self, account_id: i64, batch: Batch) {
        if let Some(account) = self.accounts().get_mut(&account_id) {
            account.head = Some(batch.end());
            // Nobody may be listening any more.
            _ = account.told.send(Arc::new(batch));
        }
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<i64, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
