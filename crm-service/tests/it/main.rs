//! crm-service as its callers meet it: over the wire, beside a real identity-service, each
//! against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod access;
mod clients;
mod conventions;
mod health;
mod hostile;
mod housekeeping;
mod isolation;
mod lists;
mod operators;
mod outages;
mod payment_access;
mod payment_history;
mod payment_lists;
mod payment_races;
mod payment_states;
mod payments;
mod reflection;
mod repeats;
mod support;
mod till;
