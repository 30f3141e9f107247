//! What is a Stripe endpoint?

use chrono::{DateTime, TimeDelta, Utc};
use proto::crm::v1 as pb;
use service_kit::{
    clock, etag,
    fields::{Fields, Flaw, Text},
    keys::{Keyring, Purpose, random},
    page::{KeyOf, Order},
};
use zeroize::Zeroizing;

/// What of our own address is followed by an endpoint's.
pub const PATH: &str = "/stripe/webhook/";
/// As long as Stripe itself lets two secrets live beside each other.
pub const OVERLAP: TimeDelta = TimeDelta::hours(24);

const SIGNING_SECRET: Purpose = Purpose::new("Stripe signing secret");

/// An endpoint as it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StripeEndpoint {
    pub id: i64,
    pub address: String,
    description: String,
    pub auto_allocate: bool,
    pub secret: Option<Vec<u8>>,
    previous_secret: Option<Vec<u8>>,
    previous_until: Option<DateTime<Utc>>,
    pub create_time: DateTime<Utc>,
    update_time: DateTime<Utc>,
    pub version: i64,
}

impl StripeEndpoint {
    /// As callers see it, who reach us at `public_url`.
    pub fn shown(self, public_url: &str) -> pb::StripeEndpoint {
        pb::StripeEndpoint {
            id: self.id,
            webhook_url: format!("{}{PATH}{}", public_url.trim_end_matches('/'), self.address),
            description: self.description,
            auto_allocate: self.auto_allocate,
            has_secret: self.secret.is_some(),
            previous_secret_expire_time: self.previous_until.map(clock::timestamp),
            create_time: Some(clock::timestamp(self.create_time)),
            update_time: Some(clock::timestamp(self.update_time)),
            etag: etag::of(self.version),
        }
    }

    /// The secrets that Stripe may sign with at this moment.
    pub fn secrets(&self, keys: &Keyring, now: DateTime<Utc>) -> Vec<Zeroizing<Vec<u8>>> {
        let is_good = self.previous_until.is_some_and(|until| now < until);
        let previous = self.previous_secret.as_ref().filter(|_| is_good);
        let sealed = self.secret.iter().chain(previous);
        sealed.filter_map(|sealed| unseal(keys, &self.address, sealed)).collect()
    }
}

/// An endpoint that is about to be.
#[derive(Debug)]
pub struct NewStripeEndpoint {
    pub address: String,
    pub description: String,
    pub auto_allocate: bool,
}

impl NewStripeEndpoint {
    /// Output-only fields are ignored.
    pub fn parse(fields: &mut Fields, endpoint: &pb::StripeEndpoint) -> Option<Self> {
        let description = Text::<255>::parse(&endpoint.description);
        let description = fields.take("stripe_endpoint.description", description)?;
        Some(Self {
            address: hex::encode(random::<16>()),
            description: description.into_string(),
            auto_allocate: endpoint.auto_allocate,
        })
    }
}

/// A signing secret as Stripe shows it.
pub struct SigningSecret(Zeroizing<String>);

impl SigningSecret {
    pub fn parse(text: &str) -> Result<Self, Flaw> {
        const MAX: usize = 255;
        if text.is_empty() {
            return Err(Flaw::Missing);
        }
        let secret = text.strip_prefix("whsec_").filter(|rest| {
            !rest.is_empty() && text.len() <= MAX && rest.bytes().all(|b| b.is_ascii_graphic())
        });
        let flaw = Flaw::bad("must be the signing secret that Stripe shows: whsec_…");
        secret.map(|_| Self(Zeroizing::new(text.to_owned()))).ok_or(flaw)
    }

    /// For its column: it opens at this address only.
    pub fn seal(&self, keys: &Keyring, address: &str) -> Vec<u8> {
        keys.seal(SIGNING_SECRET, address.as_bytes(), self.0.as_bytes())
    }
}

/// Whether a text can be an address: any other is nobody's.
pub fn is_address(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn unseal(keys: &Keyring, address: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    keys.open(SIGNING_SECRET, address.as_bytes(), sealed)
}

/// The orders that a list can be asked for. Newest first unless the caller says otherwise.
pub const ORDERS: &[Order<StripeEndpoint>] = &[Order {
    name: "create_time",
    column: "create_time",
    key: KeyOf::Instant(|endpoint| endpoint.create_time),
}];
pub const DEFAULT_ORDER: &str = "create_time desc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signing_secret_looks_like_stripes() {
        assert!(SigningSecret::parse("whsec_abcDEF123+/=").is_ok());
        assert_eq!(SigningSecret::parse("").err(), Some(Flaw::Missing));
        let long = format!("whsec_{}", "x".repeat(255));
        for bad in ["whsec_", "sk_live_1", "whsec_a b", "whsec_\n", " whsec_a", long.as_str()] {
            assert!(matches!(SigningSecret::parse(bad).err(), Some(Flaw::Bad(_))), "{bad:?}");
        }
    }

    /// Security checklist 62.
    #[test]
    fn it_is_sealed_and_opens_at_its_address_only() {
        let keys = Keyring::parse(&Keyring::generate()).unwrap();
        let sealed = SigningSecret::parse("whsec_1").unwrap().seal(&keys, "here");
        assert!(!sealed.windows(7).any(|window| window == b"whsec_1"));
        assert_eq!(unseal(&keys, "here", &sealed).unwrap().as_slice(), b"whsec_1");
        assert!(unseal(&keys, "elsewhere", &sealed).is_none());
    }
}
