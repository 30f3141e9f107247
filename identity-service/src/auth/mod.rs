//! How a person gets in and out.
//!
//! - Sign-up makes an account, its super admin and that person's token, all or nothing.
//! - Log-in returns the employee's one token. Whatever is wrong, it answers the same and costs
//!   the same: one look-up and one hash.
//! - Log-out ends the token it is called with; it can be repeated.

pub mod door;
pub mod model;
pub mod rpc;
mod work;
