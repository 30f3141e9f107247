//! The settings of the all-in-one: its own, and those of both services.

use std::path::PathBuf;

use local_postgres::Source as Postgres;
use service_kit::config::{PoolSettings, Reader, Source, StartError, TelemetrySettings};

/// All of them.
pub struct Settings {
    /// `CLIENTELE_DATA_DIR`: where everything is kept that must outlive the program.
    pub folder: PathBuf,
    /// `CLIENTELE_POSTGRES`: where the private PostgreSQL comes from.
    pub postgres: Postgres,
    /// How the private PostgreSQL is used.
    pub pool: PoolSettings,
    pub identity: identity_service::Settings,
    pub crm: crm_service::Settings,
    pub identity_telemetry: TelemetrySettings,
    pub crm_telemetry: TelemetrySettings,
}

/// Web pages on this machine may call: whoever develops one has it there.
const LOCAL_ORIGINS: [&str; 4] =
    ["http://localhost:*", "http://127.0.0.1:*", "https://localhost:*", "https://127.0.0.1:*"];

/// On one machine everybody calls from one address, and tries things out.
const ATTEMPTS_FACTOR: u32 = 50;

const DEMO_LOG_LEVEL: &str = "warn";

impl Settings {
    /// The settings, and the text that shows them.
    pub fn read(with_demo: bool) -> Result<(Self, String), StartError> {
        Self::from(&Source::environment(), with_demo)
    }

    fn from(source: &Source, with_demo: bool) -> Result<(Self, String), StartError> {
        let mut reader = Reader::new(source);
        let folder = reader.text("CLIENTELE_DATA_DIR").map(PathBuf::from);
        let mut settings = Self {
            folder: folder.unwrap_or_else(local_postgres::default_data_folder),
            postgres: postgres(&mut reader),
            pool: PoolSettings::read(&mut reader),
            identity: identity_service::Settings::read(&mut reader),
            crm: crm_service::Settings::read(&mut reader),
            identity_telemetry: TelemetrySettings::read(&mut reader, identity_service::NAME),
            crm_telemetry: TelemetrySettings::read(&mut reader, crm_service::NAME),
        };
        settings.contradictions(&mut reader);
        // Whoever has it for the commands may start everything in the same shell.
        let _for_the_commands = reader.secret("CLIENTELE_TOKEN");
        // Where others can call as well, they are as many as anywhere.
        if settings.identity.server.listen.ip().is_loopback() {
            let factor = &mut settings.identity.attempts_factor;
            reader.unless_set("IDENTITY_ATTEMPTS_FACTOR", factor, ATTEMPTS_FACTOR);
        }
        if with_demo {
            // Thousands of calls would each be a line between those that say how far it is.
            reader.unless_set(
                "LOG_LEVEL",
                &mut settings.identity_telemetry.filter,
                DEMO_LOG_LEVEL.to_owned(),
            );
        }
        let described = reader.describe();
        reader.finish(&["CLIENTELE_", "IDENTITY_", "CRM_"])?;
        for server in [&mut settings.identity.server, &mut settings.crm.server] {
            if server.cors_origins.is_empty() {
                server.cors_origins = LOCAL_ORIGINS.map(str::to_owned).to_vec();
            }
        }
        Ok((settings, described))
    }

    /// What each service takes by itself and both together cannot work with.
    fn contradictions(&self, reader: &mut Reader<'_>) {
        let crm = &self.crm.identity;
        if self.identity.service_secrets.is_some() != crm.service_secret.is_some() {
            reader.problem(
                "IDENTITY_SERVICE_SECRETS and CRM_SERVICE_SECRET belong together: set both or neither.",
            );
        }
        if self.identity.server.tls.is_some() && !crm.is_named {
            reader.problem(
                "With TLS_CERT_FILE, CRM_IDENTITY_URL must say by which name identity-service is \
                 certified: write it as https://localhost:50051, and set CRM_IDENTITY_CA_FILE if \
                 the certificate is of your own making.",
            );
        }
    }
}

fn postgres(reader: &mut Reader<'_>) -> Postgres {
    let setting = reader.parsed("CLIENTELE_POSTGRES", "search".to_owned());
    setting.parse().unwrap_or_else(|error: local_postgres::Error| {
        reader.problem(error.to_string());
        Postgres::Search
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many times the usual attempts are allowed, and what is said of it.
    fn attempts_factor(set: &[(&str, &str)]) -> (u32, String) {
        let (settings, described) =
            Settings::from(&Source::from(set.iter().copied()), false).unwrap();
        let line = described.lines().find(|line| line.starts_with("IDENTITY_ATTEMPTS_FACTOR="));
        (settings.identity.attempts_factor, line.unwrap().to_owned())
    }

    #[test]
    fn more_attempts_are_allowed_only_where_nobody_else_can_call() {
        let said = |factor: u32| (factor, format!("IDENTITY_ATTEMPTS_FACTOR={factor}"));
        assert_eq!(attempts_factor(&[]), said(ATTEMPTS_FACTOR));
        assert_eq!(attempts_factor(&[("IDENTITY_ATTEMPTS_FACTOR", "3")]), said(3));
        let public = [("IDENTITY_LISTEN", "0.0.0.0:50051"), ("ALLOW_PLAINTEXT", "on")];
        assert_eq!(attempts_factor(&public), said(1));
    }
}
