//! How identity-service finds out who calls it: in its own tables, without a call to itself.

use service_kit::{
    auth::{Authenticator, Credential},
    caller::Facts,
    error::Error,
};

use crate::tokens::judge::Judge;

pub struct OwnTables(pub Judge);

#[tonic::async_trait]
impl Authenticator for OwnTables {
    async fn authenticate(&self, credential: &Credential) -> Result<Facts, Error> {
        Ok(self.0.judge(credential).await?.bearer?.facts)
    }
}
