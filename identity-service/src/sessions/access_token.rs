//! What does an access token say, and is this one ours?
//!
//! A JWT signed with Ed25519. The keys grow from the service's [`Keyring`]: the first one signs,
//! all of them verify and are published. To rotate, put the new key behind the old one until
//! every process publishes it, then in front, and drop the old one once its last token expired.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service_kit::{
    error::Error,
    keys::{Keyring, Purpose, random},
};
use sha2::{Digest, Sha256};

use super::ed25519::Keys;

/// What the seeds of the signing keys are derived for.
const SIGNING: Purpose = Purpose::new("access token signing");
const AUDIENCE: &str = "clientele";
/// Tells an access token from every other JWT (RFC 9068).
const TYPE: &str = "at+jwt";
/// Many times what ours have; more is not worth decoding.
const MAX_BYTES: usize = 4096;
/// How far the clocks of two of our processes may be apart.
const MAX_AHEAD_SECONDS: i64 = 5;

/// Whose token it is, and of which session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "three ids, of three things")]
pub struct Claims {
    pub account_id: i64,
    pub employee_id: i64,
    pub session_id: i64,
}

/// What an access token of ours says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub claims: Claims,
    pub expire_time: DateTime<Utc>,
    /// Its time is over: it is good for nothing but to say which session it belonged to.
    pub is_over: bool,
}

/// Makes access tokens, and reads those that it made.
pub struct AccessTokens {
    keys: Vec<Key>,
    issuer: String,
    lifetime: Duration,
    validation: Validation,
}

impl AccessTokens {
    pub fn new(keyring: &Keyring, issuer: String, lifetime: Duration) -> Self {
        let seeds = keyring.derived(SIGNING);
        let keys = seeds.iter().map(|(_, seed)| Key::from_seed(seed)).collect();
        let validation = validation(&issuer);
        Self { keys, issuer, lifetime, validation }
    }

    /// A token, and when it expires.
    pub fn issue(
        &self,
        claims: &Claims,
        now: DateTime<Utc>,
    ) -> Result<(String, DateTime<Utc>), Error> {
        let expiry = self.expiry(now).ok_or_else(|| Error::internal("no such time of expiry"))?;
        let payload = Payload {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: claims.employee_id.to_string(),
            account_id: claims.account_id.to_string(),
            sid: claims.session_id.to_string(),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: expiry.timestamp(),
            jti: hex::encode(random::<8>()),
        };
        let key = &self.keys[0];
        let token = jsonwebtoken::encode(&key.header, &payload, &key.keys.signing);
        Ok((token.map_err(Error::internal)?, expiry))
    }

    /// What a token says, if it is ours and of now.
    pub fn read(&self, token: &str, now: DateTime<Utc>) -> Option<Reading> {
        if token.len() > MAX_BYTES {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        // The whole header is compared: another algorithm or type, and anything that would
        // bring or point to a key, makes it none of ours.
        let key = self.keys.iter().find(|key| key.header == header)?;
        let decoded = jsonwebtoken::decode(token, &key.keys.verifying, &self.validation).ok()?;
        let payload: Payload = decoded.claims;
        if payload.begins_after(now) {
            return None;
        }
        Some(Reading {
            claims: payload.claims()?,
            expire_time: DateTime::from_timestamp(payload.exp, 0)?,
            is_over: payload.is_over(now),
        })
    }

    /// The public keys, as a JWK set.
    pub fn jwks(&self) -> String {
        json!({ "keys": self.keys.iter().map(Key::jwk).collect::<Vec<_>>() }).to_string()
    }

    /// In whole seconds, as a token says it.
    fn expiry(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let expiry = now.checked_add_signed(TimeDelta::from_std(self.lifetime).ok()?)?;
        DateTime::from_timestamp(expiry.timestamp(), 0)
    }
}

/// All but the times: the library compares them with the system's clock, we with the time of
/// the request, like everything else that expires.
fn validation(issuer: &str) -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "nbf", "exp"]);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

struct Key {
    keys: Keys,
    header: Header,
}

impl Key {
    fn from_seed(seed: &[u8; 32]) -> Self {
        let keys = Keys::from_seed(seed);
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(thumbprint(&keys.public));
        Self { keys, header }
    }

    fn jwk(&self) -> Value {
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": URL_SAFE_NO_PAD.encode(self.keys.public),
            "kid": self.header.kid,
            "alg": "EdDSA",
            "use": "sig",
        })
    }
}

/// The key's name, which follows from the key (RFC 7638): the members, their order and the
/// missing blanks are prescribed.
fn thumbprint(public: &[u8; 32]) -> String {
    let x = URL_SAFE_NO_PAD.encode(public);
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(Sha256::digest(jwk))
}

/// What stands in a token. Ids are text: many readers of JSON round large numbers.
#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    aud: String,
    sub: String,
    account_id: String,
    sid: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    /// Two of one second are two all the same.
    #[serde(default)]
    jti: String,
}

impl Payload {
    /// To the second.
    fn is_over(&self, now: DateTime<Utc>) -> bool {
        now.timestamp() >= self.exp
    }

    /// Our clocks may differ a little.
    fn begins_after(&self, now: DateTime<Utc>) -> bool {
        self.nbf.max(self.iat) > now.timestamp() + MAX_AHEAD_SECONDS
    }

    fn claims(&self) -> Option<Claims> {
        Some(Claims {
            account_id: self.account_id.parse().ok()?,
            employee_id: self.sub.parse().ok()?,
            session_id: self.sid.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::{hmac, signature::Ed25519KeyPair};

    use super::*;

    /// What a token says whose time is not over.
    fn live(tokens: &AccessTokens, token: &str, now: DateTime<Utc>) -> Option<Claims> {
        tokens.read(token, now).filter(|reading| !reading.is_over).map(|reading| reading.claims)
    }

    const ISSUER: &str = "https://identity.example";
    const ONE: &str = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const TWO: &str = "2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    const CLAIMS: Claims = Claims { account_id: i64::MAX, employee_id: 7, session_id: 99 };

    fn ring(text: &str) -> Keyring {
        Keyring::parse(text).expect("keys")
    }

    fn tokens(keys: &str) -> AccessTokens {
        AccessTokens::new(&ring(keys), ISSUER.to_owned(), Duration::from_mins(15))
    }

    fn issued(tokens: &AccessTokens) -> String {
        tokens.issue(&CLAIMS, at(0)).expect("a token").0
    }

    /// Seconds after the tokens of these tests are issued, which is not now.
    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(4_000_000_000 + seconds, 0).expect("a time")
    }

    fn part(token: &str, index: usize) -> Value {
        let part = token.split('.').nth(index).expect("a part");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
    }

    fn public_keys(tokens: &AccessTokens) -> Vec<Value> {
        let set: Value = serde_json::from_str(&tokens.jwks()).expect("JSON");
        set["keys"].as_array().expect("a list").clone()
    }

    fn kid(tokens: &AccessTokens) -> Value {
        public_keys(tokens)[0]["kid"].clone()
    }

    fn message(header: &Value, payload: &Value) -> String {
        [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".")
    }

    fn with_signature(message: &str, signature: impl AsRef<[u8]>) -> String {
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Signed with key 1, whatever is in it.
    fn signed(header: &Value, payload: &Value) -> String {
        let seed = ring(ONE).derived(SIGNING).remove(0).1;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).expect("a key");
        let message = message(header, payload);
        with_signature(&message, pair.sign(message.as_bytes()))
    }

    /// The header and the payload of a good token.
    fn good() -> (Value, Value) {
        let token = issued(&tokens(ONE));
        (part(&token, 0), part(&token, 1))
    }

    /// The same object, with one member set, or taken out if it is null.
    fn changed(object: &Value, name: &str, value: Value) -> Value {
        let mut object = object.clone();
        let members = object.as_object_mut().expect("an object");
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.to_owned(), value);
        }
        object
    }

    fn read(token: &str) -> Option<Claims> {
        live(&tokens(ONE), token, at(0))
    }

    #[test]
    fn a_token_says_what_it_was_issued_for() {
        let tokens = tokens(ONE);
        let (token, expiry) = tokens.issue(&CLAIMS, at(0)).expect("a token");
        assert_eq!(expiry, at(900));
        assert_eq!(live(&tokens, &token, at(0)), Some(CLAIMS));
        assert_eq!(
            part(&token, 0),
            json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": kid(&tokens) })
        );
        let mut payload = part(&token, 1);
        let jti = payload.as_object_mut().and_then(|payload| payload.remove("jti"));
        let jti = jti.as_ref().and_then(Value::as_str).expect("a text").to_owned();
        assert!(jti.len() == 16 && jti.bytes().all(|byte| byte.is_ascii_hexdigit()), "{jti}");
        assert_eq!(
            payload,
            json!({
                "iss": ISSUER, "aud": "clientele", "sub": "7", "account_id": "9223372036854775807",
                "sid": "99", "iat": 4_000_000_000_u32, "nbf": 4_000_000_000_u32,
                "exp": 4_000_000_900_u32,
            })
        );
    }

    #[test]
    fn a_fraction_of_a_second_is_not_promised() {
        let tokens = tokens(ONE);
        let now = at(0) + TimeDelta::milliseconds(999);
        let (token, expiry) = tokens.issue(&CLAIMS, now).expect("a token");
        assert_eq!(expiry, at(900));
        assert!(live(&tokens, &token, now).is_some());
        assert!(live(&tokens, &token, at(900) - TimeDelta::milliseconds(1)).is_some());
        assert!(live(&tokens, &token, at(900)).is_none());
    }

    #[test]
    fn the_systems_clock_does_not_matter() {
        let tokens = tokens(ONE);
        for seconds in [0, 4_000_000_000] {
            let now = DateTime::from_timestamp(seconds, 0).expect("a time");
            let (token, _) = tokens.issue(&CLAIMS, now).expect("a token");
            assert_eq!(live(&tokens, &token, now), Some(CLAIMS), "at {seconds}");
        }
    }

    #[test]
    fn a_lifetime_beyond_the_calendar_is_an_error() {
        let tokens = AccessTokens::new(&ring(ONE), ISSUER.to_owned(), Duration::MAX);
        assert!(tokens.issue(&CLAIMS, at(0)).is_err());
    }

    /// Security checklist 24.
    #[test]
    fn it_ends_to_the_second_and_begins_with_five_to_spare() {
        let tokens = tokens(ONE);
        let token = issued(&tokens);
        for (seconds, good) in [(-6, false), (-5, true), (0, true), (899, true), (900, false)] {
            assert_eq!(live(&tokens, &token, at(seconds)).is_some(), good, "at {seconds}");
        }
    }

    #[test]
    fn a_forgery_with_the_right_key_and_nothing_changed_is_read() {
        let (header, payload) = good();
        assert_eq!(read(&signed(&header, &payload)), Some(CLAIMS));
    }

    /// Security checklist 24.
    #[test]
    fn only_our_own_header_will_do() {
        let (header, payload) = good();
        let theirs = public_keys(&tokens(TWO)).remove(0);
        for (name, value) in [
            ("alg", json!("none")),
            ("alg", json!("None")),
            ("alg", json!("HS256")),
            ("alg", json!("ES256")),
            ("alg", json!("RS256")),
            ("alg", json!("eddsa")),
            ("alg", json!(["EdDSA"])),
            ("alg", Value::Null),
            ("typ", json!("JWT")),
            ("typ", json!("AT+JWT")),
            ("typ", json!("application/at+jwt")),
            ("typ", Value::Null),
            ("kid", json!("")),
            ("kid", json!("1")),
            ("kid", theirs["kid"].clone()),
            ("kid", Value::Null),
            ("jku", json!("https://evil.example/jwks")),
            ("jwk", theirs.clone()),
            ("x5u", json!("https://evil.example/certificate")),
            ("x5c", json!(["AAAA"])),
            ("x5t", json!("AAAA")),
            ("crit", json!(["exp"])),
            ("b64", json!(false)),
            ("zip", json!("DEF")),
            ("anything", json!("else")),
        ] {
            let token = signed(&changed(&header, name, value.clone()), &payload);
            assert_eq!(read(&token), None, "{name} {value}");
        }
    }

    /// Security checklist 24.
    #[test]
    fn only_our_own_claims_will_do() {
        let (header, payload) = good();
        for (name, value) in [
            ("iss", json!("https://evil.example")),
            ("iss", json!([ISSUER])),
            ("iss", Value::Null),
            ("aud", json!("another")),
            ("aud", json!(["clientele"])),
            ("aud", json!(["clientele", "another"])),
            ("aud", Value::Null),
            ("exp", json!(4_000_000_000_u32)),
            ("exp", json!(i64::MIN)),
            ("exp", json!("4000000900")),
            ("exp", json!(4_000_000_900.5)),
            ("exp", json!(u64::MAX)),
            ("exp", Value::Null),
            ("nbf", json!(4_000_000_006_u32)),
            ("nbf", json!(i64::MAX)),
            ("nbf", Value::Null),
            ("iat", json!(4_000_000_006_u32)),
            ("iat", json!(i64::MAX)),
            ("iat", Value::Null),
            ("sub", json!("")),
            ("sub", json!("x")),
            ("sub", json!(7)),
            ("sub", Value::Null),
            ("account_id", json!("9223372036854775808")),
            ("account_id", json!(3)),
            ("account_id", Value::Null),
            ("sid", json!("1.0")),
            ("sid", Value::Null),
        ] {
            let token = signed(&header, &changed(&payload, name, value.clone()));
            assert_eq!(read(&token), None, "{name} {value}");
        }
        let ahead = signed(&header, &changed(&payload, "nbf", json!(4_000_000_005_u32)));
        assert_eq!(read(&ahead), Some(CLAIMS));
    }

    /// Security checklist 24.
    #[test]
    fn another_rings_token_is_refused_under_any_name() {
        let theirs = issued(&tokens(TWO));
        assert_eq!(read(&theirs), None);
        let (header, payload) = good();
        let signature = theirs.rsplit('.').next().expect("a signature");
        assert_eq!(read(&format!("{}.{signature}", message(&header, &payload))), None);
        let elsewhere = AccessTokens::new(&ring(ONE), "else".to_owned(), Duration::from_mins(15));
        assert_eq!(read(&issued(&elsewhere)), None);
    }

    /// Security checklist 24.
    #[test]
    fn the_public_key_is_no_shared_secret() {
        let (header, payload) = good();
        let header = changed(&header, "alg", json!("HS256"));
        let key = &public_keys(&tokens(ONE))[0];
        let x = key["x"].as_str().expect("text");
        let bytes = URL_SAFE_NO_PAD.decode(x).expect("base64");
        for secret in [bytes.as_slice(), x.as_bytes(), tokens(ONE).jwks().as_bytes()] {
            let message = message(&header, &payload);
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
            assert_eq!(read(&with_signature(&message, tag)), None);
        }
    }

    /// Security checklist 24.
    #[test]
    fn without_a_signature_it_is_nothing() {
        let (header, payload) = good();
        for algorithm in ["none", "None", "NONE", "EdDSA"] {
            let message = message(&changed(&header, "alg", json!(algorithm)), &payload);
            for end in ["", ".", ".AAAA"] {
                assert_eq!(read(&format!("{message}{end}")), None, "{algorithm} {end:?}");
            }
            assert_eq!(read(&with_signature(&message, [0; 64])), None, "{algorithm}");
        }
    }

    #[test]
    fn any_other_spelling_is_refused() {
        let token = issued(&tokens(ONE));
        let parts: Vec<&str> = token.split('.').collect();
        for index in 0..3 {
            for garbage in ["=", "==", " ", "\n", "A", "%", "é", "\0", ".", "/"] {
                let mut longer: Vec<String> = parts.iter().map(ToString::to_string).collect();
                longer[index].push_str(garbage);
                assert_eq!(read(&longer.join(".")), None, "{index} {garbage:?}");
            }
            let mut shorter = parts.clone();
            shorter[index] = "";
            assert_eq!(read(&shorter.join(".")), None, "{index}");
            shorter.remove(index);
            assert_eq!(read(&shorter.join(".")), None, "{index}");
        }
        assert_eq!(read(&format!("Bearer {token}")), None);
        assert_eq!(read(&format!("{token}.{}", parts[2])), None);
    }

    #[test]
    fn any_other_character_is_refused() {
        let tokens = tokens(ONE);
        let token = issued(&tokens);
        for index in 0..token.len() {
            let other = if &token[index..=index] == "A" { "B" } else { "A" };
            let mut changed = token.clone();
            changed.replace_range(index..=index, other);
            assert_eq!(live(&tokens, &changed, at(0)), None, "at {index}");
        }
    }

    #[test]
    fn four_kibibytes_are_the_limit() {
        let (header, payload) = good();
        let padded =
            |bytes: usize| signed(&header, &changed(&payload, "padding", json!("x".repeat(bytes))));
        let longest = (2500..3000).rev().map(padded).find(|token| token.len() <= 4096);
        let longest = longest.expect("a token");
        assert!(longest.len() > 4090);
        assert_eq!(read(&longest), Some(CLAIMS));
        assert_eq!(read(&padded(3000)), None);
    }

    /// Security checklist 24: rotation with overlap.
    #[test]
    fn keys_rotate_with_overlap() {
        let (before, published, swapped, after) = (
            tokens(ONE),
            tokens(&format!("{ONE},{TWO}")),
            tokens(&format!("{TWO},{ONE}")),
            tokens(TWO),
        );
        assert_eq!(kid(&published), kid(&before));
        assert_eq!(part(&issued(&published), 0)["kid"], kid(&before));
        assert_eq!(public_keys(&published).len(), 2);
        assert_eq!(public_keys(&published)[1], public_keys(&after)[0]);
        assert_eq!(part(&issued(&swapped), 0)["kid"], kid(&after));
        for (signer, reader, good) in [
            (&before, &published, true),
            (&before, &swapped, true),
            (&published, &before, true),
            (&published, &swapped, true),
            (&swapped, &published, true),
            (&swapped, &after, true),
            (&swapped, &before, false),
            (&before, &after, false),
            (&published, &after, false),
        ] {
            assert_eq!(live(reader, &issued(signer), at(0)).is_some(), good);
        }
    }

    #[test]
    fn the_public_keys_tell_nothing_else() {
        let tokens = tokens(ONE);
        let key = public_keys(&tokens).remove(0);
        assert_eq!(
            key,
            json!({
                "kty": "OKP", "crv": "Ed25519", "x": key["x"], "kid": key["kid"], "alg": "EdDSA",
                "use": "sig",
            })
        );
        let seed = ring(ONE).derived(SIGNING).remove(0).1;
        assert!(!tokens.jwks().contains(&URL_SAFE_NO_PAD.encode(seed.as_slice())));
    }

    /// The example of RFC 8037, appendix A.
    #[test]
    fn a_seed_gives_the_key_and_the_name_that_the_standard_says() {
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        let seed = seed.expect("base64").try_into().expect("32 bytes");
        let jwk = Key::from_seed(&seed).jwk();
        assert_eq!(jwk["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(jwk["kid"], "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    proptest! {
        /// Security checklist 63.
        #[test]
        fn whatever_is_no_token_is_refused(text in ".*", header in ".*", payload in ".*") {
            prop_assert_eq!(read(&text), None);
            let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
            prop_assert_eq!(read(&format!("{header}.{payload}.{text}")), None);
            let ours = URL_SAFE_NO_PAD.encode(good().0.to_string());
            prop_assert_eq!(read(&format!("{ours}.{payload}.{header}")), None);
        }

        #[test]
        fn whatever_else_is_signed_is_refused(payload in ".*") {
            prop_assert_eq!(read(&signed(&good().0, &json!(payload))), None);
        }
    }
}
