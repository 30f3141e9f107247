//! The settings of crm-service.

use std::{net::SocketAddr, path::PathBuf};

use service_kit::config::{DatabaseSettings, Reader, Secret, ServerSettings};

/// All of them.
#[derive(Debug)]
pub struct Settings {
    pub server: ServerSettings,
    pub database: Option<DatabaseSettings>,
    /// `CRM_KEYS`: what seals and signs.
    pub keys: Option<Secret>,
    pub identity: IdentitySettings,
}

/// How identity-service is reached.
#[derive(Debug)]
pub struct IdentitySettings {
    /// `CRM_IDENTITY_URL`.
    pub url: String,
    /// Whether somebody said so, or it is a guess.
    pub is_named: bool,
    /// `CRM_SERVICE_SECRET`: by which identity-service knows us.
    pub service_secret: Option<Secret>,
    /// `CRM_IDENTITY_CA_FILE`: who vouches for its certificate, where the world does not.
    pub ca_file: Option<PathBuf>,
}

impl Settings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            server: ServerSettings::read(
                reader,
                "CRM",
                SocketAddr::from(([127, 0, 0, 1], 50052)),
                SocketAddr::from(([127, 0, 0, 1], 50062)),
            ),
            database: DatabaseSettings::read(reader, "CRM"),
            keys: reader.secret("CRM_KEYS"),
            identity: IdentitySettings::read(reader),
        }
    }
}

impl IdentitySettings {
    fn read(reader: &mut Reader<'_>) -> Self {
        let url = reader.text("CRM_IDENTITY_URL");
        Self {
            is_named: url.is_some(),
            url: url.unwrap_or_else(|| "http://127.0.0.1:50051".into()),
            service_secret: reader.secret("CRM_SERVICE_SECRET"),
            ca_file: reader.text("CRM_IDENTITY_CA_FILE").map(PathBuf::from),
        }
    }
}
