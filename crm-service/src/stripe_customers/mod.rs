//! Stripe customers: which client is which customer of Stripe.
//!
//! - A Stripe id stands once in an account; a client has at most one active one.
//! - Whoever sees a client sees theirs.
//! - When a tie is made, what Stripe told of that customer before is applied in the same
//!   transaction; when the customer is deleted at Stripe, the tie becomes inactive.

pub mod model;
pub mod rpc;
pub mod sql;
