//! How does somebody hear of changes to clients?
//!
//! - A change is numbered by a counter of its account, which its transaction locks last: who has
//!   read number 7 never sees a 6 appear behind it, and there are no gaps. So a number is a place
//!   to go on from, and only the reader keeps it.
//! - A place is a number and the instant of its change, and each change knows the instant of the
//!   one before it. So whoever comes with a place of a history that is gone, because the database
//!   was restored to an older state, is told so, however far the feed has got since; and a place
//!   that the restored database still knows stays good.
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
