//! What does it mean to run into a constraint of this schema?

use proto::common::v1::ErrorReason::EmailTaken;
use service_kit::db::Constraint;

/// Every constraint and unique index of the schema; a test compares it with the catalogue.
#[rustfmt::skip]
pub const CONSTRAINTS: &[Constraint] = &[
    Constraint::ours("accounts_pkey"),
    Constraint::ours("answers_pkey"),
    Constraint::ours("employee_tokens_pkey"),
    Constraint::ours("employee_tokens_user_fkey"),
    Constraint::ours("employee_tokens_user_id_key"),
    Constraint::ours("employees_account_fkey"),
    Constraint::taken("employees_email_unique", EmailTaken, "This e-mail address is taken."),
    Constraint::ours("employees_pkey"),
    Constraint::ours("employees_role_check"),
    Constraint::ours("public_answers_pkey"),
    Constraint::ours("revoked_tokens_account_fkey"),
    Constraint::ours("revoked_tokens_pkey"),
];
