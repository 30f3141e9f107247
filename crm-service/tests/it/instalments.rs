//! Instalments: made, read, changed, closed, and overdue.

use proto::{
    crm::v1::{self as pb, InstalmentStatus, PaymentSchedule},
    identity::v1 as id,
};
use service_kit::testing::refusal::refusal;
use tonic::Code;

use crate::{
    sales::{mask, worth, worth_in},
    support::{Crm, Person, named, signed},
};

/// An instalment of nothing in particular.
fn owed(client_id: i64, amount: &str, day: &str) -> pb::Instalment {
    pb::Instalment {
        client_id,
        amount: worth(amount),
        schedule_date: day.into(),
        ..Default::default()
    }
}

async fn in_zone(crm: &Crm, by: &Person, zone: &str) {
    crm.set(by, id::AccountSettings { time_zone: zone.into(), ..Default::default() }).await;
}

#[tokio::test]
async fn what_is_not_said_follows_from_client_and_sale() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let client = crm.create(&ana, pb::Client { currency: "KWD".into(), ..named("Ada", "") }).await;
    let made = crm.owe(&ana, owed(client.id, "1.5", "2999-12-31")).await.unwrap();
    let expected = pb::Instalment {
        id: made.id,
        client_id: client.id,
        client_package_id: 0,
        instalment_number: 1,
        amount: worth_in("KWD", "1.500"),
        allocated_amount: worth_in("KWD", "0.000"),
        open_amount: worth_in("KWD", "1.500"),
        schedule_date: "2999-12-31".into(),
        status: InstalmentStatus::Open.into(),
        overdue: false,
        create_time: made.create_time,
        update_time: made.update_time,
        etag: made.etag.clone(),
    };
    assert_eq!(made, expected);
    assert_eq!(crm.instalment(&ana, made.id).await.unwrap(), made);
    // Of a sale: its currency, and its own numbers.
    let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    crm.generate(&ana, sold.id, 3).await.unwrap();
    let of_sale = pb::Instalment {
        client_package_id: sold.id,
        status: InstalmentStatus::Failed.into(),
        ..owed(sold.client_id, "5", "2025-01-01")
    };
    let of_sale = crm.owe(&ana, of_sale).await.unwrap();
    assert_eq!((of_sale.instalment_number, &of_sale.amount), (4, &worth_in("EUR", "5.00")));
    assert_eq!(of_sale.status(), InstalmentStatus::Failed);
    let alone = pb::Instalment { instalment_number: 7, ..owed(client.id, "1", "2025-01-01") };
    assert_eq!(crm.owe(&ana, alone).await.unwrap().instalment_number, 7);
    let next = crm.owe(&ana, owed(client.id, "1", "2025-01-01")).await.unwrap();
    assert_eq!(next.instalment_number, 8);
    let closed = pb::Instalment {
        status: InstalmentStatus::Closed.into(),
        ..owed(sold.client_id, "1", "2025-01-01")
    };
    let closed = crm.owe(&ana, closed).await.unwrap();
    assert_eq!((closed.instalment_number, closed.status()), (1, InstalmentStatus::Closed));
    assert_eq!(closed.open_amount, worth_in("CHF", "0.00"));
}

/// Security checklist 55.
#[tokio::test]
async fn everything_wrong_is_named_at_once_and_nothing_is_written() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let client = crm.create(&ana, named("Ada", "")).await;
    let made = crm.owe(&ana, owed(client.id, "5", "2025-01-01")).await.unwrap();
    let before = crm.database.digest().await;
    let bad = pb::Instalment {
        instalment_number: -1,
        amount: worth_in("EUR", "1.001"),
        schedule_date: "2025-02-29".into(),
        status: 9,
        ..Default::default()
    };
    let request =
        pb::CreateInstalmentRequest { instalment: Some(bad.clone()), request_id: "x".into() };
    let refused = refusal(crm.instalments().create_instalment(signed(&ana, request)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    let fields = [
        "request_id",
        "instalment.client_id",
        "instalment.instalment_number",
        "instalment.amount",
        "instalment.schedule_date",
        "instalment.status",
    ];
    assert_eq!(refused.fields, fields);
    let refused = refusal(crm.change_owed(&ana, bad, None).await);
    assert_eq!(refused.fields, [&fields[2..], &["instalment.id"]].concat());
    let refused = refusal(crm.owe(&ana, pb::Instalment::default()).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    for amount in ["0", "-1", "1e3", "10000000000000.01", "much"] {
        let refused = refusal(crm.owe(&ana, owed(client.id, amount, "2025-01-01")).await);
        assert_eq!(refused.fields, ["instalment.amount"], "{amount}");
    }
    let nothing = pb::Instalment { id: made.id, ..Default::default() };
    let required = ["instalment_number", "amount", "schedule_date", "status"];
    let refused = refusal(crm.change_owed(&ana, nothing.clone(), mask(&required)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    assert_eq!(refused.fields.len(), required.len());
    for path in ["*", "client_id", "client_package_id", "allocated_amount", "overdue", "etag"] {
        let refused = refusal(crm.change_owed(&ana, nothing.clone(), mask(&[path])).await);
        assert_eq!(refused.fields, ["update_mask"], "{path}");
    }
    let wrong = pb::ListInstalmentsRequest {
        page_size: -1,
        order_by: "amount".into(),
        status: vec![99],
        due_from: "soon".into(),
        due_until: "later".into(),
        ..Default::default()
    };
    let refused = refusal(crm.instalments().list_instalments(signed(&ana, wrong)).await);
    assert_eq!(refused.fields, ["status", "due_from", "due_until", "order_by", "page_size"]);
    let backwards = pb::ListInstalmentsRequest {
        due_from: "2025-01-02".into(),
        due_until: "2025-01-01".into(),
        ..Default::default()
    };
    let refused = refusal(crm.instalments().list_instalments(signed(&ana, backwards)).await);
    assert_eq!(refused.fields, ["due_until"]);
    assert_eq!(refusal(crm.close(&ana, 0).await).fields, ["id"]);
    assert_eq!(crm.database.digest().await, before);
}

/// Whatever else is wrong: an amount without a currency is judged in the client's, in that of what
/// was sold, or in the one that it has.
#[tokio::test]
async fn an_amount_without_a_currency_is_named_beside_whatever_else_is_wrong() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    let aki = crm.create(&ana, pb::Client { currency: "JPY".into(), ..named("Aki", "") }).await;
    let made = crm.owe(&ana, owed(aki.id, "500", "2025-01-01")).await.unwrap();
    let before = crm.database.digest().await;
    let (day, both) =
        (["instalment.schedule_date"], ["instalment.amount", "instalment.schedule_date"]);
    let fields = async |sent| refusal(crm.owe(&ana, sent).await).fields;
    assert_eq!(fields(owed(aki.id, "1.5", "soon")).await, both);
    assert_eq!(fields(owed(sold.client_id, "1.5", "soon")).await, day);
    assert_eq!(fields(owed(999_999, "1.5", "soon")).await, day);
    assert_eq!(fields(owed(999_999, "1.00001", "soon")).await, both);
    // What was sold is in euros, whatever the client's money is in.
    let of_sale =
        pb::Instalment { client_package_id: sold.id, ..owed(sold.client_id, "1.001", "soon") };
    assert_eq!(fields(of_sale.clone()).await, both);
    let of_sale = pb::Instalment { amount: worth("1.5"), ..of_sale };
    assert_eq!(fields(of_sale).await, day);

    let sent = pb::Instalment { id: made.id, ..owed(aki.id, "1.5", "soon") };
    let refused = refusal(crm.change_owed(&ana, sent.clone(), None).await);
    assert_eq!(refused.fields, both);
    let refused = refusal(crm.change_owed(&ana, sent, mask(&["schedule_date"])).await);
    assert_eq!(refused.fields, day);
    // All that only its row shows, together.
    let sent = pb::Instalment {
        id: made.id,
        status: InstalmentStatus::Closed.into(),
        ..owed(sold.client_id, "1.5", "2025-01-01")
    };
    let refused = refusal(crm.change_owed(&ana, sent, None).await);
    assert_eq!(refused.fields, ["instalment.client_id", "instalment.amount", "instalment.status"]);
    assert_eq!(crm.database.digest().await, before);
}

/// Security checklist 36.
#[tokio::test]
async fn what_does_not_belong_together_is_refused() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "1200", PaymentSchedule::Monthly).await;
    let made = crm.generate(&ana, sold.id, 2).await.unwrap().instalments;
    let other = crm.create(&ana, named("Bob", "")).await;
    let before = crm.database.digest().await;
    let of_sale =
        pb::Instalment { client_package_id: sold.id, ..owed(sold.client_id, "5", "2025-01-01") };
    let paid = InstalmentStatus::Paid.into();
    for (sent, code, reason) in [
        (
            pb::Instalment { client_id: other.id, ..of_sale.clone() },
            Code::FailedPrecondition,
            "CLIENT_MISMATCH",
        ),
        (
            pb::Instalment { amount: worth_in("USD", "5"), ..of_sale.clone() },
            Code::FailedPrecondition,
            "CURRENCY_MISMATCH",
        ),
        (
            pb::Instalment { instalment_number: 2, ..of_sale.clone() },
            Code::AlreadyExists,
            "INSTALMENT_NUMBER_TAKEN",
        ),
        (
            pb::Instalment { status: paid, ..of_sale.clone() },
            Code::FailedPrecondition,
            "PAID_FOLLOWS_FROM_PAYMENTS",
        ),
        (pb::Instalment { client_package_id: 999, ..of_sale.clone() }, Code::NotFound, "NOT_FOUND"),
        (pb::Instalment { client_id: 999, ..of_sale.clone() }, Code::NotFound, "NOT_FOUND"),
    ] {
        let refused = refusal(crm.owe(&ana, sent).await);
        assert_eq!(refused.said(), (code, reason));
    }
    let paid = pb::Instalment { status: paid, ..of_sale };
    let refused = refusal(crm.owe(&ana, paid).await);
    assert!(refused.message.contains("CreatePayment"), "{}", refused.message);
    assert!(refused.message.contains("AllocatePayment"), "{}", refused.message);
    let second = pb::Instalment { id: made[0].id, instalment_number: 2, ..Default::default() };
    let refused = refusal(crm.change_owed(&ana, second, None).await);
    assert_eq!(refused.said(), (Code::AlreadyExists, "INSTALMENT_NUMBER_TAKEN"));
    assert_eq!(crm.database.digest().await, before);
}

/// Security checklist 42.
#[tokio::test]
async fn an_update_changes_what_may_change() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let client = crm.create(&ana, named("Ada", "")).await;
    let made = crm.owe(&ana, owed(client.id, "5", "2999-01-31")).await.unwrap();
    let sent = pb::Instalment {
        instalment_number: 3,
        amount: worth("6"),
        schedule_date: "2999-02-28".into(),
        status: InstalmentStatus::Failed.into(),
        ..made.clone()
    };
    let changed = crm.change_owed(&ana, sent.clone(), None).await.unwrap();
    let expected = pb::Instalment {
        amount: worth_in("CHF", "6.00"),
        open_amount: worth_in("CHF", "6.00"),
        update_time: changed.update_time,
        etag: changed.etag.clone(),
        ..sent.clone()
    };
    assert_eq!(changed, expected);
    let stale = refusal(crm.change_owed(&ana, sent, None).await);
    assert_eq!(stale.said(), (Code::Aborted, "ETAG_STALE"));
    assert_eq!(crm.change_owed(&ana, changed.clone(), None).await.unwrap(), changed);
    let reopened = pb::Instalment {
        status: InstalmentStatus::Open.into(),
        amount: worth("9"),
        ..changed.clone()
    };
    let reopened = crm.change_owed(&ana, reopened, mask(&["status"])).await.unwrap();
    assert_eq!((reopened.status(), &reopened.amount), (InstalmentStatus::Open, &changed.amount));
    let moved = pb::Instalment { client_id: client.id + 1, etag: String::new(), ..changed };
    let refused = refusal(crm.change_owed(&ana, moved, None).await);
    assert_eq!(refused.fields, ["instalment.client_id"]);
    let worse = pb::Instalment {
        id: made.id,
        client_id: client.id + 1,
        schedule_date: "soon".into(),
        status: InstalmentStatus::Closed.into(),
        ..Default::default()
    };
    let refused = refusal(crm.change_owed(&ana, worse, None).await);
    let everything = ["instalment.schedule_date", "instalment.client_id", "instalment.status"];
    assert_eq!(refused.fields, everything);
    assert_eq!(
        crm.acts().await,
        ["client.create", "instalment.create", "instalment.update", "instalment.update"]
    );
}

/// Security checklist 55 and 56.
#[tokio::test]
async fn what_is_paid_or_closed_stays_as_it_is() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "300", PaymentSchedule::Monthly).await;
    let made = crm.generate(&ana, sold.id, 3).await.unwrap().instalments;
    crm.cover(made[0].id, 100_00).await;
    crm.cover(made[1].id, 60_00).await;
    let closed = crm.close(&ana, made[2].id).await.unwrap();
    assert_eq!(closed.status(), InstalmentStatus::Closed);
    let stale =
        pb::CloseInstalmentRequest { id: made[1].id, etag: "v9".into(), ..Default::default() };
    let refused = refusal(crm.instalments().close_instalment(signed(&ana, stale)).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));

    let before = crm.database.digest().await;
    assert_eq!(crm.close(&ana, made[2].id).await.unwrap(), closed, "it is closed already");
    let at = |which: &pb::Instalment, amount: &str| pb::Instalment {
        id: which.id,
        amount: worth(amount),
        ..Default::default()
    };
    for (refused, reason) in [
        (refusal(crm.close(&ana, made[0].id).await), "INSTALMENT_PAID"),
        (refusal(crm.change_owed(&ana, at(&made[0], "101"), None).await), "INSTALMENT_PAID"),
        (refusal(crm.change_owed(&ana, at(&made[1], "59.99"), None).await), "BELOW_ALLOCATED"),
        (refusal(crm.change_owed(&ana, at(&made[2], "101"), None).await), "INSTALMENT_CLOSED"),
    ] {
        assert_eq!(refused.said(), (Code::FailedPrecondition, reason));
    }
    let paid = crm.instalment(&ana, made[0].id).await.unwrap();
    assert_eq!(paid.status(), InstalmentStatus::Paid);
    assert_eq!(crm.change_owed(&ana, paid.clone(), None).await.unwrap(), paid, "nothing changes");
    assert_eq!(crm.database.digest().await, before);

    // Down to what is covered, it is paid; and one that is covered in part can be closed.
    let down = crm.change_owed(&ana, at(&made[1], "60.01"), None).await.unwrap();
    assert_eq!(down.open_amount, worth_in("EUR", "0.01"));
    let covered = crm.change_owed(&ana, at(&made[1], "60"), None).await.unwrap();
    assert_eq!(covered.status(), InstalmentStatus::Paid);
}

#[tokio::test]
async fn a_partly_covered_one_can_be_closed_and_keeps_what_it_has() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let client = crm.create(&ana, named("Ada", "")).await;
    let made = crm.owe(&ana, owed(client.id, "100", "2025-01-01")).await.unwrap();
    crm.cover(made.id, 60_00).await;
    let closed = crm.close(&ana, made.id).await.unwrap();
    assert_eq!((closed.status(), closed.overdue), (InstalmentStatus::Closed, false));
    assert_eq!(closed.allocated_amount, worth_in("CHF", "60.00"));
    assert_eq!(closed.open_amount, worth_in("CHF", "0.00"));
}

#[tokio::test]
async fn what_was_due_before_today_is_overdue_where_the_account_is() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "300", PaymentSchedule::Monthly).await;
    // The day that it is in the far west; in the far east that was yesterday, or before.
    in_zone(&crm, &ana, "Etc/GMT+12").await;
    let west = pb::ClientPackage { start_date: String::new(), ..sold.clone() };
    let today = crm.sell(&ana, west).await.unwrap().start_date;
    let client = sold.client_id;
    let status = InstalmentStatus::Failed.into();
    let due = crm.owe(&ana, pb::Instalment { status, ..owed(client, "5", &today) }).await.unwrap();
    let old = crm.owe(&ana, owed(client, "6", "2020-02-29")).await.unwrap();
    let paid = crm.owe(&ana, owed(client, "7", "2020-02-28")).await.unwrap();
    crm.cover(paid.id, 7_00).await;
    let closed = crm.owe(&ana, owed(client, "8", "2020-02-27")).await.unwrap();
    crm.close(&ana, closed.id).await.unwrap();
    let overdue = async || {
        let request =
            pb::ListInstalmentsRequest { overdue: true, include_total: true, ..Default::default() };
        let found = crm.list_instalments(&ana, request).await;
        assert!(found.instalments.iter().all(|it| it.overdue));
        assert_eq!(found.total_size, i64::try_from(found.instalments.len()).ok());
        found.instalments.iter().map(|it| it.id).collect::<Vec<_>>()
    };
    assert!(!due.overdue && old.overdue);
    assert_eq!(overdue().await, [old.id]);
    in_zone(&crm, &ana, "Pacific/Kiritimati").await;
    assert!(crm.instalment(&ana, due.id).await.unwrap().overdue);
    assert_eq!(overdue().await, [old.id, due.id]);

    // Who is deleted owes nothing that is overdue.
    crm.delete(&ana, client).await;
    assert_eq!(overdue().await, [0_i64; 0]);
    assert!(!crm.instalment(&ana, old.id).await.unwrap().overdue);
}

#[tokio::test]
async fn a_deleted_clients_instalments_can_be_read_and_closed_and_no_more() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let client = crm.create(&ana, named("Ada", "")).await;
    let made = crm.owe(&ana, owed(client.id, "5", "2025-01-01")).await.unwrap();
    crm.delete(&ana, client.id).await;
    let before = crm.database.digest().await;
    for refused in [
        refusal(crm.owe(&ana, owed(client.id, "5", "2025-01-01")).await),
        refusal(crm.change_owed(&ana, made.clone(), None).await),
    ] {
        assert_eq!(refused.said(), (Code::FailedPrecondition, "CLIENT_DELETED"));
    }
    assert_eq!(crm.database.digest().await, before);
    let read = pb::Instalment { overdue: false, ..made.clone() };
    assert_eq!(crm.instalment(&ana, made.id).await.unwrap(), read);
    assert_eq!(crm.close(&ana, made.id).await.unwrap().status(), InstalmentStatus::Closed);
}

#[tokio::test]
async fn filters_narrow_together_and_pages_follow_each_other() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sold = crm.sold(&ana, "400", PaymentSchedule::Monthly).await;
    let made = crm.generate(&ana, sold.id, 4).await.unwrap().instalments;
    let other = crm.create(&ana, named("Bob", "")).await;
    let other = crm.owe(&ana, owed(other.id, "5", "2025-02-28")).await.unwrap();
    crm.cover(made[0].id, 100_00).await;
    crm.close(&ana, made[1].id).await.unwrap();
    let numbers = async |request: pb::ListInstalmentsRequest| {
        let found = crm.list_instalments(&ana, request).await.instalments;
        let place = |it: &pb::Instalment| made.iter().position(|made| made.id == it.id);
        // 9 is the one of the other client.
        found.iter().map(|it| place(it).unwrap_or(9)).collect::<Vec<_>>()
    };
    let any = pb::ListInstalmentsRequest::default;
    let status = |statuses: &[InstalmentStatus]| pb::ListInstalmentsRequest {
        status: statuses.iter().map(|status| (*status).into()).collect(),
        ..any()
    };
    use InstalmentStatus::{Closed, Open, Paid};
    assert_eq!(numbers(any()).await, [0, 1, 9, 2, 3], "the oldest due first");
    let order_by = "schedule_date desc".to_owned();
    assert_eq!(numbers(pb::ListInstalmentsRequest { order_by, ..any() }).await, [3, 2, 9, 1, 0]);
    let order_by = "create_time desc".to_owned();
    assert_eq!(numbers(pb::ListInstalmentsRequest { order_by, ..any() }).await[0], 9);
    let client_id = other.client_id;
    assert_eq!(numbers(pb::ListInstalmentsRequest { client_id, ..any() }).await, [9]);
    let client_package_id = sold.id;
    let of_sale = pb::ListInstalmentsRequest { client_package_id, ..any() };
    assert_eq!(numbers(of_sale).await, [0, 1, 2, 3]);
    assert_eq!(numbers(status(&[Open])).await, [9, 2, 3]);
    assert_eq!(numbers(status(&[Paid, Closed])).await, [0, 1]);
    let due = |due_from: &str, due_until: &str| pb::ListInstalmentsRequest {
        due_from: due_from.into(),
        due_until: due_until.into(),
        ..any()
    };
    assert_eq!(numbers(due("2025-02-28", "2025-03-31")).await, [1, 9, 2]);
    assert_eq!(numbers(due("2025-03-01", "")).await, [2, 3]);
    assert_eq!(numbers(due("", "2025-02-27")).await, [0]);
    let several = pb::ListInstalmentsRequest {
        client_id: sold.client_id,
        overdue: true,
        ..due("2025-03-31", "2025-03-31")
    };
    assert_eq!(numbers(several).await, [2]);

    let mut request = pb::ListInstalmentsRequest { page_size: 2, include_total: true, ..any() };
    let mut seen = Vec::new();
    loop {
        let page = crm.list_instalments(&ana, request.clone()).await;
        assert_eq!(page.total_size, Some(5));
        seen.extend(page.instalments.into_iter().map(|it| it.schedule_date));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, ["2025-01-31", "2025-02-28", "2025-02-28", "2025-03-31", "2025-04-30"]);
}
