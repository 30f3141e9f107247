//! Who is calling, proven.

use proto::common::v1::{Permission, Role};

use crate::{access, error::Error, fields::Currency};

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
}

/// Whoever acts, as audit and repeats know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Employee(i64),
    /// Nobody is signed in yet; the name of the task that acts.
    System(&'static str),
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Employee(id) => write!(f, "employee:{id}"),
            Self::System(task) => write!(f, "system:{task}"),
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

    /// The account's, for where none is named.
    pub fn default_currency(&self) -> Currency {
        self.0.default_currency
    }

    /// Refuses a role above the caller's own.
    pub fn may_give(&self, role: Role) -> Result<(), Error> {
        if access::rank(role) > access::rank(self.0.role) {
            return Err(Error::RoleAboveOwn);
        }
        Ok(())
    }
}
