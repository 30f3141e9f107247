//! Leases on answers of `ValidateToken`: how another service may keep them, and why nothing that
//! was taken back is good for anything once its taker was told so.
//!
//! The rules are [`service_kit::lease`]'s; here they meet the log, the table of processes and the
//! streams.
//!
//! - [`giver`]: what this process knows of who holds what.
//! - [`watch`]: one stream. A ping is noted, then the log is read for it, then it is answered.
//! - [`settle`]: what a call that takes something back waits for.
//! - [`keep`]: the task that keeps this process's row, and looks after those of others.
//!
//! Where no lease was ever given the table is empty, and nobody waits.

pub mod giver;
pub mod keep;
pub mod model;
pub mod settle;
mod sql;
pub mod watch;
