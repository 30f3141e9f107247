//! What the CRM knows of the account's employees, and of the account itself: identity's to say,
//! kept here as a copy.
//!
//! - A copy is what an event of identity's log said last, or an answer as of some event: of two
//!   words the one with the larger number holds, in whichever order they arrive. Numbers of two
//!   epochs do not compare; whoever learns of a new one resolves everything anew.
//! - An employee is known once they are met: told of by the log, or asked about because somebody
//!   gives them a part. Whoever is given one is asked about each time ([`Directory::meet`], before
//!   any transaction): the log may be a moment behind. An account is known
//!   with its first row here; who it is, is asked if the log did not tell ([`follow`]).
//! - Whoever gives somebody a part locks their row ([`sql::share`]) and looks at their state. So a
//!   deletion on its way waits for that, or is seen by it.
//! - Who is deleted is marked first, and then loses every part ([`keep`]); whoever is brought
//!   back begins without one, unless they are given one before the log told here that they were
//!   gone. Who is deactivated keeps theirs.

pub mod follow;
mod keep;
mod meet;
pub mod model;
pub mod sql;

pub use meet::Directory;
