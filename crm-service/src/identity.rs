//! How is identity-service reached?

use std::{fs, time::Duration};

use proto::identity::v1::{
    directory_service_client::DirectoryServiceClient, token_service_client::TokenServiceClient,
};
use service_kit::{
    auth::{SERVICE_HEADER, check_secret},
    config::StartError,
    error::Error,
    telemetry::context,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::config::IdentitySettings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// One look-up by key; whoever takes longer is as good as away. A stream has to open in it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// One warm channel, which connects when it is first used and again when it broke, and what
/// proves who asks. Clones share it.
#[derive(Clone)]
pub struct Identity {
    channel: Channel,
    secret: MetadataValue<Ascii>,
}

impl Identity {
    pub fn new(settings: &IdentitySettings) -> Result<Self, StartError> {
        let secret = settings.service_secret.as_ref().ok_or_else(|| {
            StartError::new("CRM_SERVICE_SECRET is not set: give it one of the secrets in IDENTITY_SERVICE_SECRETS of identity-service.")
        })?;
        check_secret("CRM_SERVICE_SECRET", secret.expose())?;
        let secret = MetadataValue::<Ascii>::try_from(secret.expose());
        let mut secret = secret.map_err(|error| StartError::new(error.to_string()))?;
        secret.set_sensitive(true);
        Ok(Self { channel: endpoint(settings)?.connect_lazy(), secret })
    }

    pub fn tokens(&self) -> TokenServiceClient<Channel> {
        TokenServiceClient::new(self.channel.clone())
    }

    pub fn directory(&self) -> DirectoryServiceClient<Channel> {
        DirectoryServiceClient::new(self.channel.clone())
    }

    /// A message as a service's question, in the trace of the call that it is asked for.
    pub fn question<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(SERVICE_HEADER, self.secret.clone());
        context::carry(request.metadata_mut());
        request
    }
}

/// Closed, never open: without identity's word nobody is let in. What it says about this
/// service itself is for the log, and never `Invalid token.` for the caller.
pub fn silent(status: &Status) -> Error {
    tracing::warn!(code = ?status.code(), message = status.message(), "identity-service gives no answer");
    Error::identity_unavailable()
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
