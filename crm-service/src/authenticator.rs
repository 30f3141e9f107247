//! How crm-service finds out who calls it: by asking identity-service, about every call.

use proto::{
    common::v1::{ErrorReason as Reason, Permission, Role},
    identity::v1::{self as pb, actor, validate_token_response::Outcome},
};
use service_kit::{
    auth::{Authenticator, Credential},
    caller::{Actor, Facts},
    error::Error,
    fields::Currency,
};

use crate::identity::{Identity, silent};

pub struct AskIdentity(pub Identity);

impl AskIdentity {
    async fn ask(&self, credential: &Credential) -> Result<Outcome, Error> {
        let credential = credential.expose().to_owned();
        let question = self.0.question(pb::ValidateTokenRequest { credential });
        let answer = self.0.tokens().validate_token(question).await;
        let answer = answer.map_err(|status| silent(&status))?.into_inner();
        answer
            .outcome
            .ok_or_else(|| Error::internal("identity-service answered neither yes nor no"))
    }
}

#[tonic::async_trait]
impl Authenticator for AskIdentity {
    async fn authenticate(&self, credential: &Credential) -> Result<Facts, Error> {
        match self.ask(credential).await? {
            Outcome::Identity(identity) => facts(&identity),
            Outcome::Refusal(refusal) if refusal.reason() == Reason::AccountClosed => {
                Err(Error::ACCOUNT_CLOSED)
            }
            Outcome::Refusal(refusal) => Err(Error::Unauthenticated(known(refusal.reason()))),
        }
    }
}

/// A reason that this version does not know is still a refusal.
fn known(reason: Reason) -> Reason {
    if reason == Reason::Unspecified { Reason::TokenInvalid } else { reason }
}

fn facts(identity: &pb::Identity) -> Result<Facts, Error> {
    let actor = match identity.actor.as_ref().and_then(|actor| actor.kind) {
        Some(actor::Kind::EmployeeId(id)) => Actor::Employee(id),
        Some(actor::Kind::ApiKeyId(id)) => Actor::ApiKey(id),
        None => return Err(Error::internal("identity-service named an actor of no known kind")),
    };
    let settings = identity.account_settings.clone().unwrap_or_default();
    Ok(Facts {
        account_id: identity.account_id,
        actor,
        role: Role::try_from(identity.role).unwrap_or_default(),
        // A permission that this version does not know is one it never asks for.
        permissions: identity
            .permissions
            .iter()
            .filter_map(|p| Permission::try_from(*p).ok())
            .collect(),
        default_currency: Currency::parse(&settings.default_currency).map_err(|flaw| {
            Error::internal(format!("identity-service: default_currency {flaw}"))
        })?,
        time_zone: settings.time_zone.parse().map_err(|_| {
            Error::internal(format!("identity-service: unknown time zone {}", settings.time_zone))
        })?,
        visibility: settings.employee_client_visibility(),
        session_id: None,
        account_closed: false,
    })
}
