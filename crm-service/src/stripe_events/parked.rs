//! What waits, and how does it look on the wire?

use chrono::{DateTime, Utc};
use proto::crm::v1 as pb;
use service_kit::{
    clock,
    fields::{Fields, Text},
    page::{KeyOf, Order},
};
use sqlx::types::Json;

use super::{amounts::Obstacle, model::Facts};

/// An event that waits.
#[derive(Debug, sqlx::FromRow)]
pub struct Parked {
    pub id: i64,
    event_id: String,
    #[sqlx(rename = "type")]
    kind: String,
    customer_id: String,
    charge_id: String,
    endpoint_id: i64,
    event_time: DateTime<Utc>,
    create_time: DateTime<Utc>,
    facts: Json<Facts>,
    /// Of the payment that its charge became, if it did.
    payment_currency: Option<String>,
}

impl Parked {
    /// Why it waits.
    fn reason(&self) -> pb::ParkedEventReason {
        use pb::ParkedEventReason as Reason;
        match &self.facts.0 {
            Facts::Unrecordable { obstacle } => match obstacle {
                Obstacle::CurrencyUnknown => Reason::CurrencyUnknown,
                Obstacle::AmountNotWhole => Reason::AmountNotWhole,
                Obstacle::AmountOutOfBounds => Reason::AmountOutOfBounds,
            },
            facts if self.is_in_other_money(facts) => Reason::CurrencyDiffers,
            _ => Reason::Waiting,
        }
    }

    fn is_in_other_money(&self, facts: &Facts) -> bool {
        let both = facts.currency().zip(self.payment_currency.as_deref());
        both.is_some_and(|(told, recorded)| told != recorded)
    }
}

impl From<Parked> for pb::ParkedEvent {
    fn from(event: Parked) -> Self {
        Self {
            reason: event.reason().into(),
            id: event.id,
            stripe_event_id: event.event_id,
            r#type: event.kind,
            stripe_customer_id: event.customer_id,
            stripe_charge_id: event.charge_id,
            stripe_endpoint_id: event.endpoint_id,
            event_time: Some(clock::timestamp(event.event_time)),
            create_time: Some(clock::timestamp(event.create_time)),
        }
    }
}

/// Which parked events a list is of.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub customer_id: Option<String>,
}

impl Filter {
    pub fn parse(fields: &mut Fields, request: &pb::ListParkedEventsRequest) -> Option<Self> {
        let customer_id = Text::<255>::parse(&request.stripe_customer_id);
        let customer_id = fields.take("stripe_customer_id", customer_id)?.into_string();
        Some(Self { customer_id: (!customer_id.is_empty()).then_some(customer_id) })
    }
}

/// The orders that a list can be asked for: the longest waiting first unless the caller says
/// otherwise.
pub const ORDERS: &[Order<Parked>] = &[Order {
    name: "create_time",
    column: "create_time",
    key: KeyOf::Instant(|event| event.create_time),
}];
pub const DEFAULT_ORDER: &str = "create_time";
