//! crm-service as its callers meet it: over the wire, beside a real identity-service, each
//! against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod access;
mod assignments;
mod clients;
mod conventions;
mod exports;
mod health;
mod hostile;
mod housekeeping;
mod imports;
mod isolation;
mod lists;
mod operators;
mod outages;
mod people;
mod reflection;
mod repeats;
mod statistics;
mod support;
mod visibility;
