//! Packages: made, read, changed, deleted and brought back.

use proto::crm::v1 as pb;
use service_kit::testing::refusal::refusal;
use tonic::{Code, Status};

use crate::{
    sales::{mask, package, worth, worth_in},
    support::{Crm, Person, signed},
};

async fn get(crm: &Crm, by: &Person, id: i64) -> Result<pb::Package, Status> {
    let answer = crm.packages().get_package(signed(by, pb::GetPackageRequest { id })).await?;
    Ok(answer.into_inner().package.unwrap())
}

async fn list(
    crm: &Crm,
    by: &Person,
    request: pb::ListPackagesRequest,
) -> pb::ListPackagesResponse {
    crm.packages().list_packages(signed(by, request)).await.unwrap().into_inner()
}

async fn update(
    crm: &Crm,
    by: &Person,
    package: pb::Package,
    update_mask: Option<prost_types::FieldMask>,
) -> Result<pb::Package, Status> {
    let request =
        pb::UpdatePackageRequest { package: Some(package), update_mask, ..Default::default() };
    Ok(crm.packages().update_package(signed(by, request)).await?.into_inner().package.unwrap())
}

async fn undelete(crm: &Crm, by: &Person, id: i64) -> Result<pb::Package, Status> {
    let request = pb::UndeletePackageRequest { id, ..Default::default() };
    Ok(crm.packages().undelete_package(signed(by, request)).await?.into_inner().package.unwrap())
}

fn names(list: &pb::ListPackagesResponse) -> Vec<&str> {
    list.packages.iter().map(|package| package.package_name.as_str()).collect()
}

/// The first thing that an account has may be a package.
#[tokio::test]
async fn what_was_created_is_what_is_read() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let sent = pb::Package {
        id: 999,
        etag: "mine".into(),
        description: "Twelve weeks.\nTwo calls each.".into(),
        ..package(" Coaching ")
    };
    let made = crm.create_package(&ana, sent).await.unwrap();
    assert!(made.id != 999 && made.create_time.is_some() && made.delete_time.is_none());
    let said = pb::Package {
        id: made.id,
        package_name: "Coaching".into(),
        description: "Twelve weeks.\nTwo calls each.".into(),
        list_price: worth_in("CHF", "1200.00"),
        create_time: made.create_time,
        update_time: made.update_time,
        delete_time: None,
        etag: made.etag.clone(),
    };
    assert_eq!(made, said);
    assert_eq!(get(&crm, &ana, made.id).await.unwrap(), made);
    let bare = pb::Package { list_price: None, ..package("Bare") };
    assert_eq!(crm.create_package(&ana, bare).await.unwrap().list_price, None);
}

/// Security checklist 55.
#[tokio::test]
async fn everything_wrong_is_named_at_once_and_nothing_is_written() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create_package(&ana, package("Coaching")).await.unwrap();
    let before = crm.database.digest().await;
    let bad = pb::Package {
        id: made.id,
        package_name: "x".repeat(256),
        description: "x".repeat(10_001),
        list_price: worth_in("JPY", "9.99"),
        ..Default::default()
    };
    let request = pb::CreatePackageRequest { package: Some(bad.clone()), request_id: "x".into() };
    let refused = refusal(crm.packages().create_package(signed(&ana, request)).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "INVALID_FIELDS"));
    assert_eq!(
        refused.fields,
        ["request_id", "package.package_name", "package.description", "package.list_price"]
    );
    let refused = refusal(update(&crm, &ana, bad, None).await);
    assert_eq!(
        refused.fields,
        ["package.package_name", "package.description", "package.list_price"]
    );
    for amount in ["0", "-1", "1.001", "1e3", "10000000000000.01", "much"] {
        let priced = pb::Package { list_price: worth(amount), ..package("Coaching") };
        let refused = refusal(crm.create_package(&ana, priced).await);
        assert_eq!(refused.fields, ["package.list_price"], "{amount}");
    }
    let refused = refusal(crm.create_package(&ana, pb::Package::default()).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
    for path in ["*", "id", "create_time", "delete_time", "list_price.amount"] {
        let refused = refusal(update(&crm, &ana, made.clone(), mask(&[path])).await);
        assert_eq!(refused.fields, ["update_mask"], "{path}");
    }
    let wrong = pb::ListPackagesRequest {
        page_size: -1,
        page_token: "forged".into(),
        skip: -1,
        order_by: "list_price".into(),
        ..Default::default()
    };
    let refused = refusal(crm.packages().list_packages(signed(&ana, wrong)).await);
    assert_eq!(refused.fields, ["order_by", "page_size", "skip", "page_token"]);
    assert_eq!(crm.database.digest().await, before);
}

/// Security checklist 42.
#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_clears_what_is_empty() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create_package(&ana, package("Coaching")).await.unwrap();
    let sent = pb::Package { id: made.id, package_name: "Mentoring".into(), ..Default::default() };
    let paths = mask(&["package_name", "list_price"]);
    let changed = update(&crm, &ana, sent.clone(), paths).await.unwrap();
    assert_eq!((changed.package_name.as_str(), &changed.list_price), ("Mentoring", &None));
    assert_ne!(changed.etag, made.etag);
    // What changes nothing leaves the etag as it is.
    assert_eq!(update(&crm, &ana, sent, None).await.unwrap(), changed);
    let priced = pb::Package {
        id: made.id,
        list_price: worth_in("KWD", "1.5"),
        etag: changed.etag.clone(),
        ..Default::default()
    };
    let priced_now = update(&crm, &ana, priced.clone(), None).await.unwrap();
    assert_eq!(priced_now.list_price, worth_in("KWD", "1.500"));
    let stale = refusal(update(&crm, &ana, priced, None).await);
    assert_eq!(stale.said(), (Code::Aborted, "ETAG_STALE"));
    let nameless = pb::Package { id: made.id, ..Default::default() };
    let refused = refusal(update(&crm, &ana, nameless, mask(&["package_name"])).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MISSING_FIELDS"));
}

#[tokio::test]
async fn a_deleted_package_is_hidden_and_comes_back_as_it_was() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create_package(&ana, package("Coaching")).await.unwrap();
    let etag = "v7".to_owned();
    let stale = pb::DeletePackageRequest { id: made.id, etag, ..Default::default() };
    let refused = refusal(crm.packages().delete_package(signed(&ana, stale)).await);
    assert_eq!(refused.said(), (Code::Aborted, "ETAG_STALE"));

    assert!(crm.delete_package(&ana, made.id).await.delete_time.is_some());
    let again = pb::DeletePackageRequest { id: made.id, ..Default::default() };
    let again = crm.packages().delete_package(signed(&ana, again)).await;
    let renamed = pb::Package { id: made.id, ..package("Renamed") };
    for refused in [
        refusal(get(&crm, &ana, made.id).await),
        refusal(update(&crm, &ana, renamed, None).await),
        refusal(again),
    ] {
        assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
        assert!(refused.metadata.contains(&("resource".into(), "package".into())));
    }
    let all = pb::ListPackagesRequest { include_total: true, ..Default::default() };
    assert_eq!(list(&crm, &ana, all.clone()).await.total_size, Some(0));

    let back = undelete(&crm, &ana, made.id).await.unwrap();
    let expected = pb::Package { update_time: back.update_time, etag: back.etag.clone(), ..made };
    assert_eq!(back, expected);
    assert_eq!(list(&crm, &ana, all).await.packages, std::slice::from_ref(&back));
    assert_eq!(undelete(&crm, &ana, back.id).await.unwrap(), back, "it is not deleted");
}

#[tokio::test]
async fn lists_are_in_the_order_asked_for_page_by_page() {
    let crm = Crm::start().await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    crm.create_package(&bob, package("Foreign")).await.unwrap();
    for name in ["Écoute", "coaching", "Advice", "Zen"] {
        crm.create_package(&ana, package(name)).await.unwrap();
    }
    for (order_by, expected) in [
        ("", ["Zen", "Advice", "coaching", "Écoute"]),
        ("create_time", ["Écoute", "coaching", "Advice", "Zen"]),
        ("package_name", ["Advice", "coaching", "Écoute", "Zen"]),
        ("package_name desc", ["Zen", "Écoute", "coaching", "Advice"]),
    ] {
        let mut request = pb::ListPackagesRequest {
            order_by: order_by.into(),
            page_size: 3,
            include_total: true,
            ..Default::default()
        };
        let first = list(&crm, &ana, request.clone()).await;
        assert_eq!((names(&first), first.total_size), (expected[..3].to_vec(), Some(4)));
        request.page_token = first.next_page_token;
        let second = list(&crm, &ana, request).await;
        assert_eq!((names(&second), second.next_page_token.as_str()), (expected[3..].to_vec(), ""));
    }
    let skipped = pb::ListPackagesRequest { skip: 3, ..Default::default() };
    assert_eq!(names(&list(&crm, &ana, skipped).await), ["Écoute"]);
}

#[tokio::test]
async fn every_change_is_recorded_and_nothing_else() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create_package(&ana, package("Coaching")).await.unwrap();
    let renamed = pb::Package { id: made.id, ..package("Mentoring") };
    for _ in 0..2 {
        update(&crm, &ana, renamed.clone(), None).await.unwrap();
    }
    crm.delete_package(&ana, made.id).await;
    for _ in 0..2 {
        undelete(&crm, &ana, made.id).await.unwrap();
    }
    assert_eq!(
        crm.acts().await,
        ["package.create", "package.update", "package.delete", "package.undelete"]
    );
}

/// Only where no list price is there at all is none meant.
#[tokio::test]
async fn a_list_price_that_is_there_and_empty_is_refused() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let made = crm.create_package(&ana, package("Coaching")).await.unwrap();
    let before = crm.database.digest().await;
    for (currency, reason) in
        [("", "MISSING_FIELDS"), ("EUR", "MISSING_FIELDS"), ("ZZZ", "INVALID_FIELDS")]
    {
        let sent = pb::Package { list_price: worth_in(currency, ""), ..made.clone() };
        for refused in [
            refusal(crm.create_package(&ana, sent.clone()).await),
            refusal(update(&crm, &ana, sent.clone(), None).await),
            refusal(update(&crm, &ana, sent, mask(&["list_price"])).await),
        ] {
            assert_eq!(refused.said(), (Code::InvalidArgument, reason), "{currency}");
            assert_eq!(refused.fields, ["package.list_price"]);
        }
    }
    assert_eq!(crm.database.digest().await, before);
}
