//! Who may call which method of identity-service.

use proto::common::v1::Permission::ManageEmployees;
use service_kit::policy::{
    Access::{Needs, Public, Service, SignedIn},
    Rule, rule,
};

#[rustfmt::skip]
pub const POLICY: &[Rule] = &[
    //    method                                        who may call it
    rule("/identity.v1.AuthService/GetMe",              SignedIn),
    rule("/identity.v1.AuthService/Login",              Public),
    rule("/identity.v1.AuthService/Logout",             Public),
    rule("/identity.v1.AuthService/SignUp",             Public),
    rule("/identity.v1.EmployeeService/CreateEmployee", Needs(ManageEmployees)),
    rule("/identity.v1.TokenService/ValidateToken",     Service),
];
