//! Which clients does a caller see, and with them which money?
//!
//! Everyone sees every client of their account, unless it says that employees see those only
//! in which they have a part; then `view_all_clients` and `manage_all_clients` still see all.
//! What is sold to a client, due from and paid by them is seen by those who see the client;
//! `view_payments` widens payments to the whole account. A program has no part in anything.

use proto::{common::v1::Permission, identity::v1::EmployeeClientVisibility::Account as Everyone};
use service_kit::{
    caller::{Actor, Caller},
    db::ListQuery,
};

/// What a caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every client of the account.
    Account,
    /// The clients in which this employee has a part: 0 has none.
    Assigned(i64),
}

impl Scope {
    /// For clients, and everything that follows them.
    pub fn of(caller: &Caller) -> Self {
        let holds = |permission| caller.holds(permission);
        if caller.visibility() == Everyone
            || holds(Permission::ViewAllClients)
            || holds(Permission::ManageAllClients)
        {
            return Self::Account;
        }
        Self::Assigned(employee_id(caller))
    }

    /// For reading payments and their statistics.
    pub fn of_payments(caller: &Caller) -> Self {
        if caller.holds(Permission::ViewPayments) { Self::Account } else { Self::of(caller) }
    }

    /// Narrows a list of what belongs to clients: `column` says to which.
    pub fn narrow(self, query: &mut ListQuery, account_id: i64, column: &'static str) {
        let Self::Assigned(employee_id) = self else { return };
        query
            .text(" AND ")
            .text(column)
            .text(" IN (SELECT client_id FROM crm.client_members WHERE account_id = ")
            .bind(account_id)
            .text(" AND employee_id = ")
            .bind(employee_id)
            .text(")");
    }

    /// The employee to narrow by, for statements with `$n::bigint IS NULL OR …`.
    pub fn employee_id(self) -> Option<i64> {
        match self {
            Self::Account => None,
            Self::Assigned(id) => Some(id),
        }
    }
}

/// Whether the client of a column is one whom the employee `$3` sees, or anybody where that is
/// NULL: part of a statement whose `$1` is the account.
macro_rules! seen {
    ($client:literal) => {
        concat!(
            "($3::bigint IS NULL OR EXISTS (
                 SELECT 1 FROM crm.client_members AS member
                 WHERE member.account_id = $1 AND member.employee_id = $3 AND member.client_id = ",
            $client,
            "))"
        )
    };
}

pub(crate) use seen;

/// Whose parts in clients a caller has: 0 has none.
pub fn employee_id(caller: &Caller) -> i64 {
    match caller.actor() {
        Actor::Employee(id) => id,
        Actor::ApiKey(_) | Actor::System(_) => 0,
    }
}
