//! Who is calling, proven.

use chrono::NaiveDate;
pub use chrono_tz::Tz;
use proto::{
    common::v1::{Permission, Role},
    identity::v1::EmployeeClientVisibility as Visibility,
};

use crate::{access, clock, error::Error, fields::Currency};

/// Somebody whom the auth layer let pass.
///
/// Only `auth.rs` can make one, after the policy row of the method was satisfied; whoever
/// holds one holds that proof. It is what a transaction needs to begin, and the only place
/// an account id comes from.
#[derive(Debug, Clone)]
pub struct Caller(Facts);

/// What an authenticator found out about a credential. Proves nothing by itself.
#[derive(Debug, Clone)]
pub struct Facts {
    pub account_id: i64,
    pub actor: Actor,
    pub role: Role,
    pub permissions: Vec<Permission>,
    pub default_currency: Currency,
    pub time_zone: Tz,
    pub visibility: Visibility,
    /// The device session whose access token was shown.
    pub session_id: Option<i64>,
    pub account_closed: bool,
}

/// Whoever acts, as audit and repeats know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Employee(i64),
    ApiKey(i64),
    /// Nobody is signed in yet; the name of the task that acts.
    System(&'static str),
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Employee(id) => write!(f, "employee:{id}"),
            Self::ApiKey(id) => write!(f, "api_key:{id}"),
            Self::System(task) => write!(f, "system:{task}"),
        }
    }
}

impl Actor {
    /// As it stands in a column; a task is no more than that.
    pub fn from_text(text: &str) -> Option<Self> {
        let (kind, id) = text.split_once(':')?;
        match kind {
            "employee" => id.parse().ok().map(Self::Employee),
            "api_key" => id.parse().ok().map(Self::ApiKey),
            _ => None,
        }
    }
}

impl Caller {
    /// For the auth layer alone.
    pub(crate) fn admitted(facts: Facts) -> Self {
        Self(facts)
    }

    /// The only account this caller can reach.
    pub fn account_id(&self) -> i64 {
        self.0.account_id
    }

    pub fn actor(&self) -> Actor {
        self.0.actor
    }

    /// The person who calls, where only a person may.
    pub fn employee_id(&self) -> Result<i64, Error> {
        match self.0.actor {
            Actor::Employee(id) => Ok(id),
            Actor::ApiKey(_) | Actor::System(_) => Err(Error::EMPLOYEES_ONLY),
        }
    }

    /// Whether this is the person themselves.
    pub fn is(&self, employee_id: i64) -> bool {
        self.0.actor == Actor::Employee(employee_id)
    }

    pub fn role(&self) -> Role {
        self.0.role
    }

    /// By role or by grant.
    pub fn holds(&self, permission: Permission) -> bool {
        self.0.permissions.contains(&permission)
    }

    /// The device session they call from, if it is one.
    pub fn session_id(&self) -> Option<i64> {
        self.0.session_id
    }

    /// The account's, for where none is named.
    pub fn default_currency(&self) -> Currency {
        self.0.default_currency
    }

    /// Where the account's days begin and end.
    pub fn time_zone(&self) -> Tz {
        self.0.time_zone
    }

    /// The day that it is where the account is.
    pub fn today(&self) -> NaiveDate {
        clock::now().with_timezone(&self.time_zone()).date_naive()
    }

    /// What the account lets those see who were given no more.
    pub fn visibility(&self) -> Visibility {
        self.0.visibility
    }

    /// Refuses a role above the caller's own.
    pub fn may_give(&self, role: Role) -> Result<(), Error> {
        if access::rank(role) > access::rank(self.0.role) {
            return Err(Error::RoleAboveOwn(role));
        }
        Ok(())
    }

    /// Refuses whoever ranks below the role of a person they want to manage.
    pub fn may_manage(&self, role: Role) -> Result<(), Error> {
        if access::rank(self.0.role) < access::rank(role) {
            return Err(Error::RANK_TOO_LOW);
        }
        Ok(())
    }
}
