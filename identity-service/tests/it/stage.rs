//! One account with everybody in it whom a call may come from or be about, and an example of
//! every call that somebody signed in can make. Put back as it was after each call.

mod examples;

use identity_service::POLICY;
use proto::{
    common::v1::{Permission, Role},
    identity::v1 as pb,
};
use service_kit::{
    policy::{Access, Rule},
    testing::{raw, refusal::Refusal},
};
use tonic::Code;

pub use self::examples::{EXAMPLES, Example, PUBLIC};
use crate::support::{Identity, signed, someone};

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
