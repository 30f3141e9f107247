//! What can go wrong, and what the caller is told of it.
//!
//! One type for every failure of both services, and one exhaustive mapping to
//! `google.rpc.Status`. A new failure is a new reason in `common/v1/errors.proto`, not a
//! string.

use std::{borrow::Cow, collections::HashMap, error::Error as StdError, time::Duration};

use proto::common::v1::{ErrorReason as Reason, Permission, Role};
use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::{access, fields::Violations, telemetry::context};

/// Any error of a library, on its way to the log.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// The `domain` of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "clientele";
/// The trailer in which the reason stands in plain ASCII.
pub const REASON_TRAILER: &str = "error-reason";
/// The trailer that says after how many seconds a retry makes sense.
pub const RETRY_TRAILER: &str = "retry-after";
/// As long as whoever was in the way usually takes to be through.
const CONFLICT_RETRY: Duration = Duration::from_millis(100);

/// How much of what is wrong with a message is told, in the details and in the message, which
/// the details repeat. Clients in several languages take 8 KiB of trailers and no more.
const TOLD_IN_DETAILS: usize = 2_000;
const TOLD_IN_MESSAGE: usize = 500;

/// Why a call does not get what it asked for.
#[derive(Debug)]
pub enum Error {
    /// The message has bad fields: all of them.
    Invalid(Violations),
    /// This `request_id` came before with another body.
    RequestIdReused,
    /// No such row, for this caller. `field` is where the request named it.
    NotFound { resource: &'static str, field: &'static str },
    /// Something that must be unique is taken.
    Taken { reason: Reason, sentence: &'static str },
    /// The etag is not that of the row.
    Stale,
    /// Another transaction got in the way.
    Conflict,
    /// Nobody we know.
    Unauthenticated(Reason),
    /// Somebody we know, who may not do this.
    Denied(Permission),
    /// Somebody we know, whose role is too low.
    RoleRequired(Role),
    /// Somebody we know, who gives or takes what they do not hold.
    PermissionsAboveOwn(Vec<Permission>),
    /// Somebody we know, who gives a role above their own.
    RoleAboveOwn(Role),
    /// Somebody we know, who may not do this to that.
    Forbidden { reason: Reason, sentence: &'static str },
    /// The right request at the wrong moment.
    Refused { reason: Reason, sentence: &'static str },
    /// `NotFound` or `Refused`, and which of several things in the request it is about.
    About { error: Box<Self>, which: Vec<(&'static str, String)> },
    /// A code that opens nothing, any more or at all.
    CodeInvalid,
    /// Too many attempts from where this one comes.
    TooManyAttempts { retry: Duration },
    /// What follows this cursor is no longer kept.
    CursorExpired,
    /// There is no such method.
    MethodUnknown,
    /// More than fits into a message.
    TooLarge,
    /// Too much at once.
    Overloaded { retry: Duration },
    /// Not done in time.
    DeadlineExceeded,
    /// Something that we need does not answer.
    Unavailable { reason: Reason, retry: Duration },
    /// Our fault. The text goes to the log and never to the caller.
    Internal(BoxError),
}

impl Error {
    pub const RANK_TOO_LOW: Self = Self::Forbidden {
        reason: Reason::RankTooLow,
        sentence: "Nobody manages a person of a higher role.",
    };
    pub const EMPLOYEES_ONLY: Self = Self::Forbidden {
        reason: Reason::EmployeesOnly,
        sentence: "Only a person may do this, for themselves.",
    };
    pub const ACCOUNT_CLOSED: Self =
        Self::Refused { reason: Reason::AccountClosed, sentence: "The account is closed." };

    /// Our fault, described for the log.
    pub fn internal(error: impl Into<BoxError>) -> Self {
        Self::Internal(error.into())
    }

    /// The same about one of several things in the request, which the metadata then tells.
    #[must_use]
    pub fn about<const N: usize>(self, which: [(&'static str, String); N]) -> Self {
        match self {
            Self::NotFound { .. } | Self::Refused { .. } => {
                Self::About { error: Box::new(self), which: which.into() }
            }
            _ => self,
        }
    }

    /// What the log says where no caller is told: a task of the service's own failed.
    pub fn for_log(&self) -> Cow<'static, str> {
        match self {
            Self::Internal(source) => source.to_string().into(),
            _ => self.message(),
        }
    }

    /// Nobody says who calls.
    pub fn identity_unavailable() -> Self {
        Self::Unavailable { reason: Reason::IdentityUnavailable, retry: Duration::from_secs(1) }
    }

    /// The database does not answer.
    pub fn database_unavailable() -> Self {
        Self::Unavailable { reason: Reason::DatabaseUnavailable, retry: Duration::from_secs(1) }
    }

    /// What the caller reads as `error-reason`.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Invalid(violations) if violations.only_missing() => Reason::MissingFields,
            Self::Invalid(_) => Reason::InvalidFields,
            Self::RequestIdReused => Reason::RequestIdReused,
            Self::NotFound { .. } => Reason::NotFound,
            Self::Taken { reason, .. }
            | Self::Forbidden { reason, .. }
            | Self::Refused { reason, .. }
            | Self::Unauthenticated(reason)
            | Self::Unavailable { reason, .. } => *reason,
            Self::About { error, .. } => error.reason(),
            Self::Stale => Reason::EtagStale,
            Self::Conflict => Reason::Conflict,
            Self::Denied(_) => Reason::PermissionDenied,
            Self::RoleRequired(_) => Reason::RoleRequired,
            Self::PermissionsAboveOwn(_) => Reason::PermissionAboveOwn,
            Self::RoleAboveOwn(_) => Reason::RoleAboveOwn,
            Self::CodeInvalid => Reason::CodeInvalid,
            Self::TooManyAttempts { .. } => Reason::TooManyAttempts,
            Self::CursorExpired => Reason::CursorExpired,
            Self::MethodUnknown => Reason::MethodUnknown,
            Self::TooLarge => Reason::MessageTooLarge,
            Self::Overloaded { .. } => Reason::Overloaded,
            Self::DeadlineExceeded => Reason::DeadlineExceeded,
            Self::Internal(_) => Reason::Internal,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) | Self::RequestIdReused | Self::CodeInvalid => Code::InvalidArgument,
            Self::NotFound { .. } => Code::NotFound,
            Self::Taken { .. } => Code::AlreadyExists,
            Self::Stale | Self::Conflict => Code::Aborted,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::Denied(_)
            | Self::RoleRequired(_)
            | Self::PermissionsAboveOwn(_)
            | Self::RoleAboveOwn(_)
            | Self::Forbidden { .. } => Code::PermissionDenied,
            Self::Refused { .. } => Code::FailedPrecondition,
            Self::About { error, .. } => error.code(),
            Self::CursorExpired => Code::OutOfRange,
            Self::MethodUnknown => Code::Unimplemented,
            Self::TooLarge | Self::Overloaded { .. } | Self::TooManyAttempts { .. } => {
                Code::ResourceExhausted
            }
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Unavailable { .. } => Code::Unavailable,
            Self::Internal(_) => Code::Internal,
        }
    }

    fn message(&self) -> Cow<'static, str> {
        match self {
            Self::Invalid(violations) if violations.only_missing() => {
                "Missing required fields".into()
            }
            Self::Invalid(violations) => invalid_message(violations).into(),
            Self::RequestIdReused => "This request_id was used before, with another body.".into(),
            Self::NotFound { resource, field } => format!("No {resource} has this {field}.").into(),
            Self::Taken { sentence, .. }
            | Self::Forbidden { sentence, .. }
            | Self::Refused { sentence, .. } => (*sentence).into(),
            Self::About { error, .. } => error.message(),
            Self::Stale => "It was changed meanwhile: read it again.".into(),
            Self::Conflict => "Another call got in the way: try again.".into(),
            Self::Unauthenticated(reason) => unauthenticated_message(*reason).into(),
            Self::Denied(permission) => {
                format!("This needs the permission {}.", access::permission_name(*permission))
                    .into()
            }
            Self::RoleRequired(role) => {
                let or_higher = if *role == Role::SuperAdmin { "" } else { " or a higher one" };
                let role = access::role_text(*role);
                format!("This is for employees with the role {role}{or_higher}.").into()
            }
            Self::PermissionsAboveOwn(permissions) => format!(
                "Nobody gives or takes away a permission that they do not hold: {}.",
                names(permissions)
            )
            .into(),
            Self::RoleAboveOwn(role) => format!(
                "Nobody gives a role above their own, such as {}.",
                access::role_text(*role)
            )
            .into(),
            Self::CodeInvalid => "This code is not valid, or no longer.".into(),
            Self::TooManyAttempts { .. } => "Too many attempts: try again later.".into(),
            Self::CursorExpired => "What follows this cursor is no longer kept: begin anew.".into(),
            Self::MethodUnknown => "There is no method of this name.".into(),
            Self::TooLarge => "The message is larger than this server takes or gives.".into(),
            Self::Overloaded { .. } => "Too many calls at once: try again shortly.".into(),
            Self::DeadlineExceeded => "Not done within the time allowed.".into(),
            Self::Unavailable { reason: Reason::IdentityUnavailable, .. } => {
                "Nobody can be identified at the moment: try again shortly.".into()
            }
            Self::Unavailable { .. } => "Not available at the moment: try again shortly.".into(),
            Self::Internal(_) => match context::current() {
                Some(request) => format!("Internal error. Request id: {}", request.id()).into(),
                None => "Internal error.".into(),
            },
        }
    }

    fn details(&self) -> ErrorDetails {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason_text(self.reason()), DOMAIN, self.metadata());
        if let Self::Invalid(violations) = self {
            let (told, _) = violations.first(TOLD_IN_DETAILS);
            let fields =
                told.iter().map(|v| FieldViolation::new(v.field.clone(), v.flaw.to_string()));
            details.set_bad_request(fields.collect::<Vec<_>>());
        }
        if let Some(retry) = self.retry() {
            details.set_retry_info(Some(retry));
        }
        details
    }

    fn metadata(&self) -> HashMap<String, String> {
        let pairs = match self {
            Self::Invalid(violations) => match violations.first(TOLD_IN_DETAILS) {
                (_, 0) => vec![],
                (_, more) => vec![("fields_not_named", more.to_string())],
            },
            Self::About { error, which } => {
                let mut metadata = error.metadata();
                let which = which.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
                metadata.extend(which);
                return metadata;
            }
            Self::NotFound { resource, field } => {
                // As it is called where programs meet it, in the audit for one.
                let resource = resource.to_ascii_lowercase().replace(' ', "_");
                vec![("resource", resource), ("field", (*field).to_owned())]
            }
            Self::Denied(permission) => vec![("permission", access::permission_name(*permission))],
            Self::RoleRequired(role) | Self::RoleAboveOwn(role) => {
                vec![("role", access::role_text(*role).to_owned())]
            }
            Self::PermissionsAboveOwn(permissions) => vec![("permissions", names(permissions))],
            _ => vec![],
        };
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn retry(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry }
            | Self::TooManyAttempts { retry }
            | Self::Unavailable { retry, .. } => Some(*retry),
            Self::Conflict => Some(CONFLICT_RETRY),
            _ => None,
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        if let Error::Internal(source) = &error {
            tracing::error!(error = %source, "internal error");
        }
        let mut status = Self::with_error_details(error.code(), error.message(), error.details());
        let trailers = status.metadata_mut();
        if let Ok(reason) = MetadataValue::try_from(reason_text(error.reason())) {
            trailers.insert(REASON_TRAILER, reason);
        }
        if let Some(retry) = error.retry() {
            // Whole seconds, as in HTTP; the details know it exactly.
            trailers.insert(RETRY_TRAILER, MetadataValue::from(retry.as_secs().max(1)));
        }
        status
    }
}

impl From<Violations> for Status {
    fn from(violations: Violations) -> Self {
        Error::from(violations).into()
    }
}

impl From<Violations> for Error {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

fn invalid_message(violations: &Violations) -> String {
    let (told, more) = violations.first(TOLD_IN_MESSAGE);
    let told: Vec<_> = told.iter().map(ToString::to_string).collect();
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    format!("Invalid fields: {}{more}", told.join(", "))
}

fn names(permissions: &[Permission]) -> String {
    let names: Vec<_> = permissions.iter().copied().map(access::permission_name).collect();
    names.join(", ")
}

/// What a person reads.
pub fn message_of(error: &Error) -> Cow<'static, str> {
    error.message()
}

/// A reason as programs read it: the name in the enum without its prefix.
pub fn reason_text(reason: Reason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

/// A status of a given reason for what tonic itself refuses, before any handler is asked.
pub(crate) fn transport_status(code: Code, reason: Reason, message: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason_text(reason), DOMAIN, HashMap::new());
    let mut status = Status::with_error_details(code, message, details);
    status.metadata_mut().insert(REASON_TRAILER, MetadataValue::from_static(reason_text(reason)));
    status
}

/// What people read; the first two as the old API said them.
pub fn unauthenticated_message(reason: Reason) -> &'static str {
    match reason {
        Reason::TokenInvalid | Reason::TokenRevoked | Reason::TokenExpired => "Invalid token.",
        Reason::EmployeeInactive => "User inactive or deleted.",
        Reason::InvalidCredentials => "Invalid credentials",
        Reason::AuthorizationAmbiguous => "Send one authorization header, not several.",
        Reason::ServiceCredentialInvalid => "Only services may call this.",
        _ => "Authentication credentials were not provided.",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        fields::{Fields, Flaw},
        testing::refusal::trailers,
    };

    fn invalid(wrong: &[(String, Flaw)]) -> Status {
        let mut fields = Fields::default();
        for (field, flaw) in wrong {
            fields.refuse(field, flaw.clone());
        }
        fields.all(()).unwrap_err().into()
    }

    #[test]
    fn of_more_bad_fields_than_fit_the_first_are_named_and_the_others_counted() {
        let wrong: Vec<_> =
            (0..500).map(|n| (format!("ids[{n}]"), Flaw::bad("must be one"))).collect();
        let status = invalid(&wrong);
        let details = status.get_error_details();
        let named = &details.bad_request().unwrap().field_violations;
        assert!(named.len() > 50, "{}", named.len());
        assert!(named.iter().zip(&wrong).all(|(named, (field, _))| named.field == *field));
        let more = &details.error_info().unwrap().metadata["fields_not_named"];
        assert_eq!(more.parse::<usize>().unwrap() + named.len(), 500);
        assert!(status.message().starts_with("Invalid fields: ids[0] must be one, ids[1] "));
        let counted: usize = status.message().matches("ids[").count();
        assert!(status.message().ends_with(&format!(", and {} more", 500 - counted)), "{status}");

        let few = invalid(&wrong[..3]);
        assert_eq!(few.get_error_details().bad_request().unwrap().field_violations.len(), 3);
        assert!(few.get_error_details().error_info().unwrap().metadata.is_empty());
        assert!(few.message().ends_with("ids[2] must be one"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Of a name of anybody's own a field has 63 characters, and what is none is escaped.
        #[test]
        fn whatever_is_wrong_the_trailers_are_what_every_client_takes(
            wrong in prop::collection::vec(("[a-z_.]{1,40}\\PC{0,63}", prop::option::of("[ -~]{0,300}")), 1..150),
        ) {
            let flaw = |flaw: Option<String>| flaw.map_or(Flaw::Missing, Flaw::bad);
            let wrong: Vec<_> = wrong.into_iter().map(|(field, of)| (field, flaw(of))).collect();
            let status = invalid(&wrong);
            // Beside them there are a request id and what browsers want to know.
            prop_assert!(trailers(&status) < 7_400, "{}", trailers(&status));
        }
    }
}
