//! The settings of crm-service.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use service_kit::config::{DatabaseSettings, HousekeepingSettings, Reader, Secret, ServerSettings};

/// All of them.
#[derive(Debug)]
pub struct Settings {
    pub server: ServerSettings,
    pub database: Option<DatabaseSettings>,
    /// `CRM_KEYS`: what seals and signs.
    pub keys: Option<Secret>,
    pub identity: IdentitySettings,
    /// `CRM_AUTHORIZATION`: how callers are known.
    pub authorization: Authorization,
    pub housekeeping: HousekeepingSettings,
    /// `CRM_PUBLIC_URL`: where Stripe reaches this service.
    pub public_url: String,
    /// `CRM_IMPORT_IDLE_LIMIT`: how long who imports may send nothing.
    pub import_idle_limit: Duration,
    /// `CRM_WATCHERS_PER_ACCOUNT`: how many may watch one account's clients at once, in one process.
    pub watchers_per_account: NonZeroUsize,
}

/// Long enough for whoever reads its rows from elsewhere.
pub const IMPORT_IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Nobody's streams use up what others need.
pub const WATCHERS_PER_ACCOUNT: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// How it is found out who calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Authorization {
    /// identity-service is asked about every call.
    #[default]
    Call,
    /// Its answers are kept, for as long as it lends the right to.
    Lease,
}

impl FromStr for Authorization {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "call" => Ok(Self::Call),
            "lease" => Ok(Self::Lease),
            _ => Err("not call or lease"),
        }
    }
}

impl fmt::Display for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Call => "call",
            Self::Lease => "lease",
        })
    }
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
        let server = ServerSettings::read(
            reader,
            "CRM",
            SocketAddr::from(([127, 0, 0, 1], 50052)),
            SocketAddr::from(([127, 0, 0, 1], 50062)),
        );
        Self {
            public_url: public_url(reader, &server),
            server,
            database: DatabaseSettings::read(reader, "CRM"),
            keys: reader.secret("CRM_KEYS"),
            identity: IdentitySettings::read(reader),
            authorization: reader.parsed("CRM_AUTHORIZATION", Authorization::default()),
            housekeeping: HousekeepingSettings::read(reader),
            import_idle_limit: import_idle_limit(reader),
            watchers_per_account: reader.parsed("CRM_WATCHERS_PER_ACCOUNT", WATCHERS_PER_ACCOUNT),
        }
    }
}

impl IdentitySettings {
    fn read(reader: &mut Reader<'_>) -> Self {
        let url = reader.text("CRM_IDENTITY_URL");
        if let Some(url) = url.as_deref().filter(|url| is_in_clear(url))
            && !reader.flag("ALLOW_PLAINTEXT", false)
        {
            reader.problem(format!(
                "CRM_IDENTITY_URL is {url}, where tokens would travel in clear: write https://, \
                 or set ALLOW_PLAINTEXT=on if nobody listens in."
            ));
        }
        Self {
            is_named: url.is_some(),
            url: url.unwrap_or_else(|| "http://127.0.0.1:50051".into()),
            service_secret: reader.secret("CRM_SERVICE_SECRET"),
            ca_file: reader.text("CRM_IDENTITY_CA_FILE").map(PathBuf::from),
        }
    }
}

fn import_idle_limit(reader: &mut Reader<'_>) -> Duration {
    let limit = reader.duration("CRM_IMPORT_IDLE_LIMIT", IMPORT_IDLE_LIMIT);
    if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&limit) {
        reader.problem("CRM_IMPORT_IDLE_LIMIT is of no use beyond 1s to 1h: no stream is older.");
    }
    limit
}

/// Where the service is reached from outside; where nobody says so, where it listens.
fn public_url(reader: &mut Reader<'_>, server: &ServerSettings) -> String {
    let Some(url) = reader.text("CRM_PUBLIC_URL") else {
        let scheme = if server.tls.is_some() { "https" } else { "http" };
        return format!("{scheme}://{}", server.listen);
    };
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['?', '#', ' '])) {
        reader.problem(format!(
            "CRM_PUBLIC_URL is {url}: write it as https://crm.example.com, where Stripe reaches \
             this service."
        ));
    }
    url
}

/// Whether a URL leads to another machine without TLS.
fn is_in_clear(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use service_kit::config::Source;

    use super::*;

    #[test]
    fn stripe_is_told_where_the_service_is_reached() {
        let read = |url: Option<&str>| {
            let source = Source::from(url.map(|url| ("CRM_PUBLIC_URL", url)));
            let mut reader = Reader::new(&source);
            let url = Settings::read(&mut reader).public_url;
            let said = reader.finish(&[]).err().map(|error| error.to_string()).unwrap_or_default();
            (url, said.contains("CRM_PUBLIC_URL"))
        };
        assert_eq!(read(None), ("http://127.0.0.1:50052".to_owned(), false));
        let public = "https://crm.example.com";
        assert_eq!(read(Some(public)), (public.to_owned(), false));
        assert!(read(Some("crm.example.com")).1);
        assert!(read(Some("https://crm.example.com?x")).1);
    }

    #[test]
    fn an_import_may_be_silent_for_a_minute_unless_somebody_says_otherwise() {
        let read = |limit: Option<&str>| {
            let source = Source::from(limit.map(|limit| ("CRM_IMPORT_IDLE_LIMIT", limit)));
            let mut reader = Reader::new(&source);
            let limit = Settings::read(&mut reader).import_idle_limit;
            let said = reader.finish(&[]).err().map(|error| error.to_string()).unwrap_or_default();
            (limit.as_secs(), said.contains("CRM_IMPORT_IDLE_LIMIT"))
        };
        assert_eq!(read(None), (60, false));
        assert_eq!(read(Some("2m")), (120, false));
        assert!(read(Some("0s")).1 && read(Some("61m")).1);
    }

    #[test]
    fn identity_is_asked_about_every_call_unless_somebody_says_otherwise() {
        let read = |set: &[(&str, &str)]| {
            let source = Source::from(set.iter().copied());
            let mut reader = Reader::new(&source);
            let authorization = Settings::read(&mut reader).authorization;
            let said = reader.finish(&[]).err().map(|error| error.to_string()).unwrap_or_default();
            (authorization, said.contains("CRM_AUTHORIZATION"))
        };
        assert_eq!(read(&[]), (Authorization::Call, false));
        for mode in [Authorization::Call, Authorization::Lease] {
            assert_eq!(read(&[("CRM_AUTHORIZATION", &mode.to_string())]), (mode, false));
        }
        assert!(read(&[("CRM_AUTHORIZATION", "cache")]).1);
    }

    /// Security checklist 48.
    #[test]
    fn tokens_travel_in_clear_on_this_machine_only() {
        for near in
            ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://far.example:1"]
        {
            assert!(!is_in_clear(near), "{near}");
        }
        for far in [
            "http://far.example:1",
            "http://10.0.0.1:1",
            "http://localhost.example",
            "http://[fe80::1]:1",
        ] {
            assert!(is_in_clear(far), "{far}");
        }
        let source = Source::from([("CRM_IDENTITY_URL", "http://far.example:1")]);
        let mut reader = Reader::new(&source);
        IdentitySettings::read(&mut reader);
        assert!(reader.finish(&[]).unwrap_err().to_string().contains("CRM_IDENTITY_URL"));
    }

    /// Security checklist 46.
    #[test]
    fn a_thousand_may_watch_an_account_unless_another_number_is_said() {
        let read = |number: Option<&'static str>| {
            let source = Source::from(number.map(|number| ("CRM_WATCHERS_PER_ACCOUNT", number)));
            let mut reader = Reader::new(&source);
            let most = Settings::read(&mut reader).watchers_per_account;
            let said = reader.finish(&[]).err().map(|error| error.to_string()).unwrap_or_default();
            (most.get(), said.contains("CRM_WATCHERS_PER_ACCOUNT"))
        };
        assert_eq!(read(None), (1000, false));
        assert_eq!(read(Some("3")), (3, false));
        for wrong in ["0", "-1", "many"] {
            assert!(read(Some(wrong)).1, "{wrong}");
        }
    }
}
