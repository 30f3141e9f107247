//! What does a tool learn that asks crm-service what it offers?

use futures::StreamExt;
use prost::Message;
use prost_types::FileDescriptorProto;
use tonic::Code;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::Crm;

impl Crm {
    /// The file that a question leads to, if it is there.
    async fn described(&self, question: MessageRequest) -> Option<FileDescriptorProto> {
        let ask = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut client = ServerReflectionClient::new(self.channel.clone());
        let asked = client.server_reflection_info(futures::stream::iter([ask])).await;
        let answer = match asked.unwrap().into_inner().next().await.unwrap() {
            Ok(answer) => answer.message_response.unwrap(),
            Err(status) if status.code() == Code::NotFound => return None,
            Err(status) => panic!("{status}"),
        };
        let MessageResponse::FileDescriptorResponse(found) = answer else { panic!("{answer:?}") };
        let [file] = &found.file_descriptor_proto[..] else { panic!("{found:?}") };
        Some(FileDescriptorProto::decode(&file[..]).unwrap())
    }

    async fn symbol(&self, name: &str) -> Option<FileDescriptorProto> {
        self.described(MessageRequest::FileContainingSymbol(name.to_owned())).await
    }
}

/// Security checklist 50.
#[tokio::test]
async fn it_describes_what_it_answers_and_nothing_of_the_other_service() {
    let crm = Crm::start().await;
    for known in ["crm.v1.ClientService", "google.rpc.ErrorInfo", "grpc.health.v1.Health"] {
        assert!(crm.symbol(known).await.is_some(), "{known}");
    }
    for foreign in ["AuthService", "EmployeeService", "TokenService", "Account"] {
        assert!(crm.symbol(&format!("identity.v1.{foreign}")).await.is_none(), "{foreign}");
    }
}

#[tokio::test]
async fn everything_that_a_description_imports_is_described_too() {
    let crm = Crm::start().await;
    let mut files = vec![crm.symbol("crm.v1.ClientService").await.unwrap()];
    let mut looked_at = 0;
    while let Some(file) = files.get(looked_at) {
        for import in file.dependency.clone() {
            let found = crm.described(MessageRequest::FileByFilename(import.clone())).await;
            files.push(found.unwrap_or_else(|| panic!("{import} is not described")));
        }
        looked_at += 1;
    }
    assert!(looked_at > 1, "it imports something");
}
