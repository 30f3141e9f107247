//! An example of every call.

use prost::Message;
use proto::{
    common::v1::{Permission, Role},
    identity::v1::{self as pb, revoke_all_sessions_request::Target},
};

use super::{About, Beyond};
use crate::support::{PASSWORD, issue_tokens, login, numbers, sign_up, someone};

/// A call that somebody who may make it succeeds with.
pub struct Example {
    pub method: &'static str,
    pub beyond: Beyond,
    pub bytes: fn(&About) -> Vec<u8>,
}

const fn example(method: &'static str, beyond: Beyond, bytes: fn(&About) -> Vec<u8>) -> Example {
    Example { method, beyond, bytes }
}

use Beyond::{
    ChangesRole, Grants, Makes, MakesKey, Managed, ManagedOther, Nothing, OfEveryone, OfTheAccount,
    Ranked,
};

pub const EXAMPLES: &[Example] = &[
    example("/identity.v1.AccountService/CloseAccount", Nothing, nothing),
    example("/identity.v1.AccountService/GetAccount", Nothing, nothing),
    example("/identity.v1.AccountService/ListAccounts", Nothing, nothing),
    example("/identity.v1.AccountService/ReopenAccount", Nothing, nothing),
    example("/identity.v1.AccountService/UpdateAccount", Nothing, |_| {
        let account = pb::Account { name: "Another".into(), ..Default::default() };
        pb::UpdateAccountRequest { account: Some(account), ..Default::default() }.encode_to_vec()
    }),
    example("/identity.v1.ApiKeyService/CreateApiKey", MakesKey(Permission::ViewAudit), |_| {
        new_key(Permission::ViewAudit)
    }),
    example(
        "/identity.v1.ApiKeyService/CreateApiKey",
        MakesKey(Permission::ManageStripeEndpoints),
        |_| new_key(Permission::ManageStripeEndpoints),
    ),
    example("/identity.v1.ApiKeyService/ListApiKeys", Nothing, nothing),
    example("/identity.v1.ApiKeyService/RevokeApiKey", Nothing, |about| {
        pb::RevokeApiKeyRequest { id: about.api_key, ..Default::default() }.encode_to_vec()
    }),
    example("/identity.v1.AuditService/ListAuditEvents", Nothing, nothing),
    example("/identity.v1.AuthService/ChangeEmail", Nothing, |_| {
        pb::ChangeEmailRequest {
            password: PASSWORD.into(),
            new_email: "elsewhere@example.com".into(),
            request_id: String::new(),
        }
        .encode_to_vec()
    }),
    example("/identity.v1.AuthService/ChangePassword", Nothing, |_| {
        pb::ChangePasswordRequest {
            old_password: PASSWORD.into(),
            new_password: "another good battery".into(),
        }
        .encode_to_vec()
    }),
    example("/identity.v1.AuthService/GetMe", Nothing, nothing),
    example("/identity.v1.AuthService/ListSessions", Nothing, nothing),
    example("/identity.v1.AuthService/RevokeAllSessions", Nothing, nothing),
    example("/identity.v1.AuthService/RevokeAllSessions", Managed, |about| {
        let target = Some(Target::EmployeeId(about.employee));
        pb::RevokeAllSessionsRequest { target }.encode_to_vec()
    }),
    example("/identity.v1.AuthService/RevokeAllSessions", OfEveryone, |_| {
        let target = Some(Target::WholeAccount(true));
        pb::RevokeAllSessionsRequest { target }.encode_to_vec()
    }),
    example("/identity.v1.AuthService/RevokeOtherSessions", Nothing, nothing),
    example("/identity.v1.AuthService/RevokeSession", Nothing, |about| {
        pb::RevokeSessionRequest { id: about.session }.encode_to_vec()
    }),
    example("/identity.v1.AuthService/UpdateMe", Nothing, |_| {
        let employee = Some(pb::Employee { name: "Myself".into(), ..Default::default() });
        pb::UpdateMeRequest { employee, ..Default::default() }.encode_to_vec()
    }),
    example("/identity.v1.EmployeeService/BatchGetEmployees", Nothing, |about| {
        pb::BatchGetEmployeesRequest { ids: vec![about.employee] }.encode_to_vec()
    }),
    example("/identity.v1.EmployeeService/CreateEmployee", Makes(Role::Employee), |_| {
        new_employee(Role::Employee)
    }),
    example("/identity.v1.EmployeeService/CreateEmployee", Makes(Role::Admin), |_| {
        new_employee(Role::Admin)
    }),
    example("/identity.v1.EmployeeService/CreateEmployee", Makes(Role::SuperAdmin), |_| {
        new_employee(Role::SuperAdmin)
    }),
    example("/identity.v1.EmployeeService/DeleteEmployee", Managed, |about| {
        pb::DeleteEmployeeRequest { id: about.employee, ..Default::default() }.encode_to_vec()
    }),
    example("/identity.v1.EmployeeService/GetEmployee", OfTheAccount, |about| {
        pb::GetEmployeeRequest { id: about.employee }.encode_to_vec()
    }),
    example("/identity.v1.EmployeeService/InviteEmployee", Makes(Role::Employee), |_| {
        invited(Role::Employee)
    }),
    example("/identity.v1.EmployeeService/InviteEmployee", Makes(Role::SuperAdmin), |_| {
        invited(Role::SuperAdmin)
    }),
    example("/identity.v1.EmployeeService/ListEmployees", Nothing, nothing),
    example("/identity.v1.EmployeeService/ListInvitations", Nothing, nothing),
    example("/identity.v1.EmployeeService/ListPermissions", Nothing, nothing),
    example("/identity.v1.EmployeeService/RevokeInvitation", Nothing, |about| {
        pb::RevokeInvitationRequest { id: about.invitation, ..Default::default() }.encode_to_vec()
    }),
    example("/identity.v1.EmployeeService/SendPasswordReset", Managed, |about| {
        pb::SendPasswordResetRequest { id: about.employee, ..Default::default() }.encode_to_vec()
    }),
    example("/identity.v1.EmployeeService/UndeleteEmployee", Managed, |about| {
        pb::UndeleteEmployeeRequest { id: about.employee, ..Default::default() }.encode_to_vec()
    }),
    example("/identity.v1.EmployeeService/UpdateEmployee", Managed, |about| {
        changed(pb::Employee { id: about.employee, name: "Eve".into(), ..Default::default() })
    }),
    example("/identity.v1.EmployeeService/UpdateEmployee", ManagedOther, |about| {
        let is_active = Some(false);
        changed(pb::Employee { id: about.employee, is_active, ..Default::default() })
    }),
    example("/identity.v1.EmployeeService/UpdateEmployee", ManagedOther, |about| {
        changed(pb::Employee { id: about.employee, job_role: "Boss".into(), ..Default::default() })
    }),
    example("/identity.v1.EmployeeService/UpdateEmployee", ChangesRole, |about| {
        let role = about.other_role.into();
        changed(pb::Employee { id: about.employee, role, ..Default::default() })
    }),
    example(
        "/identity.v1.EmployeeService/UpdatePermissions",
        Grants(Permission::ViewAllClients),
        |about| granted(about, Permission::ViewAllClients),
    ),
    example(
        "/identity.v1.EmployeeService/UpdatePermissions",
        Grants(Permission::ManageStripeEndpoints),
        |about| granted(about, Permission::ManageStripeEndpoints),
    ),
    example("/identity.v1.RoleService/AssignCompanyRole", Ranked, |about| {
        pb::AssignCompanyRoleRequest {
            employee_id: about.employee,
            company_role_id: about.company_role,
            ..Default::default()
        }
        .encode_to_vec()
    }),
    example("/identity.v1.RoleService/CreateCompanyRole", Nothing, |_| {
        let company_role = Some(pb::CompanyRole { name: "Setter".into(), ..Default::default() });
        pb::CreateCompanyRoleRequest { company_role, ..Default::default() }.encode_to_vec()
    }),
    example("/identity.v1.RoleService/DeleteCompanyRole", Nothing, |about| {
        pb::DeleteCompanyRoleRequest { id: about.company_role, ..Default::default() }
            .encode_to_vec()
    }),
    example("/identity.v1.RoleService/GetCompanyRole", Nothing, |about| {
        pb::GetCompanyRoleRequest { id: about.company_role }.encode_to_vec()
    }),
    example("/identity.v1.RoleService/GrantSystemRole", Ranked, |about| {
        let system_role = pb::SystemRole::TaskWorker.into();
        let employee_id = about.employee;
        pb::GrantSystemRoleRequest { employee_id, system_role, ..Default::default() }
            .encode_to_vec()
    }),
    example("/identity.v1.RoleService/ListCompanyRoles", Nothing, nothing),
    example("/identity.v1.RoleService/ListSystemRoles", Nothing, nothing),
    example("/identity.v1.RoleService/RevokeSystemRole", Ranked, |about| {
        let system_role = pb::SystemRole::User.into();
        let employee_id = about.employee;
        pb::RevokeSystemRoleRequest { employee_id, system_role, ..Default::default() }
            .encode_to_vec()
    }),
    example("/identity.v1.RoleService/UnassignCompanyRole", Ranked, |about| {
        pb::UnassignCompanyRoleRequest {
            employee_id: about.employee,
            company_role_id: about.company_role,
            ..Default::default()
        }
        .encode_to_vec()
    }),
    example("/identity.v1.RoleService/UpdateCompanyRole", Nothing, |about| {
        let description = "Sells".into();
        let company_role =
            Some(pb::CompanyRole { id: about.company_role, description, ..Default::default() });
        pb::UpdateCompanyRoleRequest { company_role, ..Default::default() }.encode_to_vec()
    }),
];

/// Calls that nobody need be signed in for.
pub const PUBLIC: &[Example] = &[
    example("/identity.v1.AuthService/IssueTokens", Nothing, |_| {
        issue_tokens("owner@example.com", PASSWORD, "").encode_to_vec()
    }),
    example("/identity.v1.AuthService/Login", Nothing, |_| {
        login("owner@example.com", PASSWORD).encode_to_vec()
    }),
    example("/identity.v1.AuthService/Logout", Nothing, nothing),
    example("/identity.v1.AuthService/SignUp", Nothing, |_| sign_up("newcomer").encode_to_vec()),
];

fn nothing(_: &About) -> Vec<u8> {
    Vec::new()
}

fn new_key(permission: Permission) -> Vec<u8> {
    let api_key = Some(pb::ApiKey {
        name: "another".into(),
        permissions: numbers(&[permission]),
        ..Default::default()
    });
    pb::CreateApiKeyRequest { api_key, ..Default::default() }.encode_to_vec()
}

fn new_employee(role: Role) -> Vec<u8> {
    let employee = Some(someone("newcomer", role));
    pb::CreateEmployeeRequest { employee, ..Default::default() }.encode_to_vec()
}

fn invited(role: Role) -> Vec<u8> {
    let email = "guest@example.com".into();
    let invitation = Some(pb::Invitation { email, role: role.into(), ..Default::default() });
    pb::InviteEmployeeRequest { invitation, ..Default::default() }.encode_to_vec()
}

fn changed(employee: pb::Employee) -> Vec<u8> {
    pb::UpdateEmployeeRequest { employee: Some(employee), ..Default::default() }.encode_to_vec()
}

fn granted(about: &About, permission: Permission) -> Vec<u8> {
    let permissions = numbers(&[permission]);
    pb::UpdatePermissionsRequest { id: about.employee, permissions, ..Default::default() }
        .encode_to_vec()
}
