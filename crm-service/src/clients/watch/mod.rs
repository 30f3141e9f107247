//! How does somebody hear of changes to clients?
//!
//! - A change is numbered by a counter of its account, which its transaction locks last: who has
//!   read number 7 never sees a 6 appear behind it, and there are no gaps. So a number is a place
//!   to go on from, and only the reader keeps it.
//! - What is sent is the client as it is by now, or that it is gone; only of clients that the
//!   caller sees or has lost sight of. A cursor belongs to what its caller could see.
//! - One task asks the database for all who watch ([`news`]). A watcher reads for itself only to
//!   catch up: when it begins, and when it was too slow to hear everything. It is handed the next
//!   message when it has taken the one before, so that slowness costs nobody memory.

mod cursor;
mod model;
pub mod news;
mod sql;
mod watcher;

pub use self::{cursor::Cursor, watcher::Watcher};
