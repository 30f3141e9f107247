//! Does every call end in time, whoever is slow?

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use service_kit::error::Error;
use tonic::{Code, service::Routes};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::harness::{METHOD, Plan, body, handler, line_of, reason_of};

fn slow_handler() -> crate::harness::Behaviour {
    handler(async |text| {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Ok::<_, Error>(text)
    })
}

#[tokio::test]
async fn the_callers_limit_ends_a_handler() {
    let server = Plan::new(slow_handler()).start().await;
    let began = Instant::now();
    let answer = server.call_raw(METHOD, &[("grpc-timeout", "50m")], body("x")).await;
    let (code, reason, _) = answer.refusal();
    assert_eq!((code, reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// Security checklist 44.
#[tokio::test]
async fn the_servers_limit_holds_whatever_the_caller_says() {
    let server = Plan::with(slow_handler(), |settings| {
        settings.request_timeout = Duration::from_millis(50);
    })
    .start()
    .await;
    for timeout in ["99999999H", "nonsense", "-1S"] {
        let answer = server.call_raw(METHOD, &[("grpc-timeout", timeout)], body("x")).await;
        assert_eq!(answer.refusal().0, Code::DeadlineExceeded, "{timeout}");
    }
    assert_eq!(reason_of(&server.say("x").await.unwrap_err()), "DEADLINE_EXCEEDED");
}

#[tokio::test]
async fn an_answer_that_comes_too_slowly_is_ended() {
    // No handler of ours answers like this: a route made by hand does.
    let drips = || async {
        let body = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, std::convert::Infallible>(Bytes::from_static(b"drip")), ()))
        });
        ([("content-type", "application/grpc")], axum::body::Body::from_stream(body))
    };
    let mut plan = Plan::with(slow_handler(), |settings| {
        settings.request_timeout = Duration::from_millis(200);
    });
    plan.routes = Routes::from(axum::Router::new().route(METHOD, axum::routing::post(drips)));
    let server = plan.start().await;
    let answer = server.call_raw(METHOD, &[], body("x")).await;
    assert!(answer.body.starts_with(b"dripdrip"));
    assert_eq!(answer.refusal().1, "DEADLINE_EXCEEDED");
}

/// Security checklist 46 and 47.
#[tokio::test]
async fn an_answer_that_nobody_reads_is_dropped() {
    let server = Plan::with(handler(async |_| Ok("x".repeat(3 << 20))), |settings| {
        settings.request_timeout = Duration::from_millis(300);
        settings.max_in_flight = 1;
    })
    .start()
    .await;
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}{METHOD}", server.address))
        .header("content-type", "application/grpc")
        .header("x-request-id", "unread-1")
        .body(())
        .unwrap();
    let (response, mut sending) = sender.send_request(request, false).unwrap();
    sending.send_data(body("x").into(), true).unwrap();
    let mut unread = response.await.unwrap().into_body();
    // The window is never opened again: 64 KiB arrive, and then nothing may.
    assert_eq!(server.say("second").await.unwrap_err().code(), Code::ResourceExhausted);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut received = 0;
    let end = loop {
        match unread.data().await {
            Some(Ok(data)) => received += data.len(),
            Some(Err(error)) => break error,
            None => panic!("the answer ended well after {received} bytes"),
        }
    };
    assert_eq!(end.reason(), Some(h2::Reason::CANCEL));
    assert!(received <= 64 << 10, "{received}");
    let line = line_of("unread-1").await;
    assert!(line.message.contains("DEADLINE_EXCEEDED"), "{line:?}");
    assert!(server.say("third").await.is_ok(), "its place is free");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_dropped_over_http_1_too() {
    use tokio::io::AsyncWriteExt;
    // More than what the system buffers between two sockets.
    let server = Plan::with(handler(async |_| Ok("x".repeat(24 << 20))), |settings| {
        settings.request_timeout = Duration::from_millis(300);
        settings.max_message_bytes = 32 << 20;
        settings.max_in_flight = 1;
    })
    .start()
    .await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let message = body("x");
    let head = format!(
        "POST {METHOD} HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web\r\n\
         x-request-id: unread-2\r\ncontent-length: {}\r\n\r\n",
        message.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&message).await.unwrap();
    let line = line_of("unread-2").await;
    assert!(line.message.contains("DEADLINE_EXCEEDED"), "{line:?}");
    let next = server.call_raw(METHOD, &[], body("next")).await;
    assert_eq!(next.header("grpc-status"), "0", "its place is free");
    drop(stream);
}

#[tokio::test]
async fn a_large_answer_that_is_read_arrives_whole() {
    let server = Plan::new(handler(async |_| Ok("x".repeat(3 << 20)))).start().await;
    assert_eq!(server.say("x").await.unwrap().len(), 3 << 20);
}

#[tokio::test]
async fn a_stream_lasts_beyond_the_limit() {
    let server = Plan::with(slow_handler(), |settings| {
        settings.request_timeout = Duration::from_millis(100);
    })
    .start()
    .await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 1);
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.ready.0.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(watch.next().await.unwrap().unwrap().status, 2, "it is told the news");
}
