//! Both services, running side by side, and people to call them with.

use std::{net::SocketAddr, time::Duration};

use crm_service::config::{
    Authorization, IMPORT_IDLE_LIMIT, IdentitySettings, WATCHERS_PER_ACCOUNT,
};
use identity_service::{SessionSettings, mail::settings::MailSettings};
use proto::{
    common::v1::Role,
    crm::v1::{self as pb, client_service_client::ClientServiceClient},
    identity::v1::{
        self as id, auth_service_client::AuthServiceClient,
        employee_service_client::EmployeeServiceClient,
    },
};
use service_kit::{
    config::{HousekeepingSettings, Secret, ServerSettings},
    keys::Keyring,
    serve::{Bound, serve},
    testing::{TestDatabase, http},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Request, transport::Channel};

pub const PASSWORD: &str = "correct horse battery";
pub const SERVICE_SECRET: &str = "a-secret-among-services";

/// The copy of identity's directory, which becomes true by itself.
const DIRECTORY: &[&str] = &["accounts", "directory_cursor", "employees"];

/// Two services, each with a database of its own. They end with the test.
pub struct Crm {
    pub channel: Channel,
    pub database: TestDatabase,
    pub identity: Identity,
    settings: crm_service::Settings,
    running: Option<Running>,
    /// Where its figures are, if anywhere.
    admin: Option<SocketAddr>,
}

/// A process, or what stands for one here: how it is told to stop, and when it has.
type Running = (CancellationToken, JoinHandle<()>);

/// The one that is asked about every call.
pub struct Identity {
    pub channel: Channel,
    pub database: TestDatabase,
    pub address: SocketAddr,
    settings: identity_service::Settings,
    running: Option<Running>,
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Person {
    pub token: String,
}

impl Crm {
    pub async fn start() -> Self {
        Self::known_by(SERVICE_SECRET).await
    }

    /// With some secret to prove itself to identity-service by.
    pub async fn known_by(service_secret: &str) -> Self {
        Self::with(service_secret, |_| {}).await
    }

    /// With settings changed.
    pub async fn with(
        service_secret: &str,
        change: impl FnOnce(&mut crm_service::Settings),
    ) -> Self {
        Self::beside_identity(Identity::start().await, service_secret, change).await
    }

    /// One that keeps identity's answers, and may by now.
    pub async fn leased() -> Self {
        Self::leased_by(Identity::start().await).await
    }

    pub async fn leased_by(identity: Identity) -> Self {
        let crm = Self::beside_identity(identity, SERVICE_SECRET, |settings| {
            settings.authorization = Authorization::Lease;
            settings.server.admin_listen = Some(([127, 0, 0, 1], 0).into());
        });
        let crm = crm.await;
        crm.wait_for_lease().await;
        crm
    }

    /// Waits until answers are kept.
    pub async fn wait_for_lease(&self) {
        for _ in 0..400 {
            if self.figure("lease_held").await == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("no lease within ten seconds");
    }

    /// What its metrics say.
    pub async fn figure(&self, name: &str) -> i64 {
        let figures = http::get(&self.admin.unwrap().to_string(), "/metrics").await;
        let mut lines = figures.lines().filter(|line| line.starts_with(name));
        lines.next().unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    async fn beside_identity(
        identity: Identity,
        service_secret: &str,
        change: impl FnOnce(&mut crm_service::Settings),
    ) -> Self {
        let database = TestDatabase::new(&crm_service::SCHEMA).await.ignoring(DIRECTORY);
        let mut settings = crm_service::Settings {
            server: ServerSettings::loopback(),
            database: Some(database.settings.clone()),
            keys: Some(Secret::new(Keyring::generate())),
            identity: IdentitySettings {
                url: format!("http://{}", identity.address),
                is_named: true,
                service_secret: Some(Secret::new(service_secret)),
                ca_file: None,
            },
            authorization: Authorization::Call,
            housekeeping: HousekeepingSettings::default(),
            public_url: "http://crm.example".into(),
            import_idle_limit: IMPORT_IDLE_LIMIT,
            watchers_per_account: WATCHERS_PER_ACCOUNT,
        };
        change(&mut settings);
        let bound = Bound::bind(&settings.server).await.unwrap();
        settings.server.listen = bound.address();
        let (channel, admin) = (channel(bound.address()), bound.admin_address());
        let running = Some(run(&settings, bound).await);
        Self { channel, database, identity, settings, running, admin }
    }

    /// Ends it as a restart would: its port is closed until it is started again.
    pub async fn stop(&mut self) {
        let (stop, ended) = self.running.take().unwrap();
        stop.cancel();
        ended.await.unwrap();
    }

    pub async fn start_again(&mut self) {
        let bound = Bound::bind(&self.settings.server).await.unwrap();
        self.running = Some(run(&self.settings, bound).await);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.settings.server.listen
    }

    /// Another process of crm-service, on the same database.
    pub async fn beside(&self) -> (Channel, Running) {
        let bound = Bound::bind(&ServerSettings::loopback()).await.unwrap();
        (channel(bound.address()), run(&self.settings, bound).await)
    }

    pub fn clients(&self) -> ClientServiceClient<Channel> {
        ClientServiceClient::new(self.channel.clone())
    }

    /// Signs a company up, whose first super admin is the answer.
    pub async fn sign_up(&self, name: &str) -> Person {
        let request = id::SignUpRequest {
            account: Some(id::SignUpAccount {
                name: name.into(),
                default_currency: "CHF".into(),
                ..Default::default()
            }),
            employee: Some(id::SignUpEmployee {
                email: format!("{name}@example.com"),
                password: PASSWORD.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut auth = AuthServiceClient::new(self.identity.channel.clone());
        Person { token: auth.sign_up(request).await.unwrap().into_inner().token }
    }

    /// Adds a person of a role to somebody's account, and logs them in.
    pub async fn add(&self, by: &Person, name: &str, role: Role) -> Person {
        let email = format!("{name}@example.com");
        let request = id::CreateEmployeeRequest {
            employee: Some(id::Employee {
                email: email.clone(),
                role: role.into(),
                ..Default::default()
            }),
            password: PASSWORD.into(),
            request_id: String::new(),
        };
        let mut employees = EmployeeServiceClient::new(self.identity.channel.clone());
        employees.create_employee(signed(by, request)).await.unwrap();
        let mut auth = AuthServiceClient::new(self.identity.channel.clone());
        let login = id::LoginRequest { email, password: PASSWORD.into() };
        Person { token: auth.login(login).await.unwrap().into_inner().token }
    }

    pub async fn create(&self, by: &Person, client: pb::Client) -> pb::Client {
        let request = pb::CreateClientRequest { client: Some(client), request_id: String::new() };
        self.clients()
            .create_client(signed(by, request))
            .await
            .unwrap()
            .into_inner()
            .client
            .unwrap()
    }

    pub async fn get(&self, by: &Person, id: i64) -> Result<pb::Client, tonic::Status> {
        let answer = self.clients().get_client(signed(by, pb::GetClientRequest { id })).await?;
        Ok(answer.into_inner().client.unwrap())
    }

    pub async fn delete(&self, by: &Person, id: i64) -> pb::Client {
        let request = pb::DeleteClientRequest { id, ..Default::default() };
        self.clients()
            .delete_client(signed(by, request))
            .await
            .unwrap()
            .into_inner()
            .client
            .unwrap()
    }

    pub async fn list(
        &self,
        by: &Person,
        request: pb::ListClientsRequest,
    ) -> pb::ListClientsResponse {
        self.clients().list_clients(signed(by, request)).await.unwrap().into_inner()
    }
}

impl Identity {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With settings changed.
    pub async fn with(change: impl FnOnce(&mut identity_service::Settings)) -> Self {
        let database = TestDatabase::new(&identity_service::SCHEMA).await;
        let mut settings = identity_service::Settings {
            server: ServerSettings::loopback(),
            database: Some(database.settings.clone()),
            keys: Some(Secret::new(Keyring::generate())),
            service_secrets: Some(Secret::new(SERVICE_SECRET)),
            hashing_threads: 2,
            sign_up: true,
            require_verified_email: false,
            attempts_factor: 1000,
            sessions: SessionSettings::default(),
            mail: MailSettings::into_folder(std::env::temp_dir().join("clientele-letters")),
            housekeeping: HousekeepingSettings::default(),
        };
        change(&mut settings);
        let bound = Bound::bind(&settings.server).await.unwrap();
        let address = bound.address();
        let mut identity =
            Self { channel: channel(address), database, address, settings, running: None };
        identity.run(bound).await;
        identity
    }

    /// Another process of identity-service, on the same database.
    pub async fn beside(&self) -> (Channel, Running) {
        let server = ServerSettings::loopback();
        let bound = Bound::bind(&server).await.unwrap();
        let app = identity_service::app(&self.settings, None).await.unwrap();
        let (at, stop) = (channel(bound.address()), CancellationToken::new());
        let stopped = stop.clone();
        let ended = tokio::spawn(async move { serve(app, bound, &server, stopped).await.unwrap() });
        (at, (stop, ended))
    }

    /// Ends it as a restart would: its port is closed until it is started again.
    pub async fn stop(&mut self) {
        let (stop, ended) = self.running.take().unwrap();
        stop.cancel();
        ended.await.unwrap();
    }

    pub async fn start_again(&mut self) {
        self.settings.server.listen = self.address;
        let bound = Bound::bind(&self.settings.server).await.unwrap();
        self.run(bound).await;
    }

    async fn run(&mut self, bound: Bound) {
        let app = identity_service::app(&self.settings, None).await.unwrap();
        let (stop, server) = (CancellationToken::new(), self.settings.server.clone());
        let stopped = stop.clone();
        let ended = tokio::spawn(async move { serve(app, bound, &server, stopped).await.unwrap() });
        self.running = Some((stop, ended));
    }
}

async fn run(settings: &crm_service::Settings, bound: Bound) -> Running {
    let app = crm_service::app(settings, None).await.unwrap();
    let (stop, server) = (CancellationToken::new(), settings.server.clone());
    let stopped = stop.clone();
    (stop, tokio::spawn(async move { serve(app, bound, &server, stopped).await.unwrap() }))
}

fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// A request with somebody's token.
pub fn signed<T>(by: &Person, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Token {}", by.token).parse().unwrap());
    request
}

/// A client of this name and nothing else.
pub fn named(first_name: &str, last_name: &str) -> pb::Client {
    pb::Client { first_name: first_name.into(), last_name: last_name.into(), ..Default::default() }
}
