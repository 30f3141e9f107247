//! The programs as their users start them: as processes, with signals, and with things going
//! wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod all_in_one;
mod coexistence;
mod demo;
mod faults;
mod lease_faults;
mod money_faults;
mod owners;
mod refusals;
mod services;
mod stalling;
mod support;
mod telling;
mod terminal;
mod transfer;
mod versions;
