//! Invitations: somebody is asked by e-mail to join the account, and is nobody in it until they
//! accept.
//!
//! - A code lives for 7 days and works once. A second invitation to an address takes the place
//!   of the first.
//! - Whoever invites gives at most their own role, and must still be able to when it is accepted.
//! - Inviting says nothing about whether somebody has the address.

pub mod model;
pub mod sql;
pub mod work;
