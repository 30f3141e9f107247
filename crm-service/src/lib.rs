//! crm-service: the clients of an account, and what they buy.

mod app;
mod authenticator;
mod clients;
pub mod config;
mod constraints;
mod directory;
mod housekeeping;
mod identity;
mod policy;
mod schema;
mod visibility;

pub use app::{NAME, app, database};
pub use config::Settings;
pub use constraints::CONSTRAINTS;
pub use policy::POLICY;
pub use schema::SCHEMA;
