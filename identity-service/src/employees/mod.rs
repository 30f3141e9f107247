//! Employees: the people of an account.
//!
//! - An e-mail address is one person's, in whatever account; a deleted person frees it.
//! - Nobody gives a role above their own.
//! - A password that somebody else chose works at once and advises to change it.
//! - Without a password nobody can log in as this person.

pub mod model;
pub mod rpc;
pub mod sql;
