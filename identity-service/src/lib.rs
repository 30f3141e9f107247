//! identity-service: accounts, the people in them, and the credentials they show.

mod accounts;
mod api_keys;
mod app;
mod attempts;
mod audit;
mod auth;
mod authenticator;
mod codes;
mod config;
mod constraints;
mod credentials;
mod directory;
mod doctor;
mod employees;
mod feeds;
mod housekeeping;
mod invitations;
mod leases;
pub mod mail;
pub mod operators;
mod passwords;
mod policy;
mod roles;
mod schema;
mod secrets;
mod sessions;
mod tokens;

pub use app::{NAME, app, database};
pub use config::{SessionSettings, Settings};
pub use constraints::CONSTRAINTS;
pub use doctor::CHECKS;
pub use policy::POLICY;
pub use schema::SCHEMA;
