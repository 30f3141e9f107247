//! Bytes that no client would send.

use identity_service::POLICY;
use proto::common::v1::Role;
use service_kit::testing::{
    hostile::{self, Senders},
    raw,
    refusal::refusal,
};
use tonic::Code;

use crate::support::{Identity, SERVICE_SECRET};

/// Security checklist 44.
#[tokio::test]
async fn garbage_is_refused_with_a_reason_by_every_method() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let bob = identity.add(&ana, "bob", Role::Employee).await;
    identity.no_letters_left().await;
    let before = identity.digest().await;
    let senders = Senders { admin: &ana.token, employee: &bob.token, secret: SERVICE_SECRET };
    let complaints = hostile::complaints(&identity.channel, "identity.v1", POLICY, &senders).await;
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_eq!(identity.digest().await, before);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused() {
    let identity = Identity::start().await;
    let before = identity.digest().await;
    for (path, bytes) in [
        // LoginRequest.email, one byte, 0xff.
        ("/identity.v1.AuthService/Login", vec![0x0a, 0x01, 0xff]),
        // SignUpRequest.account.name.
        ("/identity.v1.AuthService/SignUp", vec![0x0a, 0x03, 0x0a, 0x01, 0xff]),
    ] {
        let request = raw::request(bytes, "");
        let refused = refusal(raw::call(&identity.channel, path, request).await);
        assert_eq!(refused.said(), (Code::InvalidArgument, "MALFORMED_MESSAGE"), "{path}");
    }
    assert_eq!(identity.digest().await, before);
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_unknown() {
    let identity = Identity::start().await;
    for path in ["/identity.v1.AuthService/Nothing", "/identity.v1.Nothing/Login", "/nothing"] {
        let refused = refusal(raw::call(&identity.channel, path, raw::request(vec![], "")).await);
        assert_eq!(refused.said(), (Code::Unimplemented, "METHOD_UNKNOWN"), "{path}");
    }
}
