//! What comes of an event?
//!
//! One account's events are settled one after the other ([`sql::queue`]): a dispute and its
//! charge may arrive in the same moment, and the second must see the first.

use std::collections::BTreeSet;

use proto::common::v1::ErrorReason as Reason;
use service_kit::{
    db::{Act, TenantTx},
    error::Error,
    fields::Money,
};

use super::{
    model::{Event, Facts},
    sql::{self, State, Stored},
};
use crate::{
    buyer::{self, stored_currency},
    payments::{
        ledger::Dispute,
        model::Payment,
        sql as payments_sql,
        work::{self as payments, Cover, NewPayment},
    },
    stripe_customers::{self, model::StripeCustomer},
    stripe_endpoints,
    visibility::Scope,
};

/// Stripe sees every client of the account.
const EVERYTHING: Scope = Scope::Account;

/// Takes an event in, once, with everything that comes of it.
pub async fn take_in(mut tx: TenantTx, endpoint_id: i64, event: &Event) -> Result<(), Error> {
    sql::queue(&mut tx).await?;
    let Some(event) = sql::insert(&mut tx, endpoint_id, event).await? else {
        return Ok(());
    };
    let mut settling = Settling::default();
    settling.settle(&mut tx, event).await?;
    tx.commit(settling.acts).await
}

/// Applies what waited for a customer who is known from now on.
pub async fn apply_parked(tx: &mut TenantTx, customer: &StripeCustomer) -> Result<Vec<Act>, Error> {
    let mut settling = Settling::default();
    for event in sql::parked_by_customer(tx, &customer.stripe_customer_id).await? {
        settling.settle(tx, event).await?;
    }
    Ok(settling.acts)
}

/// Events on their way out of the inbox, and what came of them.
#[derive(Default)]
struct Settling {
    acts: Vec<Act>,
    /// One may be met twice: by its customer and by its charge.
    settled: BTreeSet<i64>,
}

impl Settling {
    /// An event, and what waited for the charge that it tells of.
    async fn settle(&mut self, tx: &mut TenantTx, event: Stored) -> Result<(), Error> {
        let charge =
            matches!(event.facts.0, Facts::Charged { .. }).then(|| event.charge_id.clone());
        let Some(charge_id) = charge else { return self.settle_one(tx, event).await };
        self.settle_one(tx, event).await?;
        for waiting in sql::parked_by_charge(tx, &charge_id).await? {
            self.settle_one(tx, waiting).await?;
        }
        Ok(())
    }

    async fn settle_one(&mut self, tx: &mut TenantTx, event: Stored) -> Result<(), Error> {
        if self.settled.contains(&event.id) {
            return Ok(());
        }
        let state = match self.apply(tx, &event).await {
            // Something that a person did meanwhile stands against it, and stays.
            Err(Error::Refused { reason, .. }) => {
                tracing::warn!(event = event.id, ?reason, "an event of Stripe's changes nothing");
                State::Ignored
            }
            state => state?,
        };
        if state == State::Parked {
            return Ok(());
        }
        self.settled.insert(event.id);
        sql::set_state(tx, event.id, state).await?;
        Ok(())
    }

    async fn apply(&mut self, tx: &mut TenantTx, event: &Stored) -> Result<State, Error> {
        match &event.facts.0 {
            Facts::Nothing => Ok(State::Ignored),
            Facts::CustomerKnown => {
                let known = find_customer(tx, event).await?.is_some();
                Ok(if known { State::Applied } else { State::Parked })
            }
            Facts::CustomerDeleted => self.let_go(tx, event).await,
            Facts::Charged { currency, minor, .. } => {
                let money = Money::from_minor(*minor, stored_currency(currency)?);
                self.charge(tx, event, money).await
            }
            facts => match find_payment(tx, &event.charge_id).await? {
                Some(payment) => self.change(tx, event, facts, payment).await,
                None => Ok(State::Parked),
            },
        }
    }

    /// A charge is one payment, however often and in whatever words it is told of.
    async fn charge(
        &mut self,
        tx: &mut TenantTx,
        event: &Stored,
        money: Money,
    ) -> Result<State, Error> {
        let has_failed = sql::has_failed(tx, &event.charge_id).await?;
        if let Some(payment) = find_payment(tx, &event.charge_id).await? {
            return self.correct(tx, event, payment, has_failed).await;
        }
        let Some(customer) = find_customer(tx, event).await? else { return Ok(State::Parked) };
        let buyer = payments::lock_client(tx, EVERYTHING, customer.client_id, "client_id").await?;
        let new = NewPayment {
            amount: money,
            has_failed,
            paid_at: event.event_time,
            external_reference: String::new(),
            notes: String::new(),
            stripe_charge_id: Some(event.charge_id.clone()),
            // What waited for it comes next.
            is_alone: false,
        };
        let cover = if has_failed { Cover::Nothing } else { cover(tx, event).await? };
        let (_, act) = payments::record(tx, &buyer, new, cover).await?;
        self.acts.extend(act);
        Ok(State::Applied)
    }

    /// Of success and failure the later word counts.
    async fn correct(
        &mut self,
        tx: &mut TenantTx,
        event: &Stored,
        payment: Payment,
        has_failed: bool,
    ) -> Result<State, Error> {
        if payment.facts.has_failed == has_failed {
            return Ok(State::Applied);
        }
        if has_failed {
            let (_, act) = payments::fail(tx, payment, "").await?;
            self.acts.extend(act);
        } else {
            let (payment, succeeded) = payments::succeed(tx, payment).await?;
            let cover = cover(tx, event).await?;
            let (_, covered) = payments::allocate(tx, payment, cover).await?;
            self.acts.extend(succeeded.into_iter().chain(covered));
        }
        Ok(State::Applied)
    }

    /// A refund or a dispute.
    async fn change(
        &mut self,
        tx: &mut TenantTx,
        event: &Stored,
        facts: &Facts,
        payment: Payment,
    ) -> Result<State, Error> {
        let done = match facts {
            Facts::Refunded { currency, .. } if *currency != payment.currency => {
                return Err(CURRENCY_MISMATCH);
            }
            Facts::Refunded { minor, .. } => {
                let total = (*minor).min(payment.facts.amount);
                // Told before by a later word, or done here by a person.
                if total <= payment.facts.refunded {
                    return Ok(State::Applied);
                }
                payments::refund_to(tx, payment, total, "").await?
            }
            Facts::DisputeOpened { reason } => {
                let was_decided = sql::dispute_won(tx, &event.charge_id).await?.is_some();
                if was_decided || payment.facts.dispute != Dispute::Never {
                    return Ok(State::Applied);
                }
                payments::dispute(tx, payment, reason).await?
            }
            _ => {
                let is_won = sql::dispute_won(tx, &event.charge_id).await?.unwrap_or_default();
                let outcome = if is_won { Dispute::Won } else { Dispute::Lost };
                if payment.facts.dispute == outcome {
                    return Ok(State::Applied);
                }
                if is_won {
                    payments::win_dispute(tx, payment).await?
                } else {
                    payments::lose_dispute(tx, payment).await?
                }
            }
        };
        self.acts.extend(done.1);
        Ok(State::Applied)
    }

    /// A customer is gone at Stripe.
    async fn let_go(&mut self, tx: &mut TenantTx, event: &Stored) -> Result<State, Error> {
        let Some(customer) = find_customer(tx, event).await? else { return Ok(State::Parked) };
        buyer::lock(tx, EVERYTHING, customer.client_id).await?;
        if customer.status != "inactive" {
            stripe_customers::sql::set_status(tx, customer.id, "inactive").await?;
            let act = Act::on("stripe_customer", customer.id, "update").with("status", "inactive");
            self.acts.push(act);
        }
        Ok(State::Applied)
    }
}

const CURRENCY_MISMATCH: Error = Error::Refused {
    reason: Reason::CurrencyMismatch,
    sentence: "A refund is in the currency of its payment.",
};

/// Which of a client's instalments a charge covers: as the endpoint says that it came by. One
/// that is gone says nothing any more.
async fn cover(tx: &mut TenantTx, event: &Stored) -> Result<Cover, Error> {
    let endpoint = stripe_endpoints::sql::find(tx, event.endpoint_id).await?;
    let allocates = endpoint.is_some_and(|endpoint| endpoint.auto_allocate);
    Ok(if allocates { Cover::OldestDue } else { Cover::Nothing })
}

async fn find_customer(tx: &mut TenantTx, event: &Stored) -> Result<Option<StripeCustomer>, Error> {
    stripe_customers::sql::find_by_stripe_id(tx, &event.customer_id).await
}

/// The payment that a charge became, of a client who is locked first.
async fn find_payment(tx: &mut TenantTx, charge_id: &str) -> Result<Option<Payment>, Error> {
    let Some(id) = payments_sql::find_by_charge(tx, charge_id).await? else {
        return Ok(None);
    };
    let (_, payment) = payments::lock_payment(tx, EVERYTHING, id, "id").await?;
    Ok(Some(payment))
}
