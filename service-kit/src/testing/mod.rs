//! What the tests of both services share: a PostgreSQL of their own, a database for each test,
//! and the conventions of the house as checks over the catalogue, the statements and the
//! descriptor.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "for tests"
)]

pub mod catalogue;
pub mod cluster;
pub mod contract;
pub mod conventions;
pub mod descriptor;
pub mod health;
pub mod hostile;
pub mod http;
pub mod isolation;
pub mod pages;
pub mod plans;
pub mod raw;
pub mod refusal;
pub mod repeats;
pub mod row_security;

pub use cluster::TestDatabase;
