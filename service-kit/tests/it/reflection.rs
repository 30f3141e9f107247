//! Who may ask what the server offers?

use futures::StreamExt;
use service_kit::config::Reflection;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::harness::{Plan, SERVICE, Server, echo, reason_of};

async fn server(reflection: Reflection) -> Server {
    Plan::with(echo(), |settings| settings.reflection = reflection).start().await
}

async fn services(server: &Server) -> Result<Vec<String>, Status> {
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(server.channel().await);
    let mut answers =
        client.server_reflection_info(futures::stream::iter([ask])).await?.into_inner();
    match answers.next().await.unwrap()?.message_response.unwrap() {
        MessageResponse::ListServicesResponse(list) => {
            Ok(list.service.into_iter().map(|service| service.name).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn public_reflection_lists_our_services() {
    let mut services = services(&server(Reflection::Public).await).await.unwrap();
    services.sort();
    assert_eq!(services, ["grpc.health.v1.Health", SERVICE]);
}

#[tokio::test]
async fn authenticated_reflection_wants_to_know_who_asks() {
    let status = services(&server(Reflection::Authenticated).await).await.unwrap_err();
    assert_eq!(
        (status.code(), reason_of(&status).as_str()),
        (Code::Unauthenticated, "TOKEN_MISSING")
    );
}

#[tokio::test]
async fn without_reflection_there_is_no_such_method() {
    let status = services(&server(Reflection::Off).await).await.unwrap_err();
    assert_eq!(
        (status.code(), reason_of(&status).as_str()),
        (Code::Unimplemented, "METHOD_UNKNOWN")
    );
}
