//! The settings of identity-service.

use std::{net::SocketAddr, time::Duration};

use crate::mail::settings::MailSettings;
use service_kit::config::{DatabaseSettings, HousekeepingSettings, Reader, Secret, ServerSettings};

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
    /// `IDENTITY_SIGN_UP`: whether anybody may sign a company up.
    pub sign_up: bool,
    /// `IDENTITY_REQUIRE_VERIFIED_EMAIL`: whether only verified addresses log in.
    pub require_verified_email: bool,
    /// `IDENTITY_ATTEMPTS_FACTOR`: how many times the usual number of attempts is allowed.
    pub attempts_factor: u32,
    pub sessions: SessionSettings,
    pub mail: MailSettings,
    pub housekeeping: HousekeepingSettings,
}

/// How long device sessions live.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// `IDENTITY_ISSUER`: who signs access tokens.
    pub issuer: String,
    /// `IDENTITY_ACCESS_TOKEN_LIFETIME`.
    pub access_token: Duration,
    /// `IDENTITY_SESSION_IDLE_LIMIT`: unless it is refreshed.
    pub idle: Duration,
    /// `IDENTITY_SESSION_LIFETIME`: in any case.
    pub absolute: Duration,
    /// `IDENTITY_REFRESH_ROTATION`: whether a refresh token is used up by using it.
    pub rotation: bool,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            issuer: "clientele".to_owned(),
            access_token: Duration::from_secs(15 * 60),
            idle: Duration::from_secs(30 * 24 * 3600),
            absolute: Duration::from_secs(180 * 24 * 3600),
            rotation: true,
        }
    }
}

impl SessionSettings {
    fn read(reader: &mut Reader<'_>) -> Self {
        let usual = Self::default();
        let settings = Self {
            issuer: reader.parsed("IDENTITY_ISSUER", usual.issuer),
            access_token: reader.duration("IDENTITY_ACCESS_TOKEN_LIFETIME", usual.access_token),
            idle: reader.duration("IDENTITY_SESSION_IDLE_LIMIT", usual.idle),
            absolute: reader.duration("IDENTITY_SESSION_LIFETIME", usual.absolute),
            rotation: reader.flag("IDENTITY_REFRESH_ROTATION", usual.rotation),
        };
        if settings.access_token < Duration::from_secs(10) {
            reader.problem(
                "IDENTITY_ACCESS_TOKEN_LIFETIME is too short to be used: write at least 10s.",
            );
        }
        if settings.idle < settings.access_token {
            reader.problem(
                "IDENTITY_SESSION_IDLE_LIMIT is shorter than an access token lives: write more.",
            );
        }
        if settings.absolute < settings.idle
            || settings.absolute > Duration::from_secs(10 * 366 * 24 * 3600)
        {
            reader.problem("IDENTITY_SESSION_LIFETIME must be between IDENTITY_SESSION_IDLE_LIMIT and ten years.");
        }
        settings
    }
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
            sign_up: reader.flag("IDENTITY_SIGN_UP", true),
            require_verified_email: reader.flag("IDENTITY_REQUIRE_VERIFIED_EMAIL", false),
            attempts_factor: attempts_factor(reader),
            sessions: SessionSettings::read(reader),
            mail: MailSettings::read(reader),
            housekeeping: HousekeepingSettings::read(reader),
        }
    }
}

fn attempts_factor(reader: &mut Reader<'_>) -> u32 {
    let factor = reader.parsed("IDENTITY_ATTEMPTS_FACTOR", 1);
    if factor == 0 {
        reader
            .problem("IDENTITY_ATTEMPTS_FACTOR is 0: nobody could ever log in; write at least 1.");
    }
    factor
}

fn hashing_threads(reader: &mut Reader<'_>) -> usize {
    let threads = reader.parsed("IDENTITY_HASHING_THREADS", 2);
    if threads == 0 {
        reader
            .problem("IDENTITY_HASHING_THREADS is 0: nobody could ever log in; write at least 1.");
    }
    threads
}
