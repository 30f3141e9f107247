//! Stripe customers: which client is which customer of Stripe.
//!
//! - A Stripe id stands once in an account; a client has at most one active one.
//! - Whoever sees a client sees theirs.
//! - When a tie is made, what Stripe told of that customer before is applied: whether they are
//!   gone in the same transaction, charges right after it, a few at a time. When the customer is
//!   deleted at Stripe, the tie becomes inactive.

pub mod model;
pub mod rpc;
pub mod sql;
