//! What the people of an account are told by identity-service: who they are and what they may.

use proto::{
    common::v1::{Permission, Role},
    crm::v1 as pb,
    identity::v1::{
        self as id, EmployeeClientVisibility, account_service_client::AccountServiceClient,
        api_key_service_client::ApiKeyServiceClient, auth_service_client::AuthServiceClient,
        employee_service_client::EmployeeServiceClient,
    },
};
use tonic::Request;

use crate::support::{Crm, Person, signed};

/// An employee, and their id.
#[derive(Debug, Clone)]
pub struct Employee {
    pub person: Person,
    pub id: i64,
}

impl Crm {
    pub async fn id_of(&self, person: &Person) -> i64 {
        let mut auth = AuthServiceClient::new(self.identity.channel.clone());
        let answer = auth.get_me(signed(person, id::GetMeRequest {})).await.unwrap();
        answer.into_inner().employee.unwrap().id
    }

    /// Adds a person of no rank to somebody's account.
    pub async fn hire(&self, by: &Person, name: &str) -> Employee {
        let person = self.add(by, name, Role::Employee).await;
        let id = self.id_of(&person).await;
        Employee { person, id }
    }

    /// Lets employees see the clients only in which they have a part.
    pub async fn show_only_assigned(&self, by: &Person) {
        let employee_client_visibility = EmployeeClientVisibility::Assigned.into();
        self.set(by, id::AccountSettings { employee_client_visibility, ..Default::default() })
            .await;
    }

    /// The same, and makes somebody the coach of one.
    pub async fn assign(&self, by: &Person, to: &Person, client_id: i64) {
        self.show_only_assigned(by).await;
        let client =
            pb::Client { id: client_id, coach_id: self.id_of(to).await, ..Default::default() };
        self.update(by, client, &["coach_id"]).await.unwrap();
    }

    /// Changes the account's settings.
    pub async fn set(&self, by: &Person, settings: id::AccountSettings) {
        let account = id::Account { settings: Some(settings), ..Default::default() };
        let request = id::UpdateAccountRequest { account: Some(account), ..Default::default() };
        let mut accounts = AccountServiceClient::new(self.identity.channel.clone());
        accounts.update_account(signed(by, request)).await.unwrap();
    }

    /// Grants permissions to somebody beyond their role, and takes away the others.
    pub async fn grant(&self, by: &Person, to: &Person, permissions: &[Permission]) {
        let request = id::UpdatePermissionsRequest {
            id: self.id_of(to).await,
            permissions: permissions.iter().map(|permission| (*permission).into()).collect(),
            ..Default::default()
        };
        let mut employees = EmployeeServiceClient::new(self.identity.channel.clone());
        employees.update_permissions(signed(by, request)).await.unwrap();
    }

    pub async fn deactivate(&self, by: &Person, id: i64) {
        self.set_active(by, id, false).await;
    }

    pub async fn set_active(&self, by: &Person, id: i64, is_active: bool) {
        let request = id::UpdateEmployeeRequest {
            employee: Some(id::Employee { id, is_active: Some(is_active), ..Default::default() }),
            ..Default::default()
        };
        let mut employees = EmployeeServiceClient::new(self.identity.channel.clone());
        employees.update_employee(signed(by, request)).await.unwrap();
    }

    pub async fn dismiss(&self, by: &Person, id: i64) {
        let request = id::DeleteEmployeeRequest { id, ..Default::default() };
        let mut employees = EmployeeServiceClient::new(self.identity.channel.clone());
        employees.delete_employee(signed(by, request)).await.unwrap();
    }

    /// A key for a program that may do so much.
    pub async fn key(&self, by: &Person, permissions: &[Permission]) -> Key {
        let permissions = permissions.iter().map(|permission| (*permission).into()).collect();
        let api_key = id::ApiKey { name: "Program".into(), permissions, ..Default::default() };
        let request = id::CreateApiKeyRequest { api_key: Some(api_key), ..Default::default() };
        let mut keys = ApiKeyServiceClient::new(self.identity.channel.clone());
        Key(keys.create_api_key(signed(by, request)).await.unwrap().into_inner().secret)
    }
}

/// The secret of an API key.
pub struct Key(String);

impl Key {
    /// A request by the program that has it.
    pub fn signed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.0).parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        request
    }
}
