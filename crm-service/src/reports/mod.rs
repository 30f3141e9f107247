//! Reports: what came in, what is still to come, and through whom.
//!
//! - Each is one statement, and so of one moment.
//! - A payment belongs to the day on which it was paid, in the account's time zone; what failed
//!   or was voided counts for nothing; what was refunded or is disputed is taken off there.
//! - What is owed is owed by live clients, on instalments that are open or failed.
//! - Figures are of the clients whom the caller sees; `view_payments` widens the series.

pub mod model;
pub mod rpc;
pub mod sql;
