//! identity.v1.TokenService.

use proto::identity::v1::{
    self as pb, token_service_server::TokenService, validate_token_response::Outcome,
};
use service_kit::{
    Reply,
    auth::Credential,
    error::{Error, message_of},
    reply,
};
use tonic::Request;

use super::judge::{Judge, Judgement};

pub struct Tokens {
    pub judge: Judge,
}

#[tonic::async_trait]
impl TokenService for Tokens {
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
}

fn refusal(error: &Error) -> Outcome {
    let message = message_of(error).into_owned();
    Outcome::Refusal(pb::Refusal { reason: error.reason().into(), message })
}
