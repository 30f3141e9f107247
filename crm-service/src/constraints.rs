//! What does it mean to run into a constraint of this schema?

use proto::common::v1::ErrorReason::ClientEmailTaken;
use service_kit::db::Constraint;

/// Every constraint and unique index of the schema; a test compares it with the catalogue.
#[rustfmt::skip]
pub const CONSTRAINTS: &[Constraint] = &[
    Constraint::ours("accounts_pkey"),
    Constraint::ours("answers_pkey"),
    Constraint::ours("audit_events_pkey"),
    Constraint::ours("client_search_words_client_fkey"),
    Constraint::ours("client_search_words_pkey"),
    Constraint::ours("clients_account_fkey"),
    Constraint::taken("clients_email_unique", ClientEmailTaken, "Another client of this account has this e-mail address."),
    Constraint::ours("clients_pkey"),
    Constraint::ours("clients_status_check"),
];
