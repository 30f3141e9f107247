//! Two services as two processes, on their way to being started.

use service_kit::keys::Keyring;

use crate::support::{Caller, Program, run};

pub const SECRET: &str = "a-secret-among-services";

/// The settings of both services; the ports are free ones that stay the same over a restart.
pub struct Services {
    pub identity: Vec<(&'static str, String)>,
    pub crm: Vec<(&'static str, String)>,
    pub identity_address: String,
    pub crm_address: String,
}

impl Services {
    /// Both on one database, migrated.
    pub fn on(database: &str) -> Self {
        Self::on_two(database, database)
    }

    /// Each on a database of its own.
    pub fn on_two(of_identity: &str, of_crm: &str) -> Self {
        let (identity_address, crm_address) = (free_address(), free_address());
        let identity = vec![
            ("IDENTITY_DATABASE_URL", of_identity.to_owned()),
            ("IDENTITY_LISTEN", identity_address.clone()),
            ("IDENTITY_ADMIN_LISTEN", "off".to_owned()),
            ("IDENTITY_KEYS", Keyring::generate()),
            ("IDENTITY_SERVICE_SECRETS", SECRET.to_owned()),
        ];
        let crm = vec![
            ("CRM_DATABASE_URL", of_crm.to_owned()),
            ("CRM_LISTEN", crm_address.clone()),
            ("CRM_ADMIN_LISTEN", "off".to_owned()),
            ("CRM_KEYS", Keyring::generate()),
            ("CRM_SERVICE_SECRET", SECRET.to_owned()),
            ("CRM_IDENTITY_URL", format!("http://{identity_address}")),
        ];
        let services = Self { identity, crm, identity_address, crm_address };
        services.migrate();
        services
    }

    pub fn migrate(&self) {
        run("identity-service", &["migrate"], &settings(&self.identity));
        run("crm-service", &["migrate"], &settings(&self.crm));
    }

    pub fn start_identity(&self) -> Program {
        start("identity-service", &self.identity)
    }

    pub fn start_crm(&self) -> Program {
        start("crm-service", &self.crm)
    }

    pub fn caller(&self) -> Caller {
        Caller::new(&self.identity_address, &self.crm_address)
    }
}

pub fn settings<'a>(of: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    of.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn start(name: &str, of: &[(&'static str, String)]) -> Program {
    let program = Program::start(name, &["serve"], &settings(of));
    program.line_with("ready to serve");
    program
}

/// Bound and let go again, from below the range out of which connections take theirs.
pub fn free_address() -> String {
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    (start..32_000)
        .chain(20_000..start)
        .map(|port| format!("127.0.0.1:{port}"))
        .find(|address| std::net::TcpListener::bind(address).is_ok() && taken_once(address))
        .unwrap()
}

/// No two tests of this program get the same one.
fn taken_once(address: &str) -> bool {
    static TAKEN: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap();
    let fresh = !taken.iter().any(|other| other == address);
    taken.push(address.to_owned());
    fresh
}
