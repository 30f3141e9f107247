//! What becomes of bytes that are no message, or too many?

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use service_kit::policy::{Access, rule};
use tonic::Code;

use crate::harness::{METHOD, PRIVATE, Plan, Server, TOKEN, body, echo, framed, handler, request};

const LIMIT: usize = 64 << 10;

async fn server() -> Server {
    Plan::with(echo(), |settings| settings.max_message_bytes = LIMIT).start().await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Security checklist 44.
#[tokio::test]
async fn what_is_no_message_is_called_malformed() {
    let server = server().await;
    let whole = body("hello");
    let bodies = [
        ("nothing", Vec::new()),
        ("garbage in a frame", framed(0, &[0xff; 20])),
        ("half a header", whole[..3].to_vec()),
        ("half a message", whole[..whole.len() - 2].to_vec()),
        ("an unknown flag", framed(7, &request("x").encode_to_vec())),
        ("compressed without saying how", framed(1, &gzip(b"x"))),
        ("sixty thousand groups in each other", framed(0, &vec![0x0b; 60_000])),
    ];
    for (what, body) in bodies {
        let answer = server.call_raw(METHOD, &[], body).await;
        let (code, reason, message) = answer.refusal();
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "MALFORMED_MESSAGE"), "{what}");
        assert_eq!(message, "This is not the message that the method takes.");
    }
    let answer = server.call_raw(METHOD, &[("grpc-encoding", "gzip")], framed(1, b"no gzip")).await;
    assert_eq!(answer.refusal().1, "MALFORMED_MESSAGE");
    assert_eq!(server.say("still here").await.unwrap(), "still here");
}

/// Security checklist 43.
#[tokio::test]
async fn what_is_too_large_is_called_so_in_either_direction() {
    let server = server().await;
    let answer = server.call_raw(METHOD, &[], body(&"x".repeat(LIMIT + 1))).await;
    assert_eq!(
        (answer.refusal().0, answer.refusal().1.as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
    );

    let verbose = handler(async |_| Ok("x".repeat(LIMIT + 1)));
    let server = Plan::with(verbose, |settings| settings.max_message_bytes = LIMIT).start().await;
    let answer = server.call_raw(METHOD, &[], body("short")).await;
    assert_eq!(
        (answer.refusal().0, answer.refusal().1.as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
    );
    assert!(answer.body.is_empty());
}

/// Security checklist 43 and 44.
#[tokio::test]
async fn the_limit_holds_after_decompression() {
    let server = server().await;
    let bomb = request(&"x".repeat(50 << 20)).encode_to_vec();
    let bombs = [("gzip", gzip(&bomb)), ("zstd", zstd::encode_all(&bomb[..], 3).unwrap())];
    for (encoding, bomb) in bombs {
        assert!(bomb.len() < LIMIT, "{encoding}: {} bytes are no bomb", bomb.len());
        let answer =
            server.call_raw(METHOD, &[("grpc-encoding", encoding)], framed(1, &bomb)).await;
        let (code, reason, _) = answer.refusal();
        assert_eq!(
            (code, reason.as_str()),
            (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
            "{encoding}"
        );
    }
    for (encoding, small) in [
        ("gzip", gzip(&request("hi").encode_to_vec())),
        ("zstd", zstd::encode_all(&request("hi").encode_to_vec()[..], 3).unwrap()),
    ] {
        let answer =
            server.call_raw(METHOD, &[("grpc-encoding", encoding)], framed(1, &small)).await;
        assert_eq!(answer.header("grpc-status"), "0", "{encoding}");
    }
}

#[tokio::test]
async fn an_unknown_compression_is_named_as_the_reason() {
    let server = server().await;
    let answer = server.call_raw(METHOD, &[("grpc-encoding", "snappy")], body("x")).await;
    let (code, reason, message) = answer.refusal();
    assert_eq!((code, reason.as_str()), (Code::Unimplemented, "COMPRESSION_UNKNOWN"));
    assert!(!message.contains("snappy"), "nothing of the request comes back");
    assert_eq!(answer.header("grpc-accept-encoding"), "gzip,zstd,identity");
}

#[tokio::test]
async fn an_unknown_method_is_called_so() {
    let server = server().await;
    for path in
        ["/no.Such/Method", "/", "/opentelemetry.proto.collector.trace.v1.TraceService/Other"]
    {
        let (code, reason, _) = server.call_raw(path, &[], body("x")).await.refusal();
        assert_eq!((code, reason.as_str()), (Code::Unimplemented, "METHOD_UNKNOWN"), "{path}");
    }
}

/// Security checklist 28.
#[tokio::test]
async fn a_method_without_a_row_of_policy_is_unknown_and_not_reached() {
    let reached = Arc::new(AtomicBool::new(false));
    let reports = Arc::clone(&reached);
    let mut plan = Plan::new(handler(move |text| {
        reports.store(true, Ordering::SeqCst);
        async { Ok(text) }
    }));
    // The router knows the method all the same.
    plan.rules = const { &[rule(PRIVATE, Access::SignedIn)] };
    let server = plan.start().await;
    let token = format!("Token {TOKEN}");
    for headers in [&[][..], &[("authorization", token.as_str())]] {
        let (code, reason, _) = server.call_raw(METHOD, headers, body("x")).await.refusal();
        assert_eq!((code, reason.as_str()), (Code::Unimplemented, "METHOD_UNKNOWN"));
    }
    assert!(!reached.load(Ordering::SeqCst));
}

#[tokio::test]
async fn answers_are_compressed_as_the_caller_understands() {
    let server = server().await;
    let said = "hello ".repeat(100);
    for accepted in ["zstd", "gzip", "identity"] {
        let accepts = [("grpc-accept-encoding", accepted)];
        let answer = server.call_raw(METHOD, &accepts, body(&said)).await;
        assert_eq!(answer.header("grpc-status"), "0", "{accepted}");
        let (frame, message) = answer.body.split_at(5);
        let message = match accepted {
            "zstd" => zstd::decode_all(message).unwrap(),
            "gzip" => gunzip(message),
            _ => message.to_vec(),
        };
        let compressed = accepted != "identity";
        assert_eq!(frame[0], u8::from(compressed), "{accepted}");
        assert_eq!(answer.header("grpc-encoding"), if compressed { accepted } else { "" });
        let message = ExportTraceServiceResponse::decode(&message[..]).unwrap();
        assert_eq!(message.partial_success.unwrap().error_message, said, "{accepted}");
    }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// Security checklist 43 and 44.
///
/// Over HTTP/2, where every gRPC caller is. hyper's own limit is twice this one.
#[tokio::test]
async fn headers_that_are_too_large_end_the_call_and_not_the_connection() {
    let server = Plan::with(echo(), |settings| settings.max_header_bytes = 8 << 10).start().await;
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for (kib, status) in [(4, 200), (10, 431), (4, 200), (20, 431), (4, 200)] {
        let request = http::Request::post(format!("http://{}{METHOD}", server.address))
            .header("content-type", "application/grpc")
            .header("x-large", "x".repeat(kib << 10))
            .body(())
            .unwrap();
        let mut ready = send.clone().ready().await.unwrap();
        let (answer, mut message) = ready.send_request(request, false).unwrap();
        // Whoever is refused by its headers need not send the rest.
        let _refused_already = message.send_data(body("x").into(), true);
        assert_eq!(answer.await.unwrap().status(), status, "{kib} KiB");
    }
}

#[tokio::test]
async fn health_of_an_unknown_service_is_not_found() {
    let server = server().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel().await);
    let ask = |service: &str| tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
    assert_eq!(health.check(ask("")).await.unwrap().into_inner().status, 1);
    assert_eq!(health.check(ask(crate::harness::SERVICE)).await.unwrap().into_inner().status, 1);
    let status = health.check(ask("no.Such")).await.unwrap_err();
    assert_eq!(
        (status.code(), crate::harness::reason_of(&status).as_str()),
        (Code::NotFound, "NOT_FOUND")
    );
}

#[tokio::test]
async fn an_rpc_is_a_post_and_nothing_else() {
    let server = server().await;
    for content_type in ["application/grpc", "application/grpc-web+proto"] {
        for verb in ["GET", "PUT", "PATCH", "DELETE", "HEAD"] {
            let call = http::Request::builder()
                .method(verb)
                .uri(METHOD)
                .header("content-type", content_type)
                .body(http_body_util::Full::from(body("hello")));
            let answer = server.send(call.unwrap()).await;
            assert_eq!(
                answer.status,
                http::StatusCode::METHOD_NOT_ALLOWED,
                "{verb} {content_type}"
            );
        }
    }
}
