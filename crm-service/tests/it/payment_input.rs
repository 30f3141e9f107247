//! What is no payment, and how it is refused.

use crate::payments::day;
use crate::{
    support::signed,
    till::{Till, eur, euros, money, shares},
};
use proto::crm::v1::{self as pb, PaymentStatus};
use service_kit::testing::refusal::refusal;
use tonic::Code;

#[tokio::test]
async fn everything_wrong_is_named_at_once_and_nothing_is_written() {
    let till = Till::open().await;
    let before = till.crm.database.digest().await;
    let payment = pb::Payment {
        client_id: 0,
        amount: money("EUR", "1.001"),
        status: PaymentStatus::Refunded.into(),
        paid_at: day(i64::MAX),
        external_reference: "x".repeat(256),
        notes: "\0".into(),
        ..Default::default()
    };
    let mut allocations = shares(&[(3, "1"), (0, "-1"), (3, "0")]);
    allocations[0].amount = None;
    let request = pb::CreatePaymentRequest {
        payment: Some(payment),
        allocations,
        auto_allocate: true,
        request_id: "x".into(),
    };
    let refused = refusal(till.create(request).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(
        refused.fields,
        [
            "request_id",
            "payment.client_id",
            "payment.amount",
            "payment.status",
            "payment.paid_at",
            "payment.external_reference",
            "payment.notes",
            "auto_allocate",
            "allocations[0].amount",
            "allocations[1].instalment_id",
            "allocations[1].amount",
            "allocations[2].instalment_id",
            "allocations[2].amount",
        ]
    );
    let refused = refusal(till.create(pb::CreatePaymentRequest::default()).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    assert_eq!(refused.fields, ["payment.client_id", "payment.amount"]);
    // In some time zones it would be on a day that no report can be asked for.
    let mut request = till.paying("1");
    request.payment.as_mut().unwrap().paid_at = day(-62_135_596_800);
    assert_eq!(refusal(till.create(request).await).fields, ["payment.paid_at"]);
    // What only the client's currency shows.
    let allocations = shares(&[(3, "1"), (4, "0.001"), (5, "0.0001")]);
    let request = pb::CreatePaymentRequest { allocations, ..till.paying("1.005") };
    let refused = refusal(till.create(request).await);
    assert_eq!(
        refused.fields,
        ["payment.amount", "allocations[1].amount", "allocations[2].amount"]
    );
    // Tomorrow may be today elsewhere; the day after is not.
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).timestamp();
    let mut request = till.paying("1");
    request.payment.as_mut().unwrap().paid_at = day(now + 90_000);
    assert_eq!(refusal(till.create(request.clone()).await).fields, ["payment.paid_at"]);
    // More than a person would enter.
    let allocations = (1..=101).map(|id| shares(&[(id, "1")]).remove(0)).collect();
    let request = pb::CreatePaymentRequest { allocations, ..till.paying("1000") };
    assert_eq!(refusal(till.create(request).await).fields, ["allocations"]);
    assert_eq!(till.crm.database.digest().await, before);

    let mut request = till.paying("1");
    request.payment.as_mut().unwrap().paid_at = day(now + 80_000);
    till.create(request).await.unwrap();
}

/// Security checklist 55.
#[tokio::test]
async fn what_is_no_amount_is_refused_wherever_one_is_taken() {
    let till = Till::open().await;
    let due = till.due(10_000, "2025-01-31").await;
    let payment = till.paid("100").await;
    let before = till.crm.database.digest().await;
    for bad in
        ["-1", "0", "0.00", "1.001", "1e3", "NaN", "99999999999999999999", "9223372036854775808"]
    {
        assert_eq!(
            refusal(till.create(till.paying(bad)).await).fields,
            ["payment.amount"],
            "{bad}"
        );
        let refused = refusal(till.paid_for("100", &[(due, bad)]).await);
        assert_eq!(refused.fields, ["allocations[0].amount"], "{bad}");
        let refused = refusal(till.cover(payment.id, &[(due, bad)]).await);
        assert_eq!(refused.fields, ["allocations[0].amount"], "{bad}");
        let refused = refusal(till.refund(payment.id, bad).await);
        assert_eq!(refused.fields, ["amount"], "{bad}");
        assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"), "{bad}");
    }
    for (currency, amount) in [("JPY", "1.5"), ("KWD", "1.2345"), ("XYZ", "1")] {
        let mut request = till.paying("1");
        request.payment.as_mut().unwrap().amount = money(currency, amount);
        assert_eq!(refusal(till.create(request).await).fields, ["payment.amount"]);
    }
    assert_eq!(till.crm.database.digest().await, before);
}

#[tokio::test]
async fn what_never_changes_may_be_said_again_and_not_otherwise() {
    let till = Till::open().await;
    let made = till.paid("10").await;
    let bob = till.crm.create(&till.ana, euros("Bob")).await;
    let before = till.crm.database.digest().await;
    let said = |change: &dyn Fn(&mut pb::Payment)| {
        let mut payment = pb::Payment { id: made.id, notes: "New.".into(), ..Default::default() };
        change(&mut payment);
        payment
    };
    for (field, reason, payment) in [
        ("payment.amount", "INVALID_FIELDS", said(&|it| it.amount = eur("10.01"))),
        ("payment.amount", "INVALID_FIELDS", said(&|it| it.amount = money("USD", "10"))),
        ("payment.amount", "INVALID_FIELDS", said(&|it| it.amount = money("", "10.001"))),
        ("payment.amount", "INVALID_FIELDS", said(&|it| it.amount = eur("much"))),
        ("payment.amount", "MISSING_FIELDS", said(&|it| it.amount = money("", ""))),
        ("payment.client_id", "INVALID_FIELDS", said(&|it| it.client_id = bob.id)),
        ("payment.status", "INVALID_FIELDS", said(&|it| it.set_status(PaymentStatus::Failed))),
        ("payment.status", "INVALID_FIELDS", said(&|it| it.status = 9)),
    ] {
        let refused = refusal(till.update(payment.clone(), &[]).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, reason), "{payment:?}");
        assert_eq!(refused.fields, [field], "{payment:?}");
    }
    let all = said(&|it| {
        it.client_id = bob.id;
        it.amount = eur("11");
        it.set_status(PaymentStatus::Refunded);
    });
    let refused = refusal(till.update(all.clone(), &[]).await);
    assert_eq!(refused.fields, ["payment.client_id", "payment.amount", "payment.status"]);
    let worse = pb::Payment { external_reference: "x".repeat(256), ..all.clone() };
    let refused = refusal(till.update(worse, &[]).await);
    let everything =
        ["payment.external_reference", "payment.client_id", "payment.amount", "payment.status"];
    assert_eq!(refused.fields, everything);
    assert_eq!(till.crm.database.digest().await, before);
    // A mask names what is meant, and nothing else is looked at.
    assert_eq!(till.update(all, &["notes"]).await.unwrap().notes, "New.");
}

/// Whatever else is wrong: amounts without a currency are judged in the client's or the payment's.
#[tokio::test]
async fn amounts_without_a_currency_are_named_beside_whatever_else_is_wrong() {
    let till = Till::open().await;
    let payment = till.paid("10").await;
    let before = till.crm.database.digest().await;
    let bad_notes = |amount: &str| {
        let mut request = till.paying(amount);
        request.payment.as_mut().unwrap().notes = "x".repeat(10_001);
        request
    };
    let allocations = shares(&[(3, "1"), (4, "0.001")]);
    let short = pb::CreatePaymentRequest { allocations: allocations.clone(), ..bad_notes("1.005") };
    let refused = refusal(till.create(short).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(refused.fields, ["payment.amount", "payment.notes", "allocations[1].amount"]);
    // Beside an amount in dinars, which have three decimals, the shares are in dinars.
    let mut dinars = pb::CreatePaymentRequest {
        allocations: shares(&[(4, "0.001"), (5, "0.0001")]),
        ..bad_notes("1")
    };
    dinars.payment.as_mut().unwrap().amount = money("KWD", "1.005");
    let refused = refusal(till.create(dinars).await);
    assert_eq!(refused.fields, ["payment.notes", "allocations[1].amount"]);
    // Of nobody's client nothing is told but what the request itself shows.
    let mut nobodys = bad_notes("1.005");
    nobodys.payment.as_mut().unwrap().client_id = 999_999;
    assert_eq!(refusal(till.create(nobodys).await).fields, ["payment.notes"]);
    // More decimals than any currency has, and more than there is in any.
    for bad in ["1.00001", "1000000000000001", "1000000000000.0001"] {
        let mut request = bad_notes(bad);
        request.payment.as_mut().unwrap().client_id = 0;
        let fields = ["payment.client_id", "payment.amount", "payment.notes"];
        assert_eq!(refusal(till.create(request).await).fields, fields, "{bad}");
    }

    let request = pb::AllocatePaymentRequest {
        id: payment.id,
        allocations: [&allocations[..], &shares(&[(0, "1")])].concat(),
        ..Default::default()
    };
    let refused = refusal(till.allocate(request).await);
    assert_eq!(refused.fields, ["allocations[1].amount", "allocations[2].instalment_id"]);
    let request = pb::RefundPaymentRequest {
        id: payment.id,
        amount: money("", "0.001"),
        reason: "x".repeat(256),
        ..Default::default()
    };
    let refused = refusal(till.service().refund_payment(signed(&till.ana, request.clone())).await);
    assert_eq!(refused.fields, ["amount", "reason"]);
    let unknown = pb::RefundPaymentRequest { id: 999_999, ..request };
    let refused = refusal(till.service().refund_payment(signed(&till.ana, unknown)).await);
    assert_eq!(refused.fields, ["reason"]);
    assert_eq!(till.crm.database.digest().await, before);
}

/// Only where no amount is there at all is all that is left meant.
#[tokio::test]
async fn an_amount_that_is_there_and_empty_is_refused() {
    let till = Till::open().await;
    let due = till.due(1000, "2025-01-31").await;
    let payment = till.paid("10").await;
    let before = till.crm.database.digest().await;
    for (currency, reason) in [
        ("", "MISSING_FIELDS"),
        ("EUR", "MISSING_FIELDS"),
        ("USD", "MISSING_FIELDS"),
        ("ZZZ", "INVALID_FIELDS"),
    ] {
        let amount = money(currency, "");
        let request = pb::RefundPaymentRequest {
            id: payment.id,
            amount: amount.clone(),
            ..Default::default()
        };
        let refused = refusal(till.service().refund_payment(signed(&till.ana, request)).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, reason), "{currency}");
        assert_eq!(refused.fields, ["amount"]);
        let mut request = till.paying("1");
        request.payment.as_mut().unwrap().amount = amount.clone();
        let refused = refusal(till.create(request).await);
        assert_eq!(
            (refused.reason.as_str(), &refused.fields[..]),
            (reason, &["payment.amount".to_owned()][..])
        );
        let mut allocations = shares(&[(due, "1")]);
        allocations[0].amount = amount;
        let request =
            pb::AllocatePaymentRequest { id: payment.id, allocations, ..Default::default() };
        let refused = refusal(till.allocate(request).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, reason), "{currency}");
        assert_eq!(refused.fields, ["allocations[0].amount"]);
    }
    let dollars = pb::RefundPaymentRequest {
        id: payment.id,
        amount: money("USD", "1"),
        ..Default::default()
    };
    let refused = refusal(till.service().refund_payment(signed(&till.ana, dollars)).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "CURRENCY_MISMATCH"));
    assert_eq!(till.crm.database.digest().await, before);
}

#[tokio::test]
async fn a_refused_allocation_says_which() {
    let till = Till::open().await;
    let (good, other) = (till.due(5000, "2025-01-31").await, till.due(100, "2025-01-31").await);
    let (paid, closed) = (till.due(1000, "2025-01-31").await, till.due(1000, "2025-01-31").await);
    let in_francs = till.due(1000, "2025-01-31").await;
    till.paid_for("10", &[(paid, "10")]).await.unwrap();
    till.close_and_exchange(closed, in_francs).await;
    let bob = till.crm.create(&till.ana, euros("Bob")).await;
    let of_bob = till.due_of(&bob, 5000, "2020-01-31").await;
    let payment = till.paid("400").await;
    let before = till.crm.database.digest().await;
    for (reason, (id, amount), part) in [
        ("ABOVE_OPEN", (good, money("", "50.01")), "amount"),
        ("INSTALMENT_PAID", (paid, money("", "1")), "instalment_id"),
        ("INSTALMENT_CLOSED", (closed, money("", "1")), "instalment_id"),
        ("CURRENCY_MISMATCH", (in_francs, money("", "1")), "instalment_id"),
        ("CLIENT_MISMATCH", (of_bob, money("", "1")), "instalment_id"),
        ("CURRENCY_MISMATCH", (good, money("USD", "1")), "amount"),
    ] {
        let mut allocations = shares(&[(other, "1"), (id, "1"), (999_999, "1")]);
        allocations[1].amount = amount;
        let metadata = [
            ("field".to_owned(), format!("allocations[1].{part}")),
            ("instalment_id".to_owned(), id.to_string()),
        ];
        let request =
            pb::CreatePaymentRequest { allocations: allocations.clone(), ..till.paying("400") };
        let refused = refusal(till.create(request).await);
        assert_eq!(refused.said(), (Code::FailedPrecondition, reason));
        assert_eq!(refused.metadata, metadata, "{reason}");
        let request =
            pb::AllocatePaymentRequest { id: payment.id, allocations, ..Default::default() };
        let refused = refusal(till.allocate(request).await);
        assert_eq!((refused.reason.as_str(), &refused.metadata[..]), (reason, &metadata[..]));
    }
    let refused = refusal(till.cover(payment.id, &[(good, "1"), (999_999, "1")]).await);
    assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
    assert_eq!(refused.metadata[0].1, "allocations[1].instalment_id");
    assert_eq!(till.crm.database.digest().await, before);
}

#[tokio::test]
async fn an_unknown_payment_is_named_with_its_field() {
    let till = Till::open().await;
    for (answer, field) in [
        (till.get_as(&till.ana, 7).await, "id"),
        (till.refund(7, "").await, "id"),
        (till.update(pb::Payment { id: 7, ..Default::default() }, &["notes"]).await, "payment.id"),
    ] {
        let refused = refusal(answer);
        assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
        assert_eq!(
            refused.metadata,
            [("field".into(), field.into()), ("resource".into(), "payment".into())]
        );
    }
    let mut request = till.paying("1");
    request.payment.as_mut().unwrap().client_id = 999;
    let refused = refusal(till.create(request).await);
    assert_eq!(
        refused.metadata,
        [("field".into(), "payment.client_id".into()), ("resource".into(), "client".into())]
    );
}
