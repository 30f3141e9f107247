//! Codes: what is sent to an address, to show that somebody reads what comes there.
//!
//! - 256 random bits, of which only a digest is kept; good once, for an hour, for one purpose
//!   and for the address that it was sent to. A new one takes the place of the old.
//! - Asking for one tells nothing: whether anybody has the address is looked into later, off the
//!   path of the call.
//! - A new password or a new address makes all codes void.

pub mod model;
pub mod requests;
pub mod sql;
pub mod work;
