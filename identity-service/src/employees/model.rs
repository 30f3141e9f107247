//! What is an employee?

use std::{borrow::Cow, collections::BTreeSet};

use chrono::{DateTime, Utc};
use prost_types::FieldMask;
use proto::{
    common::v1::{Permission, Role},
    identity::v1::{self as pb, EmployeeStatus},
};
use serde::{Deserialize, Serialize};
use service_kit::{
    access,
    caller::Caller,
    clock, etag,
    fields::{Email, Fields, Flaw, Text, email_key, fold, parse_search, search_words},
    mask::Update,
    page::{KeyOf, Order},
};
use sqlx::types::Json;

use crate::{
    feeds::State,
    roles::model::{SystemRole, parse_system_role, system_role_from_text},
};

/// An employee who is about to be.
pub struct NewEmployee {
    pub email: Email,
    pub name: Text<255>,
    pub first_name: Text<100>,
    pub last_name: Text<100>,
    pub role: Role,
    pub job_role: Text<100>,
    pub phone_number: Text<32>,
    pub is_active: bool,
    pub system_roles: Vec<&'static str>,
}

impl NewEmployee {
    /// Reads what a caller asks for; output-only fields are ignored.
    pub fn parse(fields: &mut Fields, employee: &pb::Employee) -> Option<Self> {
        let email = fields.take("employee.email", Email::required(&employee.email));
        let name = fields.take("employee.name", Text::parse(&employee.name));
        let first_name = fields.take("employee.first_name", Text::parse(&employee.first_name));
        let last_name = fields.take("employee.last_name", Text::parse(&employee.last_name));
        let role = fields.take("employee.role", parse_role_or_employee(employee.role));
        let job_role = fields.take("employee.job_role", Text::parse(&employee.job_role));
        let phone_number =
            fields.take("employee.phone_number", Text::parse(&employee.phone_number));
        let email = email?;
        Some(Self {
            first_name: first_name?,
            last_name: last_name?,
            job_role: job_role?,
            phone_number: phone_number?,
            is_active: employee.is_active.unwrap_or(true),
            ..Self::plain(email, name?, role?)
        })
    }

    /// The first person of an account, who may do everything in it.
    pub fn super_admin(email: Email, name: Text<255>) -> Self {
        let system_roles = vec![SystemRole::Admin.text(), SystemRole::User.text()];
        Self { system_roles, ..Self::plain(email, name, Role::SuperAdmin) }
    }

    /// Somebody of whom no more is known than this.
    pub fn plain(email: Email, name: Text<255>, role: Role) -> Self {
        Self {
            name: name_or_local_part(name, &email),
            email,
            first_name: Text::default(),
            last_name: Text::default(),
            role,
            job_role: Text::default(),
            phone_number: Text::default(),
            is_active: true,
            system_roles: vec![SystemRole::User.text()],
        }
    }

    /// What they are found and sorted by.
    pub fn names(&self) -> Names<'_> {
        Names {
            name: self.name.as_str(),
            first_name: self.first_name.as_str(),
            last_name: self.last_name.as_str(),
            email: self.email.as_str(),
        }
    }

    /// What others know of the person, and would guess a password from.
    pub fn known_words(&self) -> [&str; 4] {
        [
            self.name.as_str(),
            self.first_name.as_str(),
            self.last_name.as_str(),
            self.email.local_part(),
        ]
    }
}

/// What somebody is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names<'a> {
    pub name: &'a str,
    pub first_name: &'a str,
    pub last_name: &'a str,
    pub email: &'a str,
}

impl<'a> Names<'a> {
    /// The same, at another address.
    pub fn at(self, email: &'a Email) -> Self {
        Self { email: email.as_str(), ..self }
    }

    /// What they are sorted by when people are sorted by name.
    pub fn key(self) -> String {
        fold(self.name).trim().to_owned()
    }

    /// The words by which they are found.
    pub fn search_words(self) -> BTreeSet<String> {
        let Self { name, first_name, last_name, email } = self;
        search_words(&format!("{name} {first_name} {last_name} {email}"))
    }
}

fn name_or_local_part(name: Text<255>, email: &Email) -> Text<255> {
    if name.as_str().is_empty() {
        return Text::parse(email.local_part()).unwrap_or_default();
    }
    name
}

fn parse_role(role: i32) -> Result<Role, Flaw> {
    match Role::try_from(role) {
        Ok(Role::Unspecified) => Err(Flaw::Missing),
        Ok(role) => Ok(role),
        Err(_) => Err(Flaw::bad("must be a known role")),
    }
}

/// A role or, where none is said, the lowest.
pub fn parse_role_or_employee(role: i32) -> Result<Role, Flaw> {
    if role == 0 { Ok(Role::Employee) } else { parse_role(role) }
}

/// What is stored for logging in: nothing, or a hash and whether the person should change it.
#[derive(Default)]
pub struct Login {
    pub password_hash: Option<String>,
    pub password_change_advised: bool,
}

/// An employee as they are.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Employee {
    pub account_id: i64,
    pub account_name: String,
    pub id: i64,
    pub email: String,
    pub name: String,
    pub first_name: String,
    pub last_name: String,
    role: String,
    pub job_role: String,
    pub phone_number: String,
    pub is_active: bool,
    pub password_change_advised: bool,
    permissions: Vec<String>,
    system_roles: Vec<String>,
    company_roles: Json<Vec<AssignedRole>>,
    pub email_verify_time: Option<DateTime<Utc>>,
    pub create_time: DateTime<Utc>,
    pub update_time: DateTime<Utc>,
    pub delete_time: Option<DateTime<Utc>>,
    pub version: i64,
    pub name_key: String,
}

/// A company role that somebody has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedRole {
    pub id: i64,
    pub name: String,
}

impl Employee {
    pub fn role(&self) -> Role {
        access::role_from_text(&self.role).unwrap_or_default()
    }

    /// What was granted beyond the role.
    pub fn permissions(&self) -> Vec<Permission> {
        permissions_from_names(&self.permissions)
    }

    /// What others know of them, and a password must not be made of.
    pub fn known_words(&self) -> [&str; 5] {
        let local_part =
            self.email.rsplit_once('@').map_or(self.email.as_str(), |(local, _)| local);
        [&self.account_name, &self.name, &self.first_name, &self.last_name, local_part]
    }

    /// As the directory has them.
    pub fn state(&self) -> State {
        State::of(self.is_active, self.delete_time.is_some())
    }

    pub fn names(&self) -> Names<'_> {
        Names {
            name: &self.name,
            first_name: &self.first_name,
            last_name: &self.last_name,
            email: &self.email,
        }
    }

    /// All of it, as the person themselves sees it.
    pub fn shown_to_self(self) -> pb::Employee {
        let role = self.role();
        let permissions = self.permissions();
        let effective = access::effective(role, &permissions);
        let system_roles = self.system_roles.iter().filter_map(|role| system_role_from_text(role));
        pb::Employee {
            id: self.id,
            account_id: self.account_id,
            role: role.into(),
            is_active: Some(self.is_active),
            is_staff: matches!(role, Role::Admin | Role::SuperAdmin),
            is_superuser: role == Role::SuperAdmin,
            password_change_advised: self.password_change_advised,
            create_time: Some(clock::timestamp(self.create_time)),
            update_time: Some(clock::timestamp(self.update_time)),
            delete_time: self.delete_time.map(clock::timestamp),
            etag: etag::of(self.version),
            system_roles: system_roles.map(Into::into).collect(),
            company_roles: self.company_roles.0.into_iter().map(Into::into).collect(),
            permissions: permissions.into_iter().map(Into::into).collect(),
            effective_permissions: effective.into_iter().map(Into::into).collect(),
            email_verified: self.email_verify_time.is_some(),
            account_name: self.account_name,
            email: self.email,
            name: self.name,
            first_name: self.first_name,
            last_name: self.last_name,
            job_role: self.job_role,
            phone_number: self.phone_number,
        }
    }

    /// What a caller may see of it: of others only what colleagues need, unless they manage
    /// employees.
    pub fn seen_by(self, caller: &Caller) -> pb::Employee {
        let everything = caller.is(self.id) || caller.holds(Permission::ManageEmployees);
        let employee = self.shown_to_self();
        if everything {
            return employee;
        }
        pb::Employee {
            phone_number: String::new(),
            permissions: Vec::new(),
            effective_permissions: Vec::new(),
            password_change_advised: false,
            ..employee
        }
    }
}

impl From<AssignedRole> for pb::AssignedCompanyRole {
    fn from(role: AssignedRole) -> Self {
        Self { id: role.id, name: role.name }
    }
}

const EMAIL_STAYS: Flaw = Flaw::Bad(Cow::Borrowed("is changed by AuthService/ChangeEmail only"));

/// What an update means to change of a person.
#[derive(Default)]
pub struct Change {
    pub name: Option<Text<255>>,
    pub first_name: Option<Text<100>>,
    pub last_name: Option<Text<100>>,
    pub phone_number: Option<Text<32>>,
    pub job_role: Option<Text<100>>,
    pub role: Option<Role>,
    pub is_active: Option<bool>,
}

/// What may change of a person, as it is after an update.
pub struct Details {
    pub name: String,
    pub first_name: String,
    pub last_name: String,
    pub phone_number: String,
    pub job_role: String,
    pub role: Role,
    pub is_active: bool,
}

impl Change {
    /// What everybody may change of themselves.
    const PROFILE: &[&str] = &["name", "first_name", "last_name", "phone_number"];
    const PATHS: &[&str] =
        &["name", "first_name", "last_name", "phone_number", "job_role", "role", "is_active"];

    pub fn parse(fields: &mut Fields, request: &pb::UpdateEmployeeRequest) -> Option<Self> {
        let mask = request.update_mask.as_ref();
        Self::read(Update::of(fields, "employee", mask, Self::PATHS), request.employee.as_ref())
    }

    /// Reads an update of oneself, whose mask can name nothing but the profile. Without one the
    /// rest is read as well, so that it is refused where it would change.
    pub fn parse_profile(fields: &mut Fields, request: &pb::UpdateMeRequest) -> Option<Self> {
        let mask = request.update_mask.as_ref();
        Self::read(Update::of(fields, "employee", mask, Self::PROFILE), request.employee.as_ref())
    }

    fn read(mut update: Update<'_>, employee: Option<&pb::Employee>) -> Option<Self> {
        let employee = employee.cloned().unwrap_or_default();
        // What can be nobody's address is not the present one, whatever that is.
        let email = update.field("email", employee.email.as_str(), |email| {
            Email::required(email).map_err(|_| EMAIL_STAYS)
        });
        let name = update.field("name", employee.name.as_str(), Text::required);
        let first_name = update.field("first_name", employee.first_name.as_str(), Text::parse);
        let last_name = update.field("last_name", employee.last_name.as_str(), Text::parse);
        let phone_number =
            update.field("phone_number", employee.phone_number.as_str(), Text::parse);
        let job_role = update.field("job_role", employee.job_role.as_str(), Text::parse);
        let role = update.field("role", &employee.role, |role| parse_role(*role));
        let is_active =
            update.field("is_active", &employee.is_active, |active| active.ok_or(Flaw::Missing));
        email?;
        Some(Self {
            name: name?,
            first_name: first_name?,
            last_name: last_name?,
            phone_number: phone_number?,
            job_role: job_role?,
            role: role?,
            is_active: is_active?,
        })
    }

    /// The details as they are after the change.
    pub fn apply(self, before: &Employee) -> Details {
        let text = |new: Option<String>, old: &String| new.unwrap_or_else(|| old.clone());
        Details {
            name: text(self.name.map(Text::into_string), &before.name),
            first_name: text(self.first_name.map(Text::into_string), &before.first_name),
            last_name: text(self.last_name.map(Text::into_string), &before.last_name),
            phone_number: text(self.phone_number.map(Text::into_string), &before.phone_number),
            job_role: text(self.job_role.map(Text::into_string), &before.job_role),
            role: self.role.unwrap_or_else(|| before.role()),
            is_active: self.is_active.unwrap_or(before.is_active),
        }
    }
}

impl Details {
    /// The names of the fields in which they differ from what they were before.
    pub fn changes(&self, before: &Employee) -> Vec<&'static str> {
        let fields = [
            ("name", self.name != before.name),
            ("first_name", self.first_name != before.first_name),
            ("last_name", self.last_name != before.last_name),
            ("phone_number", self.phone_number != before.phone_number),
            ("job_role", self.job_role != before.job_role),
            ("role", self.role != before.role()),
            ("is_active", self.is_active != before.is_active),
        ];
        fields.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
    }

    /// Whether a super admin would be none any more, or one who cannot act.
    pub fn takes_super_admin(&self, before: &Employee) -> bool {
        let leaves = self.role != Role::SuperAdmin || !self.is_active;
        before.role() == Role::SuperAdmin && leaves
    }

    pub fn names<'a>(&'a self, before: &'a Employee) -> Names<'a> {
        Names {
            name: &self.name,
            first_name: &self.first_name,
            last_name: &self.last_name,
            email: &before.email,
        }
    }
}

/// Reads an address that an update cannot change: as it is, in whatever case, or not at all.
/// Beside a mask, which cannot name it, it is not read.
pub fn check_email_stays(
    fields: &mut Fields,
    sent: &pb::Employee,
    mask: Option<&FieldMask>,
    before: &Employee,
) {
    let is_masked = mask.is_some_and(|mask| !mask.paths.is_empty());
    // What is nobody's address was refused when it was read.
    let is_address = Email::required(&sent.email).is_ok();
    let changes = is_address && email_key(&sent.email) != email_key(&before.email);
    if !is_masked && changes {
        fields.refuse("employee.email", EMAIL_STAYS);
    }
}

/// Permissions out of a column.
pub fn permissions_from_names(names: &[String]) -> Vec<Permission> {
    names.iter().filter_map(|name| access::permission_from_name(name)).collect()
}

/// Permissions in a request, each once, in the order of the catalogue.
pub fn parse_permissions(permissions: &[i32]) -> Result<Vec<Permission>, Flaw> {
    const MOST: usize = 64;
    if permissions.len() > MOST {
        return Err(Flaw::bad(format!("must be at most {MOST}")));
    }
    let known: Option<Vec<_>> = permissions
        .iter()
        .map(|number| Permission::try_from(*number).ok())
        .map(|known| known.filter(|permission| *permission != Permission::Unspecified))
        .collect();
    let known = known.ok_or(Flaw::bad("must be known permissions"))?;
    Ok(access::effective(Role::Unspecified, &known))
}

/// Which people a list is of.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub role: Option<&'static str>,
    pub is_active: Option<bool>,
    pub company_role_id: Option<i64>,
    pub system_role: Option<&'static str>,
    /// Folded; each must begin a word of the person.
    pub words: Vec<String>,
}

impl Filter {
    pub fn parse(fields: &mut Fields, request: &pb::ListEmployeesRequest) -> Option<Self> {
        let any = |number: i32| number == 0;
        let role = fields.take("role", given(request.role, any, parse_role));
        let status = fields.take("status", given(request.status, any, parse_status));
        let system_role =
            fields.take("system_role", given(request.system_role, any, parse_system_role));
        let words = fields.take("search", parse_search(&request.search));
        let company_role_id = request.company_role_id;
        Some(Self {
            role: role?.map(access::role_text),
            is_active: status?.map(|status| status == EmployeeStatus::Active),
            company_role_id: (company_role_id != 0).then_some(company_role_id),
            system_role: system_role?.map(SystemRole::text),
            words: words?,
        })
    }
}

fn given<T>(
    number: i32,
    absent: impl Fn(i32) -> bool,
    parse: impl Fn(i32) -> Result<T, Flaw>,
) -> Result<Option<T>, Flaw> {
    if absent(number) { Ok(None) } else { parse(number).map(Some) }
}

fn parse_status(status: i32) -> Result<EmployeeStatus, Flaw> {
    EmployeeStatus::try_from(status).map_err(|_| Flaw::bad("must be a known status"))
}

/// The orders that a list can be asked for. Newest first unless the caller says otherwise.
pub const ORDERS: &[Order<Employee>] = &[
    Order {
        name: "create_time",
        column: "e.create_time",
        key: KeyOf::Instant(|employee| employee.create_time),
    },
    Order {
        name: "name",
        column: "e.name_key",
        key: KeyOf::Text(|employee| employee.name_key.clone()),
    },
];
pub const DEFAULT_ORDER: &str = "create_time desc";
