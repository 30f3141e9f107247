//! How does a lease come, and how does news?

use std::{convert::Infallible, sync::Arc, time::Duration};

use proto::identity::v1 as pb;
use service_kit::{
    error::Error,
    lease::{
        PING_EVERY,
        clock::Moment,
        holder::{Heard, Ping},
        log::{Gap, Numbered, Position},
    },
    serve::Background,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::keeper::Keeper;

/// A stream on which nothing came for so long is given up: every ping is answered at once.
const SILENCE: Duration = Duration::from_secs(2);
/// What is waited before another stream is opened; doubled with each time in vain.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// As much as is ever under way: some pings, and an acknowledgement of each response.
const UNDER_WAY: usize = 64;
/// How soon it is noticed that there is no lease any more.
const NOTICE_EVERY: Duration = Duration::from_millis(50);

/// The task that asks for leases. Its start is this process's for identity-service.
pub fn task(keeper: Arc<Keeper>) -> Background {
    let start_id = Uuid::new_v4().to_string();
    Background::new("lease", move || {
        let follower = Follower { keeper: keeper.clone(), start_id: start_id.clone() };
        async move { follower.go_on().await }
    })
}

/// The task that notices when a lease is over, for those who have a stream open.
pub fn notice(keeper: Arc<Keeper>) -> Background {
    Background::new("lease end", move || {
        let keeper = keeper.clone();
        async move { notice_ends(&keeper).await }
    })
}

async fn notice_ends(keeper: &Keeper) {
    let mut held = false;
    loop {
        let holds = keeper.holder().holds(Moment::now());
        if held && !holds {
            tracing::warn!("no answer is kept for now: identity-service is asked about every call");
            keeper.tell_news();
        }
        if holds && !held {
            tracing::info!("answers are kept: identity-service tells what makes them fall");
        }
        held = holds;
        sleep(NOTICE_EVERY).await;
    }
}

struct Follower {
    keeper: Arc<Keeper>,
    start_id: String,
}

/// Why a stream is heard no more.
enum End {
    /// It was through, or became too old.
    Well,
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Gap> for End {
    fn from(Gap: Gap) -> Self {
        Self::Failed(Error::internal("something is missing in what identity-service tells"))
    }
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        let (code, message) = (status.code(), status.message());
        Self::Failed(Error::internal(format!(
            "identity-service gives no lease: {code:?} {message}"
        )))
    }
}

impl Follower {
    async fn go_on(&self) {
        let mut pause = PAUSE;
        loop {
            let mut got_on = false;
            let Err(end) = self.follow(&mut got_on).await;
            if let End::Failed(error) = end
                && (got_on || pause == PAUSE)
            {
                let error = error.for_log();
                tracing::warn!(%error, "there is no lease on answers about callers for now");
            }
            pause = if got_on { PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            sleep(pause).await;
        }
    }

    /// Asks and hears on one stream; `got_on` once something was heard.
    async fn follow(&self, got_on: &mut bool) -> Result<Infallible, End> {
        let mut stream = self.open().await?;
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        // Late ones are not made up for: only the last one counts.
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Moment::now();
        loop {
            tokio::select! {
                response = stream.responses.message() => {
                    let response = response?.ok_or(End::Well)?;
                    heard = Moment::now();
                    stream.hear(&self.keeper, response)?;
                    *got_on = true;
                }
                _ = pings.tick() => {
                    if Moment::now() >= heard + SILENCE {
                        return Err(Status::unavailable("no sign of life").into());
                    }
                    stream.sender.ping(&self.keeper)?;
                }
            }
        }
    }

    /// It opens with the first ping.
    async fn open(&self) -> Result<Stream, End> {
        let number = self.keeper.holder().open();
        let (requests, outgoing) = mpsc::channel(UNDER_WAY);
        let sender = Sender { start_id: self.start_id.clone(), requests };
        sender.ping(&self.keeper)?;
        let identity = self.keeper.identity();
        let question = identity.0.question(ReceiverStream::new(outgoing));
        let mut tokens = identity.0.tokens();
        let opened = timeout(SILENCE, tokens.watch_revocations(question)).await;
        let opened = opened.unwrap_or_else(|_| Err(Status::unavailable("no sign of life")));
        Ok(Stream { number, sender, responses: opened?.into_inner() })
    }
}

struct Stream {
    number: u64,
    sender: Sender,
    responses: Streaming<pb::WatchRevocationsResponse>,
}

impl Stream {
    /// Takes in what came and, if it was news, says so: to those who have a stream open, and to
    /// identity-service, where somebody waits for it.
    fn hear(&self, keeper: &Keeper, response: pb::WatchRevocationsResponse) -> Result<(), End> {
        let heard = heard(response)?;
        let (is_news, applied) = {
            let mut holder = keeper.holder();
            let is_news = holder.hear(self.number, heard, Moment::now())?;
            (is_news, holder.applied())
        };
        if is_news {
            keeper.tell_news();
            self.sender.send(Ping { number: 0, applied })?;
        }
        Ok(())
    }
}

/// What goes out by a stream.
struct Sender {
    start_id: String,
    requests: mpsc::Sender<pb::WatchRevocationsRequest>,
}

impl Sender {
    /// The clock is read before the ping goes out.
    fn ping(&self, keeper: &Keeper) -> Result<(), End> {
        let ping = keeper.holder().ping(Moment::now());
        self.send(ping)
    }

    fn send(&self, ping: Ping) -> Result<(), End> {
        let request = pb::WatchRevocationsRequest {
            start_id: self.start_id.clone(),
            applied: ping.applied.map(Into::into),
            ping: i64::try_from(ping.number).unwrap_or(i64::MAX),
        };
        let stuck = |_| Status::unavailable("what is said to identity-service does not go out");
        Ok(self.requests.try_send(request).map_err(stuck)?)
    }
}

fn heard(response: pb::WatchRevocationsResponse) -> Result<Heard<pb::Revocation>, Error> {
    let end = response.position.as_ref().and_then(Position::parse);
    let end = end.ok_or_else(|| Error::internal("identity-service told news without a place"))?;
    let numbered = |event: pb::Revocation| Numbered { number: event.number, event };
    let lease = response.lease.and_then(|lease| Duration::try_from(lease).ok());
    Ok(Heard {
        reset: response.reset,
        events: response.revocations.into_iter().map(numbered).collect(),
        position: end,
        lease: u64::try_from(response.ping).ok().zip(lease),
    })
}
