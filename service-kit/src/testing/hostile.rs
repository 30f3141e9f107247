//! What does each method answer to bytes that no client would send?

use bytes::Bytes;
use tonic::{Code, Request, Response, Status, codec::CompressionEncoding, transport::Channel};

use super::{
    descriptor,
    raw::{self, BytesCodec},
    refusal::Refusal,
};
use crate::{
    auth::SERVICE_HEADER,
    policy::{Access, Rule},
};

/// Who sends the garbage.
#[derive(Debug, Clone, Copy)]
pub struct Senders<'a> {
    /// The token of somebody who may call everything.
    pub admin: &'a str,
    /// The token of somebody who is signed in and has no permission.
    pub employee: &'a str,
    /// What a service proves itself by, where services call.
    pub secret: &'a str,
}

/// Sends garbage to every method of a package; returns what was not answered as it must be.
pub async fn complaints(
    channel: &Channel,
    package: &str,
    policy: &[Rule],
    senders: &Senders<'_>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    let pool = descriptor::pool();
    for method in descriptor::methods(&pool, package) {
        let path = descriptor::path(&method);
        let Some(rule) = policy.iter().find(|rule| rule.method == path) else {
            complaints.push(format!("{path} has no policy row"));
            continue;
        };
        let mut expect = |what: &str, said: (Code, String), expected: (Code, &str)| {
            if (said.0, said.1.as_str()) != expected {
                complaints.push(format!("{path} answers {what} with {said:?}, not {expected:?}"));
            }
        };
        for (what, bytes, expected) in garbage() {
            let request = senders.good(rule.access, bytes.clone());
            expect(what, said(channel, &path, request).await, expected);
            // Who may not call is told so before the bytes are looked at.
            for (who, request, refused) in senders.bad(rule.access, &bytes) {
                let said = said(channel, &path, request).await;
                expect(&format!("{what} from {who}"), said, refused);
            }
        }
        let bomb = senders.good(rule.access, vec![0; 16 << 20].into());
        expect("a compressed bomb", said_to_bomb(channel, &path, bomb).await, TOO_LARGE);
    }
    complaints
}

impl Senders<'_> {
    /// Bytes from somebody who may call.
    fn good(&self, access: Access, bytes: Bytes) -> Request<Bytes> {
        if access != Access::Service {
            return raw::request(bytes, self.admin);
        }
        let mut request = raw::request(bytes, "");
        request.metadata_mut().insert(SERVICE_HEADER, self.secret.parse().unwrap());
        request
    }

    /// The same bytes from all who may not, and what each of them is told.
    fn bad(&self, access: Access, bytes: &Bytes) -> Vec<(&'static str, Request<Bytes>, Refused)> {
        let nobody = || raw::request(bytes.clone(), "");
        let employee = || raw::request(bytes.clone(), self.employee);
        let admin = || raw::request(bytes.clone(), self.admin);
        let missing = (Code::Unauthenticated, "TOKEN_MISSING");
        let no_service = (Code::Unauthenticated, "SERVICE_CREDENTIAL_INVALID");
        let denied = (Code::PermissionDenied, "PERMISSION_DENIED");
        let too_low = (Code::PermissionDenied, "ROLE_REQUIRED");
        match access {
            Access::Public => vec![],
            Access::SignedIn | Access::Employee | Access::Reflection => {
                vec![("nobody", nobody(), missing)]
            }
            Access::AtLeast(_) => {
                vec![("nobody", nobody(), missing), ("an employee", employee(), too_low)]
            }
            Access::Needs(_) => {
                vec![("nobody", nobody(), missing), ("an employee", employee(), denied)]
            }
            Access::Service => {
                vec![("nobody", nobody(), no_service), ("an admin", admin(), no_service)]
            }
        }
    }
}

type Refused = (Code, &'static str);

const MALFORMED: Refused = (Code::InvalidArgument, "MALFORMED_MESSAGE");
const TOO_LARGE: Refused = (Code::ResourceExhausted, "MESSAGE_TOO_LARGE");

fn garbage() -> [(&'static str, Bytes, Refused); 3] {
    [
        ("bytes that are no message", Bytes::from_static(&[0xff; 9]), MALFORMED),
        ("a field that ends too early", Bytes::from_static(&[0x0a, 0x7f, 0x01]), MALFORMED),
        ("an oversized message", Bytes::from(vec![0; 5 << 20]), TOO_LARGE),
    ]
}

async fn said(channel: &Channel, path: &str, request: Request<Bytes>) -> (Code, String) {
    code_and_reason(raw::call(channel, path, request).await)
}

/// 16 MiB of nothing are some kilobytes under way.
async fn said_to_bomb(channel: &Channel, path: &str, bomb: Request<Bytes>) -> (Code, String) {
    let mut client =
        tonic::client::Grpc::new(channel.clone()).send_compressed(CompressionEncoding::Gzip);
    client.ready().await.unwrap();
    code_and_reason(client.unary(bomb, path.parse().unwrap(), BytesCodec).await)
}

fn code_and_reason(answer: Result<Response<Bytes>, Status>) -> (Code, String) {
    match answer {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => {
            let refusal = Refusal::of(&status);
            (refusal.code, refusal.reason)
        }
    }
}
