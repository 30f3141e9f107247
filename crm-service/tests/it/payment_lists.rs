//! Lists of payments, and what they add up to.

use proto::crm::v1::{self as pb, PaymentStatus};
use service_kit::testing::refusal::refusal;
use tonic::Code;

use crate::{
    support::signed,
    till::{Till, covered, eur, euros, money},
};

const DAY: i64 = 86_400;

fn instant(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

/// A payment paid on the n-th day of 1970, known as its reference.
async fn paid_on(till: &Till, client: &pb::Client, day: i64, amount: (&str, &str)) -> pb::Payment {
    let payment = pb::Payment {
        client_id: client.id,
        amount: money(amount.0, amount.1),
        paid_at: instant(day * DAY),
        external_reference: day.to_string(),
        ..Default::default()
    };
    let request = pb::CreatePaymentRequest { payment: Some(payment), ..Default::default() };
    till.create(request).await.unwrap()
}

fn days(list: &pb::ListPaymentsResponse) -> Vec<&str> {
    list.payments.iter().map(|payment| payment.external_reference.as_str()).collect()
}

/// Six payments of two clients in two currencies, of every status; a void one, on day 7.
async fn six(till: &Till) -> pb::Client {
    let bob = till.crm.create(&till.ana, euros("Bob")).await;
    paid_on(till, &till.ada, 3, ("EUR", "10")).await;
    let part = paid_on(till, &bob, 1, ("EUR", "20")).await;
    let refunded = paid_on(till, &till.ada, 2, ("USD", "30")).await;
    let failed = paid_on(till, &bob, 6, ("EUR", "40")).await;
    let disputed = paid_on(till, &till.ada, 4, ("EUR", "50")).await;
    let lost = paid_on(till, &bob, 5, ("USD", "60")).await;
    let void = paid_on(till, &till.ada, 7, ("EUR", "70")).await;
    till.refund(part.id, "5").await.unwrap();
    till.refund(refunded.id, "").await.unwrap();
    till.fail(failed.id).await.unwrap();
    till.refund(disputed.id, "8").await.unwrap();
    till.dispute(disputed.id).await.unwrap();
    till.dispute(lost.id).await.unwrap();
    till.resolve(lost.id, pb::DisputeOutcome::Lost).await.unwrap();
    till.void(void.id).await.unwrap();
    bob
}

#[tokio::test]
async fn filters_narrow_together() {
    let till = Till::open().await;
    let bob = six(&till).await;
    let all = || pb::ListPaymentsRequest {
        order_by: "paid_at".into(),
        include_total: true,
        ..Default::default()
    };
    let status = |status: PaymentStatus| pb::ListPaymentsRequest { status: status.into(), ..all() };
    let of_bob = || pb::ListPaymentsRequest { client_id: bob.id, ..all() };
    for (request, expected) in [
        (all(), vec!["1", "2", "3", "4", "5", "6"]),
        (
            pb::ListPaymentsRequest { include_voided: true, ..all() },
            vec!["1", "2", "3", "4", "5", "6", "7"],
        ),
        (of_bob(), vec!["1", "5", "6"]),
        (status(PaymentStatus::Paid), vec!["1", "3"]),
        (
            pb::ListPaymentsRequest { include_voided: true, ..status(PaymentStatus::Paid) },
            vec!["1", "3", "7"],
        ),
        (status(PaymentStatus::Failed), vec!["6"]),
        (status(PaymentStatus::Refunded), vec!["2"]),
        (status(PaymentStatus::Disputed), vec!["4", "5"]),
        (pb::ListPaymentsRequest { currency: "USD".into(), ..all() }, vec!["2", "5"]),
        (pb::ListPaymentsRequest { currency: "USD".into(), ..of_bob() }, vec!["5"]),
        // From an instant on, and until before one.
        (
            pb::ListPaymentsRequest { paid_from: instant(2 * DAY), ..all() },
            vec!["2", "3", "4", "5", "6"],
        ),
        (pb::ListPaymentsRequest { paid_until: instant(2 * DAY), ..all() }, vec!["1"]),
        (
            pb::ListPaymentsRequest {
                paid_from: instant(2 * DAY),
                paid_until: instant(5 * DAY),
                ..all()
            },
            vec!["2", "3", "4"],
        ),
        (pb::ListPaymentsRequest { paid_from: instant(2 * DAY), ..of_bob() }, vec!["5", "6"]),
        (pb::ListPaymentsRequest { currency: "JPY".into(), ..all() }, vec![]),
        (pb::ListPaymentsRequest { client_id: 999_999, ..all() }, vec![]),
    ] {
        let said = format!("{request:?}");
        let list = till.list(&till.ana, request).await;
        assert_eq!(days(&list), expected, "{said}");
        assert_eq!(list.total_size, Some(i64::try_from(expected.len()).unwrap()), "{said}");
    }
}

#[tokio::test]
async fn a_range_that_ends_before_it_begins_is_refused() {
    let till = Till::open().await;
    for paid_until in [instant(DAY), instant(2 * DAY)] {
        let paid_from = instant(2 * DAY);
        let request = pb::ListPaymentsRequest { paid_from, paid_until, ..Default::default() };
        let refused = refusal(till.service().list_payments(signed(&till.ana, request)).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
        assert_eq!(refused.fields, ["paid_until"]);
    }
}

#[tokio::test]
async fn orders_and_pages_show_each_payment_once_with_what_it_covers() {
    let till = Till::open().await;
    let due = till.due(100_000, "2025-01-31").await;
    for number in 0..15 {
        // Three of each day, so that ties must go by id.
        let payment = paid_on(&till, &till.ada, number / 3, ("EUR", "10")).await;
        if number % 2 == 0 {
            till.cover(payment.id, &[(due, "4")]).await.unwrap();
        }
    }
    let ask = |order_by: &str, page_size, page_token| pb::ListPaymentsRequest {
        order_by: order_by.into(),
        page_size,
        page_token,
        ..Default::default()
    };
    for order_by in ["paid_at", "paid_at desc", "create_time", "create_time desc", ""] {
        let whole = till.list(&till.ana, ask(order_by, 100, String::new())).await;
        assert_eq!(whole.payments.len(), 15);
        let key = |payment: &pb::Payment| {
            let time =
                if order_by.starts_with("create") { payment.create_time } else { payment.paid_at };
            (time.map(|time| (time.seconds, time.nanos)), payment.id)
        };
        let mut sorted = whole.payments.clone();
        sorted.sort_by_key(key);
        if order_by.is_empty() || order_by.ends_with("desc") {
            sorted.reverse();
        }
        assert_eq!(whole.payments, sorted, "{order_by}");
        let (mut paged, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = till.list(&till.ana, ask(order_by, 4, page_token)).await;
            paged.extend(page.payments);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, whole.payments, "{order_by}");
        let covering = paged.iter().filter(|payment| covered(payment) == [(due, "4.00")]);
        assert_eq!(covering.count(), 8);
    }
    let first = till.list(&till.ana, ask("", 4, String::new())).await;
    for payment in first.payments {
        assert_eq!(till.get(payment.id).await, payment);
    }
}

#[tokio::test]
async fn everything_wrong_with_a_list_is_named_at_once() {
    let till = Till::open().await;
    let request = pb::ListPaymentsRequest {
        page_size: -1,
        page_token: "x".into(),
        skip: 10_001,
        order_by: "amount".into(),
        status: 77,
        currency: "eur".into(),
        paid_from: instant(i64::MAX),
        paid_until: instant(i64::MIN),
        ..Default::default()
    };
    let refused = refusal(till.service().list_payments(signed(&till.ana, request)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(
        refused.fields,
        [
            "status",
            "currency",
            "paid_from",
            "paid_until",
            "order_by",
            "page_size",
            "skip",
            "page_token"
        ]
    );
    let request = pb::GetPaymentStatisticsRequest { currency: "euro".into(), ..Default::default() };
    let refused = refusal(till.service().get_payment_statistics(signed(&till.ana, request)).await);
    assert_eq!(refused.fields, ["currency"]);
}

#[tokio::test]
async fn statistics_are_what_the_contract_says() {
    let till = Till::open().await;
    let none = till.statistics().await;
    assert_eq!(none, pb::GetPaymentStatisticsResponse::default());
    let bob = six(&till).await;
    let totals =
        |currency_code: &str, [gross, refunded, disputed, net]: [&str; 4]| pb::PaymentTotals {
            currency_code: currency_code.into(),
            gross: money(currency_code, gross),
            refunded: money(currency_code, refunded),
            disputed: money(currency_code, disputed),
            net: money(currency_code, net),
        };
    let usd = |amount| money("USD", amount).unwrap();
    let expected = pb::GetPaymentStatisticsResponse {
        total_payments: 6,
        total_amounts: vec![eur("120.00").unwrap(), usd("90.00")],
        paid: 2,
        failed: 1,
        refunded: 1,
        disputed: 2,
        totals: vec![
            totals("EUR", ["80.00", "13.00", "42.00", "25.00"]),
            totals("USD", ["90.00", "30.00", "60.00", "0.00"]),
        ],
    };
    assert_eq!(till.statistics().await, expected);
    let of = async |client_id: i64, currency: &str| {
        let request = pb::GetPaymentStatisticsRequest { client_id, currency: currency.into() };
        till.statistics_of(&till.ana, request).await
    };
    let in_euros = of(0, "EUR").await;
    assert_eq!((in_euros.total_payments, in_euros.totals), (4, expected.totals[..1].to_vec()));
    let of_bob = of(bob.id, "").await;
    assert_eq!((of_bob.total_payments, of_bob.paid, of_bob.failed, of_bob.disputed), (3, 1, 1, 1));
    assert_eq!(of_bob.total_amounts, [eur("60.00").unwrap(), usd("60.00")]);
    let of_both = of(bob.id, "USD").await;
    assert_eq!(of_both.totals, [totals("USD", ["60.00", "0.00", "60.00", "0.00"])]);
    till.recount().await;
}

/// However many payments there are, so few rows are read for what they add up to.
#[tokio::test]
async fn statistics_read_a_few_rows_whatever_there_is() {
    let till = Till::open().await;
    for _ in 0..40 {
        till.paid("1").await;
    }
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM crm.payment_totals")
        .fetch_one(&till.crm.database.owner)
        .await
        .unwrap();
    assert!((2..=16).contains(&rows), "spread over slots, and no more of them: {rows}");
    let of_client: i64 = sqlx::query_scalar("SELECT count(*) FROM crm.client_payment_totals")
        .fetch_one(&till.crm.database.owner)
        .await
        .unwrap();
    assert_eq!(of_client, 1);
    assert_eq!(till.statistics().await.total_payments, 40);
}
