//! The schema `crm`.

use std::sync::LazyLock;

use service_kit::{db::Schema, sql};

use crate::CONSTRAINTS;

/// What lies in `migrations/crm`.
pub static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema {
    name: "crm",
    migrator: sqlx::migrate!("../migrations/crm"),
    grants: include_str!("../../migrations/crm/roles.sql"),
    constraints: CONSTRAINTS,
    draw_tenant: None,
    applied: sql!("SELECT max(version) FROM crm.migrations WHERE success"),
    fill: None,
});
