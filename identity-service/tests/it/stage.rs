//! One account with everybody in it whom a call may come from or be about, and an example of
//! every call that somebody signed in can make. Put back as it was after each call.

use identity_service::POLICY;
use prost::Message;
use proto::{
    common::v1::{Permission, Role},
    identity::v1::{self as pb, revoke_all_sessions_request::Target},
};
use service_kit::{
    policy::{Access, Rule},
    testing::{raw, refusal::Refusal},
};
use tonic::Code;

use crate::support::{Identity, PASSWORD, issue_tokens, login, numbers, sign_up, signed, someone};

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Nobody,
    /// Without any grant.
    Employee,
    /// With every permission that the policy asks for anywhere.
    Granted,
    Admin,
    SuperAdmin,
    /// With the same permissions.
    ApiKey,
}

/// About whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    Oneself,
    Employee,
    Admin,
    SuperAdmin,
    /// An employee of another account.
    Foreigner,
}

/// What was answered: `OK`, or a code and a reason.
pub type Said = (Code, String);

/// Somebody who calls.
#[derive(Debug, Clone)]
pub struct Actor {
    pub who: Who,
    pub token: String,
    pub id: i64,
}

/// What a call can be about.
#[derive(Debug, Clone, Copy)]
pub struct About {
    pub employee: i64,
    /// One that the employee does not have.
    pub other_role: Role,
    /// One of the caller's own.
    pub session: i64,
    /// Assigned to nobody.
    pub company_role: i64,
    /// Not the one that calls.
    pub api_key: i64,
    /// Open, for an employee.
    pub invitation: i64,
}

/// What depends on more than the row of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    Nothing,
    /// It is about somebody, whoever it is, in the account.
    OfTheAccount,
    /// About somebody whom the caller must manage, or be.
    Managed,
    /// About somebody who is nobody above the caller, or the caller.
    Ranked,
    /// The same as managed, but for the caller themselves.
    ManagedOther,
    /// It changes somebody's role.
    ChangesRole,
    /// It grants somebody this.
    Grants(Permission),
    /// It makes somebody of this role.
    Makes(Role),
    /// It makes an API key that may do this.
    MakesKey(Permission),
    /// It is about everyone.
    OfEveryone,
}

impl Beyond {
    /// Whether the call is about a person.
    pub fn has_target(self) -> bool {
        !matches!(self, Self::Nothing | Self::Makes(_) | Self::MakesKey(_) | Self::OfEveryone)
    }
}

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

/// What must be so before a call that it changes something; `{employee}` and `{company_role}`
/// stand for those whom it is about.
const BEFORE: &[(&str, &str)] = &[
    (
        "/identity.v1.AccountService/ReopenAccount",
        "UPDATE identity.accounts SET close_time = now()",
    ),
    (
        "/identity.v1.EmployeeService/UndeleteEmployee",
        "UPDATE identity.employees SET delete_time = now() WHERE id = {employee}",
    ),
    // Else nobody would be touched.
    ("/identity.v1.RoleService/DeleteCompanyRole", ASSIGNED),
    ("/identity.v1.RoleService/UnassignCompanyRole", ASSIGNED),
];

const ASSIGNED: &str = "INSERT INTO identity.employee_company_roles
         SELECT account_id, {employee}, id FROM identity.company_roles WHERE id = {company_role}
         ON CONFLICT DO NOTHING";

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

/// Every permission that a row of the policy asks for.
pub fn bracketed() -> Vec<Permission> {
    let mut found: Vec<_> = POLICY
        .iter()
        .filter_map(|rule| match rule.access {
            Access::Needs(permission) => Some(permission),
            _ => None,
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The methods of a policy that somebody signed in calls and that have no example.
pub fn without_example(policy: &[Rule], examples: &[&Example]) -> Vec<&'static str> {
    let signed_in = |rule: &&Rule| !matches!(rule.access, Access::Public | Access::Service);
    let has_none = |method: &&str| !examples.iter().any(|example| example.method == *method);
    policy.iter().filter(signed_in).map(|rule| rule.method).filter(has_none).collect()
}

/// The account, and somebody of another one.
pub struct Stage {
    pub identity: Identity,
    pub actors: Vec<Actor>,
    employee: i64,
    admin: i64,
    super_admin: i64,
    foreigner: i64,
    company_role: i64,
    api_key: i64,
    invitation: i64,
}

/// What calls change.
const TABLES: &[&str] = &[
    "accounts",
    "employees",
    "employee_search_words",
    "company_roles",
    "employee_company_roles",
    "employee_tokens",
    "revoked_tokens",
    "sessions",
    "revoked_sessions",
    "api_keys",
    "codes",
    "invitations",
];

/// A statement for each table.
fn each(statement: &str, tables: &[&str]) -> String {
    let statements = tables.iter().map(|table| statement.replace("{}", table) + ";");
    statements.collect::<Vec<_>>().join(" ")
}

/// An employee's session is this much further than the employee.
const SESSIONS_FROM: i64 = 1_000_000;

impl Stage {
    pub async fn set() -> Self {
        let identity = Identity::start().await;
        let owner = identity.sign_up("owner").await;
        let boss = identity.add(&owner, "boss", Role::Admin).await;
        let worker = identity.add(&owner, "worker", Role::Employee).await;
        let granted = identity.add(&owner, "granted", Role::Employee).await;
        identity.grant(&owner, granted.id, &bracketed()).await.unwrap();
        let key = identity.api_key(&owner, &bracketed()).await;
        identity.api_key(&owner, &[]).await;
        let api_keys: Vec<(i64,)> = identity.rows("SELECT max(id) FROM identity.api_keys").await;
        let other = identity.sign_up("other").await;
        let hire = async |name, role| identity.hire(&owner, someone(name, role)).await.id;
        let (employee, admin, super_admin) = (
            hire("peer", Role::Employee).await,
            hire("deputy", Role::Admin).await,
            hire("partner", Role::SuperAdmin).await,
        );
        let company_role = identity.company_role(&owner, "Coach").await;
        let email = "invited@example.com".into();
        let invitation = Some(pb::Invitation { email, ..Default::default() });
        let request = pb::InviteEmployeeRequest { invitation, ..Default::default() };
        let made = identity.employees().invite_employee(signed(&owner, request)).await.unwrap();
        let invitation = made.into_inner().invitation.unwrap().id;
        let actor = |who, token: &str, id| Actor { who, token: token.to_owned(), id };
        let actors = vec![
            actor(Who::Nobody, "", 0),
            actor(Who::Employee, &worker.token, worker.id),
            actor(Who::Granted, &granted.token, granted.id),
            actor(Who::Admin, &boss.token, boss.id),
            actor(Who::SuperAdmin, &owner.token, owner.id),
            actor(Who::ApiKey, &key, 0),
        ];
        let stage = Self {
            identity,
            actors,
            employee,
            admin,
            super_admin,
            foreigner: other.id,
            company_role,
            api_key: api_keys[0].0,
            invitation,
        };
        stage.keep().await;
        stage
    }

    /// The one of a kind.
    pub fn actor(&self, who: Who) -> &Actor {
        self.actors.iter().find(|actor| actor.who == who).unwrap()
    }

    pub fn about(&self, actor: &Actor, whom: Whom) -> About {
        let (employee, is_employee) = match whom {
            Whom::Oneself => (actor.id, matches!(actor.who, Who::Employee | Who::Granted)),
            Whom::Employee => (self.employee, true),
            Whom::Admin => (self.admin, false),
            Whom::SuperAdmin => (self.super_admin, false),
            Whom::Foreigner => (self.foreigner, false),
        };
        About {
            employee,
            other_role: if is_employee { Role::Admin } else { Role::Employee },
            session: SESSIONS_FROM + actor.id,
            company_role: self.company_role,
            api_key: self.api_key,
            invitation: self.invitation,
        }
    }

    /// Makes a call, and leaves everything as it was.
    pub async fn call(&self, actor: &Actor, example: &Example, whom: Whom) -> Said {
        let recorded = self.recorded().await;
        let request = raw::request((example.bytes)(&self.about(actor, whom)), &actor.token);
        match raw::call(&self.identity.channel, example.method, request).await {
            Ok(_) => {
                if changes(example.method) {
                    self.put_back().await;
                }
                (Code::Ok, String::new())
            }
            Err(status) => {
                let what = example.method;
                assert_eq!(self.recorded().await, recorded, "{what} is refused and recorded");
                let refusal = Refusal::of(&status);
                (refusal.code, refusal.reason)
            }
        }
    }

    /// Makes it so that a call changes something.
    pub async fn prepare(&self, method: &str, about: &About) {
        for (_, before) in BEFORE.iter().filter(|(of, _)| *of == method) {
            let before = before
                .replace("{employee}", &about.employee.to_string())
                .replace("{company_role}", &about.company_role.to_string());
            self.identity.database.execute(&before).await;
        }
    }

    /// How many acts are on record.
    pub async fn recorded(&self) -> i64 {
        let counted: Vec<(i64,)> =
            self.identity.rows("SELECT count(*) FROM identity.audit_events").await;
        counted[0].0
    }

    async fn keep(&self) {
        let mut statement = format!(
            "INSERT INTO identity.sessions
                 (account_id, id, employee_id, device_label, network, nonce, create_time,
                  last_seen_time, idle_time, expire_time)
             SELECT account_id, {SESSIONS_FROM} + id, id, '', '', '', now(), now(),
                  now() + interval '1 day', now() + interval '1 day'
             FROM identity.employees;
             CREATE SCHEMA kept;"
        );
        statement.push_str(&each("CREATE TABLE kept.{} AS TABLE identity.{}", TABLES));
        self.identity.database.execute(&statement).await;
    }

    /// Everything as it was when the stage was set.
    pub async fn put_back(&self) {
        let (clear, fill) = (
            each("DELETE FROM identity.{}", TABLES),
            each("INSERT INTO identity.{} TABLE kept.{}", TABLES),
        );
        // As a replica, so that the order of the tables does not matter.
        let statement =
            format!("BEGIN; SET LOCAL session_replication_role = replica; {clear} {fill} COMMIT");
        self.identity.database.execute(&statement).await;
    }
}

/// Everybody whom a call of an actor's can be about.
pub fn targets(example: &Example, actor: &Actor) -> Vec<Whom> {
    if !example.beyond.has_target() {
        return vec![Whom::Employee];
    }
    let mut targets = vec![Whom::Employee, Whom::Admin, Whom::SuperAdmin, Whom::Foreigner];
    if actor.id != 0 {
        targets.push(Whom::Oneself);
    }
    targets
}

/// Whether a method is for changing something.
pub fn changes(method: &str) -> bool {
    let name = method.rsplit('/').next().unwrap();
    !["Get", "List", "BatchGet", "BatchResolve", "Validate", "Watch"]
        .iter()
        .any(|read| name.starts_with(read))
}
