//! What comes of an event?
//!
//! One account's events are settled one after the other ([`sql::queue`]): a dispute and its
//! charge may arrive in the same moment, and the second must see the first.

use proto::common::v1::ErrorReason as Reason;
use service_kit::{
    db::{Act, TenantTx},
    error::Error,
    fields::Money,
};

use super::{
    model::{Event, Facts},
    sql::{self, State},
    story::{Standing, Story},
};
use crate::{
    buyer::{self, stored_currency},
    payments::{
        ledger::Dispute,
        model::{Payment, Said},
        sql as payments_sql,
        work::{self as payments, Cover, NewPayment},
    },
    stripe_customers::{self, model::StripeCustomer},
    stripe_endpoints,
    visibility::Scope,
};

/// Stripe sees every client of the account.
const EVERYTHING: Scope = Scope::Account;

/// What is told of a charge. While it counts as failed, only the first changes its payment.
const TOLD: &[&str] = &["charged", "refunded", "dispute_opened", "dispute_closed"];

/// Where a charge stands among those that wait for the same customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It is its turn.
    First,
    /// It was told of just now: whatever waits comes before it.
    Last,
}

/// Takes an event in, once, with everything that comes of it.
pub async fn take_in(mut tx: TenantTx, endpoint_id: i64, event: &Event) -> Result<(), Error> {
    sql::queue(&mut tx).await?;
    let Some(id) = sql::insert(&mut tx, endpoint_id, event).await? else {
        return Ok(());
    };
    let acts = match &event.facts {
        Facts::Unrecordable { obstacle } => {
            let (event, charge) = (&event.event_id, &event.charge_id);
            tracing::warn!(%event, %charge, ?obstacle, "what Stripe told of money cannot be recorded");
            Vec::new()
        }
        Facts::Nothing => {
            sql::ignore(&mut tx, id).await?;
            Vec::new()
        }
        Facts::CustomerKnown | Facts::CustomerDeleted => {
            settle_customer(&mut tx, &event.customer_id).await?
        }
        _ => settle(&mut tx, &event.charge_id, Place::Last).await?,
    };
    tx.commit(acts).await
}

/// Applies what was told of a customer; of one who is not known one word waits, and no more.
pub async fn settle_customer(
    tx: &mut TenantTx,
    stripe_customer_id: &str,
) -> Result<Vec<Act>, Error> {
    let Some(customer) = find_customer(tx, stripe_customer_id).await? else {
        sql::keep_one_word(tx, stripe_customer_id).await?;
        return Ok(Vec::new());
    };
    let is_gone = sql::settle_customer(tx, stripe_customer_id).await?;
    let act = if is_gone { let_go(tx, customer).await? } else { None };
    Ok(Vec::from_iter(act))
}

/// A customer is gone at Stripe.
async fn let_go(tx: &mut TenantTx, customer: StripeCustomer) -> Result<Option<Act>, Error> {
    buyer::lock(tx, EVERYTHING, customer.client_id).await?;
    if customer.status == "inactive" {
        return Ok(None);
    }
    stripe_customers::sql::set_status(tx, customer.id, "inactive").await?;
    Ok(Some(Act::on("stripe_customer", customer.id, "update").with("status", "inactive")))
}

/// Brings the payment of a charge to how it is to stand after all that was told of it. What
/// cannot be applied yet stays parked: without a payment all of it.
pub async fn settle(tx: &mut TenantTx, charge_id: &str, place: Place) -> Result<Vec<Act>, Error> {
    let story = Story::new(sql::words(tx, charge_id).await?);
    let mut settling = Settling { story, acts: Vec::new() };
    let payment = match find_payment(tx, charge_id).await? {
        None => settling.begin(tx, charge_id, place).await?,
        payment => payment,
    };
    let Some(payment) = payment else { return Ok(Vec::new()) };
    if settling.story.is_told_in_other_than(&payment.currency) {
        tracing::warn!(charge = charge_id, "what Stripe told is in another currency than before");
    }
    match settling.follow(tx, payment.clone()).await {
        Ok(payment) => {
            let told = if payment.facts.has_failed { &TOLD[..1] } else { TOLD };
            sql::settle(tx, &payment, told, State::Applied).await?;
        }
        // Something that a person did meanwhile stands against it, and stays.
        Err(Error::Refused { reason, .. }) => {
            tracing::warn!(charge = charge_id, ?reason, "what Stripe told changes nothing");
            sql::settle(tx, &payment, TOLD, State::Ignored).await?;
        }
        Err(error) => return Err(error),
    }
    Ok(settling.acts)
}

/// A charge on its way from what was told of it to a payment, and what was done on it.
struct Settling {
    story: Story,
    acts: Vec<Act>,
}

impl Settling {
    /// The payment that a charge becomes, once its customer is known and it is its turn.
    async fn begin(
        &mut self,
        tx: &mut TenantTx,
        charge_id: &str,
        place: Place,
    ) -> Result<Option<Payment>, Error> {
        let Some(standing) = self.story.begin() else { return Ok(None) };
        let Some(customer) = find_any_customer(tx, &self.story).await? else { return Ok(None) };
        if place == Place::Last && sql::has_backlog(tx, &customer.stripe_customer_id).await? {
            return Ok(None);
        }
        let buyer = payments::lock_client(tx, EVERYTHING, customer.client_id, "client_id").await?;
        let new = NewPayment {
            amount: Money::from_minor(standing.amount, stored_currency(&standing.currency)?),
            has_failed: standing.has_failed,
            paid_at: standing.paid_at,
            external_reference: String::new(),
            notes: String::new(),
            stripe_charge_id: Some(charge_id.to_owned()),
        };
        let cover = if standing.has_failed { Cover::Nothing } else { self.cover(tx).await? };
        let done = payments::record(tx, &buyer, new, cover).await?;
        Ok(Some(self.note(done)))
    }

    /// One step after the other, each only where something is to change.
    async fn follow(&mut self, tx: &mut TenantTx, payment: Payment) -> Result<Payment, Error> {
        if payment.facts.is_void {
            return Err(VOID);
        }
        let said = payments_sql::said_by_people(tx, payment.id).await?;
        let next = self.story.next(&Standing::of(&payment), said);
        let payment = self.come_in(tx, payment, &next).await?;
        let payment = self.give_back(tx, payment, &next).await?;
        self.dispute(tx, payment, &next, said).await
    }

    async fn come_in(
        &mut self,
        tx: &mut TenantTx,
        mut payment: Payment,
        next: &Standing,
    ) -> Result<Payment, Error> {
        let before = Standing::of(&payment);
        if next.has_failed && !before.has_failed {
            let done = payments::fail(tx, payment, "").await?;
            payment = self.note(done);
        }
        if (next.amount, next.paid_at) != (before.amount, before.paid_at) {
            let done = payments::correct(tx, payment, next.amount, next.paid_at).await?;
            payment = self.note(done);
        }
        if !next.has_failed && before.has_failed {
            let done = payments::succeed(tx, payment).await?;
            payment = self.note(done);
        }
        let is_more = before.has_failed || next.amount > before.amount;
        if !next.has_failed && is_more {
            let cover = self.cover(tx).await?;
            let done = payments::allocate(tx, payment, cover).await?;
            payment = self.note(done);
        }
        Ok(payment)
    }

    async fn give_back(
        &mut self,
        tx: &mut TenantTx,
        payment: Payment,
        next: &Standing,
    ) -> Result<Payment, Error> {
        if next.refunded == payment.facts.refunded {
            return Ok(payment);
        }
        let done = payments::refund_to(tx, payment, next.refunded, "").await?;
        Ok(self.note(done))
    }

    /// A dispute counts for the whole payment; how much of it Stripe says that it is about stands
    /// in the record of acts.
    async fn dispute(
        &mut self,
        tx: &mut TenantTx,
        payment: Payment,
        next: &Standing,
        said: Said,
    ) -> Result<Payment, Error> {
        let is_as_it_was = next.dispute == payment.facts.dispute;
        let (payment, act) = match next.dispute {
            _ if is_as_it_was => (payment, None),
            Dispute::Never => (payment, None),
            Dispute::Open => payments::dispute(tx, payment, &next.dispute_reason).await?,
            Dispute::Won => payments::win_dispute(tx, payment).await?,
            Dispute::Lost => payments::lose_dispute(tx, payment).await?,
        };
        let disputed = self.story.disputed(said);
        let act = act.map(|act| match disputed {
            Some(disputed) => act.with("disputed", disputed.shown()),
            None => act,
        });
        let payment = self.note((payment, act));
        let done = payments::explain_dispute(tx, payment, &next.dispute_reason).await?;
        Ok(self.note(done))
    }

    /// Which of a client's instalments a charge covers: as the endpoint says that it came by. One
    /// that is gone says nothing any more.
    async fn cover(&self, tx: &mut TenantTx) -> Result<Cover, Error> {
        let Some(id) = self.story.endpoint() else { return Ok(Cover::Nothing) };
        let endpoint = stripe_endpoints::sql::find(tx, id).await?;
        let allocates = endpoint.is_some_and(|endpoint| endpoint.auto_allocate);
        Ok(if allocates { Cover::OldestDue } else { Cover::Nothing })
    }

    fn note(&mut self, (payment, act): (Payment, Option<Act>)) -> Payment {
        self.acts.extend(act);
        payment
    }
}

const VOID: Error = Error::Refused {
    reason: Reason::PaymentStatus,
    sentence: "The payment was entered by mistake, somebody said.",
};

async fn find_customer(
    tx: &mut TenantTx,
    stripe_customer_id: &str,
) -> Result<Option<StripeCustomer>, Error> {
    stripe_customers::sql::find_by_stripe_id(tx, stripe_customer_id).await
}

/// Whose charge it is: words in which it is nobody's do not count.
async fn find_any_customer(
    tx: &mut TenantTx,
    story: &Story,
) -> Result<Option<StripeCustomer>, Error> {
    for stripe_customer_id in story.customers() {
        if let Some(customer) = find_customer(tx, stripe_customer_id).await? {
            return Ok(Some(customer));
        }
    }
    Ok(None)
}

/// The payment that a charge became, of a client who is locked first.
async fn find_payment(tx: &mut TenantTx, charge_id: &str) -> Result<Option<Payment>, Error> {
    let Some(id) = payments_sql::find_by_charge(tx, charge_id).await? else {
        return Ok(None);
    };
    let (_, payment) = payments::lock_payment(tx, EVERYTHING, id, "id").await?;
    Ok(Some(payment))
}
