//! Sessions: what a log-in on a device opens, and the tokens that belong to it.
//!
//! - An access token is signed and stored nowhere. It names its session, and is good only as
//!   long as that lives: taken back at once, everywhere.
//! - A refresh token is used once. It is derived from its session, so that two tabs that refresh
//!   at once get the same successor; shown again later, it ends the session.
//! - Allow-list: without a live row no access. What is left of an ended session grants nothing.

pub mod access_token;
mod ed25519;
pub mod model;
pub mod sql;
pub mod work;
