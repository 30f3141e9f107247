//! What other services keep of accounts and employees, told to them in commit order.
//!
//! - An event is numbered by a counter that its transaction locks last ([`crate::feeds`]): who
//!   has read number 7 never sees a 6 appear behind it, and there are no gaps.
//! - A cursor is the number of the last event that was dealt with. Only the reader keeps it, so
//!   nothing is lost or owed when either side goes down.
//! - One task asks the database for all who watch ([`news`]). A watcher reads for itself only to
//!   catch up: when it begins, and when it was too slow to hear everything. It is handed the next
//!   message when it has taken the one before, so that slowness costs nobody memory.

pub mod model;
pub mod news;
pub mod rpc;
mod sql;
mod watch;
