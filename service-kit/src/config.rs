//! What is this program told to do, and what in that makes no sense?
//!
//! The environment is read once, at start, by one [`Reader`] into typed structs. The reader
//! gathers every problem before it refuses, so that one start shows all that is wrong:
//!
//! ```
//! # use service_kit::config::{Reader, ServerSettings, Source, StartError};
//! # fn main() -> Result<(), StartError> {
//! let source = Source::from([("IDENTITY_LISTEN", "127.0.0.1:50061")]);
//! let mut reader = Reader::new(&source);
//! let server = ServerSettings::read(
//!     &mut reader,
//!     "IDENTITY",
//!     ([127, 0, 0, 1], 50051).into(),
//!     ([127, 0, 0, 1], 9464).into(),
//! );
//! reader.finish(&["IDENTITY_"])?;
//! assert_eq!(server.listen.port(), 50061);
//! # Ok(())
//! # }
//! ```

mod database;
mod housekeeping;
mod reader;
mod secret;
mod server;
mod start_error;
mod telemetry;

pub use database::{DatabaseSettings, PoolSettings};
pub use housekeeping::HousekeepingSettings;
pub use reader::{Reader, Source};
pub use secret::Secret;
pub use server::{Reflection, ServerSettings, TlsFiles};
pub use start_error::StartError;
pub use telemetry::{LogFormat, TelemetrySettings};
