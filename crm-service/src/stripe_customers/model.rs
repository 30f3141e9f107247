//! What is a Stripe customer?

use chrono::{DateTime, Utc};
use proto::crm::v1::{self as pb, StripeCustomerStatus as Status};
use service_kit::{
    clock, etag,
    fields::{Fields, Flaw, id},
    mask::Update,
    page::{KeyOf, Order},
};

use crate::spelling::Spelling;

/// A client as a customer of Stripe.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StripeCustomer {
    pub id: i64,
    pub client_id: i64,
    pub stripe_customer_id: String,
    pub status: String,
    pub create_time: DateTime<Utc>,
    update_time: DateTime<Utc>,
    pub version: i64,
}

pub const STATUSES: Spelling<Status> = Spelling {
    of: "status",
    values: &[(Status::Active, "active"), (Status::Inactive, "inactive")],
};

/// One that is about to be.
#[derive(Debug)]
pub struct NewStripeCustomer {
    pub client_id: i64,
    pub stripe_customer_id: String,
    pub status: &'static str,
}

impl NewStripeCustomer {
    /// Output-only fields are ignored.
    pub fn parse(fields: &mut Fields, customer: &pb::StripeCustomer) -> Option<Self> {
        let client_id = fields.take("stripe_customer.client_id", id(customer.client_id));
        let stripe_customer_id = parse_stripe_id(&customer.stripe_customer_id);
        let stripe_customer_id =
            fields.take("stripe_customer.stripe_customer_id", stripe_customer_id);
        let status = fields.take("stripe_customer.status", STATUSES.optional(customer.status));
        Some(Self {
            client_id: client_id?,
            stripe_customer_id: stripe_customer_id?,
            status: STATUSES.text(status?.unwrap_or(Status::Active)),
        })
    }
}

/// An id of a customer as Stripe makes them.
fn parse_stripe_id(text: &str) -> Result<String, Flaw> {
    const MAX: usize = 255;
    if text.is_empty() {
        return Err(Flaw::Missing);
    }
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let is_id = text.len() <= MAX && text.strip_prefix("cus_").is_some_and(is_word);
    if is_id {
        Ok(text.to_owned())
    } else {
        Err(Flaw::bad("must be a customer id of Stripe such as cus_NffrFeUfNV2Hib"))
    }
}

/// What an update means to change.
pub struct Change {
    status: Option<Status>,
}

impl Change {
    /// The paths that a mask may name.
    const PATHS: &[&str] = &["status"];

    pub fn parse(fields: &mut Fields, request: &pb::UpdateStripeCustomerRequest) -> Option<Self> {
        let sent = request.stripe_customer.clone().unwrap_or_default();
        let mask = request.update_mask.as_ref();
        let mut update = Update::of(fields, "stripe_customer", mask, Self::PATHS);
        let status = update.field("status", &sent.status, |status| STATUSES.required(*status));
        Some(Self { status: status? })
    }

    /// The status after the change.
    pub fn apply(self, before: &StripeCustomer) -> String {
        let status = self.status.map(|status| STATUSES.text(status).to_owned());
        status.unwrap_or_else(|| before.status.clone())
    }
}

/// Refuses an update that says otherwise what never changes.
pub fn check_same(fields: &mut Fields, sent: &pb::StripeCustomer, before: &StripeCustomer) {
    let client_id = (sent.client_id != 0).then_some(sent.client_id);
    fields.stays("stripe_customer.client_id", client_id, &before.client_id);
    let stripe_id = Some(&sent.stripe_customer_id).filter(|id| !id.is_empty());
    fields.stays("stripe_customer.stripe_customer_id", stripe_id, &&before.stripe_customer_id);
}

/// Which rows a list is of.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub client_id: Option<i64>,
    pub status: Option<&'static str>,
}

impl Filter {
    pub fn parse(fields: &mut Fields, request: &pb::ListStripeCustomersRequest) -> Option<Self> {
        let status = fields.take("status", STATUSES.optional(request.status))?;
        Some(Self {
            client_id: (request.client_id != 0).then_some(request.client_id),
            status: status.map(|status| STATUSES.text(status)),
        })
    }
}

/// The orders that a list can be asked for. Newest first unless the caller says otherwise.
pub const ORDERS: &[Order<StripeCustomer>] = &[Order {
    name: "create_time",
    column: "create_time",
    key: KeyOf::Instant(|customer| customer.create_time),
}];
pub const DEFAULT_ORDER: &str = "create_time desc";

impl From<StripeCustomer> for pb::StripeCustomer {
    fn from(customer: StripeCustomer) -> Self {
        Self {
            id: customer.id,
            client_id: customer.client_id,
            stripe_customer_id: customer.stripe_customer_id,
            status: STATUSES.read(&customer.status).into(),
            create_time: Some(clock::timestamp(customer.create_time)),
            update_time: Some(clock::timestamp(customer.update_time)),
            etag: etag::of(customer.version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stripe_id_looks_like_stripes() {
        assert!(parse_stripe_id("cus_NffrFeUfNV2Hib").is_ok());
        assert!(parse_stripe_id("cus_test_1").is_ok());
        assert_eq!(parse_stripe_id(""), Err(Flaw::Missing));
        let long = format!("cus_{}", "x".repeat(255));
        for bad in ["cus_", "NffrFeUfNV2Hib", "ch_1", "cus_a b", "cus_é", "CUS_1", long.as_str()] {
            assert!(matches!(parse_stripe_id(bad), Err(Flaw::Bad(_))), "{bad:?}");
        }
    }
}
