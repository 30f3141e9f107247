//! The public keys of access tokens, as whoever verifies them by themselves meets them.

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Identity, old_and_new};

const PAGE: &str = "/.well-known/jwks.json";

/// The whole answer over HTTP/1.1 to a request without a body, headers included.
async fn ask(address: SocketAddr, line: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn keys(identity: &Identity) -> Vec<Value> {
    let answer = ask(identity.address, &format!("GET {PAGE}"), "").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let set: Value = serde_json::from_str(body).unwrap();
    set["keys"].as_array().unwrap().clone()
}

/// What a token says, as somebody reads it who has nothing but the public keys.
fn verified(token: &str, keys: &[Value]) -> Option<Value> {
    let (message, signature) = token.rsplit_once('.')?;
    let (header, payload) = message.split_once('.')?;
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let header: Value = serde_json::from_slice(&bytes(header)?).ok()?;
    let key = keys.iter().find(|key| key["kid"] == header["kid"])?;
    assert_eq!((&header["alg"], &header["typ"]), (&Value::from("EdDSA"), &Value::from("at+jwt")));
    let public = bytes(key["x"].as_str()?)?;
    let public = UnparsedPublicKey::new(&ED25519, public);
    public.verify(message.as_bytes(), &bytes(signature)?).ok()?;
    serde_json::from_slice(&bytes(payload)?).ok()
}

/// Security checklist 24.
#[tokio::test]
async fn anybody_can_verify_an_access_token_with_the_published_keys() {
    let identity = Identity::start().await;
    let ana = identity.sign_up("ana").await;
    let session = identity.open_session(&ana, "").await;
    let keys = keys(&identity).await;
    let [key] = keys.as_slice() else { panic!("{keys:?}") };
    let members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"], "nothing private");

    let said = verified(&session.access_token, &keys).unwrap();
    assert_eq!(said["sub"], ana.id.to_string());
    assert_eq!(said["account_id"], ana.account_id.to_string());
    assert_eq!(said["iss"], "clientele");
    assert_eq!(said["aud"], "clientele");
    assert_eq!(said["exp"], session.access_expire_time.unwrap().seconds);

    let (message, signature) = session.access_token.rsplit_once('.').unwrap();
    let mut wrong = URL_SAFE_NO_PAD.decode(signature).unwrap();
    wrong[0] ^= 1;
    let wrong = format!("{message}.{}", URL_SAFE_NO_PAD.encode(wrong));
    assert_eq!(verified(&wrong, &keys), None);
    assert!(identity.me(&wrong).await.is_err());
}

/// Security checklist 24: rotation with overlap.
#[tokio::test]
async fn both_keys_are_published_while_they_are_rotated() {
    let (old, new) = old_and_new();
    let before = Identity::start().await.with_keys(&old).await;
    let ana = before.sign_up("ana").await;
    let of_old = before.open_session(&ana, "").await.access_token;
    let after = before.replica_with_keys(&format!("{new},{old}")).await;
    let of_new = after.open_session(&ana, "").await.access_token;

    let (only_old, both) = (keys(&before).await, keys(&after).await);
    assert_eq!((only_old.len(), both.len()), (1, 2));
    assert_eq!(both[1], only_old[0], "the one that signs comes first");
    for token in [&of_old, &of_new] {
        assert!(verified(token, &both).is_some());
    }
    assert!(verified(&of_new, &only_old).is_none());
}

#[tokio::test]
async fn the_page_is_json_that_browsers_of_allowed_origins_may_read() {
    let identity = Identity::with(|server| {
        server.cors_origins = vec!["https://app.example.com".to_owned()];
    })
    .await;
    let get = format!("GET {PAGE}");
    let answer = ask(identity.address, &get, "Origin: https://app.example.com\r\n").await;
    let head = answer.split_once("\r\n\r\n").unwrap().0.to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    for header in [
        "content-type: application/json",
        "cache-control: public, max-age=300",
        "access-control-allow-origin: https://app.example.com",
    ] {
        assert!(head.lines().any(|line| line == header), "{header} is not in {head}");
    }
    let answer = ask(identity.address, &get, "Origin: https://evil.example\r\n").await;
    assert!(!answer.to_lowercase().contains("access-control-allow-origin"), "{answer}");
}

#[tokio::test]
async fn there_is_one_page_and_it_is_only_read() {
    let identity = Identity::start().await;
    for (line, status) in [
        ("HEAD /.well-known/jwks.json", "200"),
        ("POST /.well-known/jwks.json", "405"),
        ("DELETE /.well-known/jwks.json", "405"),
        ("GET /.well-known/jwks.json/", "404"),
        ("GET /.well-known/JWKS.json", "404"),
        ("GET /.well-known/", "404"),
        ("GET /", "404"),
        ("GET /metrics", "404"),
        ("GET /identity.v1.AuthService/GetMe", "404"),
        ("POST /identity.v1.AuthService/GetMe", "404"),
    ] {
        let answer = ask(identity.address, line, "").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
    }
}
