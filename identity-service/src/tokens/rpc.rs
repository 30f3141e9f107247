//! identity.v1.TokenService.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt, try_unfold};
use proto::identity::v1::{
    self as pb, token_service_server::TokenService, validate_token_response::Outcome,
};
use service_kit::{
    Reply,
    auth::Credential,
    error::{Error, message_of},
    reply,
};
use tonic::{Request, Status, Streaming};

use super::judge::{Judge, Judgement};
use crate::leases::{giver::Giver, watch::Watch};

pub struct Tokens {
    pub judge: Judge,
    pub giver: Arc<Giver>,
}

#[tonic::async_trait]
impl TokenService for Tokens {
    type WatchRevocationsStream = BoxStream<'static, Result<pb::WatchRevocationsResponse, Status>>;

    async fn validate_token(
        &self,
        request: Request<pb::ValidateTokenRequest>,
    ) -> Reply<pb::ValidateTokenResponse> {
        let credential = Credential::new(&request.into_inner().credential);
        let Judgement { bearer, position } = self.judge.judge(&credential).await?;
        let outcome = match bearer {
            Ok(bearer) if bearer.facts.account_closed => refusal(&Error::ACCOUNT_CLOSED),
            Ok(bearer) => Outcome::Identity(bearer.into()),
            Err(error @ Error::Unauthenticated(_)) => refusal(&error),
            Err(error) => return Err(error.into()),
        };
        let log_position = position.map(Into::into);
        reply(pb::ValidateTokenResponse { outcome: Some(outcome), log_position })
    }

    async fn watch_revocations(
        &self,
        request: Request<Streaming<pb::WatchRevocationsRequest>>,
    ) -> Reply<Self::WatchRevocationsStream> {
        let watch = Watch::begin(self.giver.clone(), request.into_inner()).await?;
        let responses = try_unfold(watch, |mut watch| async move {
            let response = watch.next().await?;
            Ok(response.map(|response| (response, watch)))
        });
        reply(responses.boxed())
    }
}

fn refusal(error: &Error) -> Outcome {
    let message = message_of(error).into_owned();
    Outcome::Refusal(pb::Refusal { reason: error.reason().into(), message })
}
