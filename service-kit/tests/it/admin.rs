//! What do operators see?

use std::{sync::atomic::Ordering, time::Duration};

use http::StatusCode;

use crate::harness::{Plan, Server, echo};

async fn server() -> Server {
    Plan::with(echo(), |settings| {
        settings.admin_listen = Some(([127, 0, 0, 1], 0).into());
    })
    .start()
    .await
}

#[tokio::test]
async fn metrics_tell_of_calls_and_of_the_pool() {
    let server = server().await;
    server.say("x").await.unwrap();
    let page = server.admin_page("/metrics").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.header("content-type").starts_with("application/openmetrics-text"));
    let text = String::from_utf8_lossy(&page.body);
    for line in [
        "method=\"opentelemetry.proto.collector.trace.v1.TraceService/Export\",code=\"OK\",reason=\"\"} 1",
        "db_pool_size{service=\"test-service\"} 8",
        "db_pool_idle{service=\"test-service\"} 5",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
}

#[tokio::test]
async fn the_state_is_that_of_the_database() {
    let server = server().await;
    let page = server.admin_page("/healthz").await;
    assert_eq!((page.status, &page.body[..]), (StatusCode::OK, &b"ok\n"[..]));
    server.ready.0.store(true, Ordering::SeqCst);
    for _ in 0..50 {
        let page = server.admin_page("/healthz").await;
        if page.status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(page.body, "not ready\n");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody noticed that the database is gone");
}

/// Security checklist 50.
#[tokio::test]
async fn there_is_nothing_else() {
    let server = server().await;
    assert_eq!(server.admin_page("/").await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.admin_page("/debug").await.status, StatusCode::NOT_FOUND);
}
