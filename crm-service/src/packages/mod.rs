//! Packages: what an account sells.
//!
//! - Everyone signed in reads them; whoever manages packages writes them.
//! - A list price is what a package costs where nothing else is agreed; it is optional.
//! - Deleting hides a package: it is not sold any more, and what was sold of it stays. Undeleting
//!   brings it back.

pub mod model;
pub mod rpc;
pub mod sql;
