//! Payments: recorded, allocated, read and changed.

use crate::{
    support::{named, signed},
    till::{Till, covered, eur, euros, money, refused_because, said, shares, state},
};
use proto::crm::v1::{self as pb, PaymentStatus};
use service_kit::testing::{http, refusal::refusal};
use tonic::Code;

pub fn day(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

impl Till {
    /// Closes one instalment, and brings another into a currency that no payment here is in.
    pub async fn close_and_exchange(&self, closed: i64, in_francs: i64) {
        let change = format!(
            "UPDATE crm.instalments SET state = 'closed' WHERE id = {closed};
             UPDATE crm.instalments SET currency = 'CHF' WHERE id = {in_francs}"
        );
        self.crm.database.execute(&change).await;
    }
}

#[tokio::test]
async fn what_was_recorded_is_what_is_read() {
    let till = Till::open().await;
    let sent = pb::Payment {
        client_id: till.ada.id,
        amount: eur("99.90"),
        paid_at: day(1_738_368_000),
        external_reference: "RF18 5390 0754 7034".into(),
        notes: "By hand.\nNo receipt.".into(),
        // Output only: whatever somebody sends here changes nothing.
        id: 999,
        refunded_amount: eur("1"),
        credit_amount: eur("1"),
        dispute: Some(pb::PaymentDispute::default()),
        allocations: shares(&[(7, "1")]),
        void_time: day(1),
        stripe_charge_id: "ch_1".into(),
        etag: "mine".into(),
        ..Default::default()
    };
    let request = pb::CreatePaymentRequest { payment: Some(sent.clone()), ..Default::default() };
    let made = till.create(request).await.unwrap();
    assert!(made.id != 999 && made.create_time.is_some());
    assert_eq!(till.get(made.id).await, made);
    let expected = pb::Payment {
        id: made.id,
        status: PaymentStatus::Paid.into(),
        refunded_amount: eur("0.00"),
        credit_amount: eur("99.90"),
        dispute: None,
        allocations: vec![],
        void_time: None,
        stripe_charge_id: String::new(),
        create_time: made.create_time,
        update_time: made.create_time,
        etag: made.etag.clone(),
        ..sent
    };
    assert_eq!(made, expected);
    till.recount().await;
}

#[tokio::test]
async fn what_is_not_said_is_paid_now_and_in_the_clients_currency() {
    let till = Till::open().await;
    let made = till.paid("10").await;
    assert_eq!((made.amount.clone(), made.status()), (eur("10.00"), PaymentStatus::Paid));
    assert_eq!(made.paid_at, made.create_time);
    // Of a client without a currency of their own: the account's.
    let bob = till.crm.create(&till.ana, named("Bob", "")).await;
    let of_bob = pb::Payment { client_id: bob.id, amount: money("", "5"), ..Default::default() };
    let request = pb::CreatePaymentRequest { payment: Some(of_bob), ..Default::default() };
    assert_eq!(till.create(request).await.unwrap().amount, money("CHF", "5.00"));
}

#[tokio::test]
async fn a_failed_payment_is_no_money_and_covers_nothing() {
    let till = Till::open().await;
    till.due(5000, "2025-01-31").await;
    let mut request = till.paying("50");
    request.payment.as_mut().unwrap().status = PaymentStatus::Failed.into();
    let failed = till.create(request.clone()).await.unwrap();
    assert_eq!(state(&failed), ("0.00", "0.00", PaymentStatus::Failed));
    let before = till.crm.database.digest().await;
    for (field, request) in [
        ("auto_allocate", pb::CreatePaymentRequest { auto_allocate: true, ..request.clone() }),
        (
            "allocations",
            pb::CreatePaymentRequest { allocations: shares(&[(1, "1")]), ..request.clone() },
        ),
    ] {
        let refused = refusal(till.create(request).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
        assert_eq!(refused.fields, [field]);
    }
    assert_eq!(till.crm.database.digest().await, before);
}

/// Security checklist 55: the largest amounts there are, and their sums.
#[tokio::test]
async fn the_largest_amounts_add_up() {
    let till = Till::open().await;
    let largest = "10000000000000.00";
    for _ in 0..3 {
        let payment = till.paid(largest).await;
        assert_eq!(payment.amount, eur(largest));
    }
    // So many more that their sum is beyond a bigint.
    till.crm
        .database
        .execute(
            "UPDATE crm.payment_totals SET payments = payments + 10000,
                 amount = amount + 10000 * 1000000000000000::numeric
             WHERE slot = (SELECT min(slot) FROM crm.payment_totals)",
        )
        .await;
    let statistics = till.statistics().await;
    assert_eq!(statistics.total_payments, 10_003);
    assert_eq!(statistics.total_amounts, [eur("100030000000000000.00").unwrap()]);
    assert_eq!(statistics.totals[0].net, eur("100030000000000000.00"));
}

#[tokio::test]
async fn a_payment_covers_many_instalments_and_an_instalment_takes_many_payments() {
    let till = Till::open().await;
    let (one, other) = (till.due(5000, "2025-01-31").await, till.due(3000, "2025-02-28").await);
    let first = till.paid_for("60", &[(one, "20"), (other, "30")]).await.unwrap();
    assert_eq!(covered(&first), [(one, "20.00"), (other, "30.00")]);
    assert_eq!(state(&first), ("0.00", "10.00", PaymentStatus::Paid));
    assert_eq!(till.get(first.id).await, first);
    assert_eq!(till.instalment(one).await, (2000, "open".into()));
    assert_eq!(till.instalment(other).await, (3000, "paid".into()));

    let second = till.paid_for("30", &[(one, "30")]).await.unwrap();
    assert_eq!(till.instalment(one).await, (5000, "paid".into()));
    // What they covered stands where it stood.
    assert_eq!(till.get(first.id).await, first);
    assert_eq!(till.get(second.id).await, second);
    till.recount().await;
}

#[tokio::test]
async fn what_is_due_first_is_covered_first_and_the_rest_is_credit() {
    let till = Till::open().await;
    let late = till.due(1000, "2025-03-31").await;
    let early = till.due(1000, "2024-12-31").await;
    let same_day = till.due(1000, "2024-12-31").await;
    let closed = till.due(1000, "2024-01-01").await;
    let failed = till.due(1000, "2025-01-31").await;
    let in_francs = till.due(1000, "2024-01-01").await;
    let other = till.crm.create(&till.ana, euros("Bob")).await;
    let of_another = till.due_of(&other, 1000, "2024-01-01").await;
    till.crm
        .database
        .execute(&format!(
            "UPDATE crm.instalments SET state = 'closed' WHERE id = {closed};
             UPDATE crm.instalments SET state = 'failed' WHERE id = {failed};
             UPDATE crm.instalments SET currency = 'CHF' WHERE id = {in_francs}"
        ))
        .await;
    let auto = |amount| pb::CreatePaymentRequest { auto_allocate: true, ..till.paying(amount) };
    let first = till.create(auto("15")).await.unwrap();
    assert_eq!(covered(&first), [(early, "10.00"), (same_day, "5.00")]);
    let second = till.create(auto("100")).await.unwrap();
    assert_eq!(covered(&second), [(late, "10.00"), (same_day, "5.00"), (failed, "10.00")]);
    assert_eq!(state(&second), ("0.00", "75.00", PaymentStatus::Paid));
    for untouched in [closed, in_francs, of_another] {
        assert_eq!(till.instalment(untouched).await.0, 0);
    }
    assert_eq!(till.instalment(failed).await, (1000, "paid".into()));
    // Credit waits until there is something to cover.
    let before = till.crm.database.digest().await;
    assert_eq!(till.cover_oldest(second.id).await.unwrap(), second);
    assert_eq!(till.crm.database.digest().await, before, "what changes nothing is no change");
    let new = till.due(5000, "2025-04-30").await;
    let third = till.cover_oldest(second.id).await.unwrap();
    assert_eq!(covered(&third).last(), Some(&(new, "50.00")));
    assert_eq!(said(third.credit_amount.as_ref()), "25.00");
    assert_ne!(third.etag, second.etag);
    assert_eq!(till.get(second.id).await, third);
    till.recount().await;
}

/// Security checklist 36 and 55.
#[tokio::test]
async fn an_allocation_fits_its_instalment_and_its_payment() {
    let till = Till::open().await;
    let due = till.due(5000, "2025-01-31").await;
    let paid = till.due(1000, "2025-01-31").await;
    till.paid_for("10", &[(paid, "10")]).await.unwrap();
    let (closed, in_francs) =
        (till.due(1000, "2025-01-31").await, till.due(1000, "2025-01-31").await);
    till.close_and_exchange(closed, in_francs).await;
    let bob = till.crm.create(&till.ana, euros("Bob")).await;
    let of_bob = till.due_of(&bob, 5000, "2025-01-31").await;
    let payment = till.paid("40").await;
    till.cover(payment.id, &[(due, "10")]).await.unwrap();

    let before = till.crm.database.digest().await;
    for (reason, shares) in [
        ("ABOVE_OPEN", &[(due, "40.01")] as &[(i64, &str)]),
        ("ABOVE_CREDIT", &[(due, "30.01")]),
        ("INSTALMENT_PAID", &[(paid, "1")]),
        ("INSTALMENT_CLOSED", &[(closed, "1")]),
        ("CURRENCY_MISMATCH", &[(in_francs, "1")]),
        ("CLIENT_MISMATCH", &[(of_bob, "1")]),
        // One that is good does not save the other.
        ("CLIENT_MISMATCH", &[(due, "1"), (of_bob, "1")]),
    ] {
        assert_eq!(refused_because(till.cover(payment.id, shares).await), reason);
        if reason != "ABOVE_CREDIT" {
            assert_eq!(refused_because(till.paid_for("100", shares).await), reason);
        }
    }
    assert_eq!(refused_because(till.paid_for("10", &[(due, "10.01")]).await), "ABOVE_CREDIT");
    let mut in_dollars = shares(&[(due, "1")]);
    in_dollars[0].amount = money("USD", "1");
    let request = pb::AllocatePaymentRequest {
        id: payment.id,
        allocations: in_dollars.clone(),
        ..Default::default()
    };
    assert_eq!(refused_because(till.allocate(request).await), "CURRENCY_MISMATCH");
    let request = pb::CreatePaymentRequest { allocations: in_dollars, ..till.paying("10") };
    assert_eq!(refused_because(till.create(request).await), "CURRENCY_MISMATCH");
    let refused = refusal(till.cover(payment.id, &[(due, "1"), (999_999, "1")]).await);
    assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
    assert_eq!(
        refused.metadata,
        [
            ("field".into(), "allocations[1].instalment_id".into()),
            ("resource".into(), "instalment".into())
        ]
    );
    for request in [
        pb::AllocatePaymentRequest { id: payment.id, ..Default::default() },
        pb::AllocatePaymentRequest { auto_allocate: true, ..Default::default() },
    ] {
        assert_eq!(refusal(till.allocate(request).await).reason, "MISSING_FIELDS");
    }
    assert_eq!(till.crm.database.digest().await, before);
    till.cover(payment.id, &[(due, "30")]).await.unwrap();
    till.recount().await;
}

#[tokio::test]
async fn a_deleted_client_takes_nothing_new_and_can_get_everything_back() {
    let till = Till::open().await;
    let due = till.due(10_000, "2025-01-31").await;
    let mut payments = Vec::new();
    for _ in 0..5 {
        payments.push(till.paid_for("10", &[(due, "5")]).await.unwrap().id);
    }
    till.crm.delete(&till.ana, till.ada.id).await;
    let before = till.crm.database.digest().await;
    assert_eq!(refused_because(till.create(till.paying("1")).await), "CLIENT_DELETED");
    assert_eq!(refused_because(till.cover(payments[0], &[(due, "1")]).await), "CLIENT_DELETED");
    assert_eq!(refused_because(till.cover_oldest(payments[0]).await), "CLIENT_DELETED");
    assert_eq!(till.crm.database.digest().await, before);

    assert_eq!(till.statistics().await.paid, 5, "their money was received");
    assert_eq!(till.list(&till.ana, pb::ListPaymentsRequest::default()).await.payments.len(), 5);
    till.refund(payments[0], "").await.unwrap();
    till.dispute(payments[1]).await.unwrap();
    till.resolve(payments[1], pb::DisputeOutcome::Won).await.unwrap();
    till.fail(payments[2]).await.unwrap();
    till.void(payments[3]).await.unwrap();
    let update = pb::Payment { id: payments[4], notes: "Gone.".into(), ..Default::default() };
    till.update(update, &[]).await.unwrap();
    assert_eq!(till.instalment(due).await.0, 1000);
    till.recount().await;
}

#[tokio::test]
async fn an_update_changes_what_people_say_and_no_money() {
    let till = Till::open().await;
    let made = till.paid("10").await;
    let totals = till.statistics().await;
    let sent = pb::Payment {
        id: made.id,
        paid_at: day(1_700_000_000),
        external_reference: "7".into(),
        notes: "Seven.".into(),
        // Of no use here, and what it is already.
        refunded_amount: eur("5"),
        amount: money("", "10"),
        status: PaymentStatus::Paid.into(),
        client_id: made.client_id,
        ..Default::default()
    };
    let changed = till.update(sent, &[]).await.unwrap();
    let expected = pb::Payment {
        paid_at: day(1_700_000_000),
        external_reference: "7".into(),
        notes: "Seven.".into(),
        update_time: changed.update_time,
        etag: changed.etag.clone(),
        ..made.clone()
    };
    assert_eq!(changed, expected);
    assert_ne!(changed.etag, made.etag);
    assert_eq!(till.get(made.id).await, changed);
    assert_eq!(till.statistics().await, totals);

    let cleared = pb::Payment { id: made.id, ..Default::default() };
    let cleared = till.update(cleared, &["notes", "paid_at"]).await.unwrap();
    assert_eq!((cleared.notes.as_str(), cleared.external_reference.as_str()), ("", "7"));
    assert_eq!(cleared.paid_at, cleared.update_time, "now");

    let before = till.crm.database.digest().await;
    assert_eq!(till.update(cleared.clone(), &[]).await.unwrap(), cleared);
    let stale = pb::Payment { id: made.id, etag: made.etag, notes: "x".into(), ..cleared.clone() };
    assert_eq!(refusal(till.update(stale, &[]).await).said(), (Code::Aborted, "ETAG_STALE"));
    for path in ["*", "id", "amount", "status", "client_id", "allocations", "void_time", "etag"] {
        let sent = pb::Payment { id: made.id, ..Default::default() };
        let refused = refusal(till.update(sent, &["notes", path]).await);
        assert_eq!(refused.fields, ["update_mask"], "{path}");
    }
    let bad = pb::Payment {
        paid_at: day(i64::MAX),
        external_reference: "\n".repeat(3) + "a\nb",
        notes: "x".repeat(10_001),
        ..Default::default()
    };
    assert_eq!(
        refusal(till.update(bad, &["status"]).await).fields,
        [
            "update_mask",
            "payment.paid_at",
            "payment.external_reference",
            "payment.notes",
            "payment.id"
        ]
    );
    assert_eq!(till.crm.database.digest().await, before);
}

/// Nothing is called more often: this many times does it wait for the database.
#[tokio::test]
async fn recording_a_payment_takes_seven_statements() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let till = Till::with(|settings| settings.server.admin_listen = Some(free)).await;
    let due = till.due(100_000, "2025-01-31").await;
    let statements = async || {
        let name = "rpc_statements_total{service=\"crm-service\",method=\"crm.v1.PaymentService/CreatePayment\"}";
        let metrics = http::get(&free.to_string(), "/metrics").await;
        let figure = metrics.lines().filter_map(|line| line.strip_prefix(name)).next_back();
        figure.map_or(0, |figure| figure.trim().parse::<u64>().unwrap())
    };
    let id = |n: u8| format!("6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e{n:02x}");
    let credit = pb::CreatePaymentRequest { request_id: id(1), ..till.paying("10") };
    let covering = pb::CreatePaymentRequest {
        allocations: shares(&[(due, "1")]),
        request_id: id(2),
        ..till.paying("10")
    };
    let auto =
        pb::CreatePaymentRequest { auto_allocate: true, request_id: id(3), ..till.paying("10") };
    for (request, expected) in [
        (till.paying("10"), 5),
        // Claiming the id, and keeping the answer.
        (credit.clone(), 7),
        // Reading what is due, and entering what is covered.
        (covering, 9),
        (auto, 9),
        // A repeat: the id, and the answer.
        (credit, 3),
    ] {
        let before = statements().await;
        till.service().create_payment(signed(&till.ana, request)).await.unwrap();
        assert_eq!(statements().await - before, expected);
    }
}
