//! How crm-service finds out who calls it: by asking identity-service, about every call.

use proto::identity::v1 as pb;
use service_kit::{
    auth::{Authenticator, Credential},
    caller::Facts,
    error::Error,
};

use crate::{
    identity::{Identity, silent},
    lease::answer::Answered,
};

pub struct AskIdentity(pub Identity);

impl AskIdentity {
    pub async fn ask(&self, credential: &Credential) -> Result<Answered, Error> {
        let credential = credential.expose().to_owned();
        let question = self.0.question(pb::ValidateTokenRequest { credential });
        let answer = self.0.tokens().validate_token(question).await;
        answer.map_err(|status| silent(&status))?.into_inner().try_into()
    }
}

#[tonic::async_trait]
impl Authenticator for AskIdentity {
    async fn authenticate(&self, credential: &Credential) -> Result<Facts, Error> {
        self.ask(credential).await?.known.facts()
    }
}
