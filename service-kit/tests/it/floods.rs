//! Whoever floods a connection, frame by frame, is stopped, and others are served meanwhile.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{METHOD, Plan, Server, echo};

const PATIENCE: Duration = Duration::from_secs(20);

// Kinds of frames, and codes, as RFC 9113 numbers them.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self { kind, flags, stream, payload: payload.to_vec() }
    }

    fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()];
        [&head.concat(), &self.payload[..]].concat()
    }

    /// The last four bytes before any text.
    fn code(&self) -> u32 {
        let start = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[start..start + 4].try_into().unwrap())
    }
}

/// The beginning of a call whose message never comes.
fn call(stream: u32) -> Frame {
    let text = |name: &[u8], value: &str| {
        [name, &[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat()
    };
    // POST and http have numbers of their own; of the others the names do.
    let headers = [
        vec![0x83, 0x86],
        text(&[0x04], METHOD),
        text(&[0x01], "localhost"),
        text(&[0x0f, 0x10], "application/grpc"),
    ];
    Frame::new(HEADERS, END_HEADERS, stream, &headers.concat())
}

/// A connection on which anything can be said.
struct Raw(TcpStream);

impl Raw {
    async fn to(server: &Server) -> Self {
        let mut raw = Self(TcpStream::connect(server.address).await.unwrap());
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        raw.say(&[Frame::new(SETTINGS, 0, 0, &[])]).await;
        raw
    }

    async fn say(&mut self, frames: &[Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        self.0.write_all(&bytes).await.unwrap();
    }

    async fn hear(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        timeout(PATIENCE, self.0.read_exact(&mut head)).await.expect("an answer").ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        timeout(PATIENCE, self.0.read_exact(&mut payload)).await.expect("the rest").ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of a kind; none where the connection ends before.
    async fn hear_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.hear().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }
}

/// Security checklist 46.
#[tokio::test]
async fn of_more_streams_than_a_connection_may_have_the_others_are_refused() {
    let plan = Plan::with(echo(), |settings| settings.max_streams_per_connection = 2);
    let server = plan.start().await;
    let mut raw = Raw::to(&server).await;
    let announced = raw.hear_of(SETTINGS).await.unwrap().payload;
    assert!(announced.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 2]), "{announced:?}");
    raw.say(&[Frame::new(SETTINGS, ACK, 0, &[]), call(1), call(3), call(5)]).await;
    let refused = raw.hear_of(RST_STREAM).await.unwrap();
    assert_eq!((refused.stream, refused.code()), (5, REFUSED_STREAM));
    // One that ends makes room.
    let end = Frame::new(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    let ping = Frame::new(PING, 0, 0, b"are we ?");
    raw.say(&[end, call(7), ping]).await;
    loop {
        let frame = raw.hear().await.unwrap();
        assert_ne!(frame.kind, RST_STREAM, "of stream {}", frame.stream);
        if (frame.kind, frame.flags) == (PING, ACK) {
            break;
        }
    }
    assert_eq!(server.say("hi").await.unwrap(), "hi");
}

/// Security checklist 46: streams that are opened only to be reset.
#[tokio::test]
async fn a_rapid_reset_ends_the_connection_and_no_other() {
    let server = Plan::new(echo()).start().await;
    let mut raw = Raw::to(&server).await;
    let resets = (0..500_u32).flat_map(|number| {
        let stream = 2 * number + 1;
        [call(stream), Frame::new(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())]
    });
    let bytes: Vec<u8> = resets.flat_map(|frame| frame.bytes()).collect();
    // It may be cut off before it has said all.
    let _cut_off = raw.0.write_all(&bytes).await;
    if let Some(end) = raw.hear_of(GOAWAY).await {
        assert_eq!(end.code(), ENHANCE_YOUR_CALM);
        while raw.hear().await.is_some() {}
    }
    assert_eq!(server.say("hi").await.unwrap(), "hi");
}

/// Security checklist 46: whoever asks and does not listen is not listened to.
#[tokio::test]
async fn a_ping_flood_keeps_nobody_else_out() {
    let server = Plan::new(echo()).start().await;
    let mut raw = Raw::to(&server).await;
    raw.hear_of(SETTINGS).await.unwrap();
    let pings = 2_000;
    let flood: Vec<_> = (0..pings).map(|_| Frame::new(PING, 0, 0, b"knocking")).collect();
    raw.say(&flood).await;
    assert_eq!(server.say("hi").await.unwrap(), "hi");
    let mut answers = 0;
    while answers < pings {
        let Some(frame) = raw.hear().await else { break };
        answers += usize::from((frame.kind, frame.flags) == (PING, ACK));
    }
    assert!(answers <= pings);
    assert_eq!(server.say("still").await.unwrap(), "still");
}
