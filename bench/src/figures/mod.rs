//! Figures: where they come from, and how they are shown.

pub mod plot;
pub mod process;
pub mod ranks;
pub mod table;
