//! The programs as their users start them: as processes, with signals, and with things going
//! wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod all_in_one;
mod faults;
mod owners;
mod refusals;
mod support;
