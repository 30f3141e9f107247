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
