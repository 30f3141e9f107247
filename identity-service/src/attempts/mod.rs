//! How often may somebody try?
//!
//! Two things are limited. What arrives is counted against the network it comes from and
//! against everybody, and is refused openly when there is too much of it. Guesses at the
//! secret of an address are counted against the address, and the lock is silent: the caller
//! computes the hash all the same and answers as for a wrong password, so that nobody learns
//! whether a guess was considered, nor whether the address exists.
//!
//! An address is locked in two ways. For one network, by the guesses from there. For all
//! strangers, by the guesses of all strangers together; networks from which somebody logged in
//! to the address within 30 days are none, and nobody locks a person out from elsewhere.
//!
//! All of it is in memory, of this process alone: each process has budgets of its own, and a
//! restart fills them and forgets which networks were known. Memory is bounded; what goes when
//! it is full, says [`buckets`]. Of an address only a digest is kept, under a key that is made
//! at the start and never leaves.

mod arrivals;
mod buckets;
mod expiring;
mod guesses;
mod limits;
mod network;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::registry::Registry;
use service_kit::{keys::random, telemetry::metrics::register_count};
use sha2::{Digest as _, Sha256};

use self::{arrivals::Arrivals, buckets::Buckets, guesses::Guesses};

pub use self::{
    limits::{Kind, Limits, Mailing, PerKind},
    network::Network,
};

/// What was attempted so far.
pub struct Attempts {
    digest_key: [u8; 32],
    arrivals: PerKind<Mutex<Arrivals>>,
    guesses: Mutex<Guesses>,
    mails: Mutex<Buckets<(Mailing, Address)>>,
    invitations: Mutex<Buckets<Address>>,
}

/// The digest of an address. Collisions cannot be searched for: the key is not known.
type Address = [u8; 16];
/// An address as seen from a network. All callers of unknown networks are in one.
type Place = (Address, Option<Network>);

impl Attempts {
    pub fn new(limits: &Limits) -> Self {
        Self {
            digest_key: random(),
            arrivals: limits.arrivals.map(|limits| Mutex::new(Arrivals::new(limits))),
            guesses: Mutex::new(Guesses::new(limits)),
            mails: Mutex::new(Buckets::new(limits.mails_to_address)),
            invitations: Mutex::new(Buckets::new(limits.invitations_to_address)),
        }
    }

    /// Counts an attempt from a network.
    ///
    /// # Errors
    /// After how long it makes sense to try again. An attempt that is refused is not counted.
    pub fn arrive(
        &self,
        kind: Kind,
        network: Option<Network>,
        now: Instant,
    ) -> Result<(), Duration> {
        lock(self.arrivals.of(kind)).take(network, now)
    }

    /// Counts a guess at a secret of an address, before its hash is computed: of guesses made
    /// in parallel no more are considered than of others. Without one the guess must fail,
    /// whether it is right or not, and cost and say what any wrong one does.
    #[must_use = "a guess that is not considered must fail"]
    pub fn guess(
        &self,
        address_key: &str,
        network: Option<Network>,
        now: Instant,
    ) -> Option<Guess<'_>> {
        let place = (self.address(address_key), network);
        let by_stranger = lock(&self.guesses).take(place, now)?;
        Some(Guess { guesses: &self.guesses, place, by_stranger })
    }

    /// Counts a letter to an address. Each kind has a budget of its own: whoever spends one
    /// keeps nobody from getting the others.
    ///
    /// # Errors
    /// After how long it makes sense to try again; until then it must not be sent.
    pub fn mail(&self, mailing: Mailing, address_key: &str, now: Instant) -> Result<(), Duration> {
        lock(&self.mails).take((mailing, self.address(address_key)), now)
    }

    /// Counts an invitation of an account to an address, and says whether its letter may go.
    /// Each account has a budget of its own for an address. Where all of them together sent too
    /// many it may not, and nobody is told: that would say what others do.
    ///
    /// # Errors
    /// After how long it makes sense for this account to try again.
    pub fn invite(
        &self,
        account_id: i64,
        address_key: &str,
        now: Instant,
    ) -> Result<bool, Duration> {
        self.mail(Mailing::Invitation, &format!("{account_id}/{address_key}"), now)?;
        Ok(lock(&self.invitations).take(self.address(address_key), now).is_ok())
    }

    /// Somebody has shown in another way than by a guess that an address is theirs.
    pub fn know(&self, address_key: &str, network: Option<Network>, now: Instant) {
        let place = (self.address(address_key), network);
        lock(&self.guesses).succeeded(place, false, now);
    }

    /// Shows how much is remembered.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        let (attempts, help) =
            (Arc::clone(self), "Networks and addresses of which attempts are remembered");
        register_count(registry, "attempts_kept", help, move || attempts.kept());
    }

    fn kept(&self) -> usize {
        let arrivals = self.arrivals.each().map(|arrivals| lock(arrivals).kept());
        arrivals.into_iter().sum::<usize>()
            + lock(&self.guesses).kept()
            + lock(&self.mails).len()
            + lock(&self.invitations).len()
    }

    /// Frees the memory of what does not matter any more; without it, memory is bounded too.
    pub fn sweep(&self, now: Instant) {
        for arrivals in self.arrivals.each() {
            lock(arrivals).sweep(now);
        }
        lock(&self.guesses).sweep(now);
        lock(&self.mails).sweep(now);
        lock(&self.invitations).sweep(now);
    }

    fn address(&self, address_key: &str) -> Address {
        let digest = Sha256::new().chain_update(self.digest_key).chain_update(address_key);
        let digest: [u8; 32] = digest.finalize().into();
        let mut half = Address::default();
        half.copy_from_slice(&digest[..size_of::<Address>()]);
        half
    }
}

/// A guess that is considered: only with it can a log-in succeed.
#[must_use = "a guess that is not considered must fail"]
pub struct Guess<'a> {
    guesses: &'a Mutex<Guesses>,
    place: Place,
    by_stranger: bool,
}

impl Guess<'_> {
    /// The secret was right: this network may guess anew at this address, and no stranger any
    /// more than before.
    pub fn succeeded(self, now: Instant) {
        lock(self.guesses).succeeded(self.place, self.by_stranger, now);
    }
}

/// Whoever panicked with it has left counts that are off by one at most.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr, Ipv6Addr},
        sync::Arc,
        thread,
    };

    use super::{buckets::Budget, expiring, limits::ArrivalLimits, *};

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const ANA: &str = "ana@example.com";
    const BEN: &str = "ben@example.com";

    /// Small budgets: 3 of each kind from a network, 10 from everybody; 3 guesses from a
    /// network, 5 from strangers; 2 mails, 3 invitations from everywhere.
    fn attempts() -> (Attempts, Instant) {
        let budget = |burst| Budget { burst, refill: MINUTE };
        let limits = ArrivalLimits { network: budget(3), everybody: budget(10) };
        let attempts = Attempts::new(&Limits {
            arrivals: Limits::default().arrivals.map(|_| limits),
            guesses_from_network: budget(3),
            guesses_from_strangers: budget(5),
            mails_to_address: budget(2),
            invitations_to_address: budget(3),
        });
        (attempts, Instant::now())
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the calls take it")]
    fn network(last: u8) -> Option<Network> {
        Some(IpAddr::from(Ipv4Addr::new(203, 0, 113, last)).into())
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the calls take it")]
    fn household(network: u16, host: u16) -> Option<Network> {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 1, network, 0, 0, 0, host);
        Some(IpAddr::from(address).into())
    }

    fn arrivals(attempts: &Attempts, kind: Kind, from: Option<Network>, now: Instant) -> usize {
        std::iter::from_fn(|| attempts.arrive(kind, from, now).ok()).count()
    }

    /// How many guesses are considered until one is not.
    fn guesses(attempts: &Attempts, address: &str, from: Option<Network>, now: Instant) -> usize {
        std::iter::from_fn(|| attempts.guess(address, from, now)).count()
    }

    fn succeed(attempts: &Attempts, address: &str, from: Option<Network>, now: Instant) {
        attempts.guess(address, from, now).expect("it is considered").succeeded(now);
    }

    /// Strangers guess until none of them may.
    fn lock_out(attempts: &Attempts, address: &str, now: Instant) {
        for stranger in 100..110 {
            guesses(attempts, address, network(stranger), now);
        }
        assert_eq!(guesses(attempts, address, network(110), now), 0);
    }

    #[test]
    fn a_network_that_tries_too_often_is_told_when_to_come_back() {
        let (attempts, now) = attempts();
        assert_eq!(arrivals(&attempts, Kind::LogIn, network(1), now), 3);
        assert_eq!(attempts.arrive(Kind::LogIn, network(1), now), Err(MINUTE));
        assert_eq!(attempts.arrive(Kind::LogIn, network(1), now + MINUTE), Ok(()));
    }

    #[test]
    fn networks_and_kinds_are_independent() {
        let (attempts, now) = attempts();
        assert_eq!(arrivals(&attempts, Kind::LogIn, network(1), now), 3);
        assert_eq!(arrivals(&attempts, Kind::LogIn, network(2), now), 3);
        for kind in [Kind::SignUp, Kind::Mail, Kind::Code, Kind::Refresh, Kind::Look] {
            assert_eq!(arrivals(&attempts, kind, network(1), now), 3, "{kind:?}");
        }
    }

    #[test]
    fn addresses_of_one_household_share_a_budget() {
        let (attempts, now) = attempts();
        assert_eq!(arrivals(&attempts, Kind::SignUp, household(1, 1), now), 3);
        assert_eq!(arrivals(&attempts, Kind::SignUp, household(1, 2), now), 0);
        assert_eq!(arrivals(&attempts, Kind::SignUp, household(2, 1), now), 3);
    }

    #[test]
    fn unknown_networks_share_a_budget() {
        let (attempts, now) = attempts();
        assert_eq!(arrivals(&attempts, Kind::SignUp, None, now), 3);
        assert_eq!(attempts.arrive(Kind::SignUp, None, now), Err(MINUTE));
    }

    #[test]
    fn many_networks_reach_the_limit_of_everybody() {
        let (attempts, now) = attempts();
        let arrived: usize =
            (1..=5).map(|last| arrivals(&attempts, Kind::Mail, network(last), now)).sum();
        assert_eq!(arrived, 10);
        assert_eq!(attempts.arrive(Kind::Mail, network(6), now), Err(MINUTE));
    }

    #[test]
    fn what_is_refused_to_one_network_costs_the_others_nothing() {
        let (attempts, now) = attempts();
        for _ in 0..100 {
            _ = attempts.arrive(Kind::LogIn, network(1), now);
        }
        assert_eq!(arrivals(&attempts, Kind::LogIn, network(2), now), 3);
    }

    #[test]
    fn an_address_is_locked_for_the_network_that_guesses() {
        let (attempts, now) = attempts();
        assert_eq!(guesses(&attempts, ANA, network(1), now), 3);
        assert_eq!(guesses(&attempts, BEN, network(1), now), 3);
        assert_eq!(guesses(&attempts, ANA, network(2), now), 2, "of five for all strangers");
        assert_eq!(guesses(&attempts, ANA, network(1), now + MINUTE), 1);
    }

    #[test]
    fn guesses_in_parallel_are_counted_like_others() {
        let (attempts, now) = attempts();
        let attempts = Arc::new(attempts);
        let threads = (0..8).map(|_| {
            let attempts = attempts.clone();
            thread::spawn(move || guesses(&attempts, ANA, network(1), now))
        });
        let threads: Vec<_> = threads.collect();
        let considered: usize = threads.into_iter().map(|one| one.join().expect("a count")).sum();
        assert_eq!(considered, 3);
    }

    #[test]
    fn a_success_resets_the_guesses_of_its_own_network_at_its_own_address() {
        let (attempts, now) = attempts();
        guesses(&attempts, BEN, network(1), now);
        for _ in 0..2 {
            _ = attempts.guess(ANA, network(1), now);
        }
        succeed(&attempts, ANA, network(1), now);
        assert_eq!(guesses(&attempts, ANA, network(1), now), 3);
        assert_eq!(guesses(&attempts, BEN, network(1), now), 0);
    }

    #[test]
    fn a_success_gives_strangers_nothing_but_its_own_guess_back() {
        let (attempts, now) = attempts();
        for _ in 0..2 {
            _ = attempts.guess(ANA, network(1), now);
        }
        succeed(&attempts, ANA, network(1), now);
        assert_eq!(guesses(&attempts, ANA, network(2), now), 3);
        assert_eq!(guesses(&attempts, ANA, network(3), now), 0);
    }

    #[test]
    fn a_success_resets_no_arrivals() {
        let (attempts, now) = attempts();
        assert_eq!(arrivals(&attempts, Kind::LogIn, network(1), now), 3);
        succeed(&attempts, ANA, network(1), now);
        assert_eq!(arrivals(&attempts, Kind::LogIn, network(1), now), 0);
    }

    #[test]
    fn strangers_lock_a_person_out_of_nowhere_but_strange_places() {
        let (attempts, now) = attempts();
        succeed(&attempts, ANA, network(1), now);
        lock_out(&attempts, ANA, now);
        assert_eq!(guesses(&attempts, ANA, network(1), now), 3);
        assert_eq!(guesses(&attempts, ANA, network(2), now), 0);
    }

    #[test]
    fn guesses_from_a_known_network_lock_no_other() {
        let (attempts, now) = attempts();
        succeed(&attempts, ANA, network(1), now);
        assert_eq!(guesses(&attempts, ANA, network(1), now), 3);
        assert_eq!(guesses(&attempts, ANA, network(2), now), 3);
    }

    #[test]
    fn a_network_is_known_for_thirty_days_and_to_one_address() {
        let (attempts, now) = attempts();
        succeed(&attempts, ANA, network(1), now);
        let (before, after) = (now + 29 * DAY, now + 31 * DAY);
        lock_out(&attempts, BEN, now);
        assert_eq!(guesses(&attempts, BEN, network(1), now), 0);
        lock_out(&attempts, ANA, before);
        assert_eq!(guesses(&attempts, ANA, network(1), before), 3);
        lock_out(&attempts, ANA, after);
        assert_eq!(guesses(&attempts, ANA, network(1), after), 0);
    }

    #[test]
    fn callers_of_unknown_networks_stay_strangers() {
        let (attempts, now) = attempts();
        succeed(&attempts, ANA, None, now);
        lock_out(&attempts, ANA, now);
        assert_eq!(guesses(&attempts, ANA, None, now), 0);
    }

    #[test]
    fn an_address_knows_its_latest_networks() {
        let (attempts, now) = attempts();
        succeed(&attempts, BEN, network(0), now);
        for (last, seconds) in (0..=16).zip(0..) {
            succeed(&attempts, ANA, network(last), now + Duration::from_secs(seconds));
        }
        let then = now + MINUTE;
        lock_out(&attempts, ANA, then);
        lock_out(&attempts, BEN, then);
        assert_eq!(guesses(&attempts, ANA, network(0), then), 0);
        assert_eq!(guesses(&attempts, ANA, network(1), then), 3);
        assert_eq!(guesses(&attempts, ANA, network(16), then), 3);
        assert_eq!(guesses(&attempts, BEN, network(0), then), 3);
    }

    #[test]
    fn mails_to_an_address_are_bounded() {
        let (attempts, now) = attempts();
        let mails = |address| {
            (0..9).filter(|_| attempts.mail(Mailing::Reset, address, now).is_ok()).count()
        };
        assert_eq!((mails(ANA), mails(BEN)), (2, 2));
        assert_eq!(attempts.mail(Mailing::Reset, ANA, now), Err(MINUTE));
        attempts.mail(Mailing::Reset, ANA, now + MINUTE).unwrap();
        attempts.mail(Mailing::Verification, ANA, now).unwrap();
    }

    #[test]
    fn a_locked_address_stays_locked_in_a_flood_of_others() {
        let (attempts, now) = attempts();
        lock_out(&attempts, ANA, now);
        for stranger in 0..70_000 {
            _ = attempts.guess(&stranger.to_string(), network(1), now);
        }
        assert_eq!(lock(&attempts.guesses).from_strangers.len(), expiring::CAPACITY);
        assert_eq!(guesses(&attempts, ANA, network(1), now), 0);
        assert_eq!(guesses(&attempts, ANA, network(100), now), 0);
    }

    #[test]
    fn each_account_invites_an_address_and_all_together_not_without_end() {
        let (attempts, now) = attempts();
        let invite = |account, address| attempts.invite(account, address, now);
        assert_eq!((invite(1, ANA), invite(1, ANA)), (Ok(true), Ok(true)));
        assert_eq!(invite(1, ANA), Err(MINUTE));
        assert_eq!((invite(2, ANA), invite(2, ANA)), (Ok(true), Ok(false)));
        assert_eq!(invite(2, ANA), Err(MINUTE));
        assert_eq!(invite(1, BEN), Ok(true));
        assert_eq!(attempts.invite(3, ANA, now + MINUTE), Ok(true));
    }

    #[test]
    fn what_does_not_matter_any_more_is_swept() {
        let (attempts, now) = attempts();
        arrivals(&attempts, Kind::LogIn, network(1), now);
        succeed(&attempts, ANA, network(1), now);
        guesses(&attempts, ANA, network(2), now);
        attempts.mail(Mailing::Reset, ANA, now).unwrap();
        attempts.sweep(now + 31 * DAY);
        assert_eq!(lock(&attempts.arrivals.log_in).networks.len(), 0);
        assert_eq!(lock(&attempts.arrivals.log_in).everybody.len(), 0);
        let guesses = lock(&attempts.guesses);
        assert_eq!((guesses.from_networks.len(), guesses.from_strangers.len()), (0, 0));
        assert_eq!((guesses.known.len(), lock(&attempts.mails).len()), (0, 0));
    }
}
