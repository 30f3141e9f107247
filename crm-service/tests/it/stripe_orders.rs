//! What Stripe tells comes late, twice, in another order or for somebody unknown: it leads to the
//! same state, and to no more work at once than there is room for.

use std::time::Duration;

use proto::crm::v1::{
    self as pb, DisputeOutcome, PaymentStatus, StripeCustomerStatus,
    payment_service_client::PaymentServiceClient,
};
use serde_json::{Value, json};

use crate::{
    stripe_customers::tie,
    stripe_webhook::{SECRET, charge, dispute_of, euros, event, now, orders, paid, stage},
    support::{Crm, Person, named, signed},
};

/// When it happened, for what happened long before anybody here did anything.
const THEN: i64 = 1_700_000_000;

/// Of a hundred euros that were held some were captured; Stripe counts the rest as given back.
fn captured(id: &str, captured: i64, refunded: i64) -> Value {
    let mut charge = charge(id, 10_000, 10_000 - captured + refunded, "succeeded");
    charge["amount_captured"] = captured.into();
    charge
}

fn intent(charge_id: &str, received: i64) -> Value {
    json!({
        "id": "pi_1", "object": "payment_intent", "amount": 10_000, "amount_received": received,
        "currency": "eur", "customer": "cus_1", "latest_charge": charge_id,
    })
}

fn customer(id: &str, kind: &str, time: i64) -> Value {
    event(id, kind, time, json!({ "id": "cus_1", "object": "customer", "email": null }))
}

impl Crm {
    async fn deliver_all(&self, endpoint: &pb::StripeEndpoint, events: &[Value]) {
        for event in events {
            assert_eq!(self.deliver(endpoint, event).await, 200, "{event}");
        }
    }

    /// The ids of what waits.
    async fn waiting(&self, by: &Person) -> Vec<String> {
        self.parked(by).await.into_iter().map(|event| event.stripe_event_id).collect()
    }

    /// Charges that wait for `cus_1`, told of by nobody in particular: a second apart, the last
    /// one first.
    async fn park(&self, endpoint: &pb::StripeEndpoint, number: i64) {
        let query = format!(
            "INSERT INTO crm.stripe_events
                 (account_id, event_id, endpoint_id, type, charge_id, customer_id, event_time,
                  create_time, facts, state)
             SELECT account_id, 'evt_' || n, id, 'charge.succeeded', 'ch_' || n, 'cus_1',
                 to_timestamp({THEN} - n), now(),
                 '{{\"fact\": \"charged\", \"currency\": \"EUR\", \"minor\": 100, \"has_failed\": false}}',
                 'parked'
             FROM crm.stripe_endpoints, generate_series(1, {number}) n WHERE id = {}",
            endpoint.id
        );
        self.database.execute(&query).await;
    }

    /// The charges that became payments, in the order in which they did, once nothing waits.
    async fn recorded(&self, by: &Person) -> Vec<String> {
        for _ in 0..300 {
            if self.waiting(by).await.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(self.waiting(by).await, Vec::<String>::new());
        let query = "SELECT stripe_charge_id FROM crm.payments ORDER BY id";
        sqlx::query_scalar(query).fetch_all(&self.database.owner).await.unwrap()
    }
}

/// What Stripe has a say in.
fn standing(payment: &pb::Payment) -> (PaymentStatus, DisputeOutcome, String, String, i64) {
    let outcome =
        payment.dispute.as_ref().map_or(DisputeOutcome::Unspecified, pb::PaymentDispute::outcome);
    let (amount, refunded) = (payment.amount.clone(), payment.refunded_amount.clone());
    let paid_at = payment.paid_at.unwrap().seconds;
    (payment.status(), outcome, amount.unwrap().amount, refunded.unwrap().amount, paid_at)
}

#[tokio::test]
async fn what_goes_back_of_a_failed_charge_waits_for_its_success() {
    let crm = Crm::start().await;
    let (ana, _, endpoint) = stage(&crm, "ana").await;
    let failed = event("evt_1", "charge.failed", THEN, charge("ch_1", 10_000, 0, "failed"));
    let refunded = charge("ch_1", 10_000, 2_500, "succeeded");
    let refunded = event("evt_3", "charge.refunded", THEN + 20, refunded);
    let opened = dispute_of("dp_1", "ch_1", "needs_response");
    let opened = event("evt_4", "charge.dispute.created", THEN + 30, opened);
    crm.deliver_all(&endpoint, &[failed, refunded, opened]).await;
    assert_eq!(crm.payments(&ana).await[0].status(), PaymentStatus::Failed);
    assert_eq!(crm.waiting(&ana).await, ["evt_3", "evt_4"]);

    crm.deliver_all(&endpoint, &[paid("evt_2", "ch_1", THEN + 10)]).await;
    let payments = crm.payments(&ana).await;
    assert_eq!((payments.len(), payments[0].status()), (1, PaymentStatus::Disputed));
    assert_eq!(payments[0].refunded_amount, euros("25.00"));
    assert_eq!(crm.waiting(&ana).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_second_dispute_of_a_charge_opens() {
    let crm = Crm::start().await;
    let (ana, _, endpoint) = stage(&crm, "ana").await;
    let step = |charge_id: &str, dispute: &str, kind: &str, status: &str, time| {
        let id = format!("evt_{charge_id}_{dispute}_{kind}");
        let kind = format!("charge.dispute.{kind}");
        event(&id, &kind, THEN + time, dispute_of(dispute, charge_id, status))
    };
    let outcome = async |nth: usize| {
        let payment = crm.payments(&ana).await.swap_remove(nth);
        (payment.status(), payment.dispute.unwrap().outcome())
    };
    let first = [
        paid("evt_1", "ch_1", THEN),
        step("ch_1", "dp_1", "created", "needs_response", 10),
        step("ch_1", "dp_1", "closed", "won", 20),
    ];
    crm.deliver_all(&endpoint, &first).await;
    assert_eq!(outcome(0).await, (PaymentStatus::Paid, DisputeOutcome::Won));
    crm.deliver_all(&endpoint, &[step("ch_1", "dp_2", "created", "needs_response", 30)]).await;
    assert_eq!(outcome(0).await, (PaymentStatus::Disputed, DisputeOutcome::Open));
    crm.deliver_all(&endpoint, &[step("ch_1", "dp_2", "closed", "lost", 40)]).await;
    assert_eq!(outcome(0).await, (PaymentStatus::Disputed, DisputeOutcome::Lost));

    // The first one is told of after the second.
    let late = [
        step("ch_2", "dp_2", "created", "needs_response", 30),
        paid("evt_2", "ch_2", THEN),
        step("ch_2", "dp_1", "closed", "won", 20),
        step("ch_2", "dp_1", "created", "needs_response", 10),
    ];
    crm.deliver_all(&endpoint, &late).await;
    assert_eq!(outcome(1).await, (PaymentStatus::Disputed, DisputeOutcome::Open));
}

#[tokio::test]
async fn what_a_second_dispute_released_is_covered_again_when_it_is_won() {
    let crm = Crm::start().await;
    let (ana, client_id, _) = stage(&crm, "ana").await;
    let endpoint = crm.endpoint(&ana, SECRET, true).await;
    let due = format!(
        "INSERT INTO crm.instalments
             (account_id, id, client_id, instalment_number, currency, amount, schedule_date, state,
              create_time, update_time)
         SELECT account_id, n, id, n, 'EUR', 6000, date '2023-01-01' + n, 'open', now(), now()
         FROM crm.clients, generate_series(1, 2) n WHERE id = {client_id}"
    );
    crm.database.execute(&due).await;
    let dispute = |id: &str, status: &str, time| {
        let kind = if status == "needs_response" { "created" } else { "closed" };
        let (id, kind) = (format!("evt_{id}_{kind}"), format!("charge.dispute.{kind}"));
        event(&id, &kind, THEN + time, dispute_of(&id[4..8], "ch_1", status))
    };
    let events = [
        paid("evt_1", "ch_1", THEN),
        dispute("dp_1", "needs_response", 10),
        dispute("dp_1", "lost", 20),
        dispute("dp_2", "needs_response", 30),
    ];
    crm.deliver_all(&endpoint, &events).await;
    assert_eq!(crm.payments(&ana).await[0].allocations, []);
    crm.deliver_all(&endpoint, &[dispute("dp_2", "won", 40)]).await;
    let payment = crm.payments(&ana).await.swap_remove(0);
    let covered: Vec<_> =
        payment.allocations.iter().map(|it| (it.instalment_id, it.amount.clone())).collect();
    assert_eq!(covered, [(1, euros("60.00")), (2, euros("40.00"))]);
}

#[tokio::test]
async fn no_older_word_undoes_what_a_person_said() {
    let crm = Crm::start().await;
    let (ana, _, endpoint) = stage(&crm, "ana").await;
    let mut payments = PaymentServiceClient::new(crm.channel.clone());
    crm.deliver_all(&endpoint, &[paid("evt_1", "ch_1", THEN)]).await;
    let id = crm.payments(&ana).await[0].id;
    let fail = pb::MarkPaymentFailedRequest { id, ..Default::default() };
    payments.mark_payment_failed(signed(&ana, fail)).await.unwrap();
    let failed = crm.payments(&ana).await;
    let late = event("evt_2", "payment_intent.succeeded", THEN + 1, intent("ch_1", 10_000));
    crm.deliver_all(&endpoint, &[late, paid("evt_3", "ch_1", THEN + 2)]).await;
    assert_eq!(crm.payments(&ana).await, failed);
    // What happened later counts.
    crm.deliver_all(&endpoint, &[paid("evt_4", "ch_1", now() + 10)]).await;
    assert_eq!(crm.payments(&ana).await[0].status(), PaymentStatus::Paid);

    let opened = |id: &str, time| {
        let dispute = dispute_of("dp_1", "ch_1", "needs_response");
        event(id, "charge.dispute.created", time, dispute)
    };
    let closed = |id: &str, time| {
        event(id, "charge.dispute.closed", time, dispute_of("dp_1", "ch_1", "lost"))
    };
    crm.deliver_all(&endpoint, &[opened("evt_5", THEN + 3)]).await;
    let resolve =
        pb::ResolveDisputeRequest { id, outcome: DisputeOutcome::Won.into(), ..Default::default() };
    payments.resolve_dispute(signed(&ana, resolve)).await.unwrap();
    let won = crm.payments(&ana).await;
    crm.deliver_all(&endpoint, &[closed("evt_6", THEN + 4), opened("evt_7", THEN + 5)]).await;
    assert_eq!(crm.payments(&ana).await, won);
    crm.deliver_all(&endpoint, &[closed("evt_8", now() + 10)]).await;
    assert_eq!(
        crm.payments(&ana).await[0].dispute.as_ref().unwrap().outcome(),
        DisputeOutcome::Lost
    );
}

/// Everything that may happen to a charge of which a part was captured.
fn long_story(n: usize) -> Vec<Value> {
    let (charge_id, id) = (format!("ch_{n}"), |step: &str| format!("evt_{n}_{step}"));
    let dispute = |step: &str, dispute: &str, kind: &str, status: &str, time| {
        let kind = format!("charge.dispute.{kind}");
        event(&id(step), &kind, THEN + time, dispute_of(dispute, &charge_id, status))
    };
    let failed = intent(&charge_id, 0);
    vec![
        event(&id("failed"), "payment_intent.payment_failed", THEN, failed),
        event(&id("captured"), "charge.captured", THEN + 10, captured(&charge_id, 7_950, 0)),
        event(&id("paid"), "payment_intent.succeeded", THEN + 11, intent(&charge_id, 7_950)),
        event(&id("refund"), "charge.refunded", THEN + 20, captured(&charge_id, 7_950, 1_000)),
        dispute("open", "dp_1", "created", "needs_response", 30),
        dispute("won", "dp_1", "closed", "won", 40),
        dispute("again", "dp_2", "created", "needs_response", 50),
    ]
}

/// Security checklist 57.
#[tokio::test]
async fn a_partial_capture_told_of_in_any_words_and_order_is_one_amount() {
    let crm = Crm::start().await;
    let (ana, _, endpoint) = stage(&crm, "ana").await;
    let story = |n: usize| {
        let mut held = captured(&format!("ch_{n}"), 0, 0);
        held["captured"] = false.into();
        let held = event(&format!("evt_{n}_held"), "charge.succeeded", THEN + 5, held);
        let whole = captured(&format!("ch_{n}"), 7_950, 0);
        let whole = event(&format!("evt_{n}_whole"), "charge.succeeded", THEN + 12, whole);
        [&[held, whole], &long_story(n)[1..4]].concat()
    };
    for n in 0..24 {
        let order = &orders(&story(n))[n * 5];
        crm.deliver_all(&endpoint, order).await;
        crm.deliver_all(&endpoint, order).await;
    }
    let payments = crm.payments(&ana).await;
    assert_eq!(payments.len(), 24);
    let (paid, never) = (PaymentStatus::Paid, DisputeOutcome::Unspecified);
    for payment in &payments {
        let expected = (paid, never, "79.50".to_owned(), "10.00".to_owned(), THEN + 10);
        assert_eq!(standing(payment), expected, "{payment:?}");
    }
    assert_eq!(crm.waiting(&ana).await, Vec::<String>::new());
}

/// Security checklist 57.
#[tokio::test]
async fn a_long_story_ends_the_same_in_whatever_order_it_is_told() {
    let crm = Crm::start().await;
    let (ana, _, endpoint) = stage(&crm, "ana").await;
    let numbers: Vec<_> = (0..5040).step_by(101).collect();
    for n in &numbers {
        let mut order = orders(&long_story(*n)).swap_remove(*n);
        // The middle of it again.
        order.extend_from_within(2..5);
        crm.deliver_all(&endpoint, &order).await;
    }
    let payments = crm.payments(&ana).await;
    assert_eq!(payments.len(), numbers.len());
    let (disputed, open) = (PaymentStatus::Disputed, DisputeOutcome::Open);
    for payment in &payments {
        let expected = (disputed, open, "79.50".to_owned(), "10.00".to_owned(), THEN + 10);
        assert_eq!(standing(payment), expected, "{payment:?}");
    }
    assert_eq!(crm.waiting(&ana).await, Vec::<String>::new());
}

#[tokio::test]
async fn of_all_that_is_told_of_an_unknown_customer_one_word_waits() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let client = crm.create(&ana, named("Zoe", "")).await;
    let endpoint = crm.endpoint(&ana, SECRET, false).await;
    let events = [
        customer("evt_0", "customer.created", THEN),
        customer("evt_2", "customer.updated", THEN + 20),
        customer("evt_1", "customer.updated", THEN + 10),
        paid("evt_3", "ch_1", THEN),
    ];
    crm.deliver_all(&endpoint, &events).await;
    assert_eq!(
        crm.waiting(&ana).await,
        ["evt_2", "evt_3"],
        "the newest, and what is no word of it"
    );
    let events = [
        customer("evt_4", "customer.deleted", THEN + 30),
        customer("evt_5", "customer.updated", THEN + 25),
    ];
    crm.deliver_all(&endpoint, &events).await;
    assert_eq!(crm.waiting(&ana).await, ["evt_3", "evt_4"]);

    let tied = crm.tie(&ana, client.id, "cus_1").await;
    assert_eq!(tied.status(), StripeCustomerStatus::Inactive);
    assert_eq!(crm.recorded(&ana).await, ["ch_1"]);
}

fn in_order(number: i64) -> Vec<String> {
    (1..=number).rev().map(|n| format!("ch_{n}")).collect()
}

#[tokio::test]
async fn what_waits_for_a_customer_is_recorded_a_few_at_a_time_and_in_order() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let client = crm.create(&ana, named("Zoe", "")).await;
    let endpoint = crm.endpoint(&ana, SECRET, false).await;
    crm.park(&endpoint, 250).await;
    let request_id = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f".to_owned();
    let request = pb::CreateStripeCustomerRequest { request_id, ..tie(client.id, "cus_1") };
    let mut customers = crm.stripe_customers();
    let first = customers.create_stripe_customer(signed(&ana, request.clone())).await.unwrap();
    assert!(!crm.waiting(&ana).await.is_empty(), "the call does not do all of it");
    // Told meanwhile: it waits for its turn.
    crm.deliver_all(&endpoint, &[paid("evt_new", "ch_new", THEN + 10)]).await;
    let again = customers.create_stripe_customer(signed(&ana, request)).await.unwrap();
    assert_eq!(first.into_inner(), again.into_inner());

    let mut expected = in_order(250);
    expected.push("ch_new".to_owned());
    assert_eq!(crm.recorded(&ana).await, expected);
    let largest: i64 = sqlx::query_scalar(
        "SELECT max(n) FROM (SELECT count(*) n FROM crm.payments GROUP BY create_time) batches",
    )
    .fetch_one(&crm.database.owner)
    .await
    .unwrap();
    assert!(largest <= 20, "{largest} in one transaction");
}

#[tokio::test]
async fn what_was_left_when_a_process_died_is_gone_on_with() {
    let mut crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let client = crm.create(&ana, named("Zoe", "")).await;
    let endpoint = crm.endpoint(&ana, SECRET, false).await;
    crm.tie(&ana, client.id, "cus_1").await;
    crm.stop().await;
    crm.park(&endpoint, 30).await;
    let left = "INSERT INTO crm.stripe_backlogs (account_id, stripe_customer_id, create_time)
                SELECT account_id, stripe_customer_id, now() FROM crm.stripe_customers";
    crm.database.execute(left).await;
    crm.start_again().await;
    assert_eq!(crm.recorded(&ana).await, in_order(30));
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM crm.stripe_backlogs")
        .fetch_one(&crm.database.owner)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn many_charges_that_wait_in_one_account_do_not_make_another_one_wait() {
    let mut crm = Crm::start().await;
    let mut people = Vec::new();
    for (name, charges) in [("ana", 300), ("bob", 5)] {
        let person = crm.sign_up(name).await;
        let client = crm.create(&person, named("Zoe", "")).await;
        let endpoint = crm.endpoint(&person, SECRET, false).await;
        crm.tie(&person, client.id, "cus_1").await;
        people.push((person, endpoint, charges));
    }
    crm.stop().await;
    for (_, endpoint, charges) in &people {
        crm.park(endpoint, *charges).await;
    }
    // Ana's waited longer.
    let left = "INSERT INTO crm.stripe_backlogs (account_id, stripe_customer_id, create_time)
                SELECT account_id, stripe_customer_id, now() + account_id * interval '1 second'
                FROM crm.stripe_customers";
    crm.database.execute(left).await;
    crm.start_again().await;
    let [(ana, ..), (bob, ..)] = &people[..] else { panic!("two people") };
    crm.recorded(bob).await;
    assert!(!crm.waiting(ana).await.is_empty(), "not all of hers came first");
    assert_eq!(crm.payments(bob).await.len(), 5);
    assert_eq!(crm.recorded(ana).await.len(), 305);
}
