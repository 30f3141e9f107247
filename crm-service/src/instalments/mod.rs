//! Instalments: what clients are to pay, and when.

pub mod coverage;
