//! How may one service keep another's answers and never use one that was taken back?
//!
//! The one that answers *gives* leases, the one that keeps *holds* them. An answer is used only
//! while a lease is held, and whoever takes something back waits, before they say so, until
//! nobody holds a lease that was given without the word of it. So the promise: once a call that
//! takes back has returned, no request that begins afterwards is judged by what was.
//!
//! What is here is the protocol and nothing else: state and decisions, with the time passed in.
//! Sockets, statements and tasks are the services'.
//!
//! - [`clock`]: a clock that goes on while the machine sleeps.
//! - [`log`]: numbered events, in the order in which they became true.
//! - Giving: [`notes`] of who may hold a lease and until when, the [`feed`] of one stream, the
//!   [`table`] of all processes that give leases, and [`wait`]ing.
//! - Holding: the [`holder`], with its [`cache`].

pub mod cache;
pub mod clock;
pub mod feed;
pub mod holder;
pub mod log;
pub mod notes;
pub mod table;
pub mod wait;

#[cfg(test)]
mod rules;
#[cfg(test)]
mod world;

use std::time::Duration;

/// How long a lease lasts, from when it was asked for.
pub const LEASE: Duration = Duration::from_secs(1);
/// By how much longer the one that gave it takes it to last: two clocks may differ in speed by a
/// quarter before they disagree about which of them is over first.
pub const MARGIN: Duration = Duration::from_millis(250);
/// How often a holder asks for the next one.
pub const PING_EVERY: Duration = Duration::from_millis(200);
/// How old an answer may become, from when the question was sent: what is changed by hand, and
/// so without an event, counts after that.
pub const ANSWER_AGE: Duration = Duration::from_secs(5);

/// After how long nothing that was given before is held any more.
pub const SURELY_OVER: Duration = LEASE.saturating_add(MARGIN);

/// Whether a rule of the protocol is kept: always, but in the tests that show what each is for.
macro_rules! kept {
    ($rule:ident) => {{
        #[cfg(test)]
        let kept = $crate::lease::rules::current().$rule;
        #[cfg(not(test))]
        let kept = true;
        kept
    }};
}
pub(crate) use kept;

/// When a lease that was asked for by now is over, as whoever gave it takes it.
fn surely_over(now: clock::Moment) -> clock::Moment {
    now + if kept!(note_has_a_margin) { SURELY_OVER } else { LEASE }
}
