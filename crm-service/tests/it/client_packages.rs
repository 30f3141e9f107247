//! What is sold: made, read, changed, cancelled.

use proto::{
    crm::v1::{self as pb, ClientPackageStatus, InstalmentStatus, PaymentSchedule},
    identity::v1 as id,
};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Status};

use crate::{
    sales::{mask, package, worth, worth_in},
    support::{Crm, Person, named, signed},
};

async fn get(crm: &Crm, by: &Person, id: i64) -> Result<pb::ClientPackage, Status> {
    let request = signed(by, pb::GetClientPackageRequest { id });
    let answer = crm.client_packages().get_client_package(request).await?;
    Ok(answer.into_inner().client_package.unwrap())
}

async fn list(
    crm: &Crm,
    by: &Person,
    request: pb::ListClientPackagesRequest,
) -> pb::ListClientPackagesResponse {
    crm.client_packages().list_client_packages(signed(by, request)).await.unwrap().into_inner()
}

/// What the two zones at the ends of the world call today, of which never two are the same.
async fn today_in(crm: &Crm, by: &Person, zone: &str, sold: &pb::ClientPackage) -> String {
    crm.set(by, id::AccountSettings { time_zone: zone.into(), ..Default::default() }).await;
    let sold = pb::ClientPackage { start_date: String::new(), ..sold.clone() };
    crm.sell(by, sold).await.unwrap().start_date
}

#[tokio::test]
async fn what_is_not_said_follows_from_client_package_and_day() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let client = crm.create(&ana, pb::Client { currency: "EUR".into(), ..named("Ada", "") }).await;
    let package = crm.create_package(&ana, package("Coaching")).await.unwrap();
    let said = pb::ClientPackage {
        client_id: client.id,
        package_id: package.id,
        payment_schedule: PaymentSchedule::Monthly.into(),
        monthly_payment_amount: worth("100"),
        ..Default::default()
    };
    let made = crm.sell(&ana, said.clone()).await.unwrap();
    let expected = pb::ClientPackage {
        id: made.id,
        // The package's price, and what is said beside it is in the same currency.
        custom_price: worth_in("CHF", "1200.00"),
        monthly_payment_amount: worth_in("CHF", "100.00"),
        start_date: made.start_date.clone(),
        status: ClientPackageStatus::Active.into(),
        create_time: made.create_time,
        update_time: made.update_time,
        etag: made.etag.clone(),
        ..said.clone()
    };
    assert_eq!(made, expected);
    assert_eq!(get(&crm, &ana, made.id).await.unwrap(), made);
    // A price of its own is in the client's currency.
    let priced = pb::ClientPackage { custom_price: worth("999.9"), ..said };
    let priced = crm.sell(&ana, priced).await.unwrap();
    assert_eq!(priced.custom_price, worth_in("EUR", "999.90"));
    assert_eq!(priced.monthly_payment_amount, worth_in("EUR", "100.00"));

    let east = today_in(&crm, &ana, "Pacific/Kiritimati", &priced).await;
    let west = today_in(&crm, &ana, "Etc/GMT+12", &priced).await;
    assert!(west < east, "{west} {east}");
}

/// Security checklist 55.
#[tokio::test]
async fn everything_wrong_is_named_at_once_and_nothing_is_written() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    let before = crm.database.digest().await;
    let bad = pb::ClientPackage {
        custom_price: worth_in("EUR", "1.001"),
        monthly_payment_amount: worth("-5"),
        payment_schedule: 9,
        start_date: "31.01.2025".into(),
        status: 9,
        ..Default::default()
    };
    let request = pb::CreateClientPackageRequest {
        client_package: Some(bad.clone()),
        request_id: "x".into(),
    };
    let refused = refusal(crm.client_packages().create_client_package(signed(&ana, request)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    let fields = [
        "request_id",
        "client_package.client_id",
        "client_package.package_id",
        "client_package.custom_price",
        "client_package.monthly_payment_amount",
        "client_package.payment_schedule",
        "client_package.start_date",
        "client_package.status",
    ];
    assert_eq!(refused.fields, fields);
    let bad = pb::ClientPackage { id: sold.id, ..bad };
    let refused = refusal(crm.change_sold(&ana, bad, None).await);
    assert_eq!(refused.fields, fields[3..]);
    let refused = refusal(crm.sell(&ana, pb::ClientPackage::default()).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    let nothing = pb::ClientPackage { id: sold.id, ..Default::default() };
    let required = ["custom_price", "payment_schedule", "start_date", "status"];
    let refused = refusal(crm.change_sold(&ana, nothing.clone(), mask(&required)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    assert_eq!(refused.fields.len(), required.len());
    for path in ["*", "client_id", "package_id", "etag", "custom_price.amount"] {
        let refused = refusal(crm.change_sold(&ana, nothing.clone(), mask(&[path])).await);
        assert_eq!(refused.fields, ["update_mask"], "{path}");
    }
    let wrong = pb::ListClientPackagesRequest {
        order_by: "start_date".into(),
        page_size: -1,
        status: 9,
        payment_schedule: -1,
        ..Default::default()
    };
    let refused = refusal(crm.client_packages().list_client_packages(signed(&ana, wrong)).await);
    assert_eq!(refused.fields, ["status", "payment_schedule", "order_by", "page_size"]);
    assert_eq!(crm.database.digest().await, before);
}

/// A sale, a client who pays in yen, and a package without a price.
struct Shop {
    crm: Crm,
    ana: Person,
    sold: pb::ClientPackage,
    aki: pb::Client,
    bare: i64,
}

impl Shop {
    async fn open() -> Self {
        let crm = Crm::start().await;
        let ana = crm.sign_up("ana").await;
        let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
        let aki = crm.create(&ana, pb::Client { currency: "JPY".into(), ..named("Aki", "") }).await;
        let bare = pb::Package { list_price: None, ..package("Bare") };
        let bare = crm.create_package(&ana, bare).await.unwrap().id;
        Self { crm, ana, sold, aki, bare }
    }
}

/// Whatever else is wrong: amounts without a currency are judged in the one that applies.
#[tokio::test]
async fn amounts_without_a_currency_are_named_beside_whatever_else_is_wrong() {
    let Shop { crm, ana, sold, aki, bare } = Shop::open().await;
    let before = crm.database.digest().await;
    let (price, monthly) = ("custom_price", "monthly_payment_amount");
    let (start, schedule) = ("start_date", "payment_schedule");
    let named = |fields: &[&str]| {
        fields.iter().map(|field| format!("client_package.{field}")).collect::<Vec<_>>()
    };
    let of_aki = pb::ClientPackage {
        client_id: aki.id,
        custom_price: worth("9.5"),
        monthly_payment_amount: worth("1.5"),
        ..sold.clone()
    };
    let late =
        |it: &pb::ClientPackage| pb::ClientPackage { start_date: "soon".into(), ..it.clone() };
    let fields = async |sent| refusal(crm.sell(&ana, sent).await).fields;
    assert_eq!(fields(of_aki.clone()).await, named(&[price, monthly]));
    assert_eq!(fields(late(&of_aki)).await, named(&[price, monthly, start]));
    let unscheduled = pb::ClientPackage { payment_schedule: 0, ..of_aki.clone() };
    assert_eq!(fields(unscheduled).await, named(&[price, monthly, schedule]));
    // The monthly amount follows the price: the one said, or that of the list, in francs.
    let dollars =
        pb::ClientPackage { monthly_payment_amount: worth_in("USD", "1"), ..of_aki.clone() };
    assert_eq!(fields(late(&dollars)).await, named(&[price, monthly, start]));
    let euros = pb::ClientPackage { custom_price: worth_in("EUR", "9.5"), ..of_aki.clone() };
    assert_eq!(fields(late(&euros)).await, named(&[start]));
    let listed = pb::ClientPackage { custom_price: None, ..of_aki.clone() };
    assert_eq!(fields(late(&listed)).await, named(&[start]));
    let exact = pb::ClientPackage { monthly_payment_amount: worth("1.005"), ..listed.clone() };
    assert_eq!(fields(late(&exact)).await, named(&[monthly, start]));
    let unpriced = pb::ClientPackage { package_id: bare, ..listed };
    assert_eq!(fields(late(&unpriced)).await, named(&[start, price]));
    let nobodys = pb::ClientPackage { client_id: 999_999, ..of_aki };
    assert_eq!(fields(late(&nobodys)).await, named(&[start]));

    let sent = pb::ClientPackage {
        id: sold.id,
        custom_price: worth("9.005"),
        monthly_payment_amount: worth("1.005"),
        ..Default::default()
    };
    let changing = async |sent, mask| refusal(crm.change_sold(&ana, sent, mask).await).fields;
    assert_eq!(changing(sent.clone(), None).await, named(&[price, monthly]));
    assert_eq!(changing(late(&sent), None).await, named(&[price, monthly, start]));
    assert_eq!(changing(late(&sent), mask(&[start, monthly])).await, named(&[monthly, start]));
    let another = pb::ClientPackage { client_id: aki.id, ..sent };
    assert_eq!(changing(another.clone(), None).await, named(&["client_id", price, monthly]));
    let everything = named(&[price, monthly, start, "client_id"]);
    assert_eq!(changing(late(&another), None).await, everything);

    let preview = pb::PreviewInstalmentsRequest {
        client_package_id: sold.id,
        count: -1,
        custom_price: worth("9.005"),
        monthly_payment_amount: worth("1.005"),
        start_date: "soon".into(),
        ..Default::default()
    };
    let refused = refusal(crm.preview(&ana, preview.clone()).await);
    assert_eq!(refused.fields, [price, monthly, start, "count"]);
    let of_nothing = pb::PreviewInstalmentsRequest { client_package_id: 0, ..preview };
    let refused = refusal(crm.preview(&ana, of_nothing).await);
    assert_eq!(refused.fields, [price, monthly, schedule, start, "count"]);
    assert_eq!(crm.database.digest().await, before);
}

#[tokio::test]
async fn an_amount_that_is_there_and_empty_is_refused() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    let monthly = pb::ClientPackage {
        id: sold.id,
        monthly_payment_amount: worth("100"),
        ..Default::default()
    };
    let sold = crm.change_sold(&ana, monthly, None).await.unwrap();
    let before = crm.database.digest().await;
    for (currency, reason) in
        [("", "MISSING_FIELDS"), ("EUR", "MISSING_FIELDS"), ("ZZZ", "INVALID_FIELDS")]
    {
        let empty = worth_in(currency, "");
        let nothing = pb::ClientPackage { id: sold.id, ..Default::default() };
        for (field, sent) in [
            ("custom_price", pb::ClientPackage { custom_price: empty.clone(), ..nothing.clone() }),
            (
                "monthly_payment_amount",
                pb::ClientPackage { monthly_payment_amount: empty.clone(), ..nothing.clone() },
            ),
        ] {
            let whole = pb::ClientPackage {
                client_id: sold.client_id,
                package_id: sold.package_id,
                payment_schedule: sold.payment_schedule,
                ..sent.clone()
            };
            let preview = pb::PreviewInstalmentsRequest {
                client_package_id: sold.id,
                count: 2,
                custom_price: sent.custom_price.clone(),
                monthly_payment_amount: sent.monthly_payment_amount.clone(),
                ..Default::default()
            };
            let named = format!("client_package.{field}");
            for (refused, field) in [
                (refusal(crm.sell(&ana, whole).await), named.as_str()),
                (refusal(crm.change_sold(&ana, sent.clone(), None).await), &named),
                (refusal(crm.change_sold(&ana, sent, mask(&[field])).await), &named),
                (refusal(crm.preview(&ana, preview).await), field),
            ] {
                assert_eq!(refused.said(), (Code::InvalidArgument, reason), "{field}");
                assert_eq!(refused.fields, [field]);
            }
        }
    }
    assert_eq!(crm.database.digest().await, before);
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused() {
    let Shop { crm, ana, sold, aki, bare } = Shop::open().await;
    let before = crm.database.digest().await;
    let refused_by = async |client_package: pb::ClientPackage| {
        let refused = refusal(crm.sell(&ana, client_package).await);
        (refused.reason, refused.fields)
    };
    let invalid = |field: &str| ("INVALID_FIELDS".to_owned(), vec![field.to_owned()]);

    let unpriced = pb::ClientPackage { package_id: bare, custom_price: None, ..sold.clone() };
    let missing = ("MISSING_FIELDS".to_owned(), vec!["client_package.custom_price".to_owned()]);
    assert_eq!(refused_by(unpriced).await, missing);
    // It has no decimals, which only the client's row tells.
    let exact = pb::ClientPackage { client_id: aki.id, custom_price: worth("9.5"), ..sold.clone() };
    assert_eq!(refused_by(exact).await, invalid("client_package.custom_price"));
    let two = pb::ClientPackage { monthly_payment_amount: worth_in("USD", "5"), ..sold.clone() };
    assert_eq!(refused_by(two).await, invalid("client_package.monthly_payment_amount"));
    assert_eq!(crm.database.digest().await, before);
}

#[tokio::test]
async fn what_is_deleted_is_not_sold_and_stays_where_it_was() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    crm.generate(&ana, sold.id, 3).await.unwrap();
    crm.delete_package(&ana, sold.package_id).await;
    assert_eq!(get(&crm, &ana, sold.id).await.unwrap(), sold);
    let refused = refusal(crm.sell(&ana, sold.clone()).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "PACKAGE_DELETED"));
    // Another account's reads as one that there is not, deleted or not.
    let bob = crm.sign_up("bob").await;
    let his = crm.create(&bob, named("Bob", "")).await.id;
    for package_id in [sold.package_id, 999_999] {
        let sale = pb::ClientPackage { client_id: his, package_id, ..sold.clone() };
        let refused = refusal(crm.sell(&bob, sale).await);
        assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
        assert!(refused.metadata.contains(&("field".into(), "client_package.package_id".into())));
    }
    crm.generate(&ana, sold.id, 4).await.unwrap();

    crm.delete(&ana, sold.client_id).await;
    let before = crm.database.digest().await;
    assert_eq!(get(&crm, &ana, sold.id).await.unwrap(), sold);
    let preview = pb::PreviewInstalmentsRequest {
        client_package_id: sold.id,
        count: 3,
        ..Default::default()
    };
    for refused in [
        refusal(crm.sell(&ana, sold.clone()).await),
        refusal(crm.change_sold(&ana, sold.clone(), None).await),
        refusal(crm.generate(&ana, sold.id, 3).await),
        refusal(crm.preview(&ana, preview).await),
    ] {
        assert_eq!(refused.said(), (Code::FailedPrecondition, "CLIENT_DELETED"));
    }
    assert_eq!(crm.database.digest().await, before);
    let cancelled = crm.cancel(&ana, sold.id).await.unwrap();
    assert_eq!(cancelled.status(), ClientPackageStatus::Inactive);
}

/// Security checklist 42.
#[tokio::test]
async fn an_update_changes_what_may_change() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    let sent = pb::ClientPackage {
        custom_price: worth("1300"),
        monthly_payment_amount: worth("50"),
        payment_schedule: PaymentSchedule::Quarterly.into(),
        start_date: "2024-02-29".into(),
        status: ClientPackageStatus::Inactive.into(),
        ..sold.clone()
    };
    let changed = crm.change_sold(&ana, sent.clone(), None).await.unwrap();
    let expected = pb::ClientPackage {
        custom_price: worth_in("EUR", "1300.00"),
        monthly_payment_amount: worth_in("EUR", "50.00"),
        update_time: changed.update_time,
        etag: changed.etag.clone(),
        ..sent.clone()
    };
    assert_eq!(changed, expected);
    let stale = refusal(crm.change_sold(&ana, sent, None).await);
    assert_eq!(stale.said(), (Code::Aborted, "ETAG_STALE"));
    // What changes nothing leaves the etag as it is, and so does what is sent back as it is.
    assert_eq!(crm.change_sold(&ana, changed.clone(), None).await.unwrap(), changed);
    let cleared = pb::ClientPackage { id: sold.id, ..Default::default() };
    let paths = mask(&["monthly_payment_amount"]);
    let cleared = crm.change_sold(&ana, cleared, paths).await.unwrap();
    assert_eq!(cleared.monthly_payment_amount, None);
    assert_eq!(cleared.custom_price, changed.custom_price);

    let other = crm.sold(&ana, "1", PaymentSchedule::Pif).await;
    let before = crm.database.digest().await;
    for (sent, field) in [
        (
            pb::ClientPackage { client_id: other.client_id, ..changed.clone() },
            "client_package.client_id",
        ),
        (
            pb::ClientPackage { package_id: other.package_id, ..changed },
            "client_package.package_id",
        ),
    ] {
        let sent = pb::ClientPackage { etag: String::new(), ..sent };
        let refused = refusal(crm.change_sold(&ana, sent, None).await);
        assert_eq!((refused.code, refused.fields), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    assert_eq!(crm.database.digest().await, before);
    assert_eq!(crm.acts().await.iter().filter(|act| *act == "client_package.update").count(), 2);
}

#[tokio::test]
async fn the_price_moves_within_what_its_instalments_allow() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    let monthly = pb::ClientPackage {
        id: sold.id,
        monthly_payment_amount: worth("100"),
        ..Default::default()
    };
    crm.change_sold(&ana, monthly, None).await.unwrap();
    let at = |code: &str, amount: &str| pb::ClientPackage {
        id: sold.id,
        custom_price: worth_in(code, amount),
        ..Default::default()
    };
    // The monthly amount would be left behind in the old currency.
    let refused = refusal(crm.change_sold(&ana, at("USD", "1200"), None).await);
    assert_eq!(refused.fields, ["client_package.monthly_payment_amount"]);
    let both = pb::ClientPackage { monthly_payment_amount: worth("100"), ..at("USD", "1200") };
    let dollars = crm.change_sold(&ana, both, None).await.unwrap();
    assert_eq!(dollars.monthly_payment_amount, worth_in("USD", "100.00"));

    let made = crm.generate(&ana, sold.id, 0).await.unwrap().instalments;
    assert_eq!(made.len(), 12);
    crm.cover(made[0].id, 100_00).await;
    crm.cover(made[1].id, 40_00).await;
    let before = crm.database.digest().await;
    let both = pb::ClientPackage { monthly_payment_amount: worth("100"), ..at("EUR", "1200") };
    let refused = refusal(crm.change_sold(&ana, both, None).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "CLIENT_PACKAGE_IN_USE"));
    let refused = refusal(crm.change_sold(&ana, at("", "139.99"), None).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "BELOW_ALLOCATED"));
    assert_eq!(crm.database.digest().await, before);
    let lower = crm.change_sold(&ana, at("", "140"), None).await.unwrap();
    assert_eq!(lower.custom_price, worth_in("USD", "140.00"));

    // Payments go on to cover what it has, beyond its price: all but the price can still change.
    crm.cover(made[2].id, 100_00).await;
    let other = pb::ClientPackage { start_date: "2025-02-28".into(), ..Default::default() };
    let other = pb::ClientPackage { id: sold.id, monthly_payment_amount: worth("90"), ..other };
    let other = crm.change_sold(&ana, other, None).await.unwrap();
    assert_eq!(other.monthly_payment_amount, worth_in("USD", "90.00"));
    for status in [ClientPackageStatus::Inactive, ClientPackageStatus::Active] {
        let status = pb::ClientPackage { status: status.into(), ..other.clone() };
        let status = pb::ClientPackage { etag: String::new(), ..status };
        crm.change_sold(&ana, status, None).await.unwrap();
    }
    let refused = refusal(crm.change_sold(&ana, at("", "239.99"), None).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "BELOW_ALLOCATED"));
    crm.change_sold(&ana, at("", "240"), None).await.unwrap();
}

#[tokio::test]
async fn cancelling_closes_what_is_still_to_be_paid_and_keeps_what_is_allocated() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    let made = crm.generate(&ana, sold.id, 4).await.unwrap().instalments;
    crm.cover(made[0].id, 300_00).await;
    crm.cover(made[1].id, 1_00).await;
    let failed = pb::Instalment {
        id: made[2].id,
        status: InstalmentStatus::Failed.into(),
        ..Default::default()
    };
    crm.change_owed(&ana, failed, None).await.unwrap();
    let etag = "v9".to_owned();
    let stale = pb::CancelClientPackageRequest { id: sold.id, etag, ..Default::default() };
    let refused = refusal(crm.client_packages().cancel_client_package(signed(&ana, stale)).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));

    let cancelled = crm.cancel(&ana, sold.id).await.unwrap();
    assert_eq!(cancelled.status(), ClientPackageStatus::Inactive);
    let after = crm.instalments_of(&ana, sold.id).await;
    let stand: Vec<_> = after
        .iter()
        .map(|it| (it.status(), it.allocated_amount.as_ref().unwrap().amount.as_str()))
        .collect();
    let closed = InstalmentStatus::Closed;
    assert_eq!(
        stand,
        [(InstalmentStatus::Paid, "300.00"), (closed, "1.00"), (closed, "0.00"), (closed, "0.00")]
    );
    let before = crm.database.digest().await;
    assert_eq!(crm.cancel(&ana, sold.id).await.unwrap(), cancelled, "it is cancelled already");
    let again = pb::Instalment { id: 0, instalment_number: 0, ..after[2].clone() };
    for refused in [
        refusal(crm.generate(&ana, sold.id, 2).await),
        refusal(crm.owe(&ana, pb::Instalment { status: 0, ..again }).await),
    ] {
        assert_eq!(refused.said(), (Code::FailedPrecondition, "CLIENT_PACKAGE_INACTIVE"));
    }
    assert_eq!(crm.database.digest().await, before);

    // What is in force again can be planned again: 301 of 1200 stay.
    let status = ClientPackageStatus::Active.into();
    let active = pb::ClientPackage { id: sold.id, status, ..Default::default() };
    crm.change_sold(&ana, active, None).await.unwrap();
    let anew = crm.generate(&ana, sold.id, 1).await.unwrap();
    assert_eq!((anew.instalments.len(), anew.closed_count), (1, 0));
    assert_eq!(anew.instalments[0].amount, worth_in("EUR", "899.00"));
    assert_eq!(
        crm.acts().await[3..],
        [
            "client_package.generate_instalments",
            "instalment.update",
            "client_package.cancel",
            "client_package.update",
            "client_package.generate_instalments"
        ]
    );
}

/// One that was made inactive by an update keeps its instalments: only cancelling closes them.
#[tokio::test]
async fn what_is_inactive_can_still_be_cancelled() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    crm.generate(&ana, sold.id, 2).await.unwrap();
    let status = ClientPackageStatus::Inactive.into();
    let inactive = pb::ClientPackage { id: sold.id, status, ..Default::default() };
    let inactive = crm.change_sold(&ana, inactive, None).await.unwrap();
    let open = |all: &[pb::Instalment]| {
        all.iter().filter(|it| it.status() == InstalmentStatus::Open).count()
    };
    assert_eq!(open(&crm.instalments_of(&ana, sold.id).await), 2);
    assert_eq!(crm.cancel(&ana, sold.id).await.unwrap(), inactive);
    assert_eq!(open(&crm.instalments_of(&ana, sold.id).await), 0);
}

#[tokio::test]
async fn filters_narrow_together_and_pages_follow_each_other() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let first = crm.sold(&ana, "1", PaymentSchedule::Monthly).await;
    let second = crm.sold(&ana, "2", PaymentSchedule::Pif).await;
    let third = pb::ClientPackage { client_id: second.client_id, ..first.clone() };
    let third = crm.sell(&ana, third).await.unwrap();
    let first = crm.cancel(&ana, first.id).await.unwrap();
    let ids = async |request: pb::ListClientPackagesRequest| {
        let found = list(&crm, &ana, request).await.client_packages;
        found.iter().map(|it| it.id).collect::<Vec<_>>()
    };
    let any = pb::ListClientPackagesRequest::default;
    assert_eq!(ids(any()).await, [third.id, second.id, first.id], "newest first");
    let client_id = second.client_id;
    let of_client = pb::ListClientPackagesRequest { client_id, ..any() };
    assert_eq!(ids(of_client.clone()).await, [third.id, second.id]);
    let package_id = first.package_id;
    let of_package = pb::ListClientPackagesRequest { package_id, ..any() };
    assert_eq!(ids(of_package).await, [third.id, first.id]);
    let of_both = pb::ListClientPackagesRequest { package_id, ..of_client };
    assert_eq!(ids(of_both).await, [third.id]);
    let status = ClientPackageStatus::Inactive.into();
    assert_eq!(ids(pb::ListClientPackagesRequest { status, ..any() }).await, [first.id]);
    let payment_schedule = PaymentSchedule::Pif.into();
    assert_eq!(ids(pb::ListClientPackagesRequest { payment_schedule, ..any() }).await, [second.id]);

    let mut request = pb::ListClientPackagesRequest {
        page_size: 2,
        include_total: true,
        order_by: "create_time".into(),
        ..any()
    };
    let page = list(&crm, &ana, request.clone()).await;
    assert_eq!((page.client_packages, page.total_size), (vec![first, second], Some(3)));
    request.page_token = page.next_page_token;
    let page = list(&crm, &ana, request).await;
    assert_eq!((page.client_packages, page.next_page_token.as_str()), (vec![third], ""));
}
