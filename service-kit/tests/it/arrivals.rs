//! What do callers hold who say that they call, and then say nothing?

use std::time::{Duration, Instant};

use h2::client;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{METHOD, Plan, echo};

/// Longer than what a message, and shorter than what a call may take.
const PATIENCE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_call_whose_message_does_not_come_gives_its_place_back() {
    let server = Plan::with(echo(), |settings| settings.max_in_flight = 1).start().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut send, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}{METHOD}", server.address))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (answer, _body_never_sent) = send.send_request(request, false).unwrap();
    let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.headers()["grpc-status"], "4");
    assert_eq!(answer.headers()["error-reason"], "DEADLINE_EXCEEDED");
    assert_eq!(server.say("there is room again").await.unwrap(), "there is room again");
}

/// Security checklist 46.
#[tokio::test]
async fn a_connection_that_does_not_begin_to_speak_is_ended() {
    let server = Plan::new(echo()).start().await;
    for beginning in [&b""[..], b"PRI"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        let started = Instant::now();
        let mut rest = Vec::new();
        // Closed or reset: either is an end.
        let _ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
        assert!(started.elapsed() < PATIENCE && rest.is_empty());
    }
}

/// Security checklist 46.
#[tokio::test]
async fn one_connection_too_many_waits_until_another_ends() {
    let server = Plan::with(echo(), |settings| settings.max_connections = 1).start().await;
    let first = server.channel().await;
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let early =
        tokio::time::timeout(Duration::from_millis(300), second.read_to_string(&mut answer));
    assert!(early.await.is_err() && answer.is_empty(), "it waits: {answer}");
    drop(first);
    tokio::time::timeout(PATIENCE, second.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}
