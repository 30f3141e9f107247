//! The only way to the database.
//!
//! Whoever wants to reach a tenant's rows must hold a [`Caller`], or a [`System`] scope that
//! this module made from a row it found, or must have been told of the account by a service that
//! it asked ([`Db::begin_named`]; a test of each service lists where that is said). The pools are
//! private to this folder, so there is no way around it:
//!
//! - [`TenantTx`]: a transaction inside one account, as the role `…_app`, row security on.
//! - [`Unscoped`]: single reads that precede a tenant, such as a log-in by e-mail, as the role
//!   `…_lookup`, which can read some columns of some tables and write nothing.
//! - [`Sweeper`]: deletes what has expired, of all accounts, as the role `…_sweep`, which can do
//!   nothing else.
//!
//! [`Caller`]: crate::caller::Caller

mod act;
pub(crate) mod check;
pub(crate) mod connect;
mod constraints;
mod feed;
mod list;
mod migrate;
mod places;
mod statement;
mod sweep;
mod tx;
mod unscoped;

pub use act::{Act, Origin};
pub use check::to_do;
pub use connect::{Db, Roles};
pub use constraints::Constraint;
pub use feed::{Event, Feed};
pub use list::{Bind, ListQuery};
pub use migrate::{Fill, Schema, migrate};
pub use statement::{Family, Sql, Statement, families, statements};
pub use sweep::{BATCH, Sweeper};
pub use tx::{Row, Rows, TenantTx};
pub use unscoped::{Found, System, Tenanted, Unscoped};
