//! What reports say, held against the rows themselves.
//!
//! The facts are planted by hand, at random and on the edges of days; what a report should say
//! of them is counted again, row by row.

mod recount;
mod revenue;
mod stage;

use chrono::{Days, NaiveDate};
use proto::{
    common::v1::{Permission, Role},
    crm::v1::{self as pb, RevenueInterval},
    identity::v1::{self as id, api_key_service_client::ApiKeyServiceClient},
};
use service_kit::{caller::Tz, clock, testing::refusal::refusal};
use tonic::Code;

use self::{recount::Facts, stage::Stage};
use crate::support::{Person, signed};

/// Further than any payment, and within 1,000 months.
const ALL_TIME: (&str, &str) = ("1975-01-01", "2055-12-31");

#[tokio::test]
async fn receivables_are_what_the_open_and_failed_instalments_of_live_clients_lack_by_age() {
    let stage = Stage::set("UTC").await;
    stage.crowd().await;
    let facts = Facts::of(&stage).await;
    let last: NaiveDate = "2024-12-31".parse().unwrap();
    for days in [0, 1, 30, 31, 60, 61, 90, 91, 150, 400] {
        let as_of = last - Days::new(days);
        let said = stage.receivables(&stage.owner, &as_of.to_string()).await.unwrap();
        assert_eq!(said.as_of_date, as_of.to_string());
        assert_eq!(said.receivables, facts.receivables(as_of), "{as_of}");
        assert_eq!(said.receivables.len(), 3);
    }
}

#[tokio::test]
async fn without_a_day_receivables_are_as_of_today_where_the_account_is() {
    // It is never one day on all of the earth: these are 26 hours apart.
    let stage = Stage::set("UTC").await;
    let mut days = Vec::new();
    for zone in ["Pacific/Kiritimati", "Etc/GMT+12"] {
        stage.move_to(zone).await;
        let tz: Tz = zone.parse().unwrap();
        let today = || clock::now().with_timezone(&tz).date_naive().to_string();
        let before = today();
        let said = stage.receivables(&stage.owner, "").await.unwrap().as_of_date;
        assert!([before, today()].contains(&said), "{zone}: {said}");
        days.push(said);
    }
    assert_ne!(days[0], days[1]);
}

#[tokio::test]
async fn a_team_is_credited_with_what_its_clients_paid_in_each_part() {
    let stage = Stage::set("UTC").await;
    stage.crowd().await;
    let facts = Facts::of(&stage).await;
    for zone in ["Europe/Amsterdam", "America/New_York", "Asia/Kolkata"] {
        stage.move_to(zone).await;
        let tz = zone.parse().unwrap();
        for range in [ALL_TIME, ("2023-03-26", "2023-10-28"), ("2024-03-31", "2024-03-31")] {
            let said = stage.team(&stage.owner, range).await.unwrap().members;
            assert_eq!(said, facts.team(tz, range), "{zone}");
            // Number 3 is inactive, number 11 and 12 have no clients.
            let ids: Vec<_> = said.iter().map(|member| member.employee_id % 100).collect();
            assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
            assert!(said[8].coach.is_none() && said[8].setter.is_some());
        }
    }
    let quiet = stage.team(&stage.owner, ("1999-01-01", "1999-12-31")).await.unwrap().members;
    let coach = quiet[0].coach.as_ref().unwrap();
    assert!(coach.clients > 0 && coach.revenues.is_empty(), "clients count who paid nothing");
}

/// Security checklist 58.
#[tokio::test]
async fn reports_are_of_the_clients_whom_the_caller_sees() {
    use Permission::{ManageAllClients, ViewAllClients, ViewPayments, ViewStatistics};
    let stage = Stage::set("UTC").await;
    stage.crowd().await;
    let sees_own = stage.employee("own", &[ViewStatistics]).await;
    let sees_payments = stage.employee("payments", &[ViewStatistics, ViewPayments]).await;
    let sees_clients = stage.employee("clients", &[ViewStatistics, ViewAllClients]).await;
    let manages = stage.employee("manages", &[ViewStatistics, ManageAllClients]).await;
    // Each is the coach of every fourth client.
    let people = [&sees_own, &sees_payments, &sees_clients, &manages];
    for (number, (person, id)) in people.iter().enumerate() {
        stage.put_in_charge(person, *id, &format!("id % 4 = {number}")).await;
    }
    let facts = Facts::of(&stage).await;
    let check = async |person: &Person, seen: Facts| {
        let series = stage.series(person, ALL_TIME, RevenueInterval::Month).await.unwrap();
        assert_eq!(series, seen.series(Tz::UTC, ALL_TIME, RevenueInterval::Month));
        let receivables = stage.receivables(person, "2024-12-31").await.unwrap().receivables;
        assert_eq!(receivables, seen.receivables("2024-12-31".parse().unwrap()));
        let members = stage.team(person, ALL_TIME).await.unwrap().members;
        assert_eq!(members, seen.team(Tz::UTC, ALL_TIME));
    };
    for (person, _) in people {
        check(person, facts.clone()).await;
    }
    stage.show_only_what_is_assigned().await;
    let (own, widened) = (sees_own.1, sees_payments.1);
    check(&sees_own.0, facts.of_clients(|client| client.has(own), false)).await;
    check(&sees_payments.0, facts.of_clients(|client| client.has(widened), true)).await;
    for person in [&sees_clients.0, &manages.0, &stage.owner] {
        check(person, facts.clone()).await;
    }
    let all = facts.clients.len();
    assert_eq!(facts.of_clients(|client| client.has(own), false).clients.len(), all / 4);

    // A program has a part in nothing.
    let request = id::CreateApiKeyRequest {
        api_key: Some(id::ApiKey {
            name: "robot".into(),
            permissions: vec![ViewStatistics.into()],
            ..Default::default()
        }),
        request_id: String::new(),
    };
    let mut api_keys = ApiKeyServiceClient::new(stage.crm.identity.channel.clone());
    let key = api_keys.create_api_key(signed(&stage.owner, request)).await.unwrap().into_inner();
    check(&Person { token: key.secret }, facts.of_clients(|_| false, false)).await;
}

#[tokio::test]
async fn reports_are_for_those_who_may_view_statistics() {
    let stage = Stage::set("UTC").await;
    let admin = stage.crm.add(&stage.owner, "admin", Role::Admin).await;
    let (employee, id) = stage.employee("employee", &[Permission::ViewPayments]).await;
    let ask = async |by: &Person| {
        [
            stage.series(by, ALL_TIME, RevenueInterval::Month).await.map(drop),
            stage.receivables(by, "").await.map(drop),
            stage.team(by, ALL_TIME).await.map(drop),
        ]
    };
    for refused in ask(&employee).await.map(refusal) {
        assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
        assert_eq!(refused.metadata, [("permission".to_owned(), "view_statistics".to_owned())]);
    }
    let grant = format!(
        "UPDATE identity.employees SET permissions = '{{view_statistics}}' WHERE id = {id}"
    );
    stage.crm.identity.database.execute(&grant).await;
    for person in [&stage.owner, &admin, &employee] {
        assert!(ask(person).await.iter().all(Result::is_ok));
    }
}

#[tokio::test]
async fn everything_wrong_with_a_report_is_named_at_once() {
    let stage = Stage::set("UTC").await;
    let series = |from: &str, until: &str, interval, currency: &str| {
        let request = pb::GetRevenueSeriesRequest {
            from_date: from.into(),
            until_date: until.into(),
            interval,
            currency: currency.into(),
        };
        let request = signed(&stage.owner, request);
        async { refusal(stage.reports().get_revenue_series(request).await) }
    };
    for (refused, fields) in [
        (series("", "", 0, "").await, &["from_date", "until_date", "interval"][..]),
        (
            series("2025-1-1", "tomorrow", 4, "euro").await,
            &["from_date", "until_date", "interval", "currency"],
        ),
        (series("2025-01-02", "2025-01-01", 1, "XYZ").await, &["until_date", "currency"]),
        (series("2022-01-01", "2024-09-27", 1, "").await, &["until_date"]),
        (series("0001-01-01", "9999-12-31", 3, "").await, &["until_date"]),
    ] {
        assert_eq!(refused.code, Code::InvalidArgument);
        assert_eq!(refused.fields, fields);
    }
    let refused = refusal(stage.receivables(&stage.owner, "2025-02-30").await);
    assert_eq!(refused.fields, ["as_of_date"]);
    for (range, fields) in [
        (("", "2025"), &["from_date", "until_date"][..]),
        (("2025-01-02", "2025-01-01"), &["until_date"]),
    ] {
        assert_eq!(refusal(stage.team(&stage.owner, range).await).fields, fields);
    }
    // As early and as late as days are.
    for range in [("0001-01-01", "0001-01-01"), ("9999-12-31", "9999-12-31")] {
        let said = stage.series(&stage.owner, range, RevenueInterval::Week).await.unwrap();
        assert_eq!((said.periods.len(), said.totals.len()), (1, 0));
    }
    stage.team(&stage.owner, ("0001-01-01", "9999-12-31")).await.unwrap();
    for day in ["0001-01-01", "9999-12-31"] {
        stage.receivables(&stage.owner, day).await.unwrap();
    }
}
