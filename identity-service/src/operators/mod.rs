//! What whoever runs the service does from a shell, without being signed in.
//!
//! Works in the same narrow roles as the service itself, is recorded as `system:…`, and tells
//! others what they have to know.

mod create_super_admin;
mod password;
mod revoke_all;

pub use create_super_admin::CreateSuperAdmin;
pub use revoke_all::RevokeAll;

use service_kit::{
    config::StartError,
    error::{Error, message_of},
};

/// As it is said in a shell: one sentence for each thing that is wrong. Here what went wrong
/// inside is no secret.
fn said(error: Error) -> StartError {
    match error {
        Error::Invalid(violations) => {
            let sentences = violations.iter().map(|it| format!("{} {}.", it.field, it.flaw));
            StartError::all(sentences.collect()).err().unwrap_or_else(|| StartError::new(""))
        }
        Error::Internal(error) => StartError::new(format!("Something failed inside: {error}.")),
        error => StartError::new(message_of(&error)),
    }
}
