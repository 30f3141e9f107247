//! Revenue, day by day, week by week and month by month.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use proto::crm::v1::{
    self as pb, DisputeOutcome, RevenueInterval, payment_service_client::PaymentServiceClient,
};
use service_kit::{
    caller::Tz,
    clock,
    testing::{conventions::connected_as, plans},
};

use super::{
    ALL_TIME,
    recount::{CURRENCIES, Facts, money},
    stage::Stage,
};
use crate::support::{named, signed};

#[tokio::test]
async fn a_series_is_what_the_payments_of_each_day_week_and_month_add_up_to() {
    let stage = Stage::set("UTC").await;
    stage.crowd().await;
    let facts = Facts::of(&stage).await;
    for zone in ["Europe/Amsterdam", "America/New_York", "Asia/Kolkata", "Atlantic/Azores", "CET"] {
        stage.move_to(zone).await;
        let tz = zone.parse().unwrap();
        for (range, interval) in [
            (("2022-12-01", "2024-11-30"), RevenueInterval::Day),
            (("2022-03-03", "2025-12-24"), RevenueInterval::Week),
            (("2023-02-14", "2024-02-14"), RevenueInterval::Month),
            (ALL_TIME, RevenueInterval::Month),
        ] {
            let said = stage.series(&stage.owner, range, interval).await.unwrap();
            assert_eq!(said, facts.series(tz, range, interval), "{zone} {interval:?}");
            assert_eq!(said.totals.len(), 3);
        }
    }
}

#[tokio::test]
async fn over_all_time_a_series_adds_up_to_all_payments_in_all_or_one_currency() {
    let stage = Stage::set("Pacific/Apia").await;
    stage.crowd().await;
    let said = stage.series(&stage.owner, ALL_TIME, RevenueInterval::Month).await.unwrap();
    assert_eq!(said.totals, Facts::of(&stage).await.revenue());

    for (code, _) in CURRENCIES {
        let request = pb::GetRevenueSeriesRequest {
            from_date: ALL_TIME.0.into(),
            until_date: ALL_TIME.1.into(),
            interval: RevenueInterval::Month.into(),
            currency: code.into(),
        };
        let of_one = stage.reports().get_revenue_series(signed(&stage.owner, request)).await;
        let mut expected = said.clone();
        expected.totals.retain(|total| total.currency_code == code);
        for period in &mut expected.periods {
            period.revenues.retain(|revenue| revenue.currency_code == code);
        }
        assert_eq!(of_one.unwrap().into_inner(), expected, "{code}");
    }
}

/// The same words mean the same there and here: of payments to which everything happened.
#[tokio::test]
async fn over_all_time_a_series_adds_up_to_the_statistics() {
    let stage = Stage::set("Europe/Amsterdam").await;
    let (crm, by) = (&stage.crm, &stage.owner);
    let mut payments = PaymentServiceClient::new(crm.channel.clone());
    let client_id = crm.create(by, named("Ada", "")).await.id;
    for (currency, minor) in [("EUR", 10_000), ("JPY", 99), ("KWD", 5)] {
        let mut ids = Vec::new();
        for _ in 0..9 {
            let amount = Some(money(minor, currency));
            let payment = Some(pb::Payment { client_id, amount, ..Default::default() });
            let request = pb::CreatePaymentRequest { payment, ..Default::default() };
            let made = payments.create_payment(signed(by, request)).await.unwrap();
            ids.push(made.into_inner().payment.unwrap().id);
        }
        for (id, part) in [(ids[0], minor), (ids[1], minor / 3), (ids[2], 1)] {
            let amount = Some(money(part, currency));
            let request = pb::RefundPaymentRequest { id, amount, ..Default::default() };
            payments.refund_payment(signed(by, request)).await.unwrap();
        }
        for id in &ids[2..6] {
            let request = pb::DisputePaymentRequest { id: *id, ..Default::default() };
            payments.dispute_payment(signed(by, request)).await.unwrap();
        }
        for (id, outcome) in [(ids[3], DisputeOutcome::Won), (ids[4], DisputeOutcome::Lost)] {
            let outcome = outcome.into();
            let request = pb::ResolveDisputeRequest { id, outcome, ..Default::default() };
            payments.resolve_dispute(signed(by, request)).await.unwrap();
        }
        let request = pb::MarkPaymentFailedRequest { id: ids[6], ..Default::default() };
        payments.mark_payment_failed(signed(by, request)).await.unwrap();
        let reason = "by mistake".into();
        let request = pb::VoidPaymentRequest { id: ids[7], reason, ..Default::default() };
        payments.void_payment(signed(by, request)).await.unwrap();
    }
    let said = stage.series(by, ALL_TIME, RevenueInterval::Month).await.unwrap().totals;
    assert_eq!(said, Facts::of(&stage).await.revenue());
    let request = signed(by, pb::GetPaymentStatisticsRequest::default());
    let statistics = payments.get_payment_statistics(request).await.unwrap().into_inner();
    let counted: i64 = said.iter().map(|revenue| revenue.payments).sum();
    assert_eq!(counted, statistics.total_payments - statistics.failed);
    let totals = said.into_iter().map(|revenue| {
        let pb::Revenue { currency_code, gross, refunded, disputed, net, .. } = revenue;
        pb::PaymentTotals { currency_code, gross, refunded, disputed, net }
    });
    assert_eq!(totals.collect::<Vec<_>>(), statistics.totals);
}

#[tokio::test]
async fn a_day_is_as_long_as_it_is_where_the_account_is() {
    let stage = Stage::set("UTC").await;
    // The last moment of a day, and the first of the next; around a day of 23, 25 and 24 hours,
    // and around one that begins, is put back, and begins once more.
    let edges = [
        ("Europe/Amsterdam", "2025-03-29T22:59:59.999999Z", "2025-03-29"),
        ("Europe/Amsterdam", "2025-03-29T23:00:00Z", "2025-03-30"),
        ("Europe/Amsterdam", "2025-03-30T21:59:59.999999Z", "2025-03-30"),
        ("Europe/Amsterdam", "2025-03-30T22:00:00Z", "2025-03-31"),
        ("America/New_York", "2024-11-03T03:59:59.999999Z", "2024-11-02"),
        ("America/New_York", "2024-11-03T04:00:00Z", "2024-11-03"),
        ("America/New_York", "2024-11-04T04:59:59.999999Z", "2024-11-03"),
        ("America/New_York", "2024-11-04T05:00:00Z", "2024-11-04"),
        ("Asia/Kolkata", "2025-01-01T18:29:59.999999Z", "2025-01-01"),
        ("Asia/Kolkata", "2025-01-01T18:30:00Z", "2025-01-02"),
        ("Atlantic/Azores", "2024-10-26T23:59:59.999999Z", "2024-10-26"),
        ("Atlantic/Azores", "2024-10-27T00:00:00Z", "2024-10-27"),
        ("Atlantic/Azores", "2024-10-27T00:59:59.999999Z", "2024-10-27"),
        ("Atlantic/Azores", "2024-10-27T01:00:00Z", "2024-10-27"),
        // To PostgreSQL also an abbreviation, which knows no summer.
        ("CET", "2025-06-30T21:59:59.999999Z", "2025-06-30"),
        ("CET", "2025-06-30T22:00:00Z", "2025-07-01"),
    ];
    stage.payments_at(&edges.map(|(_, instant, _)| instant)).await;
    for (zone, instant, day) in edges {
        stage.move_to(zone).await;
        let day: NaiveDate = day.parse().unwrap();
        let on = async |day: NaiveDate| {
            let day = day.to_string();
            let range = (day.as_str(), day.as_str());
            let said = stage.series(&stage.owner, range, RevenueInterval::Day).await.unwrap();
            said.totals.first().map_or(0, |total| total.payments)
        };
        let (yesterday, tomorrow) = (day.pred_opt().unwrap(), day.succ_opt().unwrap());
        let before = [on(yesterday).await, on(day).await, on(tomorrow).await];
        let away = format!("UPDATE crm.payments SET paid_at = 'epoch' WHERE paid_at = '{instant}'");
        stage.execute(&away).await;
        let after = [on(yesterday).await, on(day).await, on(tomorrow).await];
        assert_eq!(after, [before[0], before[1] - 1, before[2]], "{zone} {instant}");
        let back = format!("UPDATE crm.payments SET paid_at = '{instant}' WHERE paid_at = 'epoch'");
        stage.execute(&back).await;
    }
}

#[tokio::test]
async fn a_series_has_every_period_also_those_in_which_nothing_was_paid() {
    let stage = Stage::set("Europe/Amsterdam").await;
    stage.payments_at(&["2025-01-01T12:00:00Z", "2025-01-29T12:00:00Z"]).await;
    let week = |from: &str, until: &str, payments: &[i64]| {
        let revenues = payments.iter().map(|payments| {
            let euros = |minor| Some(money(minor, "EUR"));
            let (payments, received) = (*payments, i128::from(*payments) * 100);
            let (gross, net) = (euros(received), euros(received));
            let (refunded, disputed, currency_code) = (euros(0), euros(0), "EUR".into());
            pb::Revenue { currency_code, payments, gross, refunded, disputed, net }
        });
        let revenues = revenues.collect();
        pb::RevenuePeriod { from_date: from.into(), until_date: until.into(), revenues }
    };
    let range = ("2025-01-01", "2025-01-30");
    let said = stage.series(&stage.owner, range, RevenueInterval::Week).await.unwrap();
    let expected = [
        week("2025-01-01", "2025-01-05", &[1]),
        week("2025-01-06", "2025-01-12", &[]),
        week("2025-01-13", "2025-01-19", &[]),
        week("2025-01-20", "2025-01-26", &[]),
        week("2025-01-27", "2025-01-30", &[1]),
    ];
    assert_eq!(said.periods, expected);
    assert_eq!(said.totals, week("", "", &[2]).revenues);
}

#[tokio::test]
async fn a_series_reads_the_payments_of_its_days_by_the_index() {
    let stage = Stage::set("UTC").await;
    stage.crowd().await;
    stage.execute("ANALYZE").await;
    let mut service = connected_as(&stage.crm.database, "crm_app").await;
    let mut reports = plans::recorded("crm", &[]);
    reports.retain(|statement| statement.text.contains("date_trunc"));
    assert_eq!(reports.len(), 1);
    let plan = plans::explain(&mut service, "crm", &reports[0].text).await;
    let mut ranges = 0;
    plans::each_scan(&plan, &mut |scan| {
        let condition = plans::conditions(scan, &["Index Cond", "Recheck Cond"]);
        let is_range = condition.contains("paid_at >= ") && condition.contains("paid_at < ");
        ranges += usize::from(scan["Relation Name"] == "payments" && is_range);
    });
    assert_eq!(ranges, 1, "{plan:#}");
}

/// What is an abbreviation to PostgreSQL means the same hours to it as to the service.
#[tokio::test]
async fn a_time_zone_is_to_the_database_what_it_is_to_the_service() {
    let stage = Stage::set("UTC").await;
    let database = &stage.crm.database.owner;
    let names: Vec<String> = sqlx::query_scalar("SELECT abbrev FROM pg_timezone_abbrevs")
        .fetch_all(database)
        .await
        .unwrap();
    let zones: Vec<Tz> = names.iter().filter_map(|name| name.parse().ok()).collect();
    assert!(zones.len() >= 8, "CET, EST and others: {zones:?}");
    let mut differently = Vec::new();
    for instant in ["2024-01-15T12:00:00Z", "2024-07-15T12:00:00Z"] {
        let instant: DateTime<Utc> = instant.parse().unwrap();
        for zone in &zones {
            let expected = instant.with_timezone(zone).naive_local();
            let local = async |name: &str| -> NaiveDateTime {
                let local = sqlx::query_scalar("SELECT $1 AT TIME ZONE $2::text");
                local.bind(instant).bind(name).fetch_one(database).await.unwrap()
            };
            assert_eq!(local(clock::zone_name(*zone)).await, expected, "{zone}");
            differently.extend((local(zone.name()).await != expected).then_some(zone.name()));
        }
    }
    assert!(differently.contains(&"CET"), "and by their own names some do not");
}
