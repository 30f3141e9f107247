//! Which web pages may call, what may they send, and what may they read?

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header, request::Parts};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    error::{REASON_TRAILER, RETRY_TRAILER},
    telemetry::{context::REQUEST_ID_HEADER, trace::TRACEPARENT_HEADER},
};

/// How long a browser may remember that it may call: as long as any browser does.
const PREFLIGHT_LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);

/// What pages may send; `*` would not cover `authorization`.
const ALLOWED_HEADERS: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static(REQUEST_ID_HEADER),
    HeaderName::from_static(TRACEPARENT_HEADER),
];

/// What pages may read: where a layer refused, the status stands in the headers.
const EXPOSED_HEADERS: [HeaderName; 6] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static(REASON_TRAILER),
    HeaderName::from_static(RETRY_TRAILER),
    HeaderName::from_static(REQUEST_ID_HEADER),
];

/// The layer for an allow-list of origins. None of our calls needs cookies, so browsers are
/// not allowed to send any.
pub fn layer(origins: &[String]) -> CorsLayer {
    let origins: Vec<_> = origins.iter().map(|origin| AllowedOrigin::new(origin)).collect();
    let allowed = move |origin: &HeaderValue, _: &Parts| {
        origins.iter().any(|allowed| allowed.matches(origin.as_bytes()))
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods([Method::POST])
        .allow_headers(ALLOWED_HEADERS)
        .expose_headers(EXPOSED_HEADERS)
        .max_age(PREFLIGHT_LIFETIME)
}

#[derive(Clone)]
enum AllowedOrigin {
    Exact(String),
    /// `http://localhost`, on whatever port.
    AnyPort(String),
}

impl AllowedOrigin {
    fn new(setting: &str) -> Self {
        match setting.strip_suffix(":*") {
            Some(host) => Self::AnyPort(host.to_owned()),
            None => Self::Exact(setting.to_owned()),
        }
    }

    fn matches(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => origin == exact.as_bytes(),
            Self::AnyPort(host) => match origin.strip_prefix(host.as_bytes()) {
                // The default port of the scheme is not written.
                Some([]) => true,
                Some([b':', port @ ..]) => !port.is_empty() && port.iter().all(u8::is_ascii_digit),
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_matched_exactly() {
        let exact = AllowedOrigin::new("https://app.example.com");
        assert!(exact.matches(b"https://app.example.com"));
        for other in [
            "https://app.example.com:8443",
            "https://app.example.com.evil.org",
            "http://app.example.com",
            "null",
        ] {
            assert!(!exact.matches(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn any_port_means_the_port_alone() {
        let local = AllowedOrigin::new("http://localhost:*");
        for page in ["http://localhost", "http://localhost:5173"] {
            assert!(local.matches(page.as_bytes()), "{page}");
        }
        for other in [
            "http://localhost:",
            "http://localhost:80.evil.org",
            "http://localhost.evil.org",
            "https://localhost:5173",
            "http://localhost:5173/",
        ] {
            assert!(!local.matches(other.as_bytes()), "{other}");
        }
    }
}
