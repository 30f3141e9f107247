//! How many attempts are enough for people, and too few for guessing?

use std::time::Duration;

use super::buckets::Budget;

/// What is attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    LogIn,
    SignUp,
    /// A mail with a code is asked for: to reset a password, to verify an address.
    Mail,
    /// A code from a mail is shown.
    Code,
    /// A refresh token is shown.
    Refresh,
    /// Somebody who is signed in makes a call that tells whether an e-mail address is taken.
    Look,
}

/// What is written to an address, at the wish of whoever calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mailing {
    /// A code for a new password, asked for by anybody.
    Reset,
    /// The same, sent by an admin.
    ResetByAdmin,
    /// A code that verifies the address, asked for by anybody.
    Verification,
    /// A code for somebody who changes to this address.
    NewAddress,
    Invitation,
}

/// One of something for each kind of attempt.
#[derive(Debug, Clone, Copy)]
pub struct PerKind<T> {
    pub log_in: T,
    pub sign_up: T,
    pub mail: T,
    pub code: T,
    pub refresh: T,
    pub look: T,
}

impl<T> PerKind<T> {
    pub fn of(&self, kind: Kind) -> &T {
        match kind {
            Kind::LogIn => &self.log_in,
            Kind::SignUp => &self.sign_up,
            Kind::Mail => &self.mail,
            Kind::Code => &self.code,
            Kind::Refresh => &self.refresh,
            Kind::Look => &self.look,
        }
    }

    pub fn each(&self) -> [&T; 6] {
        [&self.log_in, &self.sign_up, &self.mail, &self.code, &self.refresh, &self.look]
    }

    pub fn map<U>(self, change: impl Fn(T) -> U) -> PerKind<U> {
        PerKind {
            log_in: change(self.log_in),
            sign_up: change(self.sign_up),
            mail: change(self.mail),
            code: change(self.code),
            refresh: change(self.refresh),
            look: change(self.look),
        }
    }
}

/// What may arrive of one kind.
#[derive(Debug, Clone, Copy)]
pub struct ArrivalLimits {
    /// From each network, which may be an office of hundreds.
    pub network: Budget,
    /// From all of them together: so much that only a storm from many reaches it, for then
    /// everybody waits.
    pub everybody: Budget,
}

/// All limits of one process.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub arrivals: PerKind<ArrivalLimits>,
    /// Guesses at the secrets of one address from one network. Must not refill faster than
    /// the next, or one network alone could lock the address everywhere.
    pub guesses_from_network: Budget,
    /// Guesses at the secrets of one address from all networks it never logged in from.
    pub guesses_from_strangers: Budget,
    /// Letters of one kind to one address; invitations, from one account.
    pub mails_to_address: Budget,
    /// Invitations to one address from all accounts together.
    pub invitations_to_address: Budget,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

impl Default for Limits {
    fn default() -> Self {
        Self {
            arrivals: PerKind {
                // An office that comes to work; then 360 an hour. Two hashing threads compute
                // about a hundred hashes a second.
                log_in: arrivals(budget(100, 10 * SECOND), budget(1000, SECOND / 50)),
                // A class that tries the product; then 6 an hour, and 360 for everybody.
                sign_up: arrivals(budget(20, 10 * MINUTE), budget(300, 10 * SECOND)),
                // 60 an hour, and 3,600.
                mail: arrivals(budget(20, MINUTE), budget(300, SECOND)),
                // A code has 128 bits and cannot be guessed: this bounds the load.
                code: arrivals(budget(30, 30 * SECOND), budget(600, SECOND / 10)),
                // An office of hundreds of devices that wake up; then 7,200 an hour. Nor can a
                // refresh token be guessed.
                refresh: arrivals(budget(600, SECOND / 2), budget(10_000, SECOND / 1000)),
                // Whoever enters a list of employees by hand; then 360 an hour.
                look: arrivals(budget(100, 10 * SECOND), budget(1000, SECOND / 10)),
            },
            // The workers of one machine that log in at once, with some typing errors between;
            // then 144 a day.
            guesses_from_network: budget(50, 10 * MINUTE),
            // Three networks' worth at once; then 288 a day, of all passwords there are but
            // the common ones.
            guesses_from_strangers: budget(150, 5 * MINUTE),
            // Five while one looks for the first in the spam; then 6 an hour.
            mails_to_address: budget(5, 10 * MINUTE),
            // More companies than anybody works for.
            invitations_to_address: budget(20, 10 * MINUTE),
        }
    }
}

impl Limits {
    /// So many times as generous: for many people behind one address, and for tests.
    #[must_use]
    pub fn times(self, factor: u32) -> Self {
        let budget = |budget: Budget| Budget {
            burst: budget.burst.saturating_mul(factor),
            refill: budget.refill / factor.max(1),
        };
        Self {
            arrivals: self
                .arrivals
                .map(|limits| arrivals(budget(limits.network), budget(limits.everybody))),
            guesses_from_network: budget(self.guesses_from_network),
            guesses_from_strangers: budget(self.guesses_from_strangers),
            mails_to_address: budget(self.mails_to_address),
            invitations_to_address: budget(self.invitations_to_address),
        }
    }
}

fn arrivals(network: Budget, everybody: Budget) -> ArrivalLimits {
    ArrivalLimits { network, everybody }
}

fn budget(burst: u32, refill: Duration) -> Budget {
    Budget { burst, refill }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_alone_cannot_lock_an_address_everywhere() {
        let limits = Limits::default();
        let (one, all) = (limits.guesses_from_network, limits.guesses_from_strangers);
        assert!(one.burst < all.burst && one.refill >= all.refill);
    }

    #[test]
    fn one_network_alone_cannot_make_everybody_wait() {
        for limits in Limits::default().arrivals.each() {
            let (one, all) = (limits.network, limits.everybody);
            assert!(one.burst < all.burst && one.refill > all.refill, "{limits:?}");
        }
    }
}
