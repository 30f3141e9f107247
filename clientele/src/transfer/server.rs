//! Which server is called, and as whom?

use std::{fs, path::PathBuf};

use clap::Args;
use proto::crm::v1::client_service_client::ClientServiceClient;
use service_kit::config::Secret;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::fault::Fault;

/// The environment variable that holds the token.
const TOKEN: &str = "CLIENTELE_TOKEN";
/// As large as the server makes its answers.
const MOST_ANSWER_BYTES: usize = 16 << 20;

/// Where crm-service is, and what it is shown.
#[derive(Debug, Args)]
pub struct ServerOptions {
    /// crm-service.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:50052")]
    server: String,
    /// Certificates to trust beside the well-known ones, as a PEM file.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Send the token without TLS, also to another machine.
    #[arg(long)]
    insecure: bool,
    /// The file with the token to call with. Without it: what `CLIENTELE_TOKEN` holds.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A server, and somebody to call it as.
#[derive(Clone)]
pub struct Server {
    channel: Channel,
    authorization: MetadataValue<Ascii>,
}

impl Server {
    /// Connects when it is first called, and again whenever the connection broke.
    pub fn new(options: &ServerOptions) -> Result<Self, Fault> {
        let token = token(options)?;
        let authorization = format!("Bearer {}", token.expose()).parse();
        let mut authorization: MetadataValue<Ascii> =
            authorization.map_err(|_| Fault::new("The token has characters that no token has."))?;
        authorization.set_sensitive(true);
        Ok(Self { channel: endpoint(options)?.connect_lazy(), authorization })
    }

    pub fn clients(&self) -> ClientServiceClient<Channel> {
        ClientServiceClient::new(self.channel.clone()).max_decoding_message_size(MOST_ANSWER_BYTES)
    }

    pub fn signed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }
}

/// Never an argument: those are everybody's to read on the same machine.
fn token(options: &ServerOptions) -> Result<Secret, Fault> {
    let (text, from) = match &options.token_file {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|error| {
                Fault::new(format!("{} cannot be read: {error}.", file.display()))
            })?;
            (text, file.display().to_string())
        }
        None => (std::env::var(TOKEN).unwrap_or_default(), TOKEN.to_owned()),
    };
    if text.trim().is_empty() {
        return Err(Fault::new(format!("{from} holds no token: log in, and put the token there.")));
    }
    Ok(Secret::new(text.trim()))
}

fn endpoint(options: &ServerOptions) -> Result<Endpoint, Fault> {
    let url = &options.server;
    let unusable = |error: &dyn std::fmt::Display| {
        Fault::new(format!("{url} is no server ({error}): write it like http://127.0.0.1:50052."))
    };
    let endpoint = Endpoint::from_shared(url.clone()).map_err(|error| unusable(&error))?;
    let endpoint =
        endpoint.http2_keep_alive_interval(std::time::Duration::from_secs(20)).tcp_nodelay(true);
    let host = endpoint.uri().host().unwrap_or_default().to_owned();
    match endpoint.uri().scheme_str() {
        Some("https") => {
            let mut tls = ClientTlsConfig::new().with_webpki_roots();
            if let Some(file) = &options.ca_file {
                let pem = fs::read(file).map_err(|error| {
                    Fault::new(format!("{} cannot be read: {error}.", file.display()))
                })?;
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint.tls_config(tls).map_err(|error| unusable(&error))
        }
        Some("http") if options.insecure || is_this_machine(&host) => Ok(endpoint),
        Some("http") => Err(Fault::new(format!(
            "Anybody on the way to {host} could read the token: use https, or say --insecure."
        ))),
        _ => Err(unusable(&"neither http nor https")),
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(server: &str, insecure: bool) -> ServerOptions {
        ServerOptions { server: server.into(), ca_file: None, insecure, token_file: None }
    }

    /// Security checklist 48.
    #[test]
    fn a_token_does_not_leave_the_machine_in_the_clear() {
        for local in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost"] {
            assert!(endpoint(&options(local, false)).is_ok(), "{local}");
        }
        for remote in ["http://crm.example", "http://10.0.0.7:1", "http://localhost.example"] {
            assert!(endpoint(&options(remote, false)).is_err(), "{remote}");
            assert!(endpoint(&options(remote, true)).is_ok(), "{remote}");
        }
        assert!(endpoint(&options("https://crm.example", false)).is_ok());
        for bad in ["", "crm.example:1", "ftp://crm.example"] {
            assert!(endpoint(&options(bad, true)).is_err(), "{bad}");
        }
    }
}
