//! crm-service as its callers meet it: over the wire, beside a real identity-service, each
//! against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod access;
mod clients;
mod conventions;
mod hostile;
mod isolation;
mod lists;
mod outages;
mod repeats;
mod support;
