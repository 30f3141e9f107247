//! What becomes of a payment: refunds, disputes, failure and void.

use crm_service::SCHEMA;
use proto::crm::v1::{
    self as pb,
    DisputeOutcome::{Lost, Won},
    PaymentStatus::{Disputed, Failed, Paid, Refunded},
};
use service_kit::testing::{
    TestDatabase,
    conventions::{connected_as, may_not},
    refusal::refusal,
};
use tonic::Code;

use crate::{
    support::signed,
    till::{Answer, Till, covered, eur, money, refused_because, said, state},
};

#[tokio::test]
async fn a_part_given_back_takes_credit_first_and_then_what_is_due_last() {
    let till = Till::open().await;
    let late = till.due(4000, "2025-03-31").await;
    let early = till.due(3000, "2025-01-31").await;
    let made = till.paid_for("100", &[(late, "40"), (early, "30")]).await.unwrap();
    assert_eq!(till.instalment(late).await, (4000, "paid".into()));

    let refunded = till.refund(made.id, "25").await.unwrap();
    assert_eq!(state(&refunded), ("25.00", "5.00", Paid));
    assert_eq!(refunded.allocations, made.allocations);
    let refunded = till.refund(made.id, "10.50").await.unwrap();
    assert_eq!(state(&refunded), ("35.50", "0.00", Paid));
    assert_eq!(covered(&refunded), [(late, "34.50"), (early, "30.00")]);
    assert_eq!(till.instalment(late).await, (3450, "open".into()));
    let refunded = till.refund(made.id, "34.51").await.unwrap();
    assert_eq!(covered(&refunded), [(early, "29.99")]);
    assert_eq!(till.get(made.id).await, refunded);
    let refunded = till.refund(made.id, "").await.unwrap();
    assert_eq!(state(&refunded), ("100.00", "0.00", Refunded));
    assert!(refunded.allocations.is_empty());
    assert_eq!(till.instalment(early).await, (0, "open".into()));
    assert_eq!(till.get(made.id).await, refunded);
    till.recount().await;
}

/// Security checklist 55.
#[tokio::test]
async fn nothing_is_given_back_beyond_what_was_paid() {
    let till = Till::open().await;
    let made = till.paid("10").await;
    till.refund(made.id, "4").await.unwrap();
    let before = till.crm.database.digest().await;
    assert_eq!(refused_because(till.refund(made.id, "6.01").await), "ABOVE_REFUNDABLE");
    assert_eq!(refused_because(till.refund(made.id, "10000000000000").await), "ABOVE_REFUNDABLE");
    let in_dollars =
        pb::RefundPaymentRequest { id: made.id, amount: money("USD", "1"), ..Default::default() };
    let refused = till.service().refund_payment(signed(&till.ana, in_dollars)).await;
    assert_eq!(refusal(refused).said(), (Code::FailedPrecondition, "CURRENCY_MISMATCH"));
    assert_eq!(till.crm.database.digest().await, before);
    assert_eq!(state(&till.refund(made.id, "6").await.unwrap()), ("10.00", "0.00", Refunded));
}

#[tokio::test]
async fn a_dispute_releases_and_winning_it_covers_what_is_still_open() {
    let till = Till::open().await;
    let taken = till.due(6000, "2025-01-31").await;
    let closed = till.due(1000, "2025-02-28").await;
    let open = till.due(3000, "2025-03-31").await;
    let shares = [(taken, "60"), (closed, "10"), (open, "20")];
    let made = till.paid_for("100", &shares).await.unwrap();

    let disputed = till.dispute(made.id).await.unwrap();
    assert_eq!(state(&disputed), ("0.00", "0.00", Disputed));
    assert!(disputed.allocations.is_empty());
    let dispute = disputed.dispute.clone().unwrap();
    assert_eq!(
        (dispute.outcome(), dispute.reason.as_str()),
        (pb::DisputeOutcome::Open, "fraudulent")
    );
    assert_eq!(dispute.time, disputed.update_time);
    assert_eq!(till.instalment(taken).await, (0, "open".into()));

    // Meanwhile somebody pays a part of the first, and the second is given up.
    till.paid_for("45", &[(taken, "45")]).await.unwrap();
    till.crm
        .database
        .execute(&format!("UPDATE crm.instalments SET state = 'closed' WHERE id = {closed}"))
        .await;
    let won = till.resolve(made.id, Won).await.unwrap();
    assert_eq!(covered(&won), [(taken, "15.00"), (open, "20.00")]);
    assert_eq!(state(&won), ("0.00", "65.00", Paid));
    assert_eq!(won.dispute.as_ref().unwrap().outcome(), Won);
    assert_eq!(till.get(made.id).await, won);
    assert_eq!(till.instalment(taken).await, (6000, "paid".into()));

    // The next dispute gives back what it took, and not what the first one did.
    till.refund(made.id, "10").await.unwrap();
    till.dispute(made.id).await.unwrap();
    let won = till.resolve(made.id, Won).await.unwrap();
    assert_eq!(covered(&won), [(taken, "15.00"), (open, "20.00")]);
    assert_eq!(state(&won), ("10.00", "55.00", Paid));
    till.recount().await;
}

#[tokio::test]
async fn a_lost_dispute_stays_one() {
    let till = Till::open().await;
    let due = till.due(5000, "2025-01-31").await;
    let made = till.paid_for("80", &[(due, "50")]).await.unwrap();
    till.refund(made.id, "10").await.unwrap();
    till.dispute(made.id).await.unwrap();
    let lost = till.resolve(made.id, Lost).await.unwrap();
    assert_eq!(state(&lost), ("10.00", "0.00", Disputed));
    assert_eq!(lost.dispute.as_ref().unwrap().outcome(), Lost);
    assert_eq!(till.instalment(due).await, (0, "open".into()));
    let totals = &till.statistics().await.totals[0];
    assert_eq!(
        [&totals.gross, &totals.refunded, &totals.disputed, &totals.net],
        [&eur("80.00"), &eur("10.00"), &eur("70.00"), &eur("0.00")]
    );
    till.recount().await;
}

#[tokio::test]
async fn a_failure_and_a_void_release_everything() {
    let till = Till::open().await;
    let due = till.due(5000, "2025-01-31").await;
    let failed = till.paid_for("30", &[(due, "30")]).await.unwrap();
    let void = till.paid_for("20", &[(due, "20")]).await.unwrap();
    assert_eq!(till.instalment(due).await, (5000, "paid".into()));
    let failed = till.fail(failed.id).await.unwrap();
    assert_eq!(state(&failed), ("0.00", "0.00", Failed));
    assert!(failed.allocations.is_empty());
    assert_eq!(till.instalment(due).await, (2000, "open".into()));
    let void = till.void(void.id).await.unwrap();
    assert_eq!((void.void_reason.as_str(), void.void_time), ("entered twice", void.update_time));
    assert_eq!(state(&void), ("0.00", "0.00", Paid));
    assert_eq!(till.instalment(due).await, (0, "open".into()));

    // A void is left out, unless it is asked for.
    let list = |include_voided| pb::ListPaymentsRequest {
        include_voided,
        include_total: true,
        ..Default::default()
    };
    let listed = till.list(&till.ana, list(false)).await;
    assert_eq!((listed.payments, listed.total_size), (vec![failed.clone()], Some(1)));
    let listed = till.list(&till.ana, list(true)).await;
    assert_eq!((listed.payments.len(), listed.total_size), (2, Some(2)));
    let statistics = till.statistics().await;
    assert_eq!((statistics.total_payments, statistics.failed, statistics.paid), (1, 1, 0));
    assert_eq!(statistics.total_amounts, [eur("30.00").unwrap()]);
    assert_eq!(till.get(void.id).await, void);

    let nameless = pb::VoidPaymentRequest { id: failed.id, ..Default::default() };
    let refused = refusal(till.service().void_payment(signed(&till.ana, nameless)).await);
    assert_eq!(
        (refused.reason.as_str(), refused.fields),
        ("MISSING_FIELDS", vec!["reason".into()])
    );
    till.void(failed.id).await.unwrap();
    assert_eq!(till.statistics().await.total_payments, 0);
    till.recount().await;
}

async fn do_step(till: &Till, step: &str, id: i64, due: i64) -> Answer {
    match step {
        "allocate" => till.cover(id, &[(due, "0.01")]).await,
        "allocate to the oldest" => till.cover_oldest(id).await,
        "refund" => till.refund(id, "0.01").await,
        "refund all" => till.refund(id, "").await,
        "dispute" => till.dispute(id).await,
        "win" => till.resolve(id, Won).await,
        "lose" => till.resolve(id, Lost).await,
        "fail" => till.fail(id).await,
        "void" => till.void(id).await,
        other => panic!("no step is called {other}"),
    }
}

/// Security checklist 56: over the wire, every step from every state.
#[tokio::test]
async fn only_the_listed_steps_are_taken() {
    const STEPS: &[&str] = &[
        "allocate",
        "allocate to the oldest",
        "refund",
        "refund all",
        "dispute",
        "win",
        "lose",
        "fail",
        "void",
    ];
    let of_paid = &["allocate", "allocate to the oldest", "refund", "refund all", "dispute"];
    let untouched = &["fail", "void"];
    let states: &[(&[&str], &[&[&str]])] = &[
        (&[], &[of_paid, untouched]),
        (&["refund"], &[of_paid]),
        (&["refund all"], &[]),
        (&["fail"], &[&["void"]]),
        (&["dispute"], &[&["win", "lose"]]),
        (&["refund", "dispute"], &[&["win", "lose"]]),
        (&["dispute", "lose"], &[]),
        (&["dispute", "win"], &[of_paid, untouched]),
        (&["refund", "dispute", "win"], &[of_paid]),
        (&["void"], &[]),
        (&["fail", "void"], &[]),
    ];
    let till = Till::open().await;
    let due = till.due(100_000, "2025-01-31").await;
    let mut refused = 0;
    for (way, allowed) in states {
        for step in STEPS {
            let made = till.paid("1").await;
            for earlier in *way {
                do_step(&till, earlier, made.id, due).await.unwrap();
            }
            let before = till.get(made.id).await;
            let answer = do_step(&till, step, made.id, due).await;
            if allowed.iter().any(|steps| steps.contains(step)) {
                assert_eq!(till.get(made.id).await, answer.expect(step), "{way:?}, {step}");
            } else {
                assert_eq!(refused_because(answer), "PAYMENT_STATUS", "{way:?}, {step}");
                assert_eq!(till.get(made.id).await, before, "{way:?}, {step}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 9 * states.len() - 29);
    till.recount().await;
}

#[tokio::test]
async fn every_step_asks_for_the_etag_that_it_was_given() {
    let till = Till::open().await;
    let made = till.paid("10").await;
    let update = pb::Payment { id: made.id, notes: "New.".into(), ..Default::default() };
    till.update(update, &[]).await.unwrap();
    let before = till.crm.database.digest().await;
    let (id, etag, mut service) = (made.id, || made.etag.clone(), till.service());
    let by = &till.ana;
    let allocate =
        pb::AllocatePaymentRequest { id, auto_allocate: true, etag: etag(), ..Default::default() };
    let void =
        pb::VoidPaymentRequest { id, reason: "x".into(), etag: etag(), ..Default::default() };
    let refund = pb::RefundPaymentRequest { id, etag: etag(), ..Default::default() };
    let dispute = pb::DisputePaymentRequest { id, etag: etag(), ..Default::default() };
    let resolve =
        pb::ResolveDisputeRequest { id, outcome: Won.into(), etag: etag(), ..Default::default() };
    let fail = pb::MarkPaymentFailedRequest { id, etag: etag(), ..Default::default() };
    for refused in [
        refusal(service.allocate_payment(signed(by, allocate)).await),
        refusal(service.void_payment(signed(by, void)).await),
        refusal(service.refund_payment(signed(by, refund)).await),
        refusal(service.dispute_payment(signed(by, dispute)).await),
        refusal(service.resolve_dispute(signed(by, resolve)).await),
        refusal(service.mark_payment_failed(signed(by, fail)).await),
    ] {
        assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));
    }
    assert_eq!(till.crm.database.digest().await, before);
}

#[tokio::test]
async fn what_is_wrong_with_a_step_is_named_at_once() {
    let till = Till::open().await;
    let long = || "x".repeat(256);
    let mut service = till.service();
    let refund = pb::RefundPaymentRequest {
        amount: money("EUR", "0"),
        reason: long(),
        request_id: "x".into(),
        ..Default::default()
    };
    let refused = refusal(service.refund_payment(signed(&till.ana, refund)).await);
    assert_eq!(refused.fields, ["request_id", "id", "amount", "reason"]);
    let dispute = pb::DisputePaymentRequest { reason: long(), ..Default::default() };
    let refused = refusal(service.dispute_payment(signed(&till.ana, dispute)).await);
    assert_eq!(refused.fields, ["id", "reason"]);
    let fail = pb::MarkPaymentFailedRequest { reason: long(), ..Default::default() };
    let refused = refusal(service.mark_payment_failed(signed(&till.ana, fail)).await);
    assert_eq!(refused.fields, ["id", "reason"]);
    for outcome in [1, 77, -1] {
        let resolve = pb::ResolveDisputeRequest { outcome, ..Default::default() };
        let refused = refusal(service.resolve_dispute(signed(&till.ana, resolve)).await);
        assert_eq!((refused.reason.as_str(), refused.fields.len()), ("INVALID_FIELDS", 2));
    }
    let resolve = pb::ResolveDisputeRequest { id: 1, ..Default::default() };
    let refused = refusal(service.resolve_dispute(signed(&till.ana, resolve)).await);
    assert_eq!(
        (refused.reason.as_str(), refused.fields),
        ("MISSING_FIELDS", vec!["outcome".into()])
    );
}

/// Every step is recorded with who took it, and nothing that identifies a person.
#[tokio::test]
async fn every_step_leaves_its_record_and_what_happened() {
    let till = Till::open().await;
    let due = till.due(500, "2025-01-31").await;
    let made = till.paid("10").await;
    let update = pb::Payment { id: made.id, notes: "Secret.".into(), ..Default::default() };
    till.update(update, &[]).await.unwrap();
    till.cover(made.id, &[(due, "5")]).await.unwrap();
    till.dispute(made.id).await.unwrap();
    till.resolve(made.id, Won).await.unwrap();
    till.refund(made.id, "1").await.unwrap();
    till.refund(made.id, "").await.unwrap();
    let lost = till.paid("10").await;
    till.dispute(lost.id).await.unwrap();
    till.resolve(lost.id, Lost).await.unwrap();
    let failed = till.paid("10").await;
    till.fail(failed.id).await.unwrap();
    till.void(failed.id).await.unwrap();

    let acts: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT subject_id, action, details::text FROM crm.audit_events
         WHERE subject = 'payment' ORDER BY id",
    )
    .fetch_all(&till.crm.database.owner)
    .await
    .unwrap();
    let acts: Vec<_> =
        acts.iter().map(|(id, action, details)| (*id, action.as_str(), details.clone())).collect();
    let of = |amount: &str, reason: &str| {
        let why =
            if reason.is_empty() { String::new() } else { format!(r#", "reason": "{reason}""#) };
        format!(r#"{{"amount": {{"amount": "{amount}", "currency_code": "EUR"}}{why}}}"#)
    };
    assert_eq!(
        acts,
        [
            (made.id, "payment.create", "{}".into()),
            (made.id, "payment.update", "{\"fields\": [\"notes\"]}".into()),
            (made.id, "payment.allocate", "{}".into()),
            (made.id, "payment.dispute", of("10.00", "fraudulent")),
            (made.id, "payment.win_dispute", of("10.00", "")),
            (made.id, "payment.refund", of("1.00", "")),
            (made.id, "payment.refund", of("9.00", "")),
            (lost.id, "payment.create", "{}".into()),
            (lost.id, "payment.dispute", of("10.00", "fraudulent")),
            (lost.id, "payment.lose_dispute", of("10.00", "")),
            (failed.id, "payment.create", "{}".into()),
            (failed.id, "payment.fail", of("10.00", "")),
            (failed.id, "payment.void", of("10.00", "entered twice")),
        ]
    );
    let happened: Vec<(String, i64, String)> = sqlx::query_as(
        "SELECT kind, amount, reason FROM crm.payment_events WHERE payment_id = $1 ORDER BY id",
    )
    .bind(made.id)
    .fetch_all(&till.crm.database.owner)
    .await
    .unwrap();
    let happened: Vec<_> =
        happened.iter().map(|(kind, amount, why)| (kind.as_str(), *amount, why.as_str())).collect();
    assert_eq!(
        happened,
        [
            ("paid", 1000, ""),
            ("disputed", 1000, "fraudulent"),
            ("dispute_won", 1000, ""),
            ("refunded", 100, ""),
            ("refunded", 900, ""),
        ]
    );
    let entered: Vec<(i64, String)> = sqlx::query_as(
        "SELECT amount, reason FROM crm.allocation_entries WHERE payment_id = $1 ORDER BY id",
    )
    .bind(made.id)
    .fetch_all(&till.crm.database.owner)
    .await
    .unwrap();
    let entered: Vec<_> = entered.iter().map(|(amount, why)| (*amount, why.as_str())).collect();
    assert_eq!(
        entered,
        [(500, "allocated"), (-500, "disputed"), (500, "dispute_won"), (-500, "refunded")]
    );
    assert_eq!(said(till.get(made.id).await.refunded_amount.as_ref()), "10.00");
}

/// Security checklist 56: facts about money are there for good, whatever the program does.
#[tokio::test]
async fn what_happened_to_money_cannot_be_changed_or_deleted() {
    let database = TestDatabase::new(&SCHEMA).await;
    let mut service = connected_as(&database, "crm_app").await;
    let beyond_it = [
        "UPDATE crm.payment_events SET amount = 1",
        "DELETE FROM crm.payment_events",
        "TRUNCATE crm.payment_events",
        "UPDATE crm.allocation_entries SET amount = 1",
        "DELETE FROM crm.allocation_entries",
        "TRUNCATE crm.allocation_entries",
        "DELETE FROM crm.payments",
        "DELETE FROM crm.instalments",
        "DELETE FROM crm.payment_totals",
        "DELETE FROM crm.client_payment_totals",
    ];
    may_not(&mut service, &beyond_it).await;
}
