//! Employees: the people of an account.
//!
//! - An e-mail address is one person's, in whatever account; a deleted person frees it.
//! - Nobody gives a role above their own, and nobody manages a person above their own.
//! - Only super admins change roles, and what is granted to an admin.
//! - Nobody changes their own role, permissions, activity or job role.
//! - An account always keeps an active super admin, also when two calls race.
//! - A password that somebody else chose works at once and advises to change it.
//! - Without a password nobody can log in as this person.

pub mod authority;
pub mod fill;
pub mod model;
pub mod rpc;
pub mod sql;
pub mod work;
