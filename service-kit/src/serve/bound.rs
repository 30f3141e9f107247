//! Which ports are ours, and can TLS be spoken on them?

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use crate::config::{ServerSettings, StartError, TlsFiles};

/// Ports that are bound, so that whoever starts us can say where we are before we serve.
pub struct Bound {
    pub(super) listener: TcpListener,
    pub(super) admin: Option<TcpListener>,
    pub(super) tls: Option<TlsAcceptor>,
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
}

impl Bound {
    pub async fn bind(settings: &ServerSettings) -> Result<Self, StartError> {
        let tls = settings.tls.as_ref().map(tls_acceptor).transpose()?;
        let (listener, address) = listen(settings.listen, &settings.listen_name()).await?;
        let (admin, admin_address) = match settings.admin_listen {
            Some(at) => {
                let (listener, address) = listen(at, &settings.admin_listen_name()).await?;
                (Some(listener), Some(address))
            }
            None => (None, None),
        };
        Ok(Self { listener, admin, tls, address, admin_address })
    }

    /// Where calls are taken, with the real port where the setting said 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are read.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }
}

async fn listen(at: SocketAddr, setting: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = TcpListener::bind(at).await.and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|error| {
        StartError::new(match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("{at} is in use by another program: stop it or set {setting}.")
            }
            io::ErrorKind::PermissionDenied => {
                format!(
                    "{at} may not be listened on by this user: set {setting} to a port above 1023."
                )
            }
            _ => format!(
                "{at} cannot be listened on ({error}): set {setting} to an address of this machine."
            ),
        })
    })
}

/// Offers both versions of HTTP, because browsers may speak either; tonic's own TLS offers
/// only the second.
fn tls_acceptor(files: &TlsFiles) -> Result<TlsAcceptor, StartError> {
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_flaw("TLS_CERT_FILE", &files.certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| pem_flaw("TLS_KEY_FILE", &files.key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|error| pair_flaw(files, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn pem_flaw(setting: &str, path: &Path, error: &rustls::pki_types::pem::Error) -> StartError {
    StartError::new(format!(
        "{setting} names {}, which is no readable PEM file ({error}).",
        path.display()
    ))
}

fn pair_flaw(files: &TlsFiles, error: &rustls::Error) -> StartError {
    StartError::new(format!(
        "TLS_CERT_FILE {} and TLS_KEY_FILE {} do not go together ({error}).",
        files.certificate.display(),
        files.key.display()
    ))
}
