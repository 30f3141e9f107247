//! Who may do what to payments, who sees which, and what happens to calls that are sent again.

use crm_service::POLICY;
use proto::{
    common::v1::{
        Permission::{self, ManagePayments, RefundPayments},
        Role,
    },
    crm::v1 as pb,
};
use service_kit::{
    policy::Access,
    testing::refusal::{Refusal, refusal},
};
use tonic::Code;

use crate::{
    sales_access::access,
    support::{Person, signed},
    till::{Scene, Till, eur},
};

const ID: &str = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f";

async fn answer(
    till: &Till,
    by: &Person,
    (method, message): &(&str, Vec<u8>),
) -> Result<Vec<u8>, Refusal> {
    till.crm.call(by, method, message).await
}

/// Security checklist 29.
#[tokio::test]
async fn admins_write_and_employees_read() {
    let till = Till::open().await;
    let admin = till.crm.add(&till.ana, "admin", Role::Admin).await;
    let eve = till.crm.add(&till.ana, "eve", Role::Employee).await;
    let examples = till.scene(&till.ana).await.examples("");
    assert_eq!(examples.len(), POLICY.iter().filter(|it| it.method.contains(".Payment")).count());
    let before = till.crm.database.digest().await;
    let mut reads = 0;
    for example in &examples {
        match (access(example.0), answer(&till, &eve, example).await) {
            (Access::SignedIn, answer) => {
                assert!(answer.is_ok(), "{answer:?}");
                reads += 1;
            }
            (_, answer) => {
                let refused = answer.expect_err(example.0);
                assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
            }
        }
    }
    assert_eq!(reads, 3);
    assert_eq!(till.crm.database.digest().await, before);
    for example in &examples {
        let answer = answer(&till, &admin, example).await;
        assert!(answer.is_ok(), "{}: {answer:?}", example.0);
    }
}

/// Security checklist 29: each of the two permissions is good for its own methods.
#[tokio::test]
async fn a_grant_is_good_for_what_it_says() {
    let till = Till::open().await;
    let eve = till.crm.add(&till.ana, "eve", Role::Employee).await;
    for granted in [ManagePayments, RefundPayments] {
        till.crm.grant(&till.ana, &eve, &[granted]).await;
        for example in till.scene(&till.ana).await.examples("") {
            let needs = access(example.0);
            let answer = answer(&till, &eve, &example).await;
            let expected = needs == Access::SignedIn || needs == Access::Needs(granted);
            assert_eq!(answer.is_ok(), expected, "{granted:?}, {}: {answer:?}", example.0);
        }
    }
    till.recount().await;
}

/// Security checklist 36: whoever has the permission still reaches only whom they see.
#[tokio::test]
async fn whoever_does_not_see_a_client_reaches_no_payment_of_theirs() {
    let till = Till::open().await;
    let eve = till.crm.add(&till.ana, "eve", Role::Employee).await;
    till.crm.grant(&till.ana, &eve, &[ManagePayments, RefundPayments]).await;
    let (hers, hidden) = (till.scene(&till.ana).await, till.scene(&till.ana).await);
    till.crm.assign(&till.ana, &eve, hers.client).await;

    let before = till.crm.database.digest().await;
    for example in hidden.examples("") {
        let answer = answer(&till, &eve, &example).await;
        if example.0.ends_with("/ListPayments") || example.0.ends_with("/GetPaymentStatistics") {
            assert_eq!(answer.as_deref(), Ok(&[] as &[u8]), "{}", example.0);
        } else {
            let refused = answer.expect_err(example.0);
            assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"), "{}", example.0);
        }
    }
    // An instalment that she does not see is as good as none, for a payment that she does.
    let request = pb::AllocatePaymentRequest {
        id: hers.payment("AllocatePayment"),
        allocations: crate::till::shares(&[(hidden.instalment, "1")]),
        ..Default::default()
    };
    let refused = refusal(till.service().allocate_payment(signed(&eve, request)).await);
    assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
    assert_eq!(till.crm.database.digest().await, before);
    for example in hers.examples("") {
        let answer = answer(&till, &eve, &example).await;
        assert!(answer.is_ok(), "{}: {answer:?}", example.0);
    }
    till.recount().await;
}

/// Security checklist 58.
#[tokio::test]
async fn statistics_and_lists_are_of_the_account_and_of_what_the_caller_sees() {
    let till = Till::open().await;
    let eve = till.crm.add(&till.ana, "eve", Role::Employee).await;
    let bob = till.crm.sign_up("bob").await;
    let (hers, _) = (till.scene(&till.ana).await, till.scene(&till.ana).await);
    let his = till.scene(&bob).await;
    let seen = async |by: &Person, client_id| {
        let request = pb::GetPaymentStatisticsRequest { client_id, ..Default::default() };
        let statistics = till.statistics_of(by, request).await;
        let request =
            pb::ListPaymentsRequest { client_id, include_total: true, ..Default::default() };
        let listed = till.list(by, request).await;
        assert_eq!(Some(statistics.total_payments), listed.total_size);
        assert_eq!(statistics.total_payments, i64::try_from(listed.payments.len()).unwrap());
        let each = statistics.paid + statistics.failed + statistics.refunded + statistics.disputed;
        assert_eq!(statistics.total_payments, each);
        (statistics.total_payments, statistics.disputed, statistics.total_amounts)
    };
    let of_one = (8, 1, vec![eur("800.00").unwrap()]);
    let of_both = (16, 2, vec![eur("1600.00").unwrap()]);
    let nothing = (0, 0, vec![]);
    for by in [&till.ana, &eve] {
        assert_eq!(seen(by, 0).await, of_both);
        assert_eq!(seen(by, hers.client).await, of_one);
        assert_eq!(seen(by, his.client).await, nothing);
        assert_eq!(seen(by, 999_999).await, nothing);
    }
    assert_eq!(seen(&bob, 0).await, of_one);

    till.crm.assign(&till.ana, &eve, hers.client).await;
    assert_eq!(seen(&till.ana, 0).await, of_both);
    assert_eq!(seen(&eve, 0).await, of_one);
    assert_eq!(seen(&eve, hers.client).await, of_one);
    assert_eq!(seen(&eve, till.ada.id).await, nothing);
    // A deleted client's payments stay with whoever had a part in them.
    till.crm.delete(&till.ana, hers.client).await;
    assert_eq!(seen(&eve, 0).await, of_one);
    // This widens payments, and nothing else.
    till.crm.grant(&till.ana, &eve, &[Permission::ViewPayments]).await;
    assert_eq!(seen(&eve, 0).await, of_both);
    let some = till.list(&till.ana, pb::ListPaymentsRequest::default()).await.payments;
    till.get_as(&eve, some[0].id).await.unwrap();
}

/// Security checklist 54.
#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_has_no_second_effect() {
    let till = Till::open().await;
    let (scene, other) = (till.scene(&till.ana).await, till.scene(&till.ana).await);
    let changes = |scene: &Scene| {
        let examples = scene.examples(ID).into_iter();
        examples.filter(|it| access(it.0) != Access::SignedIn).collect::<Vec<_>>()
    };
    let (examples, others) = (changes(&scene), changes(&other));
    assert_eq!(examples.len(), 8);
    for (example, with_another_body) in examples.iter().zip(&others) {
        let first = answer(&till, &till.ana, example).await.expect(example.0);
        let before = till.crm.database.digest().await;
        assert_eq!(answer(&till, &till.ana, example).await.as_ref(), Ok(&first), "{}", example.0);
        let refused = answer(&till, &till.ana, with_another_body).await.expect_err(example.0);
        assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"), "{}", example.0);
        assert_eq!(till.crm.database.digest().await, before, "{}", example.0);
    }
    till.recount().await;
}
