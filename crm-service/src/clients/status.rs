//! How do things stand with a client?

use proto::crm::v1::ClientStatus as Status;
use service_kit::fields::Flaw;

const STATUSES: &[(Status, &str)] = &[
    (Status::Active, "active"),
    (Status::Inactive, "inactive"),
    (Status::Onboarding, "onboarding"),
    (Status::Paused, "paused"),
    (Status::Cancelled, "cancelled"),
];

/// As it stands in the column, and was spelled by the old API.
pub fn status_text(status: Status) -> &'static str {
    STATUSES.iter().find(|(known, _)| *known == status).map_or("active", |(_, text)| text)
}

pub fn status_from_text(text: &str) -> Status {
    STATUSES
        .iter()
        .find(|(_, known)| *known == text)
        .map_or(Status::Unspecified, |(status, _)| *status)
}

pub fn parse_status(status: i32) -> Result<Status, Flaw> {
    match Status::try_from(status) {
        Ok(Status::Unspecified) => Err(Flaw::Missing),
        Ok(status) => Ok(status),
        Err(_) => Err(Flaw::bad("must be a known status")),
    }
}

pub fn parse_status_or_active(status: i32) -> Result<Status, Flaw> {
    if status == 0 { Ok(Status::Active) } else { parse_status(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_spelled_as_they_were() {
        for (status, text) in STATUSES {
            assert_eq!(status_text(*status), *text);
            assert_eq!(status_from_text(text), *status);
        }
    }
}
