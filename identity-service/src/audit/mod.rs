//! Who did what in the account: written by every transaction that changes something
//! (`service_kit::db::Act`), listed here, and never changed.

pub mod model;
pub mod rpc;
pub mod sql;
