//! Instalments: what clients are to pay, and when.
//!
//! - Whoever sees a client sees their instalments; whoever manages instalments writes them.
//! - They are open, failed or closed, as somebody said; that one is paid follows from what
//!   payments cover of it, and nobody says it.
//! - A paid one stays as it is, and so does a closed one. None is less than what is covered.
//! - One of a client package is the same client's, in the same currency, and has a number that
//!   no other one of it has.
//! - Whether one is overdue is worked out when it is read: it depends on the day.

pub mod coverage;
pub mod model;
pub mod rpc;
pub mod sql;
