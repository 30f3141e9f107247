//! Is TLS spoken with both versions of HTTP, and does nobody hold others up?

use std::{io::Write, sync::Arc, time::Duration};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use service_kit::config::TlsFiles;
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer},
};

use crate::harness::{METHOD, Plan, Server, body, echo};

struct Secure {
    server: Server,
    certificate: CertificateDer<'static>,
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

async fn secure() -> Secure {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (file(&cert.pem()), file(&signing_key.serialize_pem()));
    let files = TlsFiles { certificate: chain.path().into(), key: key.path().into() };
    let server = Plan::with(echo(), |settings| settings.tls = Some(files)).start().await;
    Secure { server, certificate: cert.der().clone() }
}

impl Secure {
    async fn connect(&self, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.server.address).await?;
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
    }
}

#[tokio::test]
async fn http_2_is_chosen_where_both_speak_it() {
    let secure = secure().await;
    let stream = secure.connect(&["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("https://localhost{METHOD}"))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (response, mut sending) = sender.send_request(request, false).unwrap();
    sending.send_data(body("x").into(), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn http_1_is_spoken_with_those_that_know_no_other() {
    let secure = secure().await;
    let mut stream = secure.connect(&["http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 Not Found"), "{answer}");
}

#[tokio::test]
async fn a_slow_handshake_blocks_nobody() {
    let secure = secure().await;
    let _silent: Vec<_> =
        futures::future::join_all((0..20).map(|_| TcpStream::connect(secure.server.address))).await;
    let connected = tokio::time::timeout(Duration::from_secs(5), secure.connect(&["h2"])).await;
    assert!(connected.unwrap().is_ok());
}

/// Security checklist 48.
#[tokio::test]
async fn nothing_is_answered_in_clear() {
    let secure = secure().await;
    let mut stream = TcpStream::connect(secure.server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _closed_by_the_server = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}
