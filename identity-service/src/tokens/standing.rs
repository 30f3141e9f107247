//! What does a credential stand for, whichever kind it is?
//!
//! Each kind is looked up by one statement, which also reads where the log of revocations
//! stands: the facts and the number are of one moment.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use proto::{
    common::v1::{ErrorReason as Reason, Role},
    identity::v1 as pb,
};
use service_kit::{
    access,
    caller::{Actor, Facts},
    clock,
    error::Error,
    fields::Currency,
    lease::log::Position,
};
use sqlx::types::Json;

use crate::{
    accounts::model::visibility_from_text,
    employees::model::{AssignedRole, permissions_from_names},
    roles::model::system_role_from_text,
};

/// The columns of a [`Standing`] and a [`Position`], where `f` is the feed of revocations,
/// `e` an employee and `a` their account, if there are any.
macro_rules! standing {
    () => {
        "f.epoch, f.number, coalesce(e.role, '') AS role,
         coalesce(e.permissions, '{}') AS permissions,
         coalesce(e.system_roles, '{}') AS system_roles,
         coalesce(e.is_active AND e.delete_time IS NULL, false) AS is_live,
         coalesce(a.default_currency, '') AS default_currency,
         coalesce(a.employee_client_visibility, '') AS employee_client_visibility,
         coalesce(a.time_zone, '') AS time_zone, a.close_time IS NOT NULL AS is_closed,
         (SELECT coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'name', r.name)), '[]')
          FROM identity.employee_company_roles x
          JOIN identity.company_roles r ON r.account_id = x.account_id AND r.id = x.role_id
          WHERE x.account_id = e.account_id AND x.employee_id = e.id) AS company_roles"
    };
}
pub(crate) use standing;

/// How things stand with an employee and their account.
#[derive(Debug, sqlx::FromRow)]
pub struct Standing {
    role: String,
    permissions: Vec<String>,
    system_roles: Vec<String>,
    company_roles: Json<Vec<AssignedRole>>,
    /// Neither deactivated nor deleted.
    is_live: bool,
    default_currency: String,
    employee_client_visibility: String,
    time_zone: String,
    is_closed: bool,
    #[sqlx(flatten)]
    pub position: Position,
}

/// Somebody whom a credential stands for.
#[derive(Debug)]
pub struct Bearer {
    pub facts: Facts,
    settings: pb::AccountSettings,
    system_roles: Vec<i32>,
    company_roles: Vec<AssignedRole>,
    expire_time: Option<DateTime<Utc>>,
}

impl Standing {
    /// An employee who shows a credential of their own.
    pub fn employee(
        self,
        account_id: i64,
        employee_id: i64,
        session_id: Option<i64>,
        expire_time: Option<DateTime<Utc>>,
    ) -> Result<Bearer, Error> {
        if !self.is_live {
            return Err(Error::Unauthenticated(Reason::EmployeeInactive));
        }
        let role = access::role_from_text(&self.role).unwrap_or_default();
        let granted = permissions_from_names(&self.permissions);
        let system_roles = self.system_roles.iter().filter_map(|role| system_role_from_text(role));
        let system_roles = system_roles.map(Into::into).collect();
        Ok(Bearer {
            facts: Facts {
                account_id,
                actor: Actor::Employee(employee_id),
                role,
                permissions: access::effective(role, &granted),
                default_currency: self.currency()?,
                time_zone: self.time_zone()?,
                visibility: visibility_from_text(&self.employee_client_visibility),
                session_id,
                account_closed: self.is_closed,
            },
            settings: self.settings(),
            system_roles,
            company_roles: self.company_roles.0,
            expire_time,
        })
    }

    /// A program with an API key that this employee made: it may do what it was given, as far
    /// as its maker may still do that.
    pub fn api_key(
        self,
        account_id: i64,
        key_id: i64,
        given: &[String],
        expire_time: DateTime<Utc>,
    ) -> Result<Bearer, Error> {
        if !self.is_live {
            return Err(Error::Unauthenticated(Reason::EmployeeInactive));
        }
        let role = access::role_from_text(&self.role).unwrap_or_default();
        let makers = access::effective(role, &permissions_from_names(&self.permissions));
        let mut permissions = permissions_from_names(given);
        permissions.retain(|permission| makers.contains(permission));
        Ok(Bearer {
            facts: Facts {
                account_id,
                actor: Actor::ApiKey(key_id),
                role: Role::Employee,
                permissions,
                default_currency: self.currency()?,
                time_zone: self.time_zone()?,
                visibility: visibility_from_text(&self.employee_client_visibility),
                session_id: None,
                account_closed: self.is_closed,
            },
            settings: self.settings(),
            system_roles: Vec::new(),
            company_roles: Vec::new(),
            expire_time: Some(expire_time),
        })
    }

    fn currency(&self) -> Result<Currency, Error> {
        let currency = Currency::parse(&self.default_currency);
        currency.map_err(|flaw| Error::internal(format!("default_currency {flaw}")))
    }

    fn time_zone(&self) -> Result<Tz, Error> {
        self.time_zone.parse().map_err(|_| Error::internal("time_zone is none that is known"))
    }

    fn settings(&self) -> pb::AccountSettings {
        pb::AccountSettings {
            default_currency: self.default_currency.clone(),
            employee_client_visibility: visibility_from_text(&self.employee_client_visibility)
                .into(),
            time_zone: self.time_zone.clone(),
        }
    }
}

impl From<Bearer> for pb::Identity {
    fn from(bearer: Bearer) -> Self {
        let facts = bearer.facts;
        Self {
            actor: crate::audit::model::actor_shown(facts.actor),
            account_id: facts.account_id,
            account_settings: Some(bearer.settings),
            role: facts.role.into(),
            permissions: facts.permissions.into_iter().map(Into::into).collect(),
            system_roles: bearer.system_roles,
            company_roles: bearer.company_roles.into_iter().map(Into::into).collect(),
            expire_time: bearer.expire_time.map(clock::timestamp),
            session_id: facts.session_id.unwrap_or_default(),
        }
    }
}
