//! What does a caller see of a panic, and what the log?

use service_kit::error::Error;
use tonic::Code;

use crate::harness::{METHOD, Plan, body, handler, lines_of};

#[tokio::test]
async fn a_panic_is_an_internal_error_with_the_request_id_and_nothing_else() {
    let server = Plan::new(handler(async |text| {
        assert!(text != "boom", "secret-{text}");
        Ok::<_, Error>(text)
    }))
    .start()
    .await;
    let answer = server.call_raw(METHOD, &[("x-request-id", "panic-1")], body("boom")).await;
    let (code, reason, message) = answer.refusal();
    assert_eq!((code, reason.as_str()), (Code::Internal, "INTERNAL"));
    assert_eq!(message, "Internal error. Request id: panic-1");
    assert_eq!(answer.header("x-request-id"), "panic-1");
    assert_eq!(server.say("fine").await.unwrap(), "fine", "others are served");

    let lines = lines_of("panic-1").await;
    let call = lines.iter().find(|line| line.target == "call").unwrap();
    assert_eq!(call.level, "ERROR");
    assert!(!format!("{lines:?}").contains("secret-boom"));
}
