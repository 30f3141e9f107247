//! Imports: many clients at once, each by itself.
//!
//! - A row with the e-mail address of a live client changes that one, any other row creates one.
//!   What a row leaves empty stays; of the labels, those that it does not name.
//! - A row that cannot be is refused with everything that is wrong with it, and stops no other.
//! - Rows take effect in chunks. A chunk is one transaction: its clients, what follows from them,
//!   the record of each, and how far the import has come under its `request_id`.
//! - A chunk that ran into what another call did meanwhile is done again, a few times.
//! - A stream is drawn, not pushed: the next chunk is read when its sender has taken the answers
//!   of the one before, so that neither side's pace fills the memory of the other.

mod chunk;
mod mark;
mod model;
mod sql;
mod stream;

pub use chunk::{Chunk, Places, Tries};
pub use model::{employees, some_rows};
pub use stream::Import;
