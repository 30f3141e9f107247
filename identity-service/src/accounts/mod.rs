//! Accounts: the companies, each a wall around what belongs to it.
//!
//! - An account comes into being with its first super admin, by `AuthService/SignUp`.
//! - Nobody sees another one than their own, and no request names one.
//! - Closing signs everyone out; a super admin can log in to reopen it, and do nothing else.

pub mod model;
pub mod rpc;
pub mod sql;
