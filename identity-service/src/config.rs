//! The settings of identity-service.

use std::net::SocketAddr;

use service_kit::config::{DatabaseSettings, Reader, Secret, ServerSettings};

/// All of them.
#[derive(Debug)]
pub struct Settings {
    pub server: ServerSettings,
    pub database: Option<DatabaseSettings>,
    /// `IDENTITY_KEYS`: what seals and signs.
    pub keys: Option<Secret>,
    /// `IDENTITY_SERVICE_SECRETS`: of which a calling service must know one.
    pub service_secrets: Option<Secret>,
    /// `IDENTITY_HASHING_THREADS`: how many passwords are hashed at once.
    pub hashing_threads: usize,
}

impl Settings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            server: ServerSettings::read(
                reader,
                "IDENTITY",
                SocketAddr::from(([127, 0, 0, 1], 50051)),
                SocketAddr::from(([127, 0, 0, 1], 50061)),
            ),
            database: DatabaseSettings::read(reader, "IDENTITY"),
            keys: reader.secret("IDENTITY_KEYS"),
            service_secrets: reader.secret("IDENTITY_SERVICE_SECRETS"),
            hashing_threads: hashing_threads(reader),
        }
    }
}

fn hashing_threads(reader: &mut Reader<'_>) -> usize {
    let threads = reader.parsed("IDENTITY_HASHING_THREADS", 2);
    if threads == 0 {
        reader
            .problem("IDENTITY_HASHING_THREADS is 0: nobody could ever log in; write at least 1.");
    }
    threads
}
