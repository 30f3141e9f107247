//! Plans of instalments: shown, made, made anew, and by two at once.

use proto::crm::v1::{self as pb, ClientPackageStatus, InstalmentStatus, PaymentSchedule};
use service_kit::testing::refusal::refusal;
use tonic::Code;

use crate::{
    sales::{due, worth, worth_in},
    support::{Crm, Person},
};

const OPEN: InstalmentStatus = InstalmentStatus::Open;
const CLOSED: InstalmentStatus = InstalmentStatus::Closed;

fn of(client_package_id: i64, count: i32) -> pb::PreviewInstalmentsRequest {
    pb::PreviewInstalmentsRequest { client_package_id, count, ..Default::default() }
}

/// What a preview says and what was made, in the same words.
fn planned(made: &pb::GenerateInstalmentsResponse) -> Vec<pb::PlannedInstalment> {
    made.instalments
        .iter()
        .map(|it| pb::PlannedInstalment {
            instalment_number: it.instalment_number,
            amount: it.amount.clone(),
            schedule_date: it.schedule_date.clone(),
        })
        .collect()
}

/// Minor units of everything that a client package comes to: what was paid of what is closed,
/// and all of what is not.
async fn total(crm: &Crm, sold: i64) -> i64 {
    let sum = format!(
        "SELECT coalesce(sum(CASE WHEN status = 'closed' THEN allocated ELSE amount END), 0)::bigint
         FROM crm.instalments WHERE client_package_id = {sold}"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sum)).fetch_one(&crm.database.owner).await.unwrap()
}

#[tokio::test]
async fn a_plan_is_made_as_it_was_shown() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "1000", PaymentSchedule::Monthly).await;
    let before = crm.database.digest().await;
    let shown = crm.preview(&ana, of(sold.id, 3)).await.unwrap();
    assert_eq!(crm.database.digest().await, before, "a preview writes nothing");
    let made = crm.generate(&ana, sold.id, 3).await.unwrap();
    assert_eq!(shown.instalments, planned(&made));
    assert_eq!((shown.kept_amount, shown.closed_count), (worth_in("EUR", "0.00"), 0));
    assert_eq!(
        due(&made.instalments),
        [
            ("2025-01-31", "333.34", OPEN),
            ("2025-02-28", "333.33", OPEN),
            ("2025-03-31", "333.33", OPEN)
        ]
    );
    assert_eq!(crm.instalments_of(&ana, sold.id).await, made.instalments);
    let first = &made.instalments[0];
    assert_eq!((first.client_id, first.client_package_id), (sold.client_id, sold.id));
    assert_eq!(first.open_amount, worth_in("EUR", "333.34"));
}

#[tokio::test]
async fn a_plan_is_shown_before_anything_is_sold() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let form = pb::PreviewInstalmentsRequest {
        custom_price: worth("1000"),
        monthly_payment_amount: worth("150"),
        payment_schedule: PaymentSchedule::Quarterly.into(),
        start_date: "2024-11-30".into(),
        ..Default::default()
    };
    let shown = crm.preview(&ana, form.clone()).await.unwrap();
    let days: Vec<_> = shown
        .instalments
        .iter()
        .map(|it| (it.instalment_number, it.schedule_date.as_str(), it.amount.clone()))
        .collect();
    assert_eq!(
        days,
        [
            (1, "2024-11-30", worth_in("CHF", "333.34")),
            (2, "2025-02-28", worth_in("CHF", "333.33")),
            (3, "2025-05-30", worth_in("CHF", "333.33"))
        ]
    );
    let today = pb::PreviewInstalmentsRequest { start_date: String::new(), ..form.clone() };
    assert_eq!(crm.preview(&ana, today).await.unwrap().instalments.len(), 3);

    let bad = pb::PreviewInstalmentsRequest {
        count: 601,
        custom_price: worth_in("JPY", "1.5"),
        monthly_payment_amount: worth("x"),
        payment_schedule: 9,
        start_date: "soon".into(),
        ..Default::default()
    };
    let refused = refusal(crm.preview(&ana, bad).await);
    assert_eq!(
        refused.fields,
        ["custom_price", "monthly_payment_amount", "payment_schedule", "start_date", "count"]
    );
    let refused = refusal(crm.preview(&ana, pb::PreviewInstalmentsRequest::default()).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    assert_eq!(refused.fields, ["custom_price", "payment_schedule"]);
    let mixed =
        pb::PreviewInstalmentsRequest { monthly_payment_amount: worth_in("USD", "150"), ..form };
    assert_eq!(refusal(crm.preview(&ana, mixed).await).fields, ["monthly_payment_amount"]);
}

/// As if it were updated first: so that a form can show what a change would lead to.
#[tokio::test]
async fn a_preview_of_something_sold_can_change_what_it_has() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    let made = crm.generate(&ana, sold.id, 3).await.unwrap().instalments;
    crm.cover(made[0].id, 400_00).await;
    let before = crm.database.digest().await;
    let changed = pb::PreviewInstalmentsRequest {
        custom_price: worth("1000"),
        monthly_payment_amount: worth("100"),
        payment_schedule: PaymentSchedule::Quarterly.into(),
        ..of(sold.id, 0)
    };
    let shown = crm.preview(&ana, changed.clone()).await.unwrap();
    assert_eq!((shown.kept_amount, shown.closed_count), (worth_in("EUR", "400.00"), 2));
    let days: Vec<_> = shown.instalments.iter().map(|it| it.schedule_date.as_str()).collect();
    assert_eq!(days, ["2025-04-30", "2025-07-31"]);
    assert_eq!(shown.instalments[0].instalment_number, 4);
    for (code, amount, reason) in
        [("USD", "1000", "CLIENT_PACKAGE_IN_USE"), ("", "399.99", "BELOW_ALLOCATED")]
    {
        let price = worth_in(code, amount);
        let changed = pb::PreviewInstalmentsRequest {
            custom_price: price,
            monthly_payment_amount: None,
            ..changed.clone()
        };
        let refused = refusal(crm.preview(&ana, changed).await);
        assert_eq!(refused.said(), (Code::FailedPrecondition, reason));
    }
    assert_eq!(crm.database.digest().await, before);
}

#[tokio::test]
async fn how_many_there_are_is_said_or_follows() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let at_once = crm.sold(&ana, "1200", PaymentSchedule::Pif).await;
    let made = crm.generate(&ana, at_once.id, 0).await.unwrap().instalments;
    assert_eq!(due(&made), [("2025-01-31", "1200.00", OPEN)]);
    let monthly = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    let small = crm.sold(&ana, "0.05", PaymentSchedule::Yearly).await;
    let before = crm.database.digest().await;
    for (sold, count, sentence) in [
        (at_once.id, 2, "count must be 1, or left out, where the schedule is PIF"),
        (
            monthly.id,
            0,
            "count is required where no monthly_payment_amount says how many there are",
        ),
        (small.id, 6, "count must not be more than there are minor units to be paid"),
        (monthly.id, 601, "count must be from 1 to 600"),
        (monthly.id, -1, "count must be from 1 to 600"),
    ] {
        let refused = refusal(crm.generate(&ana, sold, count).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"), "{sentence}");
        assert_eq!(refused.fields, ["count"]);
        assert!(refused.message.contains(sentence), "{}", refused.message);
        let shown = refusal(crm.preview(&ana, of(sold, count)).await);
        assert_eq!(shown, refused, "a preview says the same");
    }
    let refused = refusal(crm.generate(&ana, 0, 601).await);
    assert_eq!(refused.fields, ["client_package_id", "count"]);
    assert_eq!(crm.database.digest().await, before);
    let made = crm.generate(&ana, small.id, 5).await.unwrap().instalments;
    assert_eq!(due(&made).last(), Some(&("2029-01-31", "0.01", OPEN)));
    let most = crm.generate(&ana, monthly.id, 600).await.unwrap().instalments;
    assert_eq!((most.len(), most[599].schedule_date.as_str()), (600, "2074-12-31"));
}

#[tokio::test]
async fn planning_anew_keeps_what_is_allocated_to_and_spreads_the_rest() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    let made = crm.generate(&ana, sold.id, 12).await.unwrap().instalments;
    crm.cover(made[0].id, 100_00).await;
    crm.cover(made[1].id, 30_00).await;
    crm.cover(made[2].id, 10_00).await;
    crm.close(&ana, made[2].id).await.unwrap();
    let failed = InstalmentStatus::Failed.into();
    let failed = pb::Instalment { id: made[3].id, status: failed, ..Default::default() };
    crm.change_owed(&ana, failed, None).await.unwrap();

    // Paid 100, in part 100, closed with 10 of it paid: 990 are left.
    let shown = crm.preview(&ana, of(sold.id, 2)).await.unwrap();
    assert_eq!((shown.kept_amount, shown.closed_count), (worth_in("EUR", "210.00"), 9));
    let anew = crm.generate(&ana, sold.id, 2).await.unwrap();
    assert_eq!((&shown.instalments, shown.closed_count), (&planned(&anew), anew.closed_count));
    assert_eq!(
        due(&anew.instalments),
        [("2025-04-30", "495.00", OPEN), ("2025-05-31", "495.00", OPEN)]
    );
    assert_eq!(anew.instalments[0].instalment_number, 13);
    let all = crm.instalments_of(&ana, sold.id).await;
    let statuses: Vec<_> = all.iter().map(pb::Instalment::status).collect();
    let mut expected = vec![InstalmentStatus::Paid, OPEN];
    expected.extend([CLOSED; 10]);
    expected.extend([OPEN; 2]);
    assert_eq!(statuses, expected);
    assert_eq!(all[1].etag, made[1].etag, "what is kept is as it was");
    assert_eq!(total(&crm, sold.id).await, 1200_00);

    // A lower price: what is kept of it is the least.
    let below =
        pb::ClientPackage { id: sold.id, custom_price: worth("209.99"), ..Default::default() };
    crm.change_sold(&ana, below, None).await.unwrap();
    let before = crm.database.digest().await;
    let refused = refusal(crm.generate(&ana, sold.id, 1).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "BELOW_ALLOCATED"));
    assert_eq!(crm.database.digest().await, before);
    let least = pb::ClientPackage { id: sold.id, custom_price: worth("210"), ..Default::default() };
    crm.change_sold(&ana, least, None).await.unwrap();
    let nothing = crm.generate(&ana, sold.id, 0).await.unwrap();
    assert_eq!((nothing.instalments.len(), nothing.closed_count), (0, 2));
    assert_eq!(total(&crm, sold.id).await, 210_00);
    let acts = crm.acts().await.len();
    crm.generate(&ana, sold.id, 0).await.unwrap();
    assert_eq!(crm.acts().await.len(), acts, "nothing was done");
}

async fn generated(crm: &Crm, by: &Person, sold: i64, counts: &[i32]) -> Vec<Result<(), Code>> {
    let calls = counts.iter().map(|count| async {
        crm.generate(by, sold, *count).await.map(drop).map_err(|status| status.code())
    });
    futures::future::join_all(calls).await
}

#[tokio::test]
async fn of_several_plans_at_once_one_stands() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    for _ in 0..3 {
        let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
        let counts = [5, 7, 5, 7];
        assert_eq!(generated(&crm, &ana, sold.id, &counts).await, [Ok(()); 4]);
        let all = crm.instalments_of(&ana, sold.id).await;
        let open = all.iter().filter(|it| it.status() == OPEN).count();
        assert!(open == 5 || open == 7, "{open} are open");
        assert_eq!(all.len(), 24, "each was a plan, and three are closed");
        assert_eq!(total(&crm, sold.id).await, 1200_00);
    }
}

#[tokio::test]
async fn what_is_cancelled_while_it_is_planned_has_nothing_open() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    for _ in 0..5 {
        let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
        let (planned, cancelled) =
            tokio::join!(generated(&crm, &ana, sold.id, &[3, 4, 5]), crm.cancel(&ana, sold.id));
        assert_eq!(cancelled.unwrap().status(), ClientPackageStatus::Inactive);
        let refused = Err(Code::FailedPrecondition);
        assert!(planned.iter().all(|it| *it == Ok(()) || *it == refused), "{planned:?}");
        let all = crm.instalments_of(&ana, sold.id).await;
        assert!(all.iter().all(|it| it.status() == CLOSED), "{all:?}");
        assert_eq!(total(&crm, sold.id).await, 0);
    }
}
