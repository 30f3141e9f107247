//! Who did what in the account: written by every transaction that changes something
//! (`service_kit::db::Act`), read as both services read it (`service_kit::audit`), and never
//! changed.

pub mod model;
pub mod rpc;
