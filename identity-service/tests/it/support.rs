//! A running identity-service, and people to call it with.

mod letters;
mod requests;
mod secrets;

use std::{net::SocketAddr, time::Duration};

use identity_service::{SCHEMA, SessionSettings, Settings, mail::settings::MailSettings};
use proto::{
    common::v1::{ErrorReason, Permission, Role},
    identity::v1::{
        self as pb, account_service_client::AccountServiceClient,
        api_key_service_client::ApiKeyServiceClient, audit_service_client::AuditServiceClient,
        auth_service_client::AuthServiceClient, directory_service_client::DirectoryServiceClient,
        employee_service_client::EmployeeServiceClient, role_service_client::RoleServiceClient,
        token_service_client::TokenServiceClient, validate_token_response::Outcome,
    },
};
use service_kit::{
    config::{HousekeepingSettings, Secret, ServerSettings},
    keys::Keyring,
    serve::{Bound, serve},
    testing::TestDatabase,
};
use sqlx::{AssertSqlSafe, FromRow, postgres::PgRow};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, transport::Channel};

pub use self::{letters::code_in, requests::*, secrets::*};

pub const PASSWORD: &str = "correct horse battery";
pub const SERVICE_SECRET: &str = "a-secret-among-services";

/// One service with a database of its own. Ends when it is dropped.
pub struct Identity {
    pub channel: Channel,
    pub address: SocketAddr,
    pub database: TestDatabase,
    keys: String,
    admin: String,
    letters: TempDir,
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

    /// With settings of the server changed.
    pub async fn with(change: impl FnOnce(&mut ServerSettings)) -> Self {
        Self::set_up(|settings| change(&mut settings.server)).await
    }

    /// With any settings changed.
    pub async fn set_up(change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(TestDatabase::new(&SCHEMA).await, Keyring::generate(), change).await
    }

    /// With as many attempts as there are in production, for callers from several networks:
    /// see [`coming_from`].
    pub async fn with_limits() -> Self {
        Self::set_up(|settings| {
            settings.attempts_factor = 1;
            settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        })
        .await
    }

    /// Another process on the same database, with the same keys.
    pub async fn replica(&self) -> Self {
        self.replica_with_keys(&self.keys).await
    }

    /// The same, with any settings changed.
    pub async fn changed_replica(&self, change: impl FnOnce(&mut Settings)) -> Self {
        Self::on(self.database.clone(), self.keys.clone(), change).await
    }

    /// Another process on the same database, with keys of its own.
    pub async fn replica_with_keys(&self, keys: &str) -> Self {
        Self::on(self.database.clone(), keys.to_owned(), |_| {}).await
    }

    /// Ends it and starts one with other keys on the same database.
    pub async fn with_keys(self, keys: &str) -> Self {
        let Self { database, .. } = self;
        Self::on(database, keys.to_owned(), |_| {}).await
    }

    /// On a database that is there.
    pub async fn on(
        database: TestDatabase,
        keys: String,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let letters = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            server: ServerSettings {
                admin_listen: Some(([127, 0, 0, 1], 0).into()),
                ..ServerSettings::loopback()
            },
            database: Some(database.settings.clone()),
            keys: Some(Secret::new(keys.clone())),
            service_secrets: Some(Secret::new(format!("an-older-secret-of-ours,{SERVICE_SECRET}"))),
            hashing_threads: 2,
            sign_up: true,
            require_verified_email: false,
            attempts_factor: 1000,
            sessions: SessionSettings::default(),
            mail: MailSettings::into_folder(letters.path().to_owned()),
            housekeeping: HousekeepingSettings::default(),
        };
        change(&mut settings);
        let bound = Bound::bind(&settings.server).await.unwrap();
        let (address, admin) = (bound.address(), bound.admin_address().unwrap());
        let app = identity_service::app(&settings, None).await.unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move { serve(app, bound, &settings.server, stopped).await });
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let admin = admin.to_string();
        let stop = stop.drop_guard();
        Self { channel, address, database, keys, admin, letters, _stop: stop }
    }

    pub fn auth(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(self.channel.clone())
    }

    pub fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.channel.clone())
    }

    pub fn api_keys(&self) -> ApiKeyServiceClient<Channel> {
        ApiKeyServiceClient::new(self.channel.clone())
    }

    pub fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone())
    }

    pub fn directory(&self) -> DirectoryServiceClient<Channel> {
        DirectoryServiceClient::new(self.channel.clone())
    }

    pub fn roles(&self) -> RoleServiceClient<Channel> {
        RoleServiceClient::new(self.channel.clone())
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

    /// Adds a person who has no password: nobody logs in as them, and no hash is computed.
    pub async fn hire(&self, by: &Person, employee: pb::Employee) -> pb::Employee {
        let request = pb::CreateEmployeeRequest { employee: Some(employee), ..Default::default() };
        let made = self.employees().create_employee(signed(by, request)).await.unwrap();
        made.into_inner().employee.unwrap()
    }

    /// The person behind a token.
    pub async fn me(&self, token: &str) -> Result<pb::Employee, Status> {
        let answer = self.auth().get_me(bearing(token, pb::GetMeRequest {})).await?;
        Ok(answer.into_inner().employee.unwrap())
    }

    /// A person as somebody sees them.
    pub async fn seen(&self, by: &Person, id: i64) -> Result<pb::Employee, Status> {
        let answer =
            self.employees().get_employee(signed(by, pb::GetEmployeeRequest { id })).await?;
        Ok(answer.into_inner().employee.unwrap())
    }

    /// Changes what is named of a person or, where nothing is named, what is there.
    pub async fn update(
        &self,
        by: &Person,
        employee: pb::Employee,
        paths: &[&str],
    ) -> Result<pb::Employee, Status> {
        let request = pb::UpdateEmployeeRequest {
            employee: Some(employee),
            update_mask: mask(paths),
            request_id: String::new(),
        };
        let answer = self.employees().update_employee(signed(by, request)).await?;
        Ok(answer.into_inner().employee.unwrap())
    }

    /// Somebody gives themselves a name.
    pub async fn set_name(&self, by: &Person, name: &str) {
        let employee = pb::Employee { id: by.id, name: name.into(), ..Default::default() };
        self.update(by, employee, &[]).await.unwrap();
    }

    pub async fn set_role(&self, by: &Person, id: i64, role: Role) -> Result<pb::Employee, Status> {
        let employee = pb::Employee { id, role: role.into(), ..Default::default() };
        self.update(by, employee, &[]).await
    }

    pub async fn set_active(
        &self,
        by: &Person,
        id: i64,
        active: bool,
    ) -> Result<pb::Employee, Status> {
        let employee = pb::Employee { id, is_active: Some(active), ..Default::default() };
        self.update(by, employee, &[]).await
    }

    /// Sets all that is granted to a person.
    pub async fn grant(
        &self,
        by: &Person,
        id: i64,
        permissions: &[Permission],
    ) -> Result<pb::Employee, Status> {
        let permissions = numbers(permissions);
        let request = pb::UpdatePermissionsRequest { id, permissions, ..Default::default() };
        let answer = self.employees().update_permissions(signed(by, request)).await?;
        Ok(answer.into_inner().employee.unwrap())
    }

    pub async fn delete(&self, by: &Person, id: i64) -> Result<pb::Employee, Status> {
        let request = pb::DeleteEmployeeRequest { id, ..Default::default() };
        let answer = self.employees().delete_employee(signed(by, request)).await?;
        Ok(answer.into_inner().employee.unwrap())
    }

    pub async fn undelete(&self, by: &Person, id: i64) -> Result<pb::Employee, Status> {
        let request = pb::UndeleteEmployeeRequest { id, ..Default::default() };
        let answer = self.employees().undelete_employee(signed(by, request)).await?;
        Ok(answer.into_inner().employee.unwrap())
    }

    /// Makes a company role; returns its id.
    pub async fn company_role(&self, by: &Person, name: &str) -> i64 {
        let company_role = Some(pb::CompanyRole { name: name.into(), ..Default::default() });
        let request = pb::CreateCompanyRoleRequest { company_role, request_id: String::new() };
        let made = self.roles().create_company_role(signed(by, request)).await.unwrap();
        made.into_inner().company_role.unwrap().id
    }

    pub async fn assign(&self, by: &Person, employee_id: i64, company_role_id: i64) {
        let request = pb::AssignCompanyRoleRequest {
            employee_id,
            company_role_id,
            request_id: String::new(),
        };
        self.roles().assign_company_role(signed(by, request)).await.unwrap();
    }

    /// What the database holds, as its owner sees it.
    pub async fn rows<T>(&self, query: &str) -> Vec<T>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let query = sqlx::query_as(AssertSqlSafe(query.to_owned()));
        query.fetch_all(&self.database.owner).await.unwrap()
    }

    /// What a call answers that meets a change of somebody else's before it is committed.
    pub async fn overtaken<T>(&self, change: &str, call: impl Future<Output = T>) -> T {
        self.overtaken_behind(change, "SELECT 1", call).await
    }

    /// The same, where the change comes when the call already waits behind what was done first.
    pub async fn overtaken_behind<T>(
        &self,
        first: &str,
        change: &str,
        call: impl Future<Output = T>,
    ) -> T {
        let mut other = self.database.owner.begin().await.unwrap();
        sqlx::query(AssertSqlSafe(first.to_owned())).execute(&mut *other).await.unwrap();
        let commit = async {
            let waits = "SELECT count(*) FROM pg_stat_activity
                         WHERE datname = current_database() AND wait_event_type = 'Lock'";
            for _ in 0..500 {
                if self.rows::<(i64,)>(waits).await[0].0 > 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            sqlx::query(AssertSqlSafe(change.to_owned())).execute(&mut *other).await.unwrap();
            other.commit().await.unwrap();
        };
        tokio::join!(call, commit).0
    }

    pub async fn log_in(&self, email: &str) -> Person {
        let answer = self.auth().login(login(email, PASSWORD)).await.unwrap().into_inner();
        person(answer.token, answer.employee.unwrap())
    }

    /// Opens a session on a device of somebody.
    pub async fn open_session(&self, of: &Person, device_label: &str) -> pb::IssueTokensResponse {
        let request = issue_tokens(&of.email, PASSWORD, device_label);
        self.auth().issue_tokens(request).await.unwrap().into_inner()
    }

    /// The next pair for a refresh token.
    pub async fn refresh(&self, refresh_token: &str) -> Result<pb::RefreshTokensResponse, Status> {
        let request = pb::RefreshTokensRequest { refresh_token: refresh_token.to_owned() };
        Ok(self.auth().refresh_tokens(request).await?.into_inner())
    }

    /// Somebody's sessions as they see them, newest first.
    pub async fn sessions(&self, credential: &str) -> Vec<pb::Session> {
        let request = bearing(credential, pb::ListSessionsRequest {});
        self.auth().list_sessions(request).await.unwrap().into_inner().sessions
    }

    /// Makes an API key; returns what a program calls with.
    pub async fn api_key(&self, by: &Person, permissions: &[Permission]) -> String {
        self.new_api_key(by, permissions).await.secret
    }

    /// Makes an API key.
    pub async fn new_api_key(
        &self,
        by: &Person,
        permissions: &[Permission],
    ) -> pb::CreateApiKeyResponse {
        let request = create_api_key(permissions);
        self.api_keys().create_api_key(signed(by, request)).await.unwrap().into_inner()
    }

    /// Who it is that a credential stands for, as other services learn it.
    pub async fn validated(&self, credential: &str) -> pb::Identity {
        match self.validate(credential).await {
            Outcome::Identity(identity) => identity,
            Outcome::Refusal(refused) => panic!("{refused:?}"),
        }
    }

    /// Why a credential stands for nobody, as other services learn it.
    pub async fn not_validated(&self, credential: &str) -> ErrorReason {
        match self.validate(credential).await {
            Outcome::Identity(identity) => panic!("{identity:?}"),
            Outcome::Refusal(refused) => refused.reason(),
        }
    }

    /// What the service says about a credential to a service that may ask.
    pub async fn validate(&self, credential: &str) -> Outcome {
        let request = from_service(pb::ValidateTokenRequest { credential: credential.to_owned() });
        let mut client = TokenServiceClient::new(self.channel.clone());
        client.validate_token(request).await.unwrap().into_inner().outcome.unwrap()
    }

    /// Every row, digested, once nothing is written by itself any more: equal before and after a
    /// call that wrote nothing.
    pub async fn digest(&self) -> Vec<(String, Option<String>)> {
        self.no_letters_left().await;
        self.database.digest().await
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

fn person(token: String, employee: pb::Employee) -> Person {
    Person { token, id: employee.id, account_id: employee.account_id, email: employee.email }
}
