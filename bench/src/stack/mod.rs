//! The stack that is measured: PostgreSQL, the services and the references, each a process.

mod child;
mod data;
pub mod grpc;
mod postgres;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use service_kit::{auth::SERVICE_HEADER, keys::Keyring};
use sqlx::PgPool;
use tokio::sync::OnceCell;

use crate::{
    Outcome,
    figures::process::Watched,
    options::Role,
    roles::{OPEN_TO, bare},
};

use child::Child;
pub use data::{Account, LOADED_PASSWORD};
use postgres::Postgres;

/// Of every process that has a pool.
const POOL_SIZE: u32 = 8;
/// So wide that nothing that is measured here is refused.
const ATTEMPTS: &str = "IDENTITY_ATTEMPTS_FACTOR";
const SECRET: &str = "a-secret-among-services";

/// A running stack. Its processes end with it.
pub struct Stack {
    pub identity: Service,
    pub crm: Service,
    pub bare: Service,
    /// crm-service without authorisation, started when it is first asked for.
    open: OnceCell<Service>,
    /// The same with a lease.
    lease: OnceCell<Service>,
    accounts: tokio::sync::Mutex<BTreeMap<u64, Arc<Account>>>,
    postgres: Postgres,
    crm_settings: Vec<(String, String)>,
    identity_keys: String,
}

/// A process that answers calls.
pub struct Service {
    pub address: SocketAddr,
    pub child: Child,
}

impl Service {
    fn start(role: Role, settings: &[(String, String)]) -> Outcome<Self> {
        let (child, address) = Child::start(role, settings)?;
        Ok(Self { address, child })
    }

    pub fn watched(&self, name: &str) -> Watched {
        Watched::process(name, self.child.pid())
    }
}

impl Stack {
    pub async fn start() -> Outcome<Self> {
        let postgres = Postgres::start().await?;
        let identity_keys = Keyring::generate();
        let identity_settings = identity_settings(&postgres, &identity_keys);
        let identity = Service::start(Role::Identity, &identity_settings)?;
        let crm_settings = crm_settings(&postgres, identity.address);
        let crm = Service::start(Role::Crm, &crm_settings)?;
        let bare_settings = [
            (bare::DATABASE_URL.to_owned(), postgres.owner_url()),
            (bare::POOL_SIZE.to_owned(), POOL_SIZE.to_string()),
        ];
        let bare = Service::start(Role::Bare, &bare_settings)?;
        Ok(Self {
            identity,
            crm,
            bare,
            open: OnceCell::new(),
            lease: OnceCell::new(),
            accounts: tokio::sync::Mutex::default(),
            postgres,
            crm_settings,
            identity_keys,
        })
    }

    /// As whom data is loaded: the owner, whom row security does not bind.
    pub fn owner(&self) -> &PgPool {
        self.postgres.owner()
    }

    pub fn watched_postgres(&self) -> Watched {
        Watched::family("postgres", self.postgres.pid())
    }

    pub fn owner_url(&self) -> String {
        self.postgres.owner_url()
    }

    /// An account with so many clients; the same one each time.
    pub async fn account(&self, clients: u64) -> Outcome<Arc<Account>> {
        let mut accounts = self.accounts.lock().await;
        if let Some(account) = accounts.get(&clients) {
            return Ok(account.clone());
        }
        let account = Arc::new(Account::load(self, clients).await?);
        accounts.insert(clients, account.clone());
        Ok(account)
    }

    /// crm-service to which everybody is the super admin of an account: the first that is asked
    /// for.
    pub async fn open_crm(&self, account: &Account) -> Outcome<&Service> {
        let open_to = format!("{}/{}", account.id, account.employee_id);
        self.open
            .get_or_try_init(|| async {
                let mut settings = self.crm_settings.clone();
                settings.push((OPEN_TO.to_owned(), open_to));
                Service::start(Role::CrmOpen, &settings)
            })
            .await
    }

    /// crm-service that keeps identity's answers while it holds a lease.
    pub async fn lease_crm(&self) -> Outcome<&Service> {
        self.lease
            .get_or_try_init(|| async {
                let mut settings = self.crm_settings.clone();
                settings.push(("CRM_AUTHORIZATION".to_owned(), "lease".to_owned()));
                Service::start(Role::Crm, &settings)
            })
            .await
    }

    /// identity-service with the usual limits on attempts, which believes what a proxy on this
    /// machine says.
    pub fn strict_identity(&self) -> Outcome<Service> {
        let mut settings = identity_settings(&self.postgres, &self.identity_keys);
        settings.retain(|(name, _)| name != ATTEMPTS);
        settings.push(("TRUSTED_PROXIES".to_owned(), "127.0.0.1".to_owned()));
        Service::start(Role::Identity, &settings)
    }

    /// What a service calls another with.
    pub fn service_metadata() -> (&'static str, String) {
        (SERVICE_HEADER, SECRET.to_owned())
    }
}

fn identity_settings(postgres: &Postgres, keys: &str) -> Vec<(String, String)> {
    owned([
        ("IDENTITY_DATABASE_URL", postgres.member_url("identity")),
        ("IDENTITY_LISTEN", "127.0.0.1:0".to_owned()),
        ("IDENTITY_ADMIN_LISTEN", "off".to_owned()),
        ("IDENTITY_KEYS", keys.to_owned()),
        ("IDENTITY_SERVICE_SECRETS", SECRET.to_owned()),
        (ATTEMPTS, "1000000".to_owned()),
        ("IDENTITY_MAIL_FOLDER", postgres.folder().join("mail").display().to_string()),
        ("DATABASE_POOL_SIZE", POOL_SIZE.to_string()),
    ])
}

fn crm_settings(postgres: &Postgres, identity: SocketAddr) -> Vec<(String, String)> {
    owned([
        ("CRM_DATABASE_URL", postgres.member_url("crm")),
        ("CRM_LISTEN", "127.0.0.1:0".to_owned()),
        ("CRM_ADMIN_LISTEN", "off".to_owned()),
        ("CRM_KEYS", Keyring::generate()),
        ("CRM_SERVICE_SECRET", SECRET.to_owned()),
        ("CRM_IDENTITY_URL", format!("http://{identity}")),
        ("DATABASE_POOL_SIZE", POOL_SIZE.to_string()),
    ])
}

fn owned<const N: usize>(settings: [(&str, String); N]) -> Vec<(String, String)> {
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
