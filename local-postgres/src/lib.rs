//! Where does the database come from when nobody brings one?
//!
//! This crate finds, fetches, starts, recovers and stops a private PostgreSQL server. It serves
//! `cargo run`, which keeps its data, and the tests of all crates, which throw theirs away.
//!
//! ```no_run
//! use local_postgres::{Durability, Server, Settings, Source, default_data_folder};
//!
//! # async fn run() -> Result<(), local_postgres::Error> {
//! let folder = default_data_folder();
//! let server = Server::start(Settings {
//!     binaries: folder.join("binaries"),
//!     folder,
//!     source: Source::Search,
//!     durability: Durability::Kept,
//!     max_connections: 100,
//! })
//! .await?;
//! let url = server.url("postgres");
//! server.stop().await
//! # }
//! ```
//!
//! A data folder looks like this; the server runs only while the lock is held:
//!
//! ```text
//! lock           held for the life of a `Server`, names its process
//! password       of the superuser, readable for the caller only
//! cluster/       what initdb made
//! socket/        the only way in: no TCP port is opened
//! postgres.log   what the server said, cut back when it grows
//! ```

mod binaries;
mod cluster;
mod error;
mod fetch;
mod folder;
mod leftovers;
mod lock;
mod log;
mod options;
mod process;
mod server;
mod settings;
mod socket;
mod throwaway;
mod user;

pub use error::Error;
pub use folder::default_data_folder;
pub use server::Server;
pub use settings::{Durability, Settings, Source};
pub use throwaway::{ThrowawayFolder, throwaway_folder};

/// Runs work that blocks (files, processes) where it does not hold up the caller's runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        Err(_) => Err(Error::Interrupted),
    }
}
