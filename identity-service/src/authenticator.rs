//! How identity-service finds out who calls it: in its own tables, without a call to itself.

use service_kit::{
    auth::{Authenticator, Credential},
    caller::Facts,
    db::Db,
    error::Error,
};

use crate::tokens::rpc::judge;

pub struct OwnTables(pub Db);

#[tonic::async_trait]
impl Authenticator for OwnTables {
    async fn authenticate(&self, credential: &Credential) -> Result<Facts, Error> {
        judge(&self.0, credential).await
    }
}
