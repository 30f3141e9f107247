//! What is an employee?

use chrono::{DateTime, Utc};
use proto::{common::v1::Role, identity::v1 as pb};
use service_kit::{
    access, clock, etag,
    fields::{Email, Fields, Flaw, Text},
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
}

impl NewEmployee {
    /// Reads what a caller asks for; output-only fields are ignored.
    pub fn parse(fields: &mut Fields, employee: &pb::Employee) -> Option<Self> {
        let email = fields.take("employee.email", Email::required(&employee.email));
        let name = fields.take("employee.name", Text::parse(&employee.name));
        let first_name = fields.take("employee.first_name", Text::parse(&employee.first_name));
        let last_name = fields.take("employee.last_name", Text::parse(&employee.last_name));
        let role = fields.take("employee.role", parse_role(employee.role));
        let job_role = fields.take("employee.job_role", Text::parse(&employee.job_role));
        let phone_number =
            fields.take("employee.phone_number", Text::parse(&employee.phone_number));
        let email = email?;
        Some(Self {
            name: name_or_local_part(name?, &email),
            email,
            first_name: first_name?,
            last_name: last_name?,
            role: role?,
            job_role: job_role?,
            phone_number: phone_number?,
            is_active: employee.is_active.unwrap_or(true),
        })
    }

    /// The first person of an account, who may do everything in it.
    pub fn super_admin(email: Email, name: Text<255>) -> Self {
        Self {
            name: name_or_local_part(name, &email),
            email,
            first_name: Text::default(),
            last_name: Text::default(),
            role: Role::SuperAdmin,
            job_role: Text::default(),
            phone_number: Text::default(),
            is_active: true,
        }
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
        Ok(Role::Unspecified) => Ok(Role::Employee),
        Ok(role) => Ok(role),
        Err(_) => Err(Flaw::bad("must be a known role")),
    }
}

/// What is stored for logging in: nothing, or a hash and whether the person should change it.
#[derive(Default)]
pub struct Login {
    pub password_hash: Option<String>,
    pub password_change_advised: bool,
}

/// An employee as they are.
#[derive(Debug, sqlx::FromRow)]
pub struct Employee {
    pub account_id: i64,
    pub account_name: String,
    pub id: i64,
    pub email: String,
    pub name: String,
    pub first_name: String,
    pub last_name: String,
    pub role: String,
    pub job_role: String,
    pub phone_number: String,
    pub is_active: bool,
    pub password_change_advised: bool,
    pub create_time: DateTime<Utc>,
    pub update_time: DateTime<Utc>,
    pub version: i64,
}

impl From<Employee> for pb::Employee {
    fn from(employee: Employee) -> Self {
        let role = access::role_from_text(&employee.role).unwrap_or_default();
        Self {
            id: employee.id,
            account_id: employee.account_id,
            account_name: employee.account_name,
            email: employee.email,
            name: employee.name,
            first_name: employee.first_name,
            last_name: employee.last_name,
            role: role.into(),
            job_role: employee.job_role,
            phone_number: employee.phone_number,
            is_active: Some(employee.is_active),
            is_staff: matches!(role, Role::Admin | Role::SuperAdmin),
            is_superuser: role == Role::SuperAdmin,
            password_change_advised: employee.password_change_advised,
            create_time: Some(clock::timestamp(employee.create_time)),
            update_time: Some(clock::timestamp(employee.update_time)),
            etag: etag::of(employee.version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(employee: &pb::Employee) -> Result<NewEmployee, service_kit::fields::Violations> {
        let mut fields = Fields::default();
        let parsed = NewEmployee::parse(&mut fields, employee);
        fields.all((parsed,)).map(|(employee,)| employee)
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let asked = pb::Employee { email: "ana.b@example.com".into(), ..Default::default() };
        let employee = parse(&asked).expect("an e-mail address is enough");
        assert_eq!(employee.name.as_str(), "ana.b");
        assert_eq!(employee.role, Role::Employee);
        assert!(employee.is_active);
    }

    #[test]
    fn every_bad_field_is_named() {
        let asked = pb::Employee {
            email: "nobody".into(),
            name: "x".repeat(256),
            role: 99,
            phone_number: "1\n2".into(),
            ..Default::default()
        };
        let violations = parse(&asked).err().expect("four are bad");
        let named: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(
            named,
            ["employee.email", "employee.name", "employee.role", "employee.phone_number"]
        );
    }
}
