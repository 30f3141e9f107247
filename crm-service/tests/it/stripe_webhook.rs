//! What Stripe delivers, in Stripe's own words, signed as Stripe signs.

use crate::support::{Crm, Person, named, signed};
use hmac::{Hmac, KeyInit, Mac};
use proto::{
    common::v1::Money,
    crm::v1::{
        self as pb, DisputeOutcome, PaymentStatus, StripeCustomerStatus,
        payment_service_client::PaymentServiceClient,
    },
};
use serde_json::{Value, json};
use service_kit::testing::http;
use sha2::Sha256;

pub const SECRET: &str = "whsec_of_a_test";

impl Crm {
    /// An endpoint with its secret.
    pub async fn endpoint(
        &self,
        by: &Person,
        secret: &str,
        auto_allocate: bool,
    ) -> pb::StripeEndpoint {
        let stripe_endpoint = Some(pb::StripeEndpoint { auto_allocate, ..Default::default() });
        let create = pb::CreateStripeEndpointRequest { stripe_endpoint, ..Default::default() };
        let created = self.stripe_endpoints().create_stripe_endpoint(signed(by, create)).await;
        let id = created.unwrap().into_inner().stripe_endpoint.unwrap().id;
        self.rotate(by, id, secret).await
    }

    pub async fn rotate(&self, by: &Person, id: i64, secret: &str) -> pb::StripeEndpoint {
        let request = pb::RotateStripeEndpointSecretRequest {
            id,
            secret: secret.into(),
            ..Default::default()
        };
        let request = signed(by, request);
        self.stripe_endpoints()
            .rotate_stripe_endpoint_secret(request)
            .await
            .unwrap()
            .into_inner()
            .stripe_endpoint
            .unwrap()
    }

    /// Delivers an event as Stripe does; the status of the answer.
    pub async fn deliver(&self, endpoint: &pb::StripeEndpoint, event: &Value) -> u16 {
        let body = event.to_string();
        self.deliver_with(endpoint, &signature(SECRET, now(), &body), &body).await
    }

    pub async fn deliver_with(
        &self,
        endpoint: &pb::StripeEndpoint,
        signature: &str,
        body: &str,
    ) -> u16 {
        let path = &endpoint.webhook_url[endpoint.webhook_url.find("/stripe/").unwrap()..];
        self.post(path, &[("stripe-signature", signature)], body).await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        let answer = http::post(&self.address().to_string(), path, headers, body.as_bytes()).await;
        let status = answer.split(' ').nth(1);
        status.unwrap_or_else(|| panic!("no answer: {answer:?}")).parse().unwrap()
    }

    pub async fn payments(&self, by: &Person) -> Vec<pb::Payment> {
        let mut payments = PaymentServiceClient::new(self.channel.clone());
        let request = pb::ListPaymentsRequest {
            order_by: "create_time".into(),
            page_size: 1000,
            ..Default::default()
        };
        payments.list_payments(signed(by, request)).await.unwrap().into_inner().payments
    }

    pub async fn parked(&self, by: &Person) -> Vec<pb::ParkedEvent> {
        let request = signed(by, pb::ListParkedEventsRequest::default());
        let page = self.stripe_endpoints().list_parked_events(request).await.unwrap();
        page.into_inner().parked_events
    }
}

pub fn now() -> i64 {
    service_kit::clock::now().timestamp()
}

pub fn signature(secret: &str, time: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{time}.{body}").as_bytes());
    format!("t={time},v1={}", hex::encode(mac.finalize().into_bytes()))
}

pub fn event(id: &str, kind: &str, time: i64, object: Value) -> Value {
    json!({
        "id": id, "object": "event", "api_version": "2024-06-20", "created": time,
        "data": { "object": object }, "livemode": false, "pending_webhooks": 1,
        "request": { "id": null, "idempotency_key": null }, "type": kind,
    })
}

/// A charge as it stands in Stripe's API.
pub fn charge(id: &str, amount: i64, refunded: i64, status: &str) -> Value {
    json!({
        "id": id, "object": "charge", "amount": amount, "amount_captured": amount,
        "amount_refunded": refunded, "balance_transaction": "txn_1", "captured": true,
        "created": 1_700_000_000, "currency": "eur", "customer": "cus_1", "disputed": false,
        "billing_details": { "email": "zoe@okafor.example", "name": "Zoe Okafor" },
        "failure_code": null, "invoice": null, "livemode": false, "metadata": {},
        "outcome": { "network_status": "approved_by_network", "type": "authorized" },
        "paid": status == "succeeded", "payment_intent": "pi_1", "refunded": refunded == amount,
        "status": status,
    })
}

fn dispute(charge: &str, status: &str) -> Value {
    dispute_of("dp_1", charge, status)
}

pub fn dispute_of(id: &str, charge: &str, status: &str) -> Value {
    json!({
        "id": id, "object": "dispute", "amount": 10_000, "charge": charge,
        "currency": "eur", "created": 1_700_000_000, "evidence": {}, "is_charge_refundable": false,
        "livemode": false, "metadata": {}, "payment_intent": "pi_1", "reason": "fraudulent",
        "status": status,
    })
}

pub fn paid(id: &str, charge_id: &str, time: i64) -> Value {
    event(id, "charge.succeeded", time, charge(charge_id, 10_000, 0, "succeeded"))
}

pub fn euros(amount: &str) -> Option<Money> {
    Some(Money { currency_code: "EUR".into(), amount: amount.into() })
}

/// An account with a client who is a customer of Stripe's.
pub async fn stage(crm: &Crm, name: &str) -> (Person, i64, pb::StripeEndpoint) {
    let owner = crm.sign_up(name).await;
    let client = crm.create(&owner, named("Zoe", "")).await;
    crm.tie(&owner, client.id, "cus_1").await;
    let endpoint = crm.endpoint(&owner, SECRET, false).await;
    (owner, client.id, endpoint)
}

/// Security checklist 57.
#[tokio::test]
async fn a_charge_becomes_one_payment_of_its_client() {
    let crm = Crm::start().await;
    let (ana, client_id, endpoint) = stage(&crm, "ana").await;
    assert_eq!(crm.deliver(&endpoint, &paid("evt_1", "ch_1", 1_700_000_000)).await, 200);
    let payments = crm.payments(&ana).await;
    let payment = &payments[0];
    assert_eq!(
        (payments.len(), payment.client_id, payment.status()),
        (1, client_id, PaymentStatus::Paid)
    );
    assert_eq!((&payment.amount, &payment.credit_amount), (&euros("100.00"), &euros("100.00")));
    assert_eq!(payment.stripe_charge_id, "ch_1");
    assert_eq!(payment.paid_at.unwrap().seconds, 1_700_000_000);

    // Told again, and told in other words.
    let before = crm.database.digest().await;
    assert_eq!(crm.deliver(&endpoint, &paid("evt_1", "ch_1", 1_700_000_000)).await, 200);
    assert_eq!(crm.database.digest().await, before, "a replay");
    let other = crm.endpoint(&ana, SECRET, true).await;
    let before = crm.database.digest().await;
    assert_eq!(crm.deliver(&other, &paid("evt_1", "ch_1", 1_700_000_000)).await, 200);
    assert_eq!(crm.database.digest().await, before, "the same event by another endpoint");
    let acts = "SELECT actor, action FROM crm.audit_events WHERE subject = 'payment'";
    let acts: Vec<(String, String)> =
        sqlx::query_as(acts).fetch_all(&crm.database.owner).await.unwrap();
    assert_eq!(acts, [("system:stripe".to_owned(), "payment.create".to_owned())]);
    let intent = json!({
        "id": "pi_1", "object": "payment_intent", "amount": 10_000, "amount_received": 10_000,
        "currency": "eur", "customer": "cus_1", "latest_charge": "ch_1", "status": "succeeded",
    });
    let intent = event("evt_2", "payment_intent.succeeded", 1_700_000_001, intent);
    assert_eq!(crm.deliver(&endpoint, &intent).await, 200);
    assert_eq!(crm.payments(&ana).await, payments);
}

/// Security checklist 57.
#[tokio::test]
async fn what_is_about_an_unknown_customer_waits_for_them() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let client = crm.create(&ana, named("Zoe", "")).await;
    let endpoint = crm.endpoint(&ana, SECRET, false).await;
    let created = json!({ "id": "cus_1", "object": "customer", "email": "zoe@okafor.example" });
    let refunded = charge("ch_1", 10_000, 2_500, "succeeded");
    let events = [
        event("evt_0", "customer.created", 1_699_999_999, created.clone()),
        // A refund that comes before its charge, and a dispute, which names no customer.
        event("evt_2", "charge.refunded", 1_700_000_002, refunded),
        event("evt_3", "charge.dispute.created", 1_700_000_003, dispute("ch_1", "needs_response")),
        paid("evt_1", "ch_1", 1_700_000_000),
    ];
    for event in &events {
        assert_eq!(crm.deliver(&endpoint, event).await, 200);
    }
    assert_eq!(crm.payments(&ana).await, []);
    let parked = crm.parked(&ana).await;
    let ids: Vec<_> = parked.iter().map(|event| event.stripe_event_id.as_str()).collect();
    assert_eq!(ids, ["evt_0", "evt_2", "evt_3", "evt_1"], "the longest waiting first");
    assert_eq!(
        (parked[3].stripe_customer_id.as_str(), parked[3].r#type.as_str()),
        ("cus_1", "charge.succeeded")
    );
    assert_eq!(parked[3].stripe_endpoint_id, endpoint.id);
    let known: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM crm.stripe_events WHERE facts::text LIKE '%okafor%'",
    )
    .fetch_one(&crm.database.owner)
    .await
    .unwrap();
    assert_eq!(known, 0, "nothing that identifies a person is kept");

    crm.tie(&ana, client.id, "cus_1").await;
    assert_eq!(crm.parked(&ana).await, []);
    let payments = crm.payments(&ana).await;
    assert_eq!((payments.len(), payments[0].status()), (1, PaymentStatus::Disputed));
    assert_eq!(payments[0].refunded_amount, euros("25.00"));
}

#[tokio::test]
async fn money_that_cannot_be_recorded_is_parked_with_the_reason() {
    use pb::ParkedEventReason::{AmountNotWhole, AmountOutOfBounds, CurrencyUnknown, Waiting};
    let crm = Crm::start().await;
    let (ana, client_id, endpoint) = stage(&crm, "ana").await;
    let told = [
        ("evt_1", "usdc", 1_000, CurrencyUnknown),
        ("evt_2", "zzz", 1_000, CurrencyUnknown),
        ("evt_3", "isk", 333, AmountNotWhole),
        ("evt_4", "eur", 1_000_000_000_000_001_i64, AmountOutOfBounds),
    ];
    for (id, currency, amount, _) in told {
        let mut charge = charge(&format!("ch_{id}"), amount, 0, "succeeded");
        charge["currency"] = currency.into();
        let told = event(id, "charge.succeeded", 1_700_000_000, charge);
        assert_eq!(crm.deliver(&endpoint, &told).await, 200);
    }
    let refund = charge("ch_unknown", 10_000, 2_500, "succeeded");
    crm.deliver(&endpoint, &event("evt_5", "charge.refunded", 1_700_000_000, refund)).await;
    // Nothing of it goes on when somebody is tied.
    let other = crm.create(&ana, named("Eve", "")).await;
    crm.tie(&ana, other.id, "cus_2").await;
    let parked = crm.parked(&ana).await;
    let reasons: Vec<_> =
        parked.iter().map(|it| (it.stripe_event_id.as_str(), it.reason())).collect();
    let told = told.map(|(id, _, _, reason)| (id, reason));
    assert_eq!(reasons, [&told[..], &[("evt_5", Waiting)]].concat());
    assert_eq!(parked[0].stripe_customer_id, "cus_1");
    assert_eq!(crm.payments(&ana).await, [], "of {client_id}");
}

#[tokio::test]
async fn what_is_told_in_another_currency_than_the_payments_waits_with_the_reason() {
    use pb::ParkedEventReason::{CurrencyDiffers, Waiting};
    let crm = Crm::start().await;
    let (ana, client_id, endpoint) = stage(&crm, "ana").await;
    let told = async |id: &str, kind: &str, currency: &str, mut charge: Value| {
        charge["currency"] = currency.into();
        assert_eq!(crm.deliver(&endpoint, &event(id, kind, 1_700_000_000, charge)).await, 200);
    };
    let refund = |refunded| charge("ch_1", 10_000, refunded, "succeeded");
    let parked = async || {
        let parked = crm.parked(&ana).await.into_iter();
        Vec::from_iter(parked.map(|it| (it.stripe_event_id.clone(), it.reason())))
    };
    told("evt_1", "charge.refunded", "usd", refund(2_500)).await;
    assert_eq!(parked().await, [("evt_1".to_owned(), Waiting)]);
    crm.deliver(&endpoint, &paid("evt_2", "ch_1", 1_700_000_000)).await;
    told("evt_3", "charge.succeeded", "usd", refund(0)).await;
    told("evt_4", "charge.refunded", "eur", refund(1_000)).await;

    let waiting = ["evt_1", "evt_3"].map(|id| (id.to_owned(), CurrencyDiffers));
    assert_eq!(parked().await, waiting);
    let [payment] = &crm.payments(&ana).await[..] else { panic!("one charge, one payment") };
    assert_eq!((&payment.amount, &payment.refunded_amount), (&euros("100.00"), &euros("10.00")));
    // What waits on is no charge that waits for its customer: the next one need not queue up.
    crm.database.execute("DELETE FROM crm.stripe_customers").await;
    crm.tie(&ana, client_id, "cus_1").await;
    crm.deliver(&endpoint, &paid("evt_5", "ch_2", 1_700_000_000)).await;
    assert_eq!(crm.payments(&ana).await.len(), 2);
}

#[tokio::test]
async fn of_a_charge_what_was_captured_counts_and_a_part_of_it_disputes_it_all() {
    let crm = Crm::start().await;
    let (ana, _, endpoint) = stage(&crm, "ana").await;
    let mut partly = charge("ch_1", 1_000, 0, "succeeded");
    partly["amount_captured"] = 600.into();
    crm.deliver(&endpoint, &event("evt_1", "charge.succeeded", 1_700_000_000, partly)).await;
    assert_eq!(crm.payments(&ana).await[0].amount, euros("6.00"));

    let of_a_part = |status: &str| {
        let mut dispute = dispute("ch_1", status);
        dispute["amount"] = 400.into();
        dispute
    };
    let opened = of_a_part("needs_response");
    crm.deliver(&endpoint, &event("evt_2", "charge.dispute.created", 1_700_000_001, opened)).await;
    let lost = of_a_part("lost");
    crm.deliver(&endpoint, &event("evt_3", "charge.dispute.closed", 1_700_000_002, lost)).await;
    let payment = crm.payments(&ana).await.swap_remove(0);
    let outcome = payment.dispute.as_ref().unwrap().outcome();
    assert_eq!((payment.status(), outcome), (PaymentStatus::Disputed, DisputeOutcome::Lost));
    let disputed: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT action, details ->> 'disputed' FROM crm.audit_events
         WHERE action LIKE 'payment.%dispute' ORDER BY id",
    )
    .fetch_all(&crm.database.owner)
    .await
    .unwrap();
    let recorded = |action: &str| (action.to_owned(), Some("4.00 EUR".to_owned()));
    assert_eq!(disputed, [recorded("payment.dispute"), recorded("payment.lose_dispute")]);
}

/// Every order in which these can be delivered.
pub fn orders(events: &[Value]) -> Vec<Vec<Value>> {
    let Some((first, rest)) = events.split_first() else { return vec![Vec::new()] };
    let insert = |order: Vec<Value>| {
        (0..=order.len()).map(move |place| {
            let mut order = order.clone();
            order.insert(place, first.clone());
            order
        })
    };
    orders(rest).into_iter().flat_map(insert).collect()
}

/// What happens to a charge until a dispute of it is closed.
fn story(n: usize, outcome: &str) -> Vec<Value> {
    let (charge_id, id) = (format!("ch_{n}"), |step: &str| format!("evt_{n}_{step}"));
    let refunded = |amount| charge(&charge_id, 10_000, amount, "succeeded");
    vec![
        paid(&id("paid"), &charge_id, 1_700_000_000),
        event(&id("refund"), "charge.refunded", 1_700_000_010, refunded(1_000)),
        event(&id("more"), "charge.refunded", 1_700_000_020, refunded(2_500)),
        event(
            &id("open"),
            "charge.dispute.created",
            1_700_000_030,
            dispute(&charge_id, "needs_response"),
        ),
        event(&id("close"), "charge.dispute.closed", 1_700_000_040, dispute(&charge_id, outcome)),
    ]
}

fn assert_all_alike(
    payments: &[pb::Payment],
    charges: usize,
    status: PaymentStatus,
    outcome: DisputeOutcome,
) {
    assert_eq!(payments.len(), charges);
    for payment in payments {
        assert_eq!(payment.status(), status, "{payment:?}");
        assert_eq!(payment.dispute.as_ref().unwrap().outcome(), outcome, "{payment:?}");
        assert_eq!(payment.refunded_amount, euros("25.00"), "{payment:?}");
    }
}

/// Security checklist 57.
#[tokio::test]
async fn in_whatever_order_events_come_they_lead_to_the_same_payment() {
    let crm = Crm::start().await;
    for (name, outcome, status, shown, each) in [
        ("lost", "lost", PaymentStatus::Disputed, DisputeOutcome::Lost, 1),
        ("won", "won", PaymentStatus::Paid, DisputeOutcome::Won, 7),
    ] {
        let (owner, _, endpoint) = stage(&crm, name).await;
        let orders: Vec<_> = (0..120).step_by(each).collect();
        for n in &orders {
            for event in &self::orders(&story(*n, outcome))[*n] {
                assert_eq!(crm.deliver(&endpoint, event).await, 200);
            }
        }
        assert_all_alike(&crm.payments(&owner).await, orders.len(), status, shown);
        assert_eq!(crm.parked(&owner).await, []);
    }
}

#[tokio::test]
async fn delivered_at_once_and_twice_they_lead_to_the_same_payment() {
    const CHARGES: usize = 20;
    let crm = std::sync::Arc::new(Crm::start().await);
    let (owner, _, endpoint) = stage(&crm, "ana").await;
    let mut deliveries = tokio::task::JoinSet::new();
    for event in (0..CHARGES).flat_map(|n| [story(n, "lost"), story(n, "lost")].concat()) {
        let (crm, endpoint) = (crm.clone(), endpoint.clone());
        // As Stripe does: again until it is taken.
        deliveries.spawn(async move { while crm.deliver(&endpoint, &event).await != 200 {} });
    }
    deliveries.join_all().await;
    let payments = crm.payments(&owner).await;
    assert_all_alike(&payments, CHARGES, PaymentStatus::Disputed, DisputeOutcome::Lost);
    assert_eq!(crm.parked(&owner).await, []);
}

#[tokio::test]
async fn of_failure_and_success_the_later_word_counts() {
    let crm = Crm::start().await;
    let (ana, _, endpoint) = stage(&crm, "ana").await;
    let failed = |n: usize, time| {
        let object = charge(&format!("ch_{n}"), 10_000, 0, "failed");
        event(&format!("evt_{n}_failed"), "charge.failed", time, object)
    };
    let succeeded = |n: usize, time| paid(&format!("evt_{n}_paid"), &format!("ch_{n}"), time);
    let (first, later) = (1_700_000_000, 1_700_000_100);
    for event in [failed(1, first), succeeded(1, later), succeeded(2, later), failed(2, first)] {
        assert_eq!(crm.deliver(&endpoint, &event).await, 200);
    }
    for event in [succeeded(3, first), failed(3, later), failed(4, later), succeeded(4, first)] {
        assert_eq!(crm.deliver(&endpoint, &event).await, 200);
    }
    let statuses: Vec<_> = crm.payments(&ana).await.iter().map(pb::Payment::status).collect();
    use PaymentStatus::{Failed, Paid};
    assert_eq!(statuses, [Paid, Paid, Failed, Failed]);

    let intent = json!({
        "id": "pi_9", "object": "payment_intent", "amount": 10_000, "currency": "eur",
        "customer": "cus_1", "latest_charge": null, "status": "requires_payment_method",
    });
    let failure = event("evt_9", "payment_intent.payment_failed", later, intent);
    assert_eq!(crm.deliver(&endpoint, &failure).await, 200);
    assert_eq!((crm.payments(&ana).await.len(), crm.parked(&ana).await.len()), (4, 0));
}

#[tokio::test]
async fn a_customer_who_is_gone_at_stripe_is_inactive_here() {
    let crm = Crm::start().await;
    let (ana, client_id, endpoint) = stage(&crm, "ana").await;
    let customer = json!({ "id": "cus_1", "object": "customer", "email": null });
    let deleted = event("evt_1", "customer.deleted", 1_700_000_000, customer.clone());
    assert_eq!(crm.deliver(&endpoint, &deleted).await, 200);
    // An older word that comes later.
    let updated = event("evt_0", "customer.updated", 1_600_000_000, customer);
    assert_eq!(crm.deliver(&endpoint, &updated).await, 200);
    let request = pb::ListStripeCustomersRequest { client_id, ..Default::default() };
    let list = crm.stripe_customers().list_stripe_customers(signed(&ana, request)).await.unwrap();
    assert_eq!(list.into_inner().stripe_customers[0].status(), StripeCustomerStatus::Inactive);
    // What is still told of them is recorded.
    crm.deliver(&endpoint, &paid("evt_2", "ch_1", 1_700_000_001)).await;
    assert_eq!(crm.payments(&ana).await.len(), 1);
}

/// Events that waited for a customer change the totals of several statuses in one transaction, in
/// the order of the events; a person's call changes the same ones in another order.
#[tokio::test]
async fn who_changes_several_totals_at_once_is_in_nobodys_way() {
    let crm = Crm::start().await;
    let (ana, _, endpoint) = stage(&crm, "ana").await;
    let mut payments = PaymentServiceClient::new(crm.channel.clone());
    let mut made = Vec::new();
    for n in 0..64 {
        let client_id = crm.create(&ana, named(&format!("Client {n}"), "")).await.id;
        let payment = pb::Payment { client_id, amount: euros("1"), ..Default::default() };
        let request = pb::CreatePaymentRequest { payment: Some(payment), ..Default::default() };
        let payment = payments.create_payment(signed(&ana, request)).await.unwrap();
        made.push(payment.into_inner().payment.unwrap().id);
    }
    for n in 0..60 {
        let (kind, status) =
            if n < 50 { ("charge.succeeded", "succeeded") } else { ("charge.failed", "failed") };
        let mut charge = charge(&format!("ch_{n}"), 10_000, 0, status);
        charge["customer"] = json!("cus_late");
        let event = event(&format!("evt_{n}"), kind, 1_700_000_000 + n, charge);
        assert_eq!(crm.deliver(&endpoint, &event).await, 200);
    }
    let late = crm.create(&ana, named("Late", "")).await;
    // Whoever takes a slot takes the same one.
    for statement in [
        "CREATE FUNCTION public.one_slot() RETURNS trigger LANGUAGE plpgsql
         AS 'BEGIN NEW.slot := 0; RETURN NEW; END'",
        "CREATE TRIGGER one_slot BEFORE INSERT ON crm.payment_totals
         FOR EACH ROW EXECUTE FUNCTION public.one_slot()",
    ] {
        crm.database.execute(statement).await;
    }
    let fail = made.iter().map(|id| {
        let request = pb::MarkPaymentFailedRequest { id: *id, ..Default::default() };
        let (mut payments, request) = (payments.clone(), signed(&ana, request));
        async move { payments.mark_payment_failed(request).await.map(|_| ()) }
    });
    let (_, failed) =
        tokio::join!(crm.tie(&ana, late.id, "cus_late"), futures::future::join_all(fail));
    let refused: Vec<_> = failed.into_iter().filter_map(Result::err).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let statistics = pb::GetPaymentStatisticsRequest::default();
    let statistics = payments.get_payment_statistics(signed(&ana, statistics)).await.unwrap();
    let statistics = statistics.into_inner();
    assert_eq!((statistics.failed, statistics.paid), (64 + 10, 50));
}
