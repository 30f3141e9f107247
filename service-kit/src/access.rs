//! What does a role hold by itself, and which rank has it?

use proto::common::v1::{Permission, Role};

/// Every permission there is: first what an admin holds, then what only a super admin does.
#[rustfmt::skip]
pub const CATALOGUE: &[Permission] = &[
    Permission::ViewAllClients,
    Permission::ManageAllClients,
    Permission::ViewPayments,
    Permission::ManagePayments,
    Permission::RefundPayments,
    Permission::ManagePackages,
    Permission::ManageClientPackages,
    Permission::ManageInstalments,
    Permission::ManageStripe,
    Permission::ViewStatistics,
    Permission::ImportData,
    Permission::ExportData,
    Permission::ManageEmployees,
    Permission::ManageRoles,

    Permission::ManageApiKeys,
    Permission::ViewAudit,
    Permission::ManageStripeEndpoints,
];

const HELD_BY_SUPER_ADMINS_ONLY: usize = 3;

/// What a role may do without any grant.
pub fn held_by(role: Role) -> &'static [Permission] {
    match role {
        Role::SuperAdmin => CATALOGUE,
        Role::Admin => &CATALOGUE[..CATALOGUE.len() - HELD_BY_SUPER_ADMINS_ONLY],
        Role::Employee | Role::Unspecified => &[],
    }
}

/// What somebody may do: what the role holds and what was granted, each once, in the order of
/// the catalogue.
pub fn effective(role: Role, granted: &[Permission]) -> Vec<Permission> {
    let held = held_by(role);
    let has = |permission: &Permission| held.contains(permission) || granted.contains(permission);
    CATALOGUE.iter().copied().filter(has).collect()
}

/// Super admin > admin > employee.
pub fn rank(role: Role) -> u8 {
    match role {
        Role::SuperAdmin => 3,
        Role::Admin => 2,
        Role::Employee => 1,
        Role::Unspecified => 0,
    }
}

/// As the old API spelled it: `manage_all_clients`.
pub fn permission_name(permission: Permission) -> String {
    let name = permission.as_str_name();
    name.strip_prefix("PERMISSION_").unwrap_or(name).to_ascii_lowercase()
}

/// A permission from a column.
pub fn permission_from_name(name: &str) -> Option<Permission> {
    CATALOGUE.iter().copied().find(|permission| permission_name(*permission) == name)
}

/// As it stands in columns and was spelled by the old API: `super_admin`.
pub fn role_text(role: Role) -> &'static str {
    match role {
        Role::SuperAdmin => "super_admin",
        Role::Admin => "admin",
        Role::Employee | Role::Unspecified => "employee",
    }
}

/// A role from a column.
pub fn role_from_text(text: &str) -> Option<Role> {
    [Role::SuperAdmin, Role::Admin, Role::Employee]
        .into_iter()
        .find(|role| role_text(*role) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_complete_and_an_admin_lacks_three() {
        let all = (1..).map_while(|number| Permission::try_from(number).ok());
        let mut all: Vec<_> = all.collect();
        let mut catalogue = CATALOGUE.to_vec();
        all.sort();
        catalogue.sort();
        assert_eq!(catalogue, all);
        assert_eq!(held_by(Role::Admin).len() + 3, held_by(Role::SuperAdmin).len());
        assert!(!held_by(Role::Admin).contains(&Permission::ManageApiKeys));
    }

    #[test]
    fn names_read_as_the_old_api_spelled_them() {
        for permission in CATALOGUE {
            assert_eq!(permission_from_name(&permission_name(*permission)), Some(*permission));
        }
        assert_eq!(permission_name(Permission::ViewAllClients), "view_all_clients");
        assert_eq!(permission_from_name("unspecified"), None);
    }

    #[test]
    fn a_grant_adds_to_what_the_role_holds() {
        let granted = [Permission::ManageApiKeys, Permission::ViewPayments];
        assert_eq!(
            effective(Role::Employee, &granted),
            [Permission::ViewPayments, Permission::ManageApiKeys]
        );
        assert_eq!(effective(Role::SuperAdmin, &granted), CATALOGUE);
    }
}
