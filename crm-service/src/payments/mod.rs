//! Payments: what clients paid, and what became of it.
//!
//! - A payment is recorded as paid or failed. What can happen to it then is in [`ledger`], and
//!   nowhere else: refunds, disputes, failure, void; and how that moves the money in it.
//! - It covers instalments of its client and currency, in parts and many to many; the rest of
//!   it is credit. Whether an instalment is paid follows from that.
//! - What happened is added and never changed: `payment_events`, `allocation_entries`. Payments,
//!   instalments and totals are the sums of it, kept in the same transactions.
//! - Whoever writes locks the client's row first: one client's money is changed by one
//!   transaction at a time. The steps in [`work`] ask for what such a lock gave.

pub mod ledger;
pub mod model;
pub mod rpc;
pub mod sql;
pub mod totals;
pub mod work;
