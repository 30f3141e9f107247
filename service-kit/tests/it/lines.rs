//! What does the log say of each call?

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use service_kit::{error::Error, telemetry::context};

use crate::harness::{METHOD, PRIVATE, Plan, body, echo, handler, line_of, request, whole_log};

#[tokio::test]
async fn a_call_is_one_line() {
    let server = Plan::new(handler(async |text| {
        context::count_query(Duration::from_millis(1));
        context::count_query(Duration::from_micros(800));
        Ok::<_, Error>(text)
    }))
    .start()
    .await;
    server.call_raw(METHOD, &[("x-request-id", "line-1")], body("x")).await;
    let line = line_of("line-1").await;
    assert_eq!(line.level, "INFO");
    let (name, rest) = line.message.split_once(' ').unwrap();
    assert_eq!(name, METHOD.trim_start_matches('/'));
    assert!(rest.starts_with("OK ") && rest.ends_with("ms"), "{rest}");
    assert_eq!((line.field("queries"), line.field("db_ms")), ("2", "1.8"));
    assert_eq!(line.field("reason"), "");
    // A second one would come a moment later.
    tokio::time::sleep(Duration::from_millis(50)).await;
    line_of("line-1").await;
}

#[tokio::test]
async fn a_refusal_has_its_reason_and_whose_fault_it_is() {
    let server =
        Plan::new(handler(async |_| Err(Error::internal("relation \"x\" does not exist"))))
            .start()
            .await;
    server
        .call_raw(
            PRIVATE,
            &[("x-request-id", "line-2"), ("authorization", "Token s3cret")],
            body("x"),
        )
        .await;
    let line = line_of("line-2").await;
    assert_eq!((line.level.as_str(), line.field("reason")), ("INFO", "TOKEN_INVALID"));
    assert!(line.message.contains(" UNAUTHENTICATED "));

    let answer = server.call_raw(METHOD, &[("x-request-id", "line-3")], body("x")).await;
    assert!(!answer.refusal().2.contains("relation"));
    let line = line_of("line-3").await;
    assert_eq!((line.level.as_str(), line.field("reason")), ("ERROR", "INTERNAL"));
    assert!(!whole_log().contains("s3cret"), "no credential is ever logged");
}

#[tokio::test]
async fn a_caller_that_hangs_up_has_cancelled() {
    let server = Plan::new(handler(async |text| {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Ok::<_, Error>(text)
    }))
    .start()
    .await;
    let mut client = server.client().await;
    let mut call = tonic::Request::new(request("x"));
    call.metadata_mut().insert("x-request-id", "line-4".parse().unwrap());
    let call = tokio::time::timeout(Duration::from_millis(100), client.export(call)).await;
    assert!(call.is_err(), "given up");
    let line = line_of("line-4").await;
    assert!(line.message.contains(" CANCELLED "), "{line:?}");
    assert_eq!(line.level, "INFO");
}

/// Security checklist 59.
#[tokio::test]
async fn an_id_that_could_forge_a_line_is_replaced() {
    let server = Plan::new(echo()).start().await;
    for bad in ["a b", "x=1", "\u{e9}", &"x".repeat(65)] {
        let answer = server.call_raw(METHOD, &[("x-request-id", bad)], body("x")).await;
        let id = answer.headers["x-request-id"].to_str().unwrap();
        assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    }
}

#[tokio::test]
async fn health_and_preflights_are_for_debugging() {
    let server = Plan::new(echo()).start().await;
    server
        .call_raw("/grpc.health.v1.Health/Check", &[("x-request-id", "line-5")], [0; 5].to_vec())
        .await;
    assert_eq!(line_of("line-5").await.level, "DEBUG");
    let preflight = Request::options(METHOD).header("x-request-id", "line-6").body(Full::default());
    server.send(preflight.unwrap()).await;
    assert_eq!(line_of("line-6").await.level, "DEBUG");
}

#[tokio::test]
async fn what_is_no_call_is_logged_as_http() {
    let server = Plan::new(echo()).start().await;
    let get =
        Request::get("/.env?token=s3cret-2").header("x-request-id", "line-7").body(Full::default());
    server.send(get.unwrap()).await;
    let line = line_of("line-7").await;
    assert!(line.message.starts_with("GET /.env 404 "), "{line:?}");
    assert!(!whole_log().contains("s3cret-2"));
}
