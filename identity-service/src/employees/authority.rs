//! Who may do what to whom?
//!
//! The policy table says who may call at all; here is what depends on whom it is about.

use proto::common::v1::{ErrorReason as Reason, Permission, Role};
use service_kit::{access, caller::Caller, db::TenantTx, error::Error, fields::Text};

use super::{
    model::{Change, Employee},
    sql,
};

const OWN_AUTHORITY: Error = Error::Forbidden {
    reason: Reason::OwnAuthority,
    sentence: "Nobody changes their own role, permissions, activity or job role.",
};
const LAST_SUPER_ADMIN: Error = Error::Refused {
    reason: Reason::LastSuperAdmin,
    sentence: "An account needs an active super admin.",
};

/// Managing somebody else: for admins, and for nobody below the person.
pub fn check_manages(caller: &Caller, target: &Employee) -> Result<(), Error> {
    check_manages_anybody(caller)?;
    caller.may_manage(target.role())
}

/// Managing others at all.
fn check_manages_anybody(caller: &Caller) -> Result<(), Error> {
    if access::rank(caller.role()) < access::rank(Role::Admin) {
        return Err(Error::RoleRequired(Role::Admin));
    }
    Ok(())
}

/// An update that was made before, by this caller: the policy lets everybody in, because it may
/// be about themselves.
pub fn check_update_again(caller: &Caller, target_id: i64) -> Result<(), Error> {
    if caller.is(target_id) { Ok(()) } else { check_manages_anybody(caller) }
}

/// What an update changes of somebody.
pub fn check_change(caller: &Caller, target: &Employee, change: &Change) -> Result<(), Error> {
    let changes_role = change.role.is_some_and(|role| role != target.role());
    let changes_activity = change.is_active.is_some_and(|active| active != target.is_active);
    let job_role = change.job_role.as_ref().map(Text::as_str);
    let changes_job_role = job_role.is_some_and(|job_role| job_role != target.job_role);
    if caller.is(target.id) {
        let authority = changes_role || changes_activity || changes_job_role;
        return if authority { Err(OWN_AUTHORITY) } else { Ok(()) };
    }
    check_manages(caller, target)?;
    if changes_role && caller.role() != Role::SuperAdmin {
        return Err(Error::RoleRequired(Role::SuperAdmin));
    }
    Ok(())
}

/// Setting what was granted to somebody.
pub fn check_grant(
    caller: &Caller,
    target: &Employee,
    permissions: &[Permission],
) -> Result<(), Error> {
    if caller.is(target.id) {
        return Err(OWN_AUTHORITY);
    }
    check_manages(caller, target)?;
    if target.role() != Role::Employee && caller.role() != Role::SuperAdmin {
        return Err(Error::RoleRequired(Role::SuperAdmin));
    }
    let before = target.permissions();
    let added = permissions.iter().filter(|permission| !before.contains(permission));
    let taken = before.iter().filter(|permission| !permissions.contains(permission));
    check_holds(caller, added.chain(taken))
}

/// Giving or taking away permissions.
pub fn check_holds<'a>(
    caller: &Caller,
    permissions: impl Iterator<Item = &'a Permission>,
) -> Result<(), Error> {
    let above: Vec<_> = permissions.copied().filter(|it| !caller.holds(*it)).collect();
    if above.is_empty() { Ok(()) } else { Err(Error::PermissionsAboveOwn(above)) }
}

/// Refuses what would leave the account without an active super admin. Whoever asks holds the
/// account's row until they commit, so that of two at once the second sees what the first did.
pub async fn check_super_admin_stays(tx: &mut TenantTx, leaving: &Employee) -> Result<(), Error> {
    if leaving.role() != Role::SuperAdmin || !leaving.is_active {
        return Ok(());
    }
    crate::accounts::sql::lock(tx).await?;
    if sql::has_super_admin_beside(tx, leaving.id).await? { Ok(()) } else { Err(LAST_SUPER_ADMIN) }
}
