//! identity.v1.TokenService, and the one way in which a credential is judged.

use proto::{
    common::v1::ErrorReason as Reason,
    identity::v1::{
        self as pb, actor, token_service_server::TokenService, validate_token_response::Outcome,
    },
};
use service_kit::{
    Reply, access,
    auth::Credential,
    caller::{Actor, Facts},
    db::{Db, Found, Tenanted},
    error::{Error, unauthenticated_message},
    fields::Currency,
    reply,
};
use tonic::Request;

use super::{
    model::Token,
    sql::{self, Shown},
};

/// Whom a credential stands for; `Unauthenticated` where it stands for nobody.
pub async fn judge(db: &Db, credential: &Credential) -> Result<Facts, Error> {
    let refused = |reason| Err(Error::Unauthenticated(reason));
    let Some(token) = Token::parse(credential.expose()) else {
        return refused(Reason::TokenInvalid);
    };
    let Some(shown) = sql::look_up(db, &token).await? else {
        return refused(Reason::TokenInvalid);
    };
    match (shown.holder, shown.is_live) {
        (Some(employee_id), Some(true)) => facts(&shown, employee_id),
        (Some(_), _) => refused(Reason::EmployeeInactive),
        (None, _) => refused(Reason::TokenRevoked),
    }
}

fn facts(shown: &Found<Shown>, employee_id: i64) -> Result<Facts, Error> {
    let role = shown.role.as_deref().and_then(access::role_from_text).unwrap_or_default();
    let currency = shown.default_currency.as_deref().unwrap_or_default();
    Ok(Facts {
        account_id: shown.account_id(),
        actor: Actor::Employee(employee_id),
        role,
        permissions: access::held_by(role).to_vec(),
        default_currency: Currency::parse(currency)
            .map_err(|flaw| Error::internal(format!("default_currency {flaw}")))?,
    })
}

pub struct Tokens {
    pub db: Db,
}

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn validate_token(
        &self,
        request: Request<pb::ValidateTokenRequest>,
    ) -> Reply<pb::ValidateTokenResponse> {
        let credential = Credential::new(&request.into_inner().credential);
        let outcome = match judge(&self.db, &credential).await {
            Ok(facts) => Outcome::Identity(identity(facts)),
            Err(Error::Unauthenticated(reason)) => Outcome::Refusal(pb::Refusal {
                reason: reason.into(),
                message: unauthenticated_message(reason).into(),
            }),
            Err(error) => return Err(error.into()),
        };
        reply(pb::ValidateTokenResponse { outcome: Some(outcome) })
    }
}

fn identity(facts: Facts) -> pb::Identity {
    let kind = match facts.actor {
        Actor::Employee(id) => Some(actor::Kind::EmployeeId(id)),
        Actor::System(_) => None,
    };
    pb::Identity {
        actor: Some(pb::Actor { kind }),
        account_id: facts.account_id,
        default_currency: facts.default_currency.code().into(),
        role: facts.role.into(),
        permissions: facts.permissions.into_iter().map(Into::into).collect(),
    }
}
