//! What does a role hold by itself, and which rank has it?

use proto::common::v1::{Permission, Role};

/// What a role may do without any grant: the catalogue, as code.
pub fn held_by(role: Role) -> &'static [Permission] {
    match role {
        Role::SuperAdmin | Role::Admin => {
            &[Permission::ManageAllClients, Permission::ManageEmployees]
        }
        Role::Employee | Role::Unspecified => &[],
    }
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
