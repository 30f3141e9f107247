//! Does it hold with real servers? One module per promise, all in one test binary.

mod fetching;
mod lifecycle;
mod recovery;
mod refusals;
mod support;
