//! Requests as most tests make them, and by whom they are made.

use prost_types::FieldMask;
use proto::{
    common::v1::{Permission, Role},
    identity::v1 as pb,
};
use tonic::Request;

use super::{PASSWORD, Person, SERVICE_SECRET};

pub fn sign_up(name: &str) -> pb::SignUpRequest {
    pb::SignUpRequest {
        account: Some(pb::SignUpAccount { name: format!("{name} Ltd"), ..Default::default() }),
        employee: Some(pb::SignUpEmployee {
            email: format!("{name}@example.com"),
            password: PASSWORD.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
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

pub fn issue_tokens(email: &str, password: &str, device_label: &str) -> pb::IssueTokensRequest {
    pb::IssueTokensRequest {
        email: email.to_owned(),
        password: password.to_owned(),
        device_label: device_label.to_owned(),
    }
}

pub fn create_api_key(permissions: &[Permission]) -> pb::CreateApiKeyRequest {
    let api_key = pb::ApiKey {
        name: "robot".to_owned(),
        permissions: numbers(permissions),
        ..Default::default()
    };
    pb::CreateApiKeyRequest { api_key: Some(api_key), request_id: String::new() }
}

/// Somebody to be hired.
pub fn someone(name: &str, role: Role) -> pb::Employee {
    create_employee(name, role).employee.unwrap()
}

/// A mask of these paths; none where there are none.
pub fn mask(paths: &[&str]) -> Option<FieldMask> {
    let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
    (!paths.is_empty()).then_some(FieldMask { paths })
}

/// Permissions as they go over the wire.
pub fn numbers(permissions: &[Permission]) -> Vec<i32> {
    permissions.iter().copied().map(Into::into).collect()
}

/// A call that a proxy passed on for somebody at an address.
pub fn coming_from<T>(address: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-forwarded-for", address.parse().unwrap());
    request
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

/// A request of another service.
pub fn from_service<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-service-authorization", SERVICE_SECRET.parse().unwrap());
    request
}
