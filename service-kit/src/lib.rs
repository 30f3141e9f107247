//! What both services are made of, and never a noun of their business.

pub mod access;
pub mod audit;
pub mod auth;
pub mod caller;
pub mod clock;
pub mod config;
pub mod db;
pub mod doctor;
pub mod error;
pub mod etag;
pub mod fields;
pub mod housekeeping;
pub mod idempotency;
pub mod json;
pub mod keys;
pub mod lease;
pub mod mask;
pub mod network;
pub mod page;
pub mod policy;
pub mod program;
pub mod serve;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

/// For [`sql!`], which names it from the crates that use it.
pub use inventory;

/// What every method of a service answers with.
pub type Reply<T> = Result<tonic::Response<T>, tonic::Status>;

/// An answer on its way out.
pub fn reply<T>(message: T) -> Reply<T> {
    Ok(tonic::Response::new(message))
}
