//! Can a browser call, and read a refusal, from the right pages only?

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;

use crate::harness::{Answer, METHOD, PRIVATE, Plan, Server, body, echo};

const PAGE: &str = "https://app.example.com";

async fn server() -> Server {
    Plan::with(echo(), |settings| {
        settings.cors_origins = vec![PAGE.to_owned(), "http://localhost:*".to_owned()];
    })
    .start()
    .await
}

async fn preflight(server: &Server, origin: &str) -> Answer {
    let request = Request::options(METHOD)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-grpc-web")
        .body(Full::default())
        .unwrap();
    server.send(request).await
}

async fn web_call(
    server: &Server,
    path: &str,
    content_type: &str,
    body: impl Into<Bytes>,
) -> Answer {
    let request = Request::post(path)
        .header("origin", PAGE)
        .header("content-type", content_type)
        .header("accept", content_type)
        .header("x-grpc-web", "1")
        .body(Full::new(body.into()))
        .unwrap();
    server.send(request).await
}

/// Security checklist 49.
#[tokio::test]
async fn pages_of_the_list_may_call() {
    let server = server().await;
    for origin in [PAGE, "http://localhost:5173", "http://localhost"] {
        let answer = preflight(&server, origin).await;
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("access-control-allow-methods"), "POST");
        assert_eq!(answer.header("access-control-max-age"), "7200");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        let allowed = answer.header("access-control-allow-headers");
        for header in [
            "authorization",
            "content-type",
            "x-grpc-web",
            "x-user-agent",
            "grpc-timeout",
            "x-request-id",
            "traceparent",
        ] {
            assert!(allowed.split(',').any(|name| name == header), "{header} is not in {allowed}");
        }
        assert!(!answer.header("x-request-id").is_empty());
    }
}

/// Security checklist 49.
#[tokio::test]
async fn other_pages_may_not() {
    let server = server().await;
    for origin in [
        "https://evil.example.com",
        "null",
        "https://app.example.com.evil.org",
        "http://app.example.com",
    ] {
        let answer = preflight(&server, origin).await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
    }
}

#[tokio::test]
async fn a_page_reads_an_answer_and_its_trailers() {
    let server = server().await;
    let answer = web_call(&server, METHOD, "application/grpc-web+proto", body("hello")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/grpc-web+proto");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(text.contains("hello") && text.contains("grpc-status:0"), "{text:?}");

    let encoded = BASE64_STANDARD.encode(body("hello"));
    let answer = web_call(&server, METHOD, "application/grpc-web-text+proto", encoded).await;
    assert_eq!(answer.header("content-type"), "application/grpc-web-text+proto");
}

#[tokio::test]
async fn a_page_reads_a_refusal_of_any_layer() {
    let server = server().await;
    let text = "application/grpc-web-text";
    let refusals = [
        (PRIVATE, "application/grpc-web", body("x"), "16", "TOKEN_MISSING"),
        (PRIVATE, text, Vec::new(), "16", "TOKEN_MISSING"),
        ("/no.Such/Method", "application/grpc-web", body("x"), "12", "METHOD_UNKNOWN"),
        (METHOD, "application/grpc-web", b"garbage".to_vec(), "3", "MALFORMED_MESSAGE"),
        (METHOD, text, b"!!!!".to_vec(), "3", "MALFORMED_MESSAGE"),
    ];
    for (path, content_type, body, status, reason) in refusals {
        let answer = web_call(&server, path, content_type, body).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("grpc-status"), status, "{path} {content_type}");
        assert_eq!(answer.header("error-reason"), reason);
        assert_eq!(answer.header("access-control-allow-origin"), PAGE);
        let exposed = answer.header("access-control-expose-headers");
        for header in [
            "grpc-status",
            "grpc-message",
            "grpc-status-details-bin",
            "error-reason",
            "retry-after",
            "x-request-id",
        ] {
            assert!(exposed.split(',').any(|name| name == header), "{header} is not in {exposed}");
        }
    }
}

/// Security checklist 49.
#[tokio::test]
async fn a_browser_gone_astray_is_told_so() {
    let server = server().await;
    let answer = server.send(Request::get("/").body(Full::default()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.body, "Nothing is here. This server speaks gRPC and grpc-web.\n");
    let get =
        Request::get(METHOD).header("content-type", "application/grpc-web").body(Full::default());
    assert_eq!(server.send(get.unwrap()).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn headers_have_a_limit() {
    let server = Plan::with(echo(), |settings| settings.max_header_bytes = 8 << 10).start().await;
    let long = "x".repeat(20 << 10);
    let request =
        Request::post(METHOD).header("authorization", long).body(Full::default()).unwrap();
    let answer = server.send(request).await;
    assert_eq!(answer.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}
