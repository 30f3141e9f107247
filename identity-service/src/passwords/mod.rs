//! Is this the password, and what does finding out cost?
//!
//! Argon2 is meant to be slow, so it runs on a few threads of its own, at low priority and
//! behind a short queue: a storm of log-ins slows down log-ins and nothing else. And it always
//! costs the same: where there is no hash to compare with, one of equal parameters is computed
//! all the same, so that nobody learns from the time which addresses exist.

mod policy;

use std::{
    hint::black_box,
    sync::{
        Arc, LazyLock, Mutex,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use argon2::{
    Argon2, CustomizedPasswordHasher, Params, PasswordHasher, password_hash::phc::PasswordHash,
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use service_kit::error::Error;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use policy::MAX_BYTES;
pub use policy::NewPassword;

/// Log-ins that may wait for each thread; 32 of them wait about half a second.
const QUEUE_PER_THREAD: usize = 32;
const RETRY: Duration = Duration::from_secs(1);
/// The threads that hash.
#[derive(Clone)]
pub struct Passwords {
    queue: SyncSender<Job>,
    hashed: Counter,
}

enum Job {
    Hash(Zeroizing<String>, oneshot::Sender<Result<String, Error>>),
    Verify(Zeroizing<String>, Option<String>, oneshot::Sender<bool>),
}

impl Passwords {
    pub fn start(threads: usize) -> Self {
        let (queue, jobs) = sync_channel(threads * QUEUE_PER_THREAD);
        let jobs = Arc::new(Mutex::new(jobs));
        let hasher = Hasher::default();
        for _ in 0..threads {
            let (jobs, hasher) = (jobs.clone(), hasher.clone());
            thread::spawn(move || work(&jobs, &hasher));
        }
        Self { queue, hashed: hasher.hashed }
    }

    /// What to store for a password.
    pub async fn hash(&self, password: NewPassword) -> Result<String, Error> {
        let (sender, hash) = oneshot::channel();
        self.enqueue(Job::Hash(password.into_text(), sender))?;
        hash.await.map_err(Error::internal)?
    }

    /// The same for a password that is somebody's already, whatever may be set today.
    pub async fn hash_anew(&self, password: &str) -> Result<String, Error> {
        let (sender, hash) = oneshot::channel();
        self.enqueue(Job::Hash(Zeroizing::new(password.to_owned()), sender))?;
        hash.await.map_err(Error::internal)?
    }

    /// Whether a password belongs to a stored hash. Costs the same without one.
    pub async fn verify(&self, password: &str, stored: Option<String>) -> Result<bool, Error> {
        // What nobody could have set is as wrong as anything, and must not cost more.
        let possible = if password.len() > MAX_BYTES { "" } else { password };
        let (sender, verified) = oneshot::channel();
        self.enqueue(Job::Verify(Zeroizing::new(possible.to_owned()), stored, sender))?;
        verified.await.map_err(Error::internal)
    }

    /// Shows how many hashes were computed so far.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("password_hashes", "Passwords hashed or compared", self.hashed.clone());
    }

    fn enqueue(&self, job: Job) -> Result<(), Error> {
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Error::Overloaded { retry: RETRY },
            TrySendError::Disconnected(_) => Error::internal("the hashing threads are gone"),
        })
    }
}

fn work(jobs: &Mutex<Receiver<Job>>, hasher: &Hasher) {
    yield_to_everything_else();
    while let Some(job) = next(jobs) {
        job.run(hasher);
    }
}

impl Job {
    /// Whoever waited may have gone meanwhile; then nothing is computed for nobody.
    fn run(self, hasher: &Hasher) {
        match self {
            Self::Hash(password, sender) if !sender.is_closed() => {
                _ = sender.send(hasher.hash(&password));
            }
            Self::Verify(password, stored, sender) if !sender.is_closed() => {
                _ = sender.send(hasher.verify(&password, stored.as_deref()));
            }
            Self::Hash(..) | Self::Verify(..) => {}
        }
    }
}

fn next(jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
    jobs.lock().ok()?.recv().ok()
}

/// On Linux a thread has a priority of its own; elsewhere the short queue has to do.
fn yield_to_everything_else() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10) {
        tracing::warn!(%error, "password hashing runs at normal priority");
    }
}

/// Runs Argon2, and counts how often it did.
#[derive(Clone, Default)]
struct Hasher {
    hashed: Counter,
}

impl Hasher {
    fn hash(&self, password: &str) -> Result<String, Error> {
        let hash = Argon2::default().hash_password(password.as_bytes());
        let hash = hash.map_err(|error| Error::internal(error.to_string()))?;
        self.hashed.inc();
        Ok(hash.to_string())
    }

    /// Exactly one Argon2 computation of today's cost, whatever is stored.
    fn verify(&self, password: &str, stored: Option<&str>) -> bool {
        let stored = stored.and_then(acceptable);
        let matches = stored.and_then(|stored| self.compare(password, &stored));
        matches.unwrap_or_else(|| {
            _ = black_box(self.compare(password, &NOBODY));
            false
        })
    }

    /// Nothing where Argon2 does not even begin, as it does not without a salt, or by a version
    /// that it does not know.
    fn compare(&self, password: &str, stored: &PasswordHash) -> Option<bool> {
        let params = Params::try_from(stored).ok()?;
        let rest = padding(&params);
        let (salt, algorithm) = (stored.salt.as_ref()?, stored.algorithm.as_str());
        let computed = Argon2::default()
            .hash_password_customized(
                password.as_bytes(),
                salt,
                Some(algorithm),
                stored.version,
                params,
            )
            .ok()?;
        self.hashed.inc();
        if let Some(rest) = rest {
            _ = black_box(Argon2::from(rest).hash_password_into(
                b"",
                b"nobody at all",
                &mut [0; 32],
            ));
        }
        // In constant time.
        Some(computed.hash == stored.hash)
    }
}

/// Memory passed over, in KiB: what an Argon2 computation costs.
fn cost(params: &Params) -> u32 {
    params.m_cost().saturating_mul(params.t_cost())
}

/// What is left to be computed after a hash that is weaker than today's, so that it costs no
/// less than any.
fn padding(params: &Params) -> Option<Params> {
    let rest = cost(&Params::DEFAULT).checked_sub(cost(params))?;
    // Less than the smallest is nothing to speak of.
    Params::new(rest, 1, 1, None).ok()
}

/// Whether a stored hash is guessed at more cheaply than one that is made today.
pub fn is_weak(stored: &str) -> bool {
    let params = acceptable(stored).and_then(|hash| Params::try_from(&hash).ok());
    params.is_some_and(|params| {
        let today = Params::DEFAULT;
        params.m_cost() < today.m_cost() || cost(&params) < cost(&today)
    })
}

/// A stored hash that can be computed at a bearable cost.
fn acceptable(stored: &str) -> Option<PasswordHash> {
    let hash = PasswordHash::new(stored).ok()?;
    let params = Params::try_from(&hash).ok()?;
    let bearable = params.m_cost() <= 65_536 && params.t_cost() <= 10 && params.p_cost() <= 4;
    (stored.len() <= 255 && hash.algorithm.as_str() == "argon2id" && bearable).then_some(hash)
}

/// What is compared with when there is nothing to compare with.
#[expect(clippy::expect_used, reason = "a constant that a test parses")]
static NOBODY: LazyLock<PasswordHash> = LazyLock::new(|| {
    PasswordHash::new(
        "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGF0IGFsbCE$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    )
    .expect("a well-formed hash")
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(password: &str) -> String {
        Hasher::default().hash(password).expect("a hash")
    }

    /// Whether it matches: whatever is stored, by one computation.
    fn verify(password: &str, stored: Option<&str>) -> bool {
        let hasher = Hasher::default();
        let matches = hasher.verify(password, stored);
        assert_eq!(hasher.hashed.get(), 1, "{stored:?}");
        matches
    }

    #[test]
    fn a_hash_belongs_to_its_password() {
        let stored = hash("correct horse");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify("correct horse", Some(&stored)));
        assert!(!verify("Correct horse", Some(&stored)));
        assert!(!verify("", Some(&stored)));
    }

    /// Security checklist 4.
    #[test]
    fn nothing_matches_where_nothing_acceptable_is_stored() {
        let costly = hash("x").replace("m=19456", "m=4194304");
        // True otherwise, and with more behind it than is ever stored.
        let long = format!("{}{}", hash("x"), "A".repeat(200));
        let stored = ["", "plain", "$2b$12$abc", &costly, &long].map(Some);
        for stored in [&stored[..], &[None]].concat() {
            assert!(!verify("x", stored), "{stored:?}");
        }
    }

    /// Security checklist 4: nor at less cost.
    #[test]
    fn nothing_matches_what_cannot_be_computed() {
        let good = hash("x");
        let parts: Vec<_> = good.split('$').collect();
        let [without_hash, without_salt] = [5, 4].map(|parts_left| parts[..parts_left].join("$"));
        let short_salt = good.replace(parts[4], "AAAA");
        let version = good.replace("v=19", "v=20");
        for stored in [without_hash, without_salt, short_salt, version] {
            assert!(!verify("x", Some(&stored)), "{stored}");
        }
        assert!(verify("x", Some(&good)));
    }

    /// Security checklist 4.
    #[test]
    fn a_true_hash_is_not_computed_beyond_a_bearable_cost() {
        for (memory_kib, passes, lanes, matches) in [
            (65_536, 1, 1, true),
            (65_537, 1, 1, false),
            (8, 10, 1, true),
            (8, 11, 1, false),
            (40, 1, 4, true),
            (40, 1, 5, false),
        ] {
            let params = argon2::Params::new(memory_kib, passes, lanes, None).expect("parameters");
            let stored = Argon2::from(params).hash_password(b"x").expect("a hash").to_string();
            assert_eq!(verify("x", Some(&stored)), matches, "{stored}");
        }
    }

    /// Security checklist 3.
    #[test]
    fn a_weaker_hash_costs_as_much_as_one_of_today() {
        let params = |memory, passes| Params::new(memory, passes, 1, None).expect("parameters");
        for (memory, passes) in [(8, 1), (4_096, 3), (9_728, 2), (19_456, 1)] {
            let weak = params(memory, passes);
            let rest = padding(&weak).expect("it is cheaper");
            assert_eq!(cost(&weak) + cost(&rest), cost(&Params::DEFAULT), "{memory} {passes}");
        }
        for (memory, passes) in [(19_456, 2), (65_536, 1), (65_536, 10)] {
            assert!(padding(&params(memory, passes)).is_none(), "{memory} {passes}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Security checklist 63.
        #[test]
        fn no_stored_text_breaks_it(
            text in ".*",
            argon in r"\$argon2(id|i|d)(\$v=[0-9]{1,3})?\$m=[0-9]{1,11},t=[0-9]{1,11},p=[0-9]{1,11}(\$[A-Za-z0-9+/=]{0,99}){0,3}",
        ) {
            for stored in [text, argon] {
                let accepted = acceptable(&stored);
                prop_assert!(accepted.is_some() || !is_weak(&stored), "{}", stored);
                if let Some(params) = accepted.and_then(|hash| Params::try_from(&hash).ok()) {
                    prop_assert!(cost(&params) <= 655_360 && params.p_cost() <= 4, "{}", stored);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Security checklist 63: nor does it cost less.
        #[test]
        fn no_stored_text_is_matched_by_less_than_one_computation(
            text in ".*",
            argon in r"\$argon2id(\$v=(16|19|[0-9]{1,2}))?\$m=[0-9]{1,4},t=[0-9],p=[0-4](\$[A-Za-z0-9+/]{0,44}){0,2}",
        ) {
            prop_assert!(!verify("x", Some(&text)), "{}", text);
            prop_assert!(!verify("x", Some(&argon)), "{}", argon);
        }
    }

    #[test]
    fn what_is_weak_is_known_by_its_parameters() {
        let stored = |memory, passes| {
            let params = Params::new(memory, passes, 1, None).expect("parameters");
            Argon2::from(params).hash_password(b"x").expect("a hash").to_string()
        };
        for (memory, passes, weak) in [
            (8, 1, true),
            (9_728, 10, true),
            (19_456, 1, true),
            (19_456, 2, false),
            (40_000, 1, false),
        ] {
            assert_eq!(is_weak(&stored(memory, passes)), weak, "{memory} {passes}");
        }
        assert!(!is_weak("") && !is_weak("$2b$12$abc"));
    }

    /// Security checklist 7.
    #[tokio::test]
    async fn a_full_queue_refuses_instead_of_waiting() {
        let passwords = Passwords::start(1);
        let storm: Vec<_> = (0..100).map(|_| passwords.verify("x", None)).collect();
        let mut refused = 0;
        for answer in futures_all(storm).await {
            refused += usize::from(matches!(answer, Err(Error::Overloaded { .. })));
        }
        assert!(refused > 0, "100 at once went into a queue of 32");
        assert!(passwords.hashed.get() >= 32);
    }

    async fn futures_all<T: Send + 'static>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
        let mut pending: Vec<_> = futures.into_iter().map(Box::pin).collect();
        let mut answers = Vec::new();
        // Each is polled once before the first is awaited, so that all are in the queue at once.
        std::future::poll_fn(|context| {
            pending.retain_mut(|future| match future.as_mut().poll(context) {
                std::task::Poll::Ready(answer) => {
                    answers.push(answer);
                    false
                }
                std::task::Poll::Pending => true,
            });
            if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        answers
    }
}
