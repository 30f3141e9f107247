//! What do callers, operators and browsers see of a server, whatever its business?
//!
//! Every test starts a real server on a free port of this machine and talks to it over the
//! wire. The service behind it is the one that collectors of traces have: generated like ours,
//! and of use for receiving traces too.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admin;
mod arrivals;
mod browsers;
mod deadlines;
mod draining;
mod floods;
mod harness;
mod lines;
mod messages;
mod panics;
mod reflection;
mod shedding;
mod start;
mod tls;
mod tracing_context;
