//! How crm-service finds out who calls it: by asking identity-service, about every call.

use std::{fs, time::Duration};

use proto::{
    common::v1::{ErrorReason as Reason, Permission, Role},
    identity::v1::{
        self as pb, actor, token_service_client::TokenServiceClient,
        validate_token_response::Outcome,
    },
};
use service_kit::{
    auth::{Authenticator, Credential, SERVICE_HEADER, check_secret},
    caller::{Actor, Facts},
    config::StartError,
    error::Error,
    fields::Currency,
    telemetry::context,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::config::IdentitySettings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// One look-up by key; whoever takes longer is as good as away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(1);

/// Asks over one warm channel, which connects when it is first used and again when it broke.
pub struct AskIdentity {
    client: TokenServiceClient<Channel>,
    secret: MetadataValue<Ascii>,
}

impl AskIdentity {
    pub fn new(settings: &IdentitySettings) -> Result<Self, StartError> {
        let secret = settings.service_secret.as_ref().ok_or_else(|| {
            StartError::new("CRM_SERVICE_SECRET is not set: give it one of the secrets in IDENTITY_SERVICE_SECRETS of identity-service.")
        })?;
        check_secret("CRM_SERVICE_SECRET", secret.expose())?;
        let secret = MetadataValue::<Ascii>::try_from(secret.expose());
        let mut secret = secret.map_err(|error| StartError::new(error.to_string()))?;
        secret.set_sensitive(true);
        Ok(Self { client: TokenServiceClient::new(endpoint(settings)?.connect_lazy()), secret })
    }

    async fn ask(&self, credential: &Credential) -> Result<Outcome, Error> {
        let credential = credential.expose().to_owned();
        let mut request = Request::new(pb::ValidateTokenRequest { credential });
        request.metadata_mut().insert(SERVICE_HEADER, self.secret.clone());
        context::carry(request.metadata_mut());
        let answer = self.client.clone().validate_token(request).await;
        let answer = answer.map_err(|status| silent(&status))?.into_inner();
        answer
            .outcome
            .ok_or_else(|| Error::internal("identity-service answered neither yes nor no"))
    }
}

#[tonic::async_trait]
impl Authenticator for AskIdentity {
    async fn authenticate(&self, credential: &Credential) -> Result<Facts, Error> {
        match self.ask(credential).await? {
            Outcome::Identity(identity) => facts(&identity),
            Outcome::Refusal(refusal) if refusal.reason() == Reason::AccountClosed => {
                Err(Error::ACCOUNT_CLOSED)
            }
            Outcome::Refusal(refusal) => Err(Error::Unauthenticated(known(refusal.reason()))),
        }
    }
}

/// Closed, never open: without identity's word nobody is let in. What it says about this
/// service itself is for the log, and never `Invalid token.` for the caller.
fn silent(status: &Status) -> Error {
    tracing::warn!(code = ?status.code(), message = status.message(), "identity-service gives no answer");
    Error::Unavailable { reason: Reason::IdentityUnavailable, retry: RETRY }
}

/// A reason that this version does not know is still a refusal.
fn known(reason: Reason) -> Reason {
    if reason == Reason::Unspecified { Reason::TokenInvalid } else { reason }
}

fn facts(identity: &pb::Identity) -> Result<Facts, Error> {
    let actor = match identity.actor.as_ref().and_then(|actor| actor.kind) {
        Some(actor::Kind::EmployeeId(id)) => Actor::Employee(id),
        Some(actor::Kind::ApiKeyId(id)) => Actor::ApiKey(id),
        None => return Err(Error::internal("identity-service named an actor of no known kind")),
    };
    let settings = identity.account_settings.clone().unwrap_or_default();
    Ok(Facts {
        account_id: identity.account_id,
        actor,
        role: Role::try_from(identity.role).unwrap_or_default(),
        // A permission that this version does not know is one it never asks for.
        permissions: identity
            .permissions
            .iter()
            .filter_map(|p| Permission::try_from(*p).ok())
            .collect(),
        default_currency: Currency::parse(&settings.default_currency).map_err(|flaw| {
            Error::internal(format!("identity-service: default_currency {flaw}"))
        })?,
        time_zone: settings.time_zone.parse().map_err(|_| {
            Error::internal(format!("identity-service: unknown time zone {}", settings.time_zone))
        })?,
        visibility: settings.employee_client_visibility(),
        session_id: None,
        account_closed: false,
    })
}

fn endpoint(settings: &IdentitySettings) -> Result<Endpoint, StartError> {
    let unusable = |error: &dyn std::fmt::Display| {
        StartError::new(format!(
            "CRM_IDENTITY_URL cannot be used ({error}): write it as https://identity.internal:50051."
        ))
    };
    let endpoint = Endpoint::from_shared(settings.url.clone())
        .map_err(|error| unusable(&error))?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(ANSWER_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true);
    if !settings.url.starts_with("https://") {
        return Ok(endpoint);
    }
    let mut tls = ClientTlsConfig::new().with_webpki_roots();
    if let Some(file) = &settings.ca_file {
        let pem = fs::read(file).map_err(|error| {
            StartError::new(format!(
                "CRM_IDENTITY_CA_FILE {} cannot be read: {error}.",
                file.display()
            ))
        })?;
        tls = tls.ca_certificate(Certificate::from_pem(pem));
    }
    endpoint.tls_config(tls).map_err(|error| unusable(&error))
}
