//! identity-service: accounts, the people in them, and the credentials they show.

mod accounts;
mod app;
mod auth;
mod authenticator;
mod config;
mod constraints;
mod employees;
mod passwords;
mod policy;
mod schema;
mod tokens;

pub use app::{NAME, app, database};
pub use config::Settings;
pub use constraints::CONSTRAINTS;
pub use policy::POLICY;
pub use schema::SCHEMA;
