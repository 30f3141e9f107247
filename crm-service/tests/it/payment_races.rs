//! Calls about one payment, instalment or `request_id` at the same time.

use std::time::Duration;

use futures::future::join_all;
use proto::crm::v1::{self as pb, PaymentStatus};
use service_kit::testing::refusal::{Refusal, refusal};
use tonic::Code;

use crate::support::signed;
use crate::till::{Answer, Till, covered, euros, money, said, shares, state};

const ID: &str = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f";

/// Those that came through; the others were refused for one of these reasons.
fn came_through(answers: Vec<Answer>, reasons: &[&str]) -> Vec<pb::Payment> {
    let mut through = Vec::new();
    for answer in answers {
        match answer {
            Ok(payment) => through.push(payment),
            Err(status) => {
                let refused = Refusal::of(&status);
                assert!(reasons.contains(&refused.reason.as_str()), "{refused:?}");
            }
        }
    }
    through
}

/// Security checklist 54.
#[tokio::test]
async fn twenty_at_once_under_one_request_id_are_one_payment() {
    let till = Till::open().await;
    let due = till.due(100_000, "2025-01-31").await;
    let request = pb::CreatePaymentRequest {
        allocations: shares(&[(due, "5")]),
        request_id: ID.into(),
        ..till.paying("10")
    };
    let answers = join_all((0..20).map(|_| till.create(request.clone()))).await;
    let first = answers[0].as_ref().unwrap();
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap() == first));
    let listed = till.list(&till.ana, pb::ListPaymentsRequest::default()).await;
    assert_eq!(listed.payments, std::slice::from_ref(first));
    assert_eq!(till.instalment(due).await.0, 500);

    let before = till.crm.database.digest().await;
    let other = pb::CreatePaymentRequest { request_id: ID.into(), ..till.paying("11") };
    let refused = refusal(till.create(other).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    assert_eq!(till.crm.database.digest().await, before);
    till.recount().await;
}

/// Security checklist 54: whoever does not know what became of a call repeats it.
#[tokio::test]
async fn a_call_that_broke_off_in_the_middle_is_repeated_safely() {
    let till = Till::open().await;
    let request = pb::CreatePaymentRequest { request_id: ID.into(), ..till.paying("10") };
    let before = till.crm.database.digest().await;
    // It has claimed its id, and waits for its client.
    let mut other = till.crm.database.owner.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM crm.clients FOR UPDATE").execute(&mut *other).await.unwrap();
    let break_off = async {
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        // On a connection of its own: inside a transaction activity stays what it was at first.
        let owner = &till.crm.database.owner;
        loop {
            let ended: i64 = sqlx::query_scalar(ended).fetch_one(owner).await.unwrap();
            if ended > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut service = till.service();
    let call = service.create_payment(signed(&till.ana, request.clone()));
    let (broken, ()) = tokio::join!(call, break_off);
    assert_eq!(refusal(broken).said(), (Code::Unavailable, "DATABASE_UNAVAILABLE"));
    other.rollback().await.unwrap();
    assert_eq!(till.crm.database.digest().await, before);

    let made = till.create(request.clone()).await.unwrap();
    assert_eq!(till.create(request).await.unwrap(), made);
    assert_eq!(till.statistics().await.total_payments, 1);
    till.recount().await;
}

/// Security checklist 55.
#[tokio::test]
async fn of_two_refunds_at_once_only_what_was_paid_goes_out() {
    let till = Till::open().await;
    let due = till.due(5000, "2025-01-31").await;
    for _ in 0..5 {
        let made = till.paid_for("10", &[(due, "5")]).await.unwrap();
        let answers = join_all(["7", "7", "7"].map(|amount| till.refund(made.id, amount))).await;
        let through = came_through(answers, &["ABOVE_REFUNDABLE"]);
        assert_eq!(through.len(), 1);
        assert_eq!(till.get(made.id).await, through[0]);
        assert_eq!(covered(&through[0]), [(due, "3.00")]);
    }
    let made = till.paid("10").await;
    let answers = join_all((0..12).map(|_| till.refund(made.id, "1"))).await;
    let through = came_through(answers, &["PAYMENT_STATUS"]);
    assert_eq!(through.len(), 10);
    assert_eq!(state(&till.get(made.id).await), ("10.00", "0.00", PaymentStatus::Refunded));
    till.recount().await;
}

/// Security checklist 55.
#[tokio::test]
async fn two_payments_at_once_cover_an_instalment_once() {
    let till = Till::open().await;
    for _ in 0..5 {
        let due = till.due(1000, "2025-01-31").await;
        let (one, other) = (till.paid("10").await, till.paid("10").await);
        let share = [(due, "6")];
        let (first, second, third) = tokio::join!(
            till.cover(one.id, &share),
            till.cover(other.id, &share),
            till.paid_for("6", &share)
        );
        let answers = vec![first, second, third];
        assert_eq!(came_through(answers, &["ABOVE_OPEN"]).len(), 1);
        assert_eq!(till.instalment(due).await.0, 600);
    }
    till.recount().await;
}

#[tokio::test]
async fn many_automatic_allocations_at_once_share_what_is_due() {
    let till = Till::open().await;
    for month in 1..=6 {
        till.due(1000, &format!("2025-{month:02}-01")).await;
    }
    let request = pb::CreatePaymentRequest { auto_allocate: true, ..till.paying("7.50") };
    let made = join_all((0..8).map(|_| till.create(request.clone()))).await;
    let covered: usize = made.iter().map(|made| made.as_ref().unwrap().allocations.len()).sum();
    assert!(covered >= 8, "{made:?}");
    let open: i64 =
        sqlx::query_scalar("SELECT count(*) FROM crm.instalments WHERE status = 'open'")
            .fetch_one(&till.crm.database.owner)
            .await
            .unwrap();
    assert_eq!(open, 0);
    till.recount().await;
}

#[tokio::test]
async fn a_refund_and_a_dispute_at_once_are_one_after_the_other() {
    let till = Till::open().await;
    let due = till.due(100_000, "2025-01-31").await;
    for _ in 0..8 {
        let made = till.paid_for("10", &[(due, "10")]).await.unwrap();
        let (refunded, disputed) = tokio::join!(till.refund(made.id, "4"), till.dispute(made.id));
        let disputed = disputed.unwrap();
        let now = till.get(made.id).await;
        assert_eq!(now.status(), PaymentStatus::Disputed);
        match refunded {
            Ok(refunded) => {
                assert_eq!(covered(&refunded), [(due, "6.00")]);
                assert_eq!(said(disputed.refunded_amount.as_ref()), "4.00");
            }
            Err(status) => assert_eq!(Refusal::of(&status).reason, "PAYMENT_STATUS"),
        }
        let (failed, void, refunded) =
            tokio::join!(till.fail(made.id), till.void(made.id), till.refund(made.id, ""));
        let late = vec![failed, void, refunded];
        assert!(came_through(late, &["PAYMENT_STATUS"]).is_empty());
    }
    till.recount().await;
}

/// Those of many clients do not wait for each other, and the totals are right in the end.
#[tokio::test]
async fn totals_are_true_after_much_at_once() {
    let till = Till::open().await;
    let mut clients = Vec::new();
    for number in 0..6 {
        clients.push(till.crm.create(&till.ana, euros(&number.to_string())).await);
    }
    let life = async |client: &pb::Client, number: usize| {
        let payment = pb::Payment {
            client_id: client.id,
            amount: money(["EUR", "USD"][number % 2], "10"),
            ..Default::default()
        };
        let request = pb::CreatePaymentRequest { payment: Some(payment), ..Default::default() };
        let made = till.create(request).await.unwrap();
        match number % 5 {
            0 => till.refund(made.id, "").await.unwrap(),
            1 => till.dispute(made.id).await.unwrap(),
            2 => till.fail(made.id).await.unwrap(),
            3 => till.void(made.id).await.unwrap(),
            _ => till.refund(made.id, "3").await.unwrap(),
        };
        if number % 5 == 1 {
            till.resolve(made.id, pb::DisputeOutcome::Won).await.unwrap();
        }
    };
    let lives = async |client| {
        for number in 0..10 {
            life(client, number).await;
        }
    };
    join_all(clients.iter().map(lives)).await;
    till.recount().await;
    let statistics = till.statistics().await;
    assert_eq!(
        (statistics.total_payments, statistics.paid, statistics.refunded, statistics.failed),
        (48, 24, 12, 12)
    );
}
