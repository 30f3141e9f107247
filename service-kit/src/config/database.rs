//! Which database, how many connections to it, and as which role?

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Reader, Secret};

/// How a service reaches its database.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    pub url: Secret,
    pub pool: PoolSettings,
}

/// How it uses it, wherever it is.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Connections for transactions inside an account, and as many for look-ups.
    pub size: u32,
    /// Begins the names of the database roles, which all databases of a cluster share.
    pub role_prefix: String,
}

impl DatabaseSettings {
    /// `<PREFIX>_DATABASE_URL`; without it `DATABASE_URL`; without that the five `DB_*`;
    /// without any of them nothing, and the caller decides what then.
    pub fn read(reader: &mut Reader<'_>, prefix: &str) -> Option<Self> {
        let url = own_url(reader, &format!("{prefix}_DATABASE_URL"))
            .or_else(|| own_url(reader, "DATABASE_URL"))
            .or_else(|| url_of_parts(reader));
        let pool = PoolSettings::read(reader);
        url.map(|url| Self { url, pool })
    }
}

impl PoolSettings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let size = reader.parsed("DATABASE_POOL_SIZE", 8);
        if size == 0 {
            reader.problem("DATABASE_POOL_SIZE is 0: no query could ever run; write at least 1.");
        }
        Self { size, role_prefix: role_prefix(reader) }
    }
}

fn own_url(reader: &mut Reader<'_>, name: &str) -> Option<Secret> {
    let url = reader.secret(name)?;
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme)) {
        // The value itself holds the password: it is not repeated.
        reader.problem(format!(
            "{name} is not a URL that begins with postgres://: write it like that."
        ));
    }
    Some(url)
}

/// The five variables of the application before this one.
fn url_of_parts(reader: &mut Reader<'_>) -> Option<Secret> {
    let name = reader.text("DB_NAME");
    let user = reader.text("DB_USER");
    let password = reader.secret("DB_PASSWORD");
    let host = reader.text("DB_HOST");
    let port = reader.text("DB_PORT");
    if name.is_none() && user.is_none() && password.is_none() && host.is_none() && port.is_none() {
        return None;
    }
    for (setting, missing) in [("DB_NAME", name.is_none()), ("DB_USER", user.is_none())] {
        if missing {
            reader.problem(format!(
                "{setting} is missing beside the other DB_ settings: set it, or DATABASE_URL."
            ));
        }
    }
    let port: u16 = reader.parsed("DB_PORT", 5432);
    let credentials = match password {
        Some(password) => format!("{}:{}", encoded(&user?), encoded(password.expose())),
        None => encoded(&user?),
    };
    let host = host_part(host.as_deref().unwrap_or("localhost"));
    Some(Secret::new(format!("postgres://{credentials}@{host}:{port}/{}", encoded(&name?))))
}

/// A name, an address, or the folder of a socket.
fn host_part(host: &str) -> String {
    if host.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{host}]") } else { encoded(host) }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn role_prefix(reader: &mut Reader<'_>) -> String {
    let prefix = reader.text("DATABASE_ROLE_PREFIX").unwrap_or_default();
    if !prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        reader.problem(format!(
            "DATABASE_ROLE_PREFIX is {prefix:?}: use letters, digits and underscores only."
        ));
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn read(pairs: &[(&str, &str)]) -> (Option<DatabaseSettings>, String) {
        let source = Source::from(pairs.iter().copied());
        let mut reader = Reader::new(&source);
        let settings = DatabaseSettings::read(&mut reader, "CRM");
        let sentences = reader.finish(&["CRM_"]).err().map(|error| error.to_string());
        (settings, sentences.unwrap_or_default())
    }

    fn url(pairs: &[(&str, &str)]) -> String {
        let (settings, sentences) = read(pairs);
        assert_eq!(sentences, "");
        settings.unwrap().url.expose().to_owned()
    }

    #[test]
    fn the_most_particular_setting_wins() {
        let own = ("CRM_DATABASE_URL", "postgres://own");
        let shared = ("DATABASE_URL", "postgres://shared");
        let parts = [("DB_NAME", "crm"), ("DB_USER", "me")];
        assert_eq!(url(&[own, shared, parts[0], parts[1]]), "postgres://own");
        assert_eq!(url(&[shared, parts[0], parts[1]]), "postgres://shared");
        assert_eq!(url(&parts), "postgres://me@localhost:5432/crm");
        assert!(read(&[]).0.is_none());
    }

    #[test]
    fn parts_may_hold_any_character() {
        let parts = [("DB_NAME", "c/r"), ("DB_USER", "a@b"), ("DB_PASSWORD", "p:/?#")];
        assert_eq!(url(&parts), "postgres://a%40b:p%3A%2F%3F%23@localhost:5432/c%2Fr");
        let socket =
            [("DB_NAME", "crm"), ("DB_USER", "me"), ("DB_HOST", "/run/pg"), ("DB_PORT", "6000")];
        assert_eq!(url(&socket), "postgres://me@%2Frun%2Fpg:6000/crm");
        let v6 = [("DB_NAME", "crm"), ("DB_USER", "me"), ("DB_HOST", "::1")];
        assert_eq!(url(&v6), "postgres://me@[::1]:5432/crm");
    }

    #[test]
    fn half_of_the_parts_is_a_problem() {
        let (settings, sentences) = read(&[("DB_HOST", "db")]);
        assert!(settings.is_none());
        assert!(
            sentences.contains("DB_NAME is missing") && sentences.contains("DB_USER is missing")
        );
    }

    #[test]
    fn a_wrong_url_is_refused_and_not_repeated() {
        let (_, sentences) = read(&[("CRM_DATABASE_URL", "mysql://root:hunter2@db")]);
        assert!(
            sentences.contains("CRM_DATABASE_URL") && !sentences.contains("hunter2"),
            "{sentences}"
        );
    }

    #[test]
    fn roles_have_plain_names() {
        let base = ("DATABASE_URL", "postgres://db");
        assert_eq!(
            read(&[base, ("DATABASE_ROLE_PREFIX", "a1_")]).0.unwrap().pool.role_prefix,
            "a1_"
        );
        assert!(read(&[base, ("DATABASE_ROLE_PREFIX", "a-b")]).1.contains("letters, digits"));
    }
}
