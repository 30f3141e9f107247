//! The schema `identity`.

use std::sync::LazyLock;

use service_kit::{db::Schema, sql};

use crate::{CONSTRAINTS, employees};

/// What lies in `migrations/identity`.
pub static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema {
    name: "identity",
    migrator: sqlx::migrate!("../migrations/identity"),
    grants: include_str!("../../migrations/identity/roles.sql"),
    constraints: CONSTRAINTS,
    draw_tenant: Some(sql!("SELECT nextval(pg_get_serial_sequence('identity.accounts', 'id'))")),
    applied: sql!("SELECT max(version) FROM identity.migrations WHERE success"),
    fill: Some(employees::fill::fill),
});
