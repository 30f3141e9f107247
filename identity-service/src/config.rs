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
    /// `REQUIRE_VERIFIED_EMAIL`: whether only verified addresses log in.
    pub require_verified_email: bool,
    /// `IDENTITY_ATTEMPTS_FACTOR`: how many times the usual number of attempts is allowed.
    pub attempts_factor: u32,
    pub sessions: SessionSettings,
    pub mail: MailSettings,
    pub housekeeping: HousekeepingSettings,
}

/// How long device sessions live, and employee tokens.
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
    /// `REFRESH_ROTATION`: whether a refresh token is used up by using it.
    pub rotation: bool,
    /// `IDENTITY_TOKEN_IDLE_LIMIT`: when an employee token ends that nobody uses, if it does.
    pub token_idle: Option<Duration>,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            issuer: "clientele".to_owned(),
            access_token: Duration::from_secs(15 * 60),
            idle: Duration::from_secs(30 * 24 * 3600),
            absolute: Duration::from_secs(180 * 24 * 3600),
            rotation: true,
            token_idle: None,
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
            rotation: reader.flag("REFRESH_ROTATION", usual.rotation),
            token_idle: reader.optional_duration("IDENTITY_TOKEN_IDLE_LIMIT"),
        };
        if settings.token_idle.is_some_and(|limit| limit < Duration::from_secs(60)) {
            reader.problem(
                "IDENTITY_TOKEN_IDLE_LIMIT would end tokens between two uses: write at least 1m.",
            );
        }
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
            require_verified_email: reader.flag("REQUIRE_VERIFIED_EMAIL", false),
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

#[cfg(test)]
mod tests {
    use service_kit::config::{Reader, Source};

    use super::*;

    fn read(set: &[(&str, &str)]) -> (Settings, String) {
        let source = Source::from(set.iter().copied());
        let mut reader = Reader::new(&source);
        let settings = Settings::read(&mut reader);
        let wrong = reader.finish(&["IDENTITY_"]).err();
        (settings, wrong.map(|error| error.to_string()).unwrap_or_default())
    }

    #[test]
    fn everything_can_be_set() {
        let (settings, wrong) = read(&[
            ("IDENTITY_SIGN_UP", "off"),
            ("IDENTITY_ISSUER", "https://identity.example.com"),
            ("IDENTITY_ACCESS_TOKEN_LIFETIME", "10s"),
            ("IDENTITY_SESSION_IDLE_LIMIT", "1h"),
            ("IDENTITY_SESSION_LIFETIME", "48h"),
            ("IDENTITY_HASHING_THREADS", "7"),
            ("IDENTITY_ATTEMPTS_FACTOR", "3"),
        ]);
        assert_eq!(wrong, "");
        assert!(!settings.sign_up);
        assert_eq!(settings.hashing_threads, 7);
        assert_eq!(settings.attempts_factor, 3);
        let sessions = settings.sessions;
        assert_eq!(sessions.issuer, "https://identity.example.com");
        assert_eq!(sessions.access_token, Duration::from_secs(10));
        assert_eq!(sessions.idle, Duration::from_hours(1));
        assert_eq!(sessions.absolute, Duration::from_hours(48));
    }

    #[test]
    fn what_is_out_of_range_is_named_with_its_setting() {
        for (name, value) in [
            ("IDENTITY_SIGN_UP", "perhaps"),
            ("IDENTITY_ACCESS_TOKEN_LIFETIME", "9s"),
            // Shorter than an access token lives, and than somebody may pause.
            ("IDENTITY_SESSION_IDLE_LIMIT", "14m"),
            ("IDENTITY_SESSION_LIFETIME", "719h"),
            ("IDENTITY_SESSION_LIFETIME", "87841h"),
            ("IDENTITY_HASHING_THREADS", "0"),
            ("IDENTITY_HASHING_THREADS", "-1"),
            ("IDENTITY_ATTEMPTS_FACTOR", "0"),
        ] {
            let (_, wrong) = read(&[(name, value)]);
            assert!(wrong.starts_with(&format!("{name} ")), "{name}={value}: {wrong:?}");
            assert_eq!(wrong.lines().count(), 1, "{name}={value}: {wrong:?}");
        }
    }

    #[test]
    fn rotation_and_verified_addresses_have_names_without_the_services() {
        let (settings, wrong) =
            read(&[("REFRESH_ROTATION", "off"), ("REQUIRE_VERIFIED_EMAIL", "on")]);
        assert_eq!((settings.sessions.rotation, settings.require_verified_email), (false, true));
        assert_eq!(wrong, "");
    }

    #[test]
    fn their_longer_names_stop_the_start() {
        for name in ["REFRESH_ROTATION", "REQUIRE_VERIFIED_EMAIL"] {
            let longer = format!("IDENTITY_{name}");
            let (_, wrong) = read(&[(&longer, "on")]);
            assert_eq!(wrong, format!("{longer} is not a setting; did you mean {name}?"));
        }
    }

    #[test]
    fn tokens_end_for_want_of_use_only_where_it_is_said_and_not_at_once() {
        assert_eq!(read(&[]).0.sessions.token_idle, None);
        let (settings, wrong) = read(&[("IDENTITY_TOKEN_IDLE_LIMIT", "1m")]);
        assert_eq!(
            (settings.sessions.token_idle, wrong.as_str()),
            (Some(Duration::from_secs(60)), "")
        );
        let (_, wrong) = read(&[("IDENTITY_TOKEN_IDLE_LIMIT", "59s")]);
        assert!(wrong.contains("write at least 1m"), "{wrong}");
    }
}
