//! Who may ask what the server offers?

use futures::StreamExt;
use service_kit::config::Reflection;
use tonic::{Code, Request, Status};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::harness::{Plan, SERVICE, Server, TOKEN, echo, reason_of};

async fn server(reflection: Reflection) -> Server {
    Plan::with(echo(), |settings| settings.reflection = reflection).start().await
}

async fn services(server: &Server, token: &str) -> Result<Vec<String>, Status> {
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(server.channel().await);
    let mut asking = Request::new(futures::stream::iter([ask]));
    if !token.is_empty() {
        asking.metadata_mut().insert("authorization", format!("Token {token}").parse().unwrap());
    }
    let mut answers = client.server_reflection_info(asking).await?.into_inner();
    match answers.next().await.unwrap()?.message_response.unwrap() {
        MessageResponse::ListServicesResponse(list) => {
            let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
            names.sort();
            Ok(names)
        }
        other => panic!("{other:?}"),
    }
}

/// Security checklist 50.
#[tokio::test]
async fn public_reflection_lists_our_services() {
    let services = services(&server(Reflection::Public).await, "").await.unwrap();
    assert_eq!(services, ["grpc.health.v1.Health", SERVICE]);
}

/// Security checklist 50.
#[tokio::test]
async fn authenticated_reflection_wants_to_know_who_asks() {
    let server = server(Reflection::Authenticated).await;
    for (token, reason) in [("", "TOKEN_MISSING"), ("bad", "TOKEN_INVALID")] {
        let status = services(&server, token).await.unwrap_err();
        let said = (status.code(), reason_of(&status));
        assert_eq!(said, (Code::Unauthenticated, reason.to_owned()));
    }
    let services = services(&server, TOKEN).await.unwrap();
    assert_eq!(services, ["grpc.health.v1.Health", SERVICE]);
}

/// Security checklist 50.
#[tokio::test]
async fn without_reflection_there_is_no_such_method() {
    let status = services(&server(Reflection::Off).await, TOKEN).await.unwrap_err();
    assert_eq!(
        (status.code(), reason_of(&status).as_str()),
        (Code::Unimplemented, "METHOD_UNKNOWN")
    );
}
