//! What does somebody type next?

use std::net::SocketAddr;

/// A sign-up, a log-in and a first client, ready to paste.
pub fn text(identity: SocketAddr, crm: SocketAddr) -> String {
    format!(
        r#"
Clientele is running: identity-service on {identity}, crm-service on {crm}. Ctrl-C ends it.

Paste this into another terminal. It needs grpcurl.

  # Sign a company up: an account, its super admin, and the token to call with.
  grpcurl -plaintext -d '{{"account": {{"name": "Acme"}}, "employee": {{"email": "ana@acme.example", "password": "correct horse"}}}}' {identity} identity.v1.AuthService/SignUp

  # Log in, and keep the token.
  TOKEN=$(grpcurl -plaintext -d '{{"email": "ana@acme.example", "password": "correct horse"}}' {identity} identity.v1.AuthService/Login | sed -n 's/.*"token": "\(.*\)".*/\1/p')

  # Create a client, and find it.
  grpcurl -plaintext -H "authorization: Token $TOKEN" -d '{{"client": {{"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"}}}}' {crm} crm.v1.ClientService/CreateClient
  grpcurl -plaintext -H "authorization: Token $TOKEN" -d '{{"search": "love"}}' {crm} crm.v1.ClientService/ListClients
"#
    )
}
