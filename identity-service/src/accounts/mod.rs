//! Accounts: the companies, each a wall around what belongs to it.
//!
//! An account comes into being with its first super admin, by `AuthService/SignUp`.

pub mod model;
pub mod sql;
