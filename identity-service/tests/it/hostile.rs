//! Bytes that no client would send.

use identity_service::POLICY;
use service_kit::testing::{hostile, raw, refusal::refusal};
use tonic::Code;

use crate::support::Identity;

#[tokio::test]
async fn garbage_is_refused_with_a_reason_by_every_method() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let before = identity.database.digest().await;
    let complaints =
        hostile::complaints(&identity.channel, "identity.v1", POLICY, &ana.token).await;
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_eq!(identity.database.digest().await, before);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused() {
    let identity = Identity::start().await;
    // LoginRequest.email, one byte, 0xff.
    let request = raw::request(vec![0x0a, 0x01, 0xff], "");
    let refused =
        refusal(raw::call(&identity.channel, "/identity.v1.AuthService/Login", request).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "MALFORMED_MESSAGE"));
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_unknown() {
    let identity = Identity::start().await;
    for path in ["/identity.v1.AuthService/Nothing", "/identity.v1.Nothing/Login", "/nothing"] {
        let refused = refusal(raw::call(&identity.channel, path, raw::request(vec![], "")).await);
        assert_eq!(refused.said(), (Code::Unimplemented, "METHOD_UNKNOWN"), "{path}");
    }
}
