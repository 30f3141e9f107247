//! What does each method answer to bytes that no client would send?

use bytes::Bytes;
use tonic::{Code, Request, codec::CompressionEncoding, transport::Channel};

use super::{
    descriptor,
    raw::{self, BytesCodec},
    refusal::Refusal,
};
use crate::policy::{Access, Rule};

/// Sends garbage to every method of a package; returns what was not answered as it must be.
pub async fn complaints(
    channel: &Channel,
    package: &str,
    policy: &[Rule],
    token: &str,
) -> Vec<String> {
    let mut complaints = Vec::new();
    let pool = descriptor::pool();
    for method in descriptor::methods(&pool, package) {
        let path = descriptor::path(&method);
        let Some(rule) = policy.iter().find(|rule| rule.method == path) else {
            complaints.push(format!("{path} has no policy row"));
            continue;
        };
        if rule.access == Access::Service {
            continue;
        }
        for (what, bytes, expected) in garbage() {
            let mut expect = |said: (Code, String), expected: (Code, &str)| {
                if (said.0, said.1.as_str()) != expected {
                    complaints.push(format!(
                        "{path} answers {what} with {said:?} instead of {expected:?}"
                    ));
                }
            };
            expect(said(channel, &path, raw::request(bytes.clone(), token)).await, expected);
            // Who may not call is told so before the bytes are looked at.
            if rule.access != Access::Public {
                let nobody = said(channel, &path, raw::request(bytes, "")).await;
                expect(nobody, (Code::Unauthenticated, "TOKEN_MISSING"));
            }
        }
        let said = said_to_bomb(channel, &path, token).await;
        if (said.0, said.1.as_str()) != TOO_LARGE {
            complaints.push(format!("{path} answers a compressed bomb with {said:?}"));
        }
    }
    complaints
}

const MALFORMED: (Code, &str) = (Code::InvalidArgument, "MALFORMED_MESSAGE");
const TOO_LARGE: (Code, &str) = (Code::ResourceExhausted, "MESSAGE_TOO_LARGE");

fn garbage() -> [(&'static str, Bytes, (Code, &'static str)); 3] {
    [
        ("bytes that are no message", Bytes::from_static(&[0xff; 9]), MALFORMED),
        ("a field that ends too early", Bytes::from_static(&[0x0a, 0x7f, 0x01]), MALFORMED),
        ("an oversized message", Bytes::from(vec![0; 5 << 20]), TOO_LARGE),
    ]
}

async fn said(channel: &Channel, path: &str, request: Request<Bytes>) -> (Code, String) {
    match raw::call(channel, path, request).await {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => {
            let refusal = Refusal::of(&status);
            (refusal.code, refusal.reason)
        }
    }
}

/// 16 MiB of nothing, which are some kilobytes under way.
async fn said_to_bomb(channel: &Channel, path: &str, token: &str) -> (Code, String) {
    let mut client =
        tonic::client::Grpc::new(channel.clone()).send_compressed(CompressionEncoding::Gzip);
    client.ready().await.unwrap();
    let bomb = raw::request(vec![0; 16 << 20], token);
    match client.unary(bomb, path.parse().unwrap(), BytesCodec).await {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => {
            let refusal = Refusal::of(&status);
            (refusal.code, refusal.reason)
        }
    }
}
