//! How do things stand with a client?

use proto::crm::v1::ClientStatus as Status;

use crate::spelling::Spelling;

pub const STATUSES: Spelling<Status> = Spelling {
    of: "status",
    values: &[
        (Status::Active, "active"),
        (Status::Inactive, "inactive"),
        (Status::Onboarding, "onboarding"),
        (Status::Paused, "paused"),
        (Status::Cancelled, "cancelled"),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_spelled_as_they_were() {
        for (status, text) in STATUSES.values {
            assert_eq!((STATUSES.text(*status), STATUSES.read(text)), (*text, *status));
        }
    }
}
