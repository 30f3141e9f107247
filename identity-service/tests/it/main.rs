//! identity-service as its callers meet it: over the wire, against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod conventions;
mod employees;
mod environment;
mod health;
mod hostile;
mod isolation;
mod login;
mod sign_up;
mod support;
mod tokens;
