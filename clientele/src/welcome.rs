//! What does somebody type next?

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Settings;

/// A sign-up, a log-in and a first client, ready to paste.
pub fn text(settings: &Settings, identity: SocketAddr, crm: SocketAddr) -> String {
    let (identity, crm) = (reachable(identity), reachable(crm));
    let call = call(settings);
    format!(
        r#"
Clientele is running: identity-service on {identity}, crm-service on {crm}. Ctrl-C ends it.

Paste this into another terminal. It needs grpcurl.

  # Sign a company up: an account, its super admin, and the token to call with.
  {call} -d '{{"account": {{"name": "Acme"}}, "employee": {{"email": "ana@acme.example", "password": "correct horse"}}}}' {identity} identity.v1.AuthService/SignUp

  # Log in, and keep the token.
  TOKEN=$({call} -d '{{"email": "ana@acme.example", "password": "correct horse"}}' {identity} identity.v1.AuthService/Login | sed -n 's/.*"token": "\(.*\)".*/\1/p')

  # Create a client, and find it.
  {call} -H "authorization: Token $TOKEN" -d '{{"client": {{"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"}}}}' {crm} crm.v1.ClientService/CreateClient
  {call} -H "authorization: Token $TOKEN" -d '{{"search": "love"}}' {crm} crm.v1.ClientService/ListClients
"#
    )
}

/// Where somebody on this machine calls a server that listens there.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback = match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    address
}

fn call(settings: &Settings) -> String {
    match &settings.identity.server.tls {
        None => "grpcurl -plaintext".to_owned(),
        Some(tls) => format!("grpcurl -cacert {}", tls.certificate.display()),
    }
}
