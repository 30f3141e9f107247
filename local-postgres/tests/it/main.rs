//! Does it hold with real servers? One module per promise, all in one test binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fetching;
mod lifecycle;
mod recovery;
mod refusals;
mod support;
