//! Employee tokens: 40 lowercase hexadecimal digits, one for each employee.
//!
//! - Only the server makes them, out of 20 random bytes.
//! - What is stored is a digest, to look one up by, and a sealed copy, so that a log-in can
//!   return the one that exists.
//! - Allow-list: a token without a live row of an active employee is dead. What is left of an
//!   ended one grants nothing; it only tells its bearer that it was taken back.
//! - It lives until somebody ends it or, where a setting says so, until nobody has used it for a
//!   while.

pub mod idle;
pub mod judge;
pub mod model;
pub mod rpc;
pub mod sql;
pub mod standing;
