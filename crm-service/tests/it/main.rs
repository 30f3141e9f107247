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
mod health;
mod hostile;
mod housekeeping;
mod instalments;
mod isolation;
mod lists;
mod operators;
mod outages;
mod packages;
mod payment_access;
mod payment_history;
mod payment_lists;
mod payment_races;
mod payment_states;
mod payments;
mod people;
mod plans;
mod reflection;
mod repeats;
mod sales;
mod sales_access;
mod statistics;
mod support;
mod till;
mod visibility;
mod watch;
