//! Who did what in the account?
//!
//! Every transaction that changes something writes it down ([`Act`](crate::db::Act)); here it is
//! read again, by the one service and by the other. What is on record is never changed.

mod model;
mod sql;

pub use model::{Asked, DEFAULT_ORDER, Event, Filter, ORDERS};
pub use sql::{count, list};
