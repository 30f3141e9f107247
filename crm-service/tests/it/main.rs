//! crm-service as its callers meet it: over the wire, beside a real identity-service, each
//! against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod access;
mod assignments;
mod client_packages;
mod clients;
mod conventions;
mod costs;
mod directory;
mod exports;
mod health;
mod hostile;
mod housekeeping;
mod imports;
mod instalments;
mod isolation;
mod lists;
mod operators;
mod outages;
mod packages;
mod people;
mod plans;
mod reflection;
mod repeats;
mod sales;
mod sales_access;
mod statistics;
mod support;
mod visibility;
mod watch;
