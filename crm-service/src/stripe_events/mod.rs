//! What Stripe tells: taken in once, and applied in whatever order it comes.
//!
//! - A delivery is believed when it is signed with a secret of the endpoint it came by, over its
//!   very bytes, within the last minutes ([`signature`]).
//! - Each event goes into the inbox once, in the same transaction as what comes of it ([`work`]):
//!   delivered again it changes nothing.
//! - What is about a customer or charge that nobody told of yet is parked there, and applied
//!   in the transaction in which it appears.
//! - Replayed, reordered or simultaneous, the events of a charge lead to the same payment: a
//!   charge's payment is found by its id, refunds are told as what was given back in all, a
//!   dispute that was decided does not open again, and of success and failure the later one
//!   counts.

mod amounts;
pub mod model;
pub mod page;
mod signature;
pub mod sql;
pub mod work;
