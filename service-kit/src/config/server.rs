//! Where does a server listen, for whom, and how much of anything does it take?

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;

use super::Reader;

/// Who may use server reflection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reflection {
    #[default]
    Public,
    Authenticated,
    Off,
}

impl FromStr for Reflection {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "public" => Ok(Self::Public),
            "authenticated" => Ok(Self::Authenticated),
            "off" => Ok(Self::Off),
            _ => Err("not public, authenticated or off"),
        }
    }
}

impl fmt::Display for Reflection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Authenticated => "authenticated",
            Self::Off => "off",
        })
    }
}

/// A certificate chain and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Everything about being a server that both services have.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// `IDENTITY` or `CRM`: begins the names of the settings that each service has for itself.
    pub prefix: &'static str,
    pub listen: SocketAddr,
    /// Metrics and liveness, for operators only.
    pub admin_listen: Option<SocketAddr>,
    pub tls: Option<TlsFiles>,
    /// Somebody else does TLS, or nobody listens in.
    pub allow_plaintext: bool,
    /// The web pages that may call us, as exact origins; `http://localhost:*` for any port.
    pub cors_origins: Vec<String>,
    pub reflection: Reflection,
    /// The proxies in front, whose `x-forwarded-for` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The longest that a unary call may take, whatever the caller says.
    pub request_timeout: Duration,
    /// Calls at once; more are refused, for a refusal is cheaper than a queue.
    pub max_in_flight: usize,
    /// The largest message in either direction, after decompression.
    pub max_message_bytes: usize,
    pub max_header_bytes: u32,
    /// Connections at once; more wait until one ends.
    pub max_connections: usize,
    pub max_streams_per_connection: u32,
    /// How long calls may go on after the signal to stop.
    pub drain: Duration,
}

/// Three times what keeps the cores busy: more would only make all of them late.
fn usual_in_flight() -> usize {
    const FOR_EACH_CORE: usize = 48;
    const AT_LEAST: usize = 96;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (FOR_EACH_CORE * cores).max(AT_LEAST)
}

impl ServerSettings {
    /// Any free port of this machine, room for more calls than a machine can answer soon, and
    /// otherwise the defaults: for tests and tools.
    pub fn loopback() -> Self {
        Self {
            prefix: "SERVER",
            listen: ([127, 0, 0, 1], 0).into(),
            admin_listen: None,
            tls: None,
            allow_plaintext: false,
            cors_origins: Vec::new(),
            reflection: Reflection::default(),
            trusted_proxies: Vec::new(),
            request_timeout: Duration::from_secs(30),
            max_in_flight: 1024,
            max_message_bytes: 4 << 20,
            max_header_bytes: 16 << 10,
            max_connections: 16_384,
            max_streams_per_connection: 256,
            drain: Duration::from_secs(10),
        }
    }

    pub fn read(
        reader: &mut Reader<'_>,
        prefix: &'static str,
        default_listen: SocketAddr,
        default_admin: SocketAddr,
    ) -> Self {
        let default = Self::loopback();
        let settings = Self {
            prefix,
            listen: reader.parsed(&format!("{prefix}_LISTEN"), default_listen),
            admin_listen: admin_listen(reader, prefix, default_admin),
            tls: tls_files(reader),
            allow_plaintext: reader.flag("ALLOW_PLAINTEXT", default.allow_plaintext),
            cors_origins: cors_origins(reader),
            reflection: reader.parsed("REFLECTION", default.reflection),
            trusted_proxies: trusted_proxies(reader),
            request_timeout: reader.duration("REQUEST_TIMEOUT", default.request_timeout),
            max_in_flight: count(reader, "MAX_IN_FLIGHT", usual_in_flight()),
            max_message_bytes: message_bytes(reader, default.max_message_bytes),
            max_header_bytes: reader.bytes("MAX_HEADER_BYTES", default.max_header_bytes),
            max_connections: count(reader, "MAX_CONNECTIONS", default.max_connections),
            max_streams_per_connection: default.max_streams_per_connection,
            drain: reader.duration("DRAIN_TIMEOUT", default.drain),
        };
        settings.contradictions(reader);
        settings
    }

    /// The setting that says where to listen, for sentences about it.
    pub fn listen_name(&self) -> String {
        format!("{}_LISTEN", self.prefix)
    }

    /// The setting that says where operators find the metrics.
    pub fn admin_listen_name(&self) -> String {
        format!("{}_ADMIN_LISTEN", self.prefix)
    }

    fn contradictions(&self, reader: &mut Reader<'_>) {
        if self.tls.is_none() && !self.allow_plaintext && !self.listen.ip().is_loopback() {
            reader.problem(format!(
                "{} is {}, where tokens would travel in clear: set TLS_CERT_FILE and TLS_KEY_FILE, \
                 or ALLOW_PLAINTEXT=on if a proxy in front does TLS.",
                self.listen_name(),
                self.listen,
            ));
        }
        if self.request_timeout.is_zero() {
            reader.problem("REQUEST_TIMEOUT is 0s: give calls some time.");
        }
        // Below this hyper cannot hold the headers of an ordinary call.
        if self.max_header_bytes < 1 << 10 {
            reader.problem("MAX_HEADER_BYTES is too small to call anything: write at least 1KiB.");
        }
    }
}

fn admin_listen(reader: &mut Reader<'_>, prefix: &str, default: SocketAddr) -> Option<SocketAddr> {
    let name = format!("{prefix}_ADMIN_LISTEN");
    match reader.text(&name).as_deref() {
        Some("off") => None,
        _ => Some(reader.parsed(&name, default)),
    }
}

fn tls_files(reader: &mut Reader<'_>) -> Option<TlsFiles> {
    match (reader.text("TLS_CERT_FILE"), reader.text("TLS_KEY_FILE")) {
        (Some(certificate), Some(key)) => {
            Some(TlsFiles { certificate: certificate.into(), key: key.into() })
        }
        (None, None) => None,
        (Some(_), None) => {
            reader.problem("TLS_CERT_FILE is set without TLS_KEY_FILE: set both or neither.");
            None
        }
        (None, Some(_)) => {
            reader.problem("TLS_KEY_FILE is set without TLS_CERT_FILE: set both or neither.");
            None
        }
    }
}

fn cors_origins(reader: &mut Reader<'_>) -> Vec<String> {
    let origins = reader.list("CORS_ORIGINS");
    for origin in &origins {
        if let Some(advice) = origin_flaw(origin) {
            reader.problem(format!("CORS_ORIGINS has {origin:?}: {advice}."));
        }
    }
    origins
}

/// What is wrong with an origin of the allow-list.
fn origin_flaw(origin: &str) -> Option<&'static str> {
    match origin {
        "*" => return Some("any page could then use the tokens of its visitors; name each origin"),
        "null" => return Some("that is every sandboxed frame and local file; name each origin"),
        _ => {}
    }
    let exact = match origin.strip_suffix(":*") {
        Some(
            "http://localhost" | "http://127.0.0.1" | "https://localhost" | "https://127.0.0.1",
        ) => {
            return None;
        }
        Some(_) => return Some("any port is for localhost and 127.0.0.1 only; name the port"),
        None => origin,
    };
    let well_formed = exact.parse::<http::Uri>().is_ok_and(|uri| {
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        matches!(scheme, "http" | "https")
            && !authority.contains('@')
            // What browsers send: no path, no trailing slash, lower case.
            && format!("{scheme}://{authority}").to_ascii_lowercase() == exact
    });
    (!well_formed).then_some("write it as a browser sends it, such as https://app.example.com")
}

fn trusted_proxies(reader: &mut Reader<'_>) -> Vec<IpNet> {
    let mut proxies = Vec::new();
    for proxy in reader.list("TRUSTED_PROXIES") {
        let address = || proxy.parse::<IpAddr>().map(IpNet::from).ok();
        match proxy.parse::<IpNet>().ok().or_else(address) {
            Some(net) => proxies.push(net),
            None => reader.problem(format!(
                "TRUSTED_PROXIES has {proxy:?}: write addresses or networks such as 10.0.0.0/8."
            )),
        }
    }
    proxies
}

fn count(reader: &mut Reader<'_>, name: &str, default: usize) -> usize {
    let count = reader.parsed(name, u32::try_from(default).unwrap_or(u32::MAX));
    if count == 0 {
        reader.problem(format!("{name} is 0: nothing could ever be served; write at least 1."));
    }
    count as usize
}

fn message_bytes(reader: &mut Reader<'_>, default: usize) -> usize {
    let bytes = reader.bytes("MAX_MESSAGE_BYTES", u32::try_from(default).unwrap_or(u32::MAX));
    if bytes < 1 << 10 {
        reader.problem("MAX_MESSAGE_BYTES is too small for our own messages: write at least 1KiB.");
    }
    bytes as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn read(pairs: &[(&str, &str)]) -> (ServerSettings, String) {
        let source = Source::from(pairs.iter().copied());
        let mut reader = Reader::new(&source);
        let listen = ([127, 0, 0, 1], 50051).into();
        let admin = ([127, 0, 0, 1], 9464).into();
        let settings = ServerSettings::read(&mut reader, "CRM", listen, admin);
        let sentences = reader.finish(&["CRM_"]).err().map(|error| error.to_string());
        (settings, sentences.unwrap_or_default())
    }

    #[test]
    fn nothing_set_is_a_server_for_this_machine() {
        let (settings, sentences) = read(&[]);
        assert_eq!(sentences, "");
        assert_eq!(settings.listen.to_string(), "127.0.0.1:50051");
        assert_eq!(settings.admin_listen.unwrap().to_string(), "127.0.0.1:9464");
        assert_eq!(settings.request_timeout, Duration::from_secs(30));
        assert_eq!(settings.max_message_bytes, 4 << 20);
        assert_eq!(settings.reflection, Reflection::Public);
    }

    #[test]
    fn everything_can_be_set() {
        let (settings, sentences) = read(&[
            ("CRM_LISTEN", "0.0.0.0:443"),
            ("CRM_ADMIN_LISTEN", "off"),
            ("TLS_CERT_FILE", "/cert.pem"),
            ("TLS_KEY_FILE", "/key.pem"),
            ("CORS_ORIGINS", "https://app.example.com,http://localhost:*"),
            ("REFLECTION", "authenticated"),
            ("REQUEST_TIMEOUT", "5s"),
            ("MAX_IN_FLIGHT", "10"),
            ("MAX_MESSAGE_BYTES", "1MiB"),
            ("MAX_HEADER_BYTES", "8KiB"),
            ("MAX_CONNECTIONS", "20"),
            ("DRAIN_TIMEOUT", "1s"),
        ]);
        assert_eq!(sentences, "");
        assert_eq!(settings.listen, ([0, 0, 0, 0], 443).into());
        assert_eq!(settings.admin_listen, None);
        let tls = settings.tls.unwrap();
        assert_eq!((tls.certificate, tls.key), ("/cert.pem".into(), "/key.pem".into()));
        assert_eq!(settings.cors_origins, ["https://app.example.com", "http://localhost:*"]);
        assert_eq!(settings.reflection, Reflection::Authenticated);
        assert_eq!(settings.request_timeout, Duration::from_secs(5));
        assert_eq!(settings.max_in_flight, 10);
        assert_eq!(settings.max_message_bytes, 1 << 20);
        assert_eq!(settings.max_header_bytes, 8 << 10);
        assert_eq!(settings.max_connections, 20);
        assert_eq!(settings.drain, Duration::from_secs(1));
    }

    /// Security checklist 10.
    #[test]
    fn proxies_are_addresses_or_networks() {
        let (settings, sentences) =
            read(&[("TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7,2001:db8::/32")]);
        assert_eq!(sentences, "");
        let trusted: Vec<_> = settings.trusted_proxies.iter().map(IpNet::to_string).collect();
        assert_eq!(trusted, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
        for bad in ["10.0.0.0/33", "proxy.example.com", "*"] {
            let (settings, sentences) = read(&[("TRUSTED_PROXIES", bad)]);
            let flaw = "write addresses or networks such as 10.0.0.0/8.";
            assert_eq!(sentences, format!("TRUSTED_PROXIES has {bad:?}: {flaw}"));
            assert_eq!(settings.trusted_proxies, []);
        }
    }

    /// Security checklist 48.
    #[test]
    fn tokens_do_not_travel_in_clear_unless_told_to() {
        let open = ("CRM_LISTEN", "0.0.0.0:50052");
        assert!(
            read(&[open]).1.starts_with("CRM_LISTEN is 0.0.0.0:50052, where tokens would travel")
        );
        assert_eq!(read(&[open, ("ALLOW_PLAINTEXT", "on")]).1, "");
        assert_eq!(read(&[("CRM_LISTEN", "[::1]:50052")]).1, "");
    }

    #[test]
    fn half_a_tls_setting_is_refused() {
        assert!(read(&[("TLS_CERT_FILE", "/c")]).1.contains("without TLS_KEY_FILE"));
        assert!(read(&[("TLS_KEY_FILE", "/k")]).1.contains("without TLS_CERT_FILE"));
    }

    #[test]
    fn numbers_that_stop_everything_are_refused() {
        let (_, sentences) =
            read(&[("MAX_IN_FLIGHT", "0"), ("REQUEST_TIMEOUT", "0s"), ("MAX_MESSAGE_BYTES", "1")]);
        assert_eq!(sentences.lines().count(), 3, "{sentences}");
    }

    #[test]
    fn origins_are_exact() {
        for good in [
            "https://app.example.com",
            "http://app.example.com:8080",
            "http://localhost:*",
            "http://127.0.0.1:*",
        ] {
            assert_eq!(origin_flaw(good), None, "{good}");
        }
        for bad in [
            "*",
            "null",
            "https://example.com/",
            "https://Example.com",
            "https://example.com/app",
            "https://user@example.com",
            "https://example.com:*",
            "http://*.example.com:*",
            "ftp://example.com",
            "example.com",
            "https://",
        ] {
            assert!(origin_flaw(bad).is_some(), "{bad}");
        }
    }
}
