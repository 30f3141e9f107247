//! The addresses that Stripe delivers to: whose they are, and what is signed for them.

use crate::stripe_webhook::{SECRET, charge, euros, event, now, paid, signature, stage};
use crate::support::{Crm, signed};
use proto::crm::v1::{self as pb, PaymentStatus};

/// Security checklist 57.
#[tokio::test]
async fn only_what_is_signed_for_this_endpoint_just_now_is_taken_in() {
    let crm = Crm::start().await;
    let (ana, _, endpoint) = stage(&crm, "ana").await;
    let other = crm.endpoint(&ana, "whsec_of_another", false).await;
    let bare = pb::CreateStripeEndpointRequest::default();
    let bare = crm.stripe_endpoints().create_stripe_endpoint(signed(&ana, bare)).await;
    let bare = bare.unwrap().into_inner().stripe_endpoint.unwrap();
    let before = crm.database.digest().await;
    let body = paid("evt_1", "ch_1", 1_700_000_000).to_string();
    let good = signature(SECRET, now(), &body);
    let refused = [
        crm.deliver_with(&endpoint, "", &body).await,
        crm.deliver_with(&endpoint, &signature("whsec_wrong", now(), &body), &body).await,
        crm.deliver_with(&endpoint, &signature(SECRET, now() - 400, &body), &body).await,
        crm.deliver_with(&endpoint, &signature(SECRET, now() + 400, &body), &body).await,
        crm.deliver_with(&endpoint, &good, &body.replace("10000", "90000")).await,
        crm.deliver_with(&endpoint, &good, &format!("{body} ")).await,
        crm.deliver_with(&other, &good, &body).await,
        crm.deliver_with(&bare, &good, &body).await,
        // Signed, and no event.
        crm.deliver_with(&endpoint, &signature(SECRET, now(), "[]"), "[]").await,
    ];
    assert_eq!(refused, [400; 9]);
    let headers = [("stripe-signature", good.as_str())];
    assert_eq!(crm.post("/stripe/webhook/0000", &headers, &body).await, 404);
    assert_eq!(crm.post("/stripe/webhook/", &headers, &body).await, 404);
    for nobodys in ["%00", "a%00b", &path(&endpoint).to_uppercase()[16..]] {
        let path = format!("/stripe/webhook/{nobodys}");
        assert_eq!(crm.post(&path, &headers, &body).await, 404, "{path}");
    }
    let large = format!("{body}{}", " ".repeat(2 << 20));
    assert_eq!(crm.post(&path(&endpoint), &headers, &large).await, 413);
    assert_eq!(crm.database.digest().await, before);
    assert_eq!(crm.deliver_with(&endpoint, &good, &body).await, 200, "and it can succeed");
}

pub fn path(endpoint: &pb::StripeEndpoint) -> String {
    endpoint.webhook_url[endpoint.webhook_url.find("/stripe/").unwrap()..].to_owned()
}

/// Security checklist 57.
#[tokio::test]
async fn two_secrets_are_good_while_they_are_rotated() {
    let crm = Crm::start().await;
    let (ana, _, endpoint) = stage(&crm, "ana").await;
    let endpoint = crm.rotate(&ana, endpoint.id, "whsec_the_next").await;
    assert!(endpoint.previous_secret_expire_time.is_some());
    let by = async |secret: &str, id: &str| {
        let body = paid(id, id, 1_700_000_000).to_string();
        crm.deliver_with(&endpoint, &signature(secret, now(), &body), &body).await
    };
    assert_eq!((by(SECRET, "evt_1").await, by("whsec_the_next", "evt_2").await), (200, 200));
    crm.database
        .execute("UPDATE crm.stripe_endpoints SET previous_until = now() - interval '1 second'")
        .await;
    assert_eq!((by(SECRET, "evt_3").await, by("whsec_the_next", "evt_4").await), (400, 200));
    crm.rotate(&ana, endpoint.id, "whsec_another").await;
    assert_eq!((by(SECRET, "evt_5").await, by("whsec_another", "evt_6").await), (400, 200));
}

/// Security checklist 57.
#[tokio::test]
async fn no_account_is_touched_by_anothers_events() {
    let crm = Crm::start().await;
    let (ana, _, hers) = stage(&crm, "ana").await;
    let (bob, _, his) = stage(&crm, "bob").await;
    crm.deliver(&hers, &paid("evt_1", "ch_1", 1_700_000_000)).await;
    crm.deliver(&his, &paid("evt_1", "ch_1", 1_700_000_000)).await;
    let before = crm.payments(&ana).await;
    let refund = charge("ch_1", 10_000, 10_000, "succeeded");
    crm.deliver(&his, &event("evt_2", "charge.refunded", 1_700_000_001, refund)).await;
    assert_eq!(crm.payments(&ana).await, before);
    assert_eq!(crm.payments(&bob).await[0].status(), PaymentStatus::Refunded);
}

#[tokio::test]
async fn an_endpoint_says_whether_payments_cover_what_is_due() {
    let crm = Crm::start().await;
    let (ana, client_id, credit) = stage(&crm, "ana").await;
    let covering = crm.endpoint(&ana, SECRET, true).await;
    let due = format!(
        "INSERT INTO crm.instalments
             (account_id, id, client_id, instalment_number, currency, amount, schedule_date, state,
              create_time, update_time)
         SELECT account_id, n, id, n, 'EUR', 6000, date '2023-01-01' + n, 'open', now(), now()
         FROM crm.clients, generate_series(1, 3) n WHERE id = {client_id}"
    );
    crm.database.execute(&due).await;
    crm.deliver(&credit, &paid("evt_1", "ch_1", 1_700_000_000)).await;
    crm.deliver(&covering, &paid("evt_2", "ch_2", 1_700_000_001)).await;
    let payments = crm.payments(&ana).await;
    assert_eq!((payments[0].allocations.len(), &payments[0].credit_amount), (0, &euros("100.00")));
    let covered: Vec<_> =
        payments[1].allocations.iter().map(|it| (it.instalment_id, it.amount.clone())).collect();
    assert_eq!(covered, [(1, euros("60.00")), (2, euros("40.00"))]);
}

#[tokio::test]
async fn a_deleted_client_and_a_closed_endpoint() {
    let crm = Crm::start().await;
    let (ana, client_id, endpoint) = stage(&crm, "ana").await;
    crm.delete(&ana, client_id).await;
    assert_eq!(crm.deliver(&endpoint, &paid("evt_1", "ch_1", 1_700_000_000)).await, 200);
    assert_eq!(crm.payments(&ana).await.len(), 1, "a deleted client takes Stripe's events");
    let delete = pb::DeleteStripeEndpointRequest { id: endpoint.id, ..Default::default() };
    crm.stripe_endpoints().delete_stripe_endpoint(signed(&ana, delete)).await.unwrap();
    assert_eq!(crm.deliver(&endpoint, &paid("evt_2", "ch_2", 1_700_000_000)).await, 404);
}
