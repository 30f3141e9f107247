//! API keys: credentials for programs.
//!
//! - A key is shown once, when it is made; what is stored is its digest.
//! - It may do what it was given, as far as the person who made it may still do that: it is
//!   judged anew whenever it is shown.
//! - In a closed account it sleeps.

pub mod model;
pub mod rpc;
pub mod sql;
