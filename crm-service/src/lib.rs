//! crm-service: the clients of an account, and what they buy.

mod accounts;
mod app;
mod audit;
mod authenticator;
mod buyer;
mod client_packages;
mod clients;
pub mod config;
mod constraints;
mod currencies;
mod directory;
mod housekeeping;
mod identity;
mod instalments;
mod lease;
mod packages;
mod payments;
mod policy;
mod reports;
mod schema;
mod spelling;
mod stripe_customers;
mod stripe_endpoints;
mod stripe_events;
mod visibility;

pub use app::{NAME, app, database};
pub use config::Settings;
pub use constraints::CONSTRAINTS;
pub use policy::POLICY;
pub use schema::SCHEMA;
