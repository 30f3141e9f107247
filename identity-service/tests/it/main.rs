//! identity-service as its callers meet it: over the wire, against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod accounts;
mod api_keys;
mod audit;
mod conventions;
mod directory;
mod employees;
mod environment;
mod feeds;
mod health;
mod hostile;
mod housekeeping;
mod invitations;
mod isolation;
mod jwks;
mod leases;
mod limits;
mod login;
mod mail;
mod matrix;
mod operators;
mod passwords;
mod pooler;
mod post;
mod recovery;
mod releases;
mod repeats;
mod roles;
mod sessions;
mod sign_up;
mod smtp;
mod stage;
mod support;
mod tokens;
