//! How is a target driven, and what does it answer?

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::{
    Outcome,
    figures::process::{Usage, Watched},
};

/// One call: by whom (each caller has a number) and the how-manieth it is of all.
pub type Call = Arc<dyn Fn(usize, u64) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Something that answers calls.
#[derive(Clone)]
pub struct Target {
    pub name: String,
    pub call: Call,
    /// The processes that work for it.
    pub watched: Vec<Watched>,
}

/// How hard it is driven.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub callers: usize,
    pub duration: Duration,
}

/// What came of it.
pub struct Measure {
    pub answered: u64,
    pub seconds: f64,
    /// In microseconds.
    pub latencies: Histogram<u64>,
    pub refused: u64,
    /// In microseconds.
    pub refusals: Histogram<u64>,
    /// What the first refusal said.
    pub refusal: Option<String>,
    /// By process: the processor time of each answer, in microseconds.
    pub cpu: Vec<(String, f64)>,
    /// By process: KiB.
    pub resident: Vec<(String, u64)>,
}

impl Measure {
    #[expect(clippy::cast_precision_loss, reason = "nobody answers 2^52 calls")]
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    /// A refused call never counts: where all have to succeed, one that does not ends it.
    pub fn all_answered(self, name: &str) -> Outcome<Self> {
        match &self.refusal {
            None if self.answered > 0 => Ok(self),
            None => Err(format!("{name} answered nothing").into()),
            Some(refusal) => {
                Err(format!("{name} refused {} calls: {refusal}", self.refused).into())
            }
        }
    }
}

/// What one caller has seen.
struct Seen {
    latencies: Histogram<u64>,
    refusals: Histogram<u64>,
    refusal: Option<String>,
}

impl Seen {
    fn nothing() -> Self {
        Self { latencies: histogram(), refusals: histogram(), refusal: None }
    }
}

/// Up to a minute, to three digits.
fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants")]
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("these bounds are sound")
}

/// Calls as often as so many callers can, each as soon as its last call was answered.
pub async fn drive(target: &Target, load: Load) -> Outcome<Measure> {
    let counter = Arc::new(AtomicU64::new(0));
    let before = Usage::of(&target.watched);
    let began = Instant::now();
    let until = began + load.duration;
    let mut callers = JoinSet::new();
    for caller in 0..load.callers {
        callers.spawn(keep_calling(caller, target.call.clone(), counter.clone(), until));
    }
    let mut all = Seen::nothing();
    while let Some(seen) = callers.join_next().await {
        let seen = seen?;
        all.latencies.add(&seen.latencies)?;
        all.refusals.add(&seen.refusals)?;
        all.refusal = all.refusal.or(seen.refusal);
    }
    let seconds = began.elapsed().as_secs_f64();
    let answered = all.latencies.len();
    let usage = Usage::of(&target.watched);
    Ok(Measure {
        answered,
        seconds,
        refused: all.refusals.len(),
        latencies: all.latencies,
        refusals: all.refusals,
        refusal: all.refusal,
        cpu: usage.since(&before, answered),
        resident: usage.resident(),
    })
}

async fn keep_calling(caller: usize, call: Call, counter: Arc<AtomicU64>, until: Instant) -> Seen {
    let mut seen = Seen::nothing();
    loop {
        let asked = Instant::now();
        if asked >= until {
            return seen;
        }
        let answer = call(caller, counter.fetch_add(1, Ordering::Relaxed)).await;
        let took = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
        match answer {
            Ok(()) => seen.latencies.saturating_record(took),
            Err(refusal) => {
                seen.refusals.saturating_record(took);
                seen.refusal.get_or_insert(refusal);
                // Ten times as soon as whoever is refused is asked to come back.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
