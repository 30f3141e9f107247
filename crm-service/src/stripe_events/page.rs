//! `POST /stripe/webhook/{address}`: where Stripe delivers.
//!
//! Stripe repeats a delivery for days until it is answered with 200: so that is what everything
//! gets that was taken in, understood or not, and nothing else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderMap, StatusCode};
use service_kit::{
    db::{Db, Tenanted},
    error::Error,
    keys::Keyring,
};
use tokio::{sync::Semaphore, time::timeout};

use super::{model::Event, signature::Signature, work};
use crate::stripe_endpoints::{
    self,
    model::{PATH, is_address},
};

/// More than Stripe's largest events.
const MAX_BYTES: usize = 1 << 20;
/// Stripe itself gives up after ten.
const LONGEST: Duration = Duration::from_secs(10);
/// Deliveries at once that use the database: callers need it too.
const MOST_AT_ONCE: usize = 3;
/// Deliveries of one account that wait for one of its own: Stripe comes again.
const MOST_WAITING: usize = 16;

const SIGNATURE: &str = "stripe-signature";

/// Takes deliveries in.
struct Inbox {
    db: Db,
    keys: Arc<Keyring>,
    places: Semaphore,
    queues: Queues,
}

/// One queue for each account that Stripe just delivers to. What happens to one account is dealt
/// with one after the other anyway: waiting here keeps it from holding what others need.
#[derive(Default)]
struct Queues(Mutex<HashMap<i64, Arc<Semaphore>>>);

impl Queues {
    /// An account's queue, unless too many wait in it.
    fn of(&self, account_id: i64) -> Option<Arc<Semaphore>> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|_, queue| Arc::strong_count(queue) > 1);
        let queue = queues.entry(account_id).or_insert_with(|| Arc::new(Semaphore::new(1)));
        (Arc::strong_count(queue) <= MOST_WAITING).then(|| Arc::clone(queue))
    }
}

/// The page that Stripe calls.
pub fn pages(db: Db, keys: Arc<Keyring>) -> Router {
    let places = Semaphore::new(MOST_AT_ONCE);
    let inbox = Inbox { db, keys, places, queues: Queues::default() };
    Router::new()
        .route(&format!("{PATH}{{address}}"), post(deliver))
        .layer(DefaultBodyLimit::max(MAX_BYTES))
        .layer(middleware::from_fn(limit))
        .with_state(Arc::new(inbox))
}

type Answer = (StatusCode, &'static str);

const TAKEN: Answer = (StatusCode::OK, "Taken.\n");
const UNKNOWN: Answer = (StatusCode::NOT_FOUND, "No endpoint has this address.\n");
const UNSIGNED: Answer =
    (StatusCode::BAD_REQUEST, "Not signed with this endpoint's secret just now.\n");
const UNREADABLE: Answer = (StatusCode::BAD_REQUEST, "Not an event of Stripe's.\n");
const LATER: Answer = (StatusCode::SERVICE_UNAVAILABLE, "Not now: deliver it again.\n");

async fn deliver(
    State(inbox): State<Arc<Inbox>>,
    Path(address): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    inbox.take(&address, &headers, &body).await.unwrap_or_else(|error| {
        // Whatever it is, Stripe comes again.
        tracing::warn!(error = %error.for_log(), "a delivery of Stripe's was not taken");
        LATER
    })
}

/// Gives up on what takes too long, the arrival of the body included.
async fn limit(request: Request, next: Next) -> Response {
    timeout(LONGEST, next.run(request)).await.unwrap_or_else(|_elapsed| LATER.into_response())
}

impl Inbox {
    async fn take(&self, address: &str, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Error> {
        if !is_address(address) {
            return Ok(UNKNOWN);
        }
        // The look-up ends before a transaction begins: its connection is another pool's.
        let Some(whose) = stripe_endpoints::sql::whose(&self.db, address).await? else {
            return Ok(UNKNOWN);
        };
        let Some(queue) = self.queues.of(whose.account_id()) else { return Ok(LATER) };
        let _turn = queue.acquire().await.map_err(Error::internal)?;
        let _place = self.places.acquire().await.map_err(Error::internal)?;
        let mut tx = self.db.begin_system(whose.system("stripe")).await?;
        let Some(endpoint) = stripe_endpoints::sql::find(&mut tx, whose.endpoint_id).await? else {
            return Ok(UNKNOWN);
        };
        let secrets = endpoint.secrets(&self.keys, tx.now());
        let secrets: Vec<_> = secrets.iter().map(|secret| secret.as_slice()).collect();
        let header = headers.get(SIGNATURE).and_then(|header| header.to_str().ok());
        let signature = header.and_then(Signature::parse);
        if !signature.is_some_and(|signature| signature.is_good(body, &secrets, tx.now())) {
            return Ok(UNSIGNED);
        }
        let Some(event) = Event::parse(body) else { return Ok(UNREADABLE) };
        work::take_in(tx, endpoint.id, &event).await?;
        Ok(TAKEN)
    }
}
