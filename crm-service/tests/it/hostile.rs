//! Bytes that no client would send.

use crm_service::POLICY;
use proto::common::v1::Role;
use service_kit::testing::{
    hostile::{self, Senders},
    raw,
    refusal::refusal,
};
use tonic::Code;

use crate::support::Crm;

/// Security checklist 44.
#[tokio::test]
async fn garbage_is_refused_with_a_reason_by_every_method() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let bob = crm.add(&ana, "bob", Role::Employee).await;
    let before = crm.database.digest().await;
    let senders = Senders { admin: &ana.token, employee: &bob.token, secret: "" };
    let complaints = hostile::complaints(&crm.channel, "crm.v1", POLICY, &senders).await;
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_eq!(crm.database.digest().await, before);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let before = crm.database.digest().await;
    // CreateClientRequest.client.first_name, one byte, 0xff.
    let request = raw::request(vec![0x0a, 0x03, 0x12, 0x01, 0xff], &ana.token);
    let refused =
        refusal(raw::call(&crm.channel, "/crm.v1.ClientService/CreateClient", request).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MALFORMED_MESSAGE"));
    assert_eq!(crm.database.digest().await, before);
}
