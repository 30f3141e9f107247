//! The layer that asks about every call: is there such a method, who is calling, may they?
//!
//! This is the interceptor of the product: a tower layer, because tonic's own interceptor is
//! synchronous and could not ask another server. A call passes in the order known method →
//! credential → permission, and only then is its message decoded.

mod guard;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::HeaderMap;
use proto::common::v1::ErrorReason as Reason;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tonic::Status;
use zeroize::Zeroizing;

pub use self::guard::Guard;
use crate::{
    access::rank,
    caller::{Actor, Caller, Facts},
    config::{Reflection, Secret, StartError},
    error::Error,
    policy::{Access, Policy, Rule},
    serve::refuse,
    telemetry::context,
};

/// The header in which one service proves itself to another.
pub const SERVICE_HEADER: &str = "x-service-authorization";

/// Finds out whom a credential stands for: identity in its own tables, the others by asking
/// identity.
#[tonic::async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Who it is, or `Unauthenticated` with the reason, or `Unavailable`.
    async fn authenticate(&self, credential: &Credential) -> Result<Facts, Error>;

    /// Moves when an answer that was given may be another by now, to whomever. None, where
    /// nothing tells.
    fn news(&self) -> Option<watch::Receiver<()>> {
        None
    }

    /// Whether it hears of everything that makes its answers fall.
    fn holds(&self) -> bool {
        false
    }
}

/// What the layer needs to decide.
pub struct Gate {
    pub policy: Policy,
    pub authenticator: Arc<dyn Authenticator>,
    pub service_secrets: ServiceSecrets,
    pub reflection: Reflection,
}

/// The layer itself.
pub async fn admit(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let Some(rule) = gate.policy.find(request.uri().path()) else {
        return refuse(Error::MethodUnknown);
    };
    let admitted = match gate.required(rule.access) {
        Access::Public => Ok(None),
        Access::Service => gate.service_secrets.check(request.headers()).map(|()| None),
        Access::Reflection => Err(Error::MethodUnknown),
        _ => gate.admit(rule, request.headers()).await.map(Some),
    };
    match admitted {
        Ok(Some((caller, guard))) => {
            context::identify(&caller);
            request.extensions_mut().insert(caller);
            if let Some(guard) = guard {
                request.extensions_mut().insert(guard);
            }
        }
        Ok(None) => {}
        Err(error) => return refuse(error),
    }
    next.run(request).await
}

impl Gate {
    /// The caller and, of a stream, by what they can be asked about again.
    async fn admit(
        self: &Arc<Self>,
        rule: Rule,
        headers: &HeaderMap,
    ) -> Result<(Caller, Option<Guard>), Error> {
        let credential = Credential::from_headers(headers)?;
        let call = context::current();
        if call.is_some_and(|call| call.method().is_some_and(|method| !method.streaming)) {
            return Ok((self.identify(rule, &credential).await?, None));
        }
        let mut guard = Guard::new(Arc::clone(self), rule, credential);
        Ok((guard.ask().await?, Some(guard)))
    }

    /// The caller, if they may do what the rule asks for.
    async fn identify(&self, rule: Rule, credential: &Credential) -> Result<Caller, Error> {
        let facts = self.authenticator.authenticate(credential).await?;
        // Programs sleep until it is open again; people may have to open it.
        let is_employee = matches!(facts.actor, Actor::Employee(_));
        if facts.account_closed && !(rule.even_closed && is_employee) {
            return Err(Error::ACCOUNT_CLOSED);
        }
        satisfied(self.required(rule.access), &facts)?;
        Ok(Caller::admitted(facts))
    }

    /// Reflection is whatever the setting says; `off` leaves it as it is, unknown.
    fn required(&self, access: Access) -> Access {
        match (access, self.reflection) {
            (Access::Reflection, Reflection::Public) => Access::Public,
            (Access::Reflection, Reflection::Authenticated) => Access::SignedIn,
            _ => access,
        }
    }
}

/// Whether somebody who is known may do what a row of the policy asks for.
fn satisfied(access: Access, facts: &Facts) -> Result<(), Error> {
    let is_employee = matches!(facts.actor, Actor::Employee(_));
    match access {
        Access::Needs(permission) if !facts.permissions.contains(&permission) => {
            Err(Error::Denied(permission))
        }
        Access::AtLeast(role) if !is_employee || rank(facts.role) < rank(role) => {
            Err(Error::RoleRequired(role))
        }
        Access::Employee if !is_employee => Err(Error::EMPLOYEES_ONLY),
        _ => Ok(()),
    }
}

/// Takes a request apart: who calls, and what they say.
///
/// # Errors
/// `INTERNAL` when the auth layer did not run: closed, never open.
pub fn open<T>(request: tonic::Request<T>) -> Result<(Caller, T), Status> {
    let (_, extensions, message) = request.into_parts();
    match extensions.get::<Caller>() {
        Some(caller) => Ok((caller.clone(), message)),
        None => Err(Error::internal("a handler was reached without the auth layer").into()),
    }
}

/// The same for a stream, which its [`Guard`] has to be set over.
pub fn open_stream<T>(request: tonic::Request<T>) -> Result<(Caller, Guard, T), Status> {
    let guard = request.extensions().get::<Guard>().cloned();
    let (caller, message) = open(request)?;
    let guard = guard.ok_or_else(|| Error::internal("a caller without a guard"))?;
    Ok((caller, guard, message))
}

/// What a caller shows: the value in `authorization`, without the keyword.
pub struct Credential(Zeroizing<String>);

impl Credential {
    /// The one in the headers, after `Token` or `Bearer` in whatever case.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Error> {
        let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
        let value = values.next().ok_or(Error::Unauthenticated(Reason::TokenMissing))?;
        if values.next().is_some() {
            return Err(Error::Unauthenticated(Reason::AuthorizationAmbiguous));
        }
        let invalid = || Error::Unauthenticated(Reason::TokenInvalid);
        let text = value.to_str().map_err(|_| invalid())?;
        let (keyword, credential) = text.trim().split_once(' ').ok_or_else(invalid)?;
        if !["token", "bearer"].contains(&keyword.to_ascii_lowercase().as_str()) {
            return Err(invalid());
        }
        Ok(Self::new(credential.trim()))
    }

    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// The shared secrets of which a calling service must know one: two while they are rotated,
/// none where no service ever calls.
#[derive(Default)]
pub struct ServiceSecrets(Vec<[u8; 32]>);

/// What nobody guesses.
const MIN_SECRET_CHARACTERS: usize = 16;

/// Refuses a secret that could be guessed, or that could not stand in a list or a header.
pub fn check_secret(setting: &str, secret: &str) -> Result<(), StartError> {
    let usable = secret.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    if secret.len() >= MIN_SECRET_CHARACTERS && usable {
        return Ok(());
    }
    Err(StartError::new(format!(
        "{setting} has a secret that is shorter than {MIN_SECRET_CHARACTERS} characters or has blanks or \
         commas in it: make one by `openssl rand -hex 32`."
    )))
}

impl ServiceSecrets {
    /// The secrets in a setting, with commas between them.
    pub fn from_setting(name: &str, setting: Option<&Secret>) -> Result<Self, StartError> {
        let secrets = setting.map(Secret::expose).unwrap_or_default().split(',').map(str::trim);
        let secrets: Vec<_> = secrets.filter(|secret| !secret.is_empty()).collect();
        secrets.iter().try_for_each(|secret| check_secret(name, secret))?;
        Ok(Self::new(secrets))
    }

    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        Self(secrets.into_iter().map(digest).collect())
    }

    /// Compares digests, so that neither length nor content shows in the time it takes.
    fn check(&self, headers: &HeaderMap) -> Result<(), Error> {
        let mut values = headers.get_all(SERVICE_HEADER).iter();
        let shown = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().map(digest),
            _ => None,
        };
        let known = shown.is_some_and(|shown| {
            self.0.iter().fold(false, |known, secret| known | bool::from(secret.ct_eq(&shown)))
        });
        if known { Ok(()) } else { Err(Error::Unauthenticated(Reason::ServiceCredentialInvalid)) }
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Security checklist 63.
        #[test]
        fn no_authorization_breaks_it(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            keyword in "(?i)token|bearer|basic|",
            secret in "[!-~]{1,40}",
        ) {
            let read = |value: &[u8]| {
                let value = http::HeaderValue::from_bytes(value).ok()?;
                let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
                Credential::from_headers(&headers).ok().map(|it| it.expose().to_owned())
            };
            if let Some(credential) = read(&bytes) {
                let text = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
                prop_assert!(text.trim().starts_with("token ") || text.trim().starts_with("bearer "));
                prop_assert!(text.ends_with(&credential.to_ascii_lowercase()) || text.ends_with(' '));
            }
            // Not what only looks like one of its letters: there is a sign of Kelvin, too.
            let is_ours = ["token", "bearer"].iter().any(|it| keyword.eq_ignore_ascii_case(it));
            let expected = is_ours.then(|| secret.clone());
            prop_assert_eq!(read(format!("{keyword} {secret}").as_bytes()), expected);
        }
    }
}
