//! A running identity-service, and people to call it with.

use std::net::SocketAddr;

use identity_service::{SCHEMA, Settings};
use proto::{
    common::v1::Role,
    identity::v1::{
        self as pb, auth_service_client::AuthServiceClient,
        employee_service_client::EmployeeServiceClient, token_service_client::TokenServiceClient,
    },
};
use service_kit::{
    config::{Secret, ServerSettings},
    keys::Keyring,
    serve::{Bound, serve},
    testing::TestDatabase,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, transport::Channel};

pub const PASSWORD: &str = "correct horse battery";
pub const SERVICE_SECRET: &str = "a-secret-among-services";

/// One service with a database of its own. Ends when it is dropped.
pub struct Identity {
    pub channel: Channel,
    pub address: SocketAddr,
    pub database: TestDatabase,
    admin: String,
    _stop: DropGuard,
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Person {
    pub token: String,
    pub id: i64,
    pub account_id: i64,
    pub email: String,
}

impl Identity {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With settings changed.
    pub async fn with(change: impl FnOnce(&mut ServerSettings)) -> Self {
        let database = TestDatabase::new(&SCHEMA).await;
        let mut settings = Settings {
            server: ServerSettings {
                admin_listen: Some(([127, 0, 0, 1], 0).into()),
                ..ServerSettings::loopback()
            },
            database: Some(database.settings.clone()),
            keys: Some(Secret::new(Keyring::generate())),
            service_secrets: Some(Secret::new(format!("an-older-secret-of-ours,{SERVICE_SECRET}"))),
            hashing_threads: 2,
        };
        change(&mut settings.server);
        let bound = Bound::bind(&settings.server).await.unwrap();
        let (address, admin) = (bound.address(), bound.admin_address().unwrap());
        let app = identity_service::app(&settings, None).await.unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move { serve(app, bound, &settings.server, stopped).await });
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        Self { channel, address, database, admin: admin.to_string(), _stop: stop.drop_guard() }
    }

    pub fn auth(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(self.channel.clone())
    }

    pub fn employees(&self) -> EmployeeServiceClient<Channel> {
        EmployeeServiceClient::new(self.channel.clone())
    }

    /// Signs a company up whose super admin is `<name>@example.com`.
    pub async fn sign_up(&self, name: &str) -> Person {
        let answer = self.auth().sign_up(sign_up(name)).await.unwrap().into_inner();
        person(answer.token, answer.employee.unwrap())
    }

    /// Adds a person of a role to somebody's account, and logs them in.
    pub async fn add(&self, by: &Person, name: &str, role: Role) -> Person {
        let request = create_employee(name, role);
        let email = request.employee.clone().unwrap().email;
        self.employees().create_employee(signed(by, request)).await.unwrap();
        self.log_in(&email).await
    }

    pub async fn log_in(&self, email: &str) -> Person {
        let answer = self.auth().login(login(email, PASSWORD)).await.unwrap().into_inner();
        person(answer.token, answer.employee.unwrap())
    }

    /// What the service says about a credential to a service that may ask.
    pub async fn validate(&self, credential: &str) -> pb::validate_token_response::Outcome {
        let mut request =
            Request::new(pb::ValidateTokenRequest { credential: credential.to_owned() });
        request.metadata_mut().insert("x-service-authorization", SERVICE_SECRET.parse().unwrap());
        let mut client = TokenServiceClient::new(self.channel.clone());
        client.validate_token(request).await.unwrap().into_inner().outcome.unwrap()
    }

    /// A figure from the metrics, summed over its labels.
    pub async fn figure(&self, name: &str) -> u64 {
        service_kit::testing::http::get(&self.admin, "/metrics")
            .await
            .lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum()
    }
}

pub fn sign_up(name: &str) -> pb::SignUpRequest {
    pb::SignUpRequest {
        account: Some(pb::SignUpAccount { name: format!("{name} Ltd"), ..Default::default() }),
        employee: Some(pb::SignUpEmployee {
            email: format!("{name}@example.com"),
            password: PASSWORD.to_owned(),
            ..Default::default()
        }),
        request_id: String::new(),
    }
}

pub fn create_employee(name: &str, role: Role) -> pb::CreateEmployeeRequest {
    pb::CreateEmployeeRequest {
        employee: Some(pb::Employee {
            email: format!("{name}@example.com"),
            role: role.into(),
            ..Default::default()
        }),
        password: PASSWORD.to_owned(),
        request_id: String::new(),
    }
}

pub fn login(email: &str, password: &str) -> pb::LoginRequest {
    pb::LoginRequest { email: email.to_owned(), password: password.to_owned() }
}

/// A request with somebody's token.
pub fn signed<T>(by: &Person, message: T) -> Request<T> {
    bearing(&by.token, message)
}

/// A request with a token, whatever it is.
pub fn bearing<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Token {token}").parse().unwrap());
    request
}

fn person(token: String, employee: pb::Employee) -> Person {
    Person { token, id: employee.id, account_id: employee.account_id, email: employee.email }
}
