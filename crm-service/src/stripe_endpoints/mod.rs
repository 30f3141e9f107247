//! Stripe endpoints: the addresses that Stripe delivers to, each with its signing secret.
//!
//! - An address is a number that nobody guesses; whose it is stands in a table of its own,
//!   because it is asked before it is known which account it is about.
//! - Secrets are sealed and never shown again. The one before is good for a day longer, so that
//!   nothing is lost while Stripe rolls over from one to the other.

pub mod model;
pub mod rpc;
pub mod sql;
