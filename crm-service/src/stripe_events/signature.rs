//! Was a delivery signed by Stripe, for this endpoint, just now?
//!
//! Stripe signs `<t>.<body>`, the body byte for byte as it was sent, with HMAC-SHA256 under the
//! endpoint's secret, and puts `t=<seconds>,v1=<hex>` into the header `Stripe-Signature`: several
//! `v1` while it rolls from one secret to another, and schemes of its own that mean nothing here.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How far Stripe's clock and ours may be apart, and how long a delivery may be under way.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// More than Stripe ever sends; each costs a comparison.
const MOST_SIGNATURES: usize = 8;

/// What stands in a `Stripe-Signature` header.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// As it was written, because that is what was signed.
    time: &'a str,
    tags: Vec<[u8; 32]>,
}

impl<'a> Signature<'a> {
    pub fn parse(header: &'a str) -> Option<Self> {
        let pairs = header.split(',').filter_map(|pair| pair.trim().split_once('='));
        let (mut time, mut tags) = (None, Vec::new());
        for (scheme, value) in pairs {
            match scheme {
                "t" if time.is_none() => time = Some(value),
                "v1" if tags.len() < MOST_SIGNATURES => tags.extend(tag(value)),
                _ => {}
            }
        }
        time.filter(|_| !tags.is_empty()).map(|time| Self { time, tags })
    }

    /// Whether one of the secrets made it for this body, not long ago.
    pub fn is_good(&self, body: &[u8], secrets: &[&[u8]], now: DateTime<Utc>) -> bool {
        self.is_recent(now) && secrets.iter().any(|secret| self.is_made_by(secret, body))
    }

    fn is_recent(&self, now: DateTime<Utc>) -> bool {
        let is_number = !self.time.is_empty() && self.time.bytes().all(|b| b.is_ascii_digit());
        let seconds = is_number.then(|| self.time.parse().ok()).flatten();
        let time = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        time.is_some_and(|time| (now - time).abs() <= TOLERANCE)
    }

    fn is_made_by(&self, secret: &[u8], body: &[u8]) -> bool {
        // Compares in constant time.
        self.tags.iter().any(|tag| mac(secret, self.time, body).verify_slice(tag).is_ok())
    }
}

fn tag(text: &str) -> Option<[u8; 32]> {
    let mut tag = [0; 32];
    hex::decode_to_slice(text, &mut tag).ok().map(|()| tag)
}

fn mac(secret: &[u8], time: &str, body: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"whsec_test_secret";
    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    const TIME: i64 = 1_700_000_000;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn signed(secret: &[u8], time: &str, body: &[u8]) -> String {
        format!("t={time},v1={}", hex::encode(mac(secret, time, body).finalize().into_bytes()))
    }

    fn is_good(header: &str, secrets: &[&[u8]], now: i64) -> bool {
        Signature::parse(header).is_some_and(|it| it.is_good(BODY, secrets, at(now)))
    }

    /// Computed with `openssl dgst -sha256 -hmac whsec_test_secret` over `1700000000.{"id":"evt_1"}`.
    #[test]
    fn it_is_the_hmac_that_stripe_documents() {
        let header =
            "t=1700000000,v1=248a374f50f943a28b0f6ab50faf9a7e7e29b710fa26df9fb1618b9bf8ea9c9a";
        assert!(is_good(header, &[SECRET], TIME), "{}", signed(SECRET, "1700000000", BODY));
    }

    /// Security checklist 57.
    #[test]
    fn only_the_endpoints_secrets_the_same_body_and_the_last_minutes_will_do() {
        let header = signed(SECRET, "1700000000", BODY);
        assert!(is_good(&header, &[SECRET], TIME));
        assert!(is_good(&header, &[b"whsec_new", SECRET], TIME), "while one is rotated");
        assert!(is_good(&format!("{header},v1={},v0=1", "0".repeat(64)), &[SECRET], TIME));
        assert!(is_good(&format!("v1={},{header}", "0".repeat(64)), &[SECRET], TIME));
        assert!(!is_good(&header, &[b"whsec_other"], TIME));
        assert!(!is_good(&header, &[], TIME));
        assert!(is_good(&header, &[SECRET], TIME + 300) && is_good(&header, &[SECRET], TIME - 300));
        assert!(!is_good(&header, &[SECRET], TIME + 301), "replayed");
        assert!(!is_good(&header, &[SECRET], TIME - 301), "from the future");
        let other = Signature::parse(&header).unwrap();
        assert!(!other.is_good(br#"{"id": "evt_1"}"#, &[SECRET], at(TIME)), "another body");
    }

    #[test]
    fn what_is_no_signature_is_none() {
        let tag = "0".repeat(64);
        for bad in ["", "t=1", &format!("v1={tag}"), "t=1,v1=", "t=1,v1=zz", "t=1,v1=00", "t,v1"] {
            assert_eq!(Signature::parse(bad), None, "{bad:?}");
        }
        for time in ["", "-1", "+1700000000", "1700000000.0", "99999999999999999999", " "] {
            assert!(!is_good(&signed(SECRET, time, BODY), &[SECRET], TIME), "{time:?}");
        }
    }

    proptest! {
        /// Security checklist 63.
        #[test]
        fn no_header_but_stripes_is_good(header in ".*|(t=[0-9]{10},)?v1=[0-9a-f]{64}") {
            prop_assert!(!is_good(&header, &[SECRET], TIME));
        }
    }
}
