//! How are the two services called?
//!
//! Like anybody calls them: over the wire, with a token.

use std::{fs, net::SocketAddr, time::Duration};

use proto::{
    crm::v1::{
        client_package_service_client::ClientPackageServiceClient,
        client_service_client::ClientServiceClient,
        instalment_service_client::InstalmentServiceClient,
        package_service_client::PackageServiceClient, payment_service_client::PaymentServiceClient,
    },
    identity::v1::{
        auth_service_client::AuthServiceClient, employee_service_client::EmployeeServiceClient,
    },
};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri},
};

use crate::{
    config::Settings,
    transfer::fault::{Break, Fault},
    welcome::reachable,
};

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const MOST_ANSWER_BYTES: usize = 16 << 20;
/// How often a call is made before it is given up, and how long is waited before the second.
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Both services, and somebody to call them as.
#[derive(Clone)]
pub struct Server {
    identity: Channel,
    crm: Channel,
    authorization: Option<MetadataValue<Ascii>>,
}

impl Server {
    /// Connects when it is first called.
    pub fn new(settings: &Settings, identity: SocketAddr, crm: SocketAddr) -> Result<Self, Fault> {
        Ok(Self {
            identity: channel(settings, identity, settings.identity.server.tls.is_some())?,
            crm: channel(settings, crm, settings.crm.server.tls.is_some())?,
            authorization: None,
        })
    }

    pub fn signed_in(&self, token: &str) -> Result<Self, Fault> {
        let authorization = format!("Token {token}").parse();
        let mut authorization: MetadataValue<Ascii> =
            authorization.map_err(|_| Fault::new("The token has characters that no token has."))?;
        authorization.set_sensitive(true);
        Ok(Self { authorization: Some(authorization), ..self.clone() })
    }

    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(CALL_TIMEOUT);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }

    pub fn auth(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(self.identity.clone())
    }

    pub fn employees(&self) -> EmployeeServiceClient<Channel> {
        EmployeeServiceClient::new(self.identity.clone())
            .max_decoding_message_size(MOST_ANSWER_BYTES)
    }

    pub fn clients(&self) -> ClientServiceClient<Channel> {
        ClientServiceClient::new(self.crm.clone()).max_decoding_message_size(MOST_ANSWER_BYTES)
    }

    pub fn packages(&self) -> PackageServiceClient<Channel> {
        PackageServiceClient::new(self.crm.clone()).max_decoding_message_size(MOST_ANSWER_BYTES)
    }

    pub fn client_packages(&self) -> ClientPackageServiceClient<Channel> {
        ClientPackageServiceClient::new(self.crm.clone())
            .max_decoding_message_size(MOST_ANSWER_BYTES)
    }

    pub fn instalments(&self) -> InstalmentServiceClient<Channel> {
        InstalmentServiceClient::new(self.crm.clone()).max_decoding_message_size(MOST_ANSWER_BYTES)
    }

    pub fn payments(&self) -> PaymentServiceClient<Channel> {
        PaymentServiceClient::new(self.crm.clone()).max_decoding_message_size(MOST_ANSWER_BYTES)
    }
}

/// Makes a call, and makes it again while that may help: every one that writes has a
/// `request_id`.
pub async fn patiently<T>(
    what: &str,
    mut call: impl AsyncFnMut() -> Result<Response<T>, Status>,
) -> Result<T, Fault> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match call().await.map_err(Break::from) {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(Break::Passing(_)) => tokio::time::sleep(pause).await,
            Err(Break::Final(fault)) => return Err(Fault::new(format!("{what}: {fault}"))),
        }
        pause *= 2;
    }
    let answer = call().await.map_err(|status| Fault::new(format!("{what}: {status}")))?;
    Ok(answer.into_inner())
}

/// With certificates by the name by which crm-service finds identity-service.
fn channel(settings: &Settings, at: SocketAddr, is_over_tls: bool) -> Result<Channel, Fault> {
    let at = reachable(at);
    if !is_over_tls {
        return Ok(endpoint(format!("http://{at}"))?.connect_lazy());
    }
    let uri: Uri = settings.crm.identity.url.parse().map_err(unusable)?;
    let host = uri.host().unwrap_or("localhost").to_owned();
    let mut tls = ClientTlsConfig::new().with_webpki_roots();
    if let Some(file) = &settings.crm.identity.ca_file {
        tls = tls.ca_certificate(Certificate::from_pem(fs::read(file).map_err(unusable)?));
    }
    let endpoint = endpoint(format!("https://{host}:{}", at.port()))?;
    Ok(endpoint.tls_config(tls).map_err(unusable)?.connect_lazy())
}

fn endpoint(url: String) -> Result<Endpoint, Fault> {
    Ok(Endpoint::from_shared(url).map_err(unusable)?.tcp_nodelay(true))
}

fn unusable(error: impl std::fmt::Display) -> Fault {
    Fault::new(format!("The services cannot be called: {error}."))
}
