//! What is said when a server cannot start?

use service_kit::{
    config::{LogFormat, ServerSettings, TelemetrySettings, TlsFiles},
    serve::Bound,
    telemetry,
};

async fn sentence(settings: &ServerSettings) -> String {
    match Bound::bind(settings).await {
        Ok(_) => panic!("it can"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_setting() {
    let mut settings = ServerSettings { prefix: "IDENTITY", ..ServerSettings::loopback() };
    let first = Bound::bind(&settings).await.unwrap();
    settings.listen = first.address();
    assert_eq!(
        sentence(&settings).await,
        format!(
            "{} is in use by another program: stop it or set IDENTITY_LISTEN.",
            first.address()
        )
    );
    settings.listen.set_port(0);
    settings.admin_listen = Some(first.address());
    assert!(sentence(&settings).await.ends_with("set IDENTITY_ADMIN_LISTEN."));
}

#[tokio::test]
async fn a_strange_address_is_named_with_its_setting() {
    let settings =
        ServerSettings { listen: ([192, 0, 2, 1], 0).into(), ..ServerSettings::loopback() };
    assert!(sentence(&settings).await.contains("set SERVER_LISTEN to an address of this machine"));
}

#[tokio::test]
async fn files_that_are_no_certificate_are_named() {
    let mut settings = ServerSettings::loopback();
    let files = TlsFiles {
        certificate: "/nonexistent/cert.pem".into(),
        key: "/nonexistent/key.pem".into(),
    };
    settings.tls = Some(files);
    assert!(sentence(&settings).await.starts_with("TLS_CERT_FILE names /nonexistent/cert.pem"));
}

#[tokio::test]
async fn a_strange_log_level_is_named() {
    let settings = TelemetrySettings {
        service: "test-service",
        format: LogFormat::Text,
        filter: "call=louder".to_owned(),
        otlp_endpoint: None,
    };
    let error = telemetry::init(&settings).err().unwrap().to_string();
    assert!(error.starts_with("LOG_LEVEL is \"call=louder\""), "{error}");
}
