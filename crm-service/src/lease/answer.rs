//! What does identity-service say of a credential, and what makes it say something else?

use chrono::{DateTime, Utc};
use proto::{
    common::v1::{ErrorReason as Reason, Permission, Role},
    identity::v1::{self as pb, actor, revocation::Holder, validate_token_response::Outcome},
};
use service_kit::{
    caller::{Actor, Facts},
    clock,
    error::Error,
    fields::Currency,
    lease::{cache::Answer, log::Position},
};

/// An answer, and where in the log of revocations it was read.
#[derive(Debug, Clone)]
pub struct Answered {
    pub known: Known,
    pub read_at: Option<Position>,
}

/// Who it is, or why it is nobody.
#[derive(Debug, Clone)]
pub enum Known {
    Somebody {
        facts: Facts,
        expire_time: Option<DateTime<Utc>>,
    },
    Nobody(Reason),
    /// Somebody whose account is closed.
    Closed,
}

impl Known {
    /// As the auth layer wants to know it.
    pub fn facts(self) -> Result<Facts, Error> {
        match self {
            Self::Somebody { facts, .. } => Ok(facts),
            Self::Nobody(reason) => Err(Error::Unauthenticated(reason)),
            Self::Closed => Err(Error::ACCOUNT_CLOSED),
        }
    }
}

impl Answer for Known {
    type Event = pb::Revocation;

    fn is_touched_by(&self, event: &pb::Revocation) -> bool {
        let Self::Somebody { facts, .. } = self else { return true };
        facts.account_id == event.account_id
            && match event.holder {
                Some(Holder::EmployeeId(id)) => facts.actor == Actor::Employee(id),
                Some(Holder::ApiKeyId(id)) => facts.actor == Actor::ApiKey(id),
                Some(Holder::SessionId(id)) => facts.session_id == Some(id),
                // Everybody in the account; or a holder of a later version, who may be anybody.
                Some(Holder::WholeAccount(_)) | None => true,
            }
    }

    fn is_refusal(&self) -> bool {
        !matches!(self, Self::Somebody { .. })
    }

    fn expire_time(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Somebody { expire_time, .. } => *expire_time,
            Self::Nobody(_) | Self::Closed => None,
        }
    }
}

impl TryFrom<pb::ValidateTokenResponse> for Answered {
    type Error = Error;

    fn try_from(response: pb::ValidateTokenResponse) -> Result<Self, Error> {
        let known = match response.outcome {
            Some(Outcome::Identity(identity)) => somebody(&identity)?,
            Some(Outcome::Refusal(refusal)) if refusal.reason() == Reason::AccountClosed => {
                Known::Closed
            }
            Some(Outcome::Refusal(refusal)) => Known::Nobody(understood(refusal.reason())),
            None => {
                return Err(Error::internal("identity-service answered neither yes nor no"));
            }
        };
        // One that does not say where it was read is not kept.
        let read_at = response.log_position.as_ref().and_then(Position::parse);
        Ok(Self { known, read_at })
    }
}

/// A reason that this version does not know is still a refusal.
fn understood(reason: Reason) -> Reason {
    if reason == Reason::Unspecified { Reason::TokenInvalid } else { reason }
}

fn somebody(identity: &pb::Identity) -> Result<Known, Error> {
    let expire_time = identity.expire_time;
    let expire_time = clock::parse_optional(expire_time)
        .map_err(|flaw| Error::internal(format!("identity-service: expire_time {flaw}")))?;
    Ok(Known::Somebody { facts: facts(identity)?, expire_time })
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
        session_id: Some(identity.session_id).filter(|id| *id != 0),
        account_closed: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(actor: actor::Kind, session_id: i64) -> pb::Identity {
        pb::Identity {
            actor: Some(pb::Actor { kind: Some(actor) }),
            account_id: 3,
            account_settings: Some(pb::AccountSettings {
                default_currency: "EUR".into(),
                time_zone: "UTC".into(),
                ..Default::default()
            }),
            session_id,
            ..Default::default()
        }
    }

    fn known(outcome: Outcome) -> Known {
        let response = pb::ValidateTokenResponse { outcome: Some(outcome), ..Default::default() };
        Answered::try_from(response).unwrap().known
    }

    #[test]
    fn an_answer_is_touched_by_what_happens_to_whom_it_names() {
        let employee = known(Outcome::Identity(identity(actor::Kind::EmployeeId(7), 0)));
        let session = known(Outcome::Identity(identity(actor::Kind::EmployeeId(7), 9)));
        let key = known(Outcome::Identity(identity(actor::Kind::ApiKeyId(7), 0)));
        let refusal = known(Outcome::Refusal(pb::Refusal::default()));
        let in_account = |account_id, holder| pb::Revocation { number: 1, account_id, holder };
        for (holder, touched) in [
            (Some(Holder::WholeAccount(true)), [true, true, true]),
            (None, [true, true, true]),
            (Some(Holder::EmployeeId(7)), [true, true, false]),
            (Some(Holder::EmployeeId(9)), [false, false, false]),
            (Some(Holder::SessionId(9)), [false, true, false]),
            (Some(Holder::SessionId(0)), [false, false, false]),
            (Some(Holder::ApiKeyId(7)), [false, false, true]),
        ] {
            let of_each = |account_id| {
                let event = in_account(account_id, holder);
                [&employee, &session, &key].map(|known| known.is_touched_by(&event))
            };
            assert_eq!(of_each(3), touched, "{holder:?}");
            assert_eq!(of_each(4), [false; 3], "of another account");
            assert!(refusal.is_touched_by(&in_account(4, holder)), "it names nobody");
        }
        assert!(refusal.is_refusal() && !employee.is_refusal());
    }

    #[test]
    fn what_is_not_understood_lets_nobody_in() {
        let refused = |reason: Reason| {
            let refusal = pb::Refusal { reason: reason.into(), ..Default::default() };
            known(Outcome::Refusal(refusal)).facts().unwrap_err().reason()
        };
        assert_eq!(refused(Reason::TokenRevoked), Reason::TokenRevoked);
        assert_eq!(refused(Reason::AccountClosed), Reason::AccountClosed);
        assert_eq!(refused(Reason::Unspecified), Reason::TokenInvalid);
        assert!(Answered::try_from(pb::ValidateTokenResponse::default()).is_err());
        let nameless = pb::Identity { actor: None, ..identity(actor::Kind::EmployeeId(7), 0) };
        let outcome = Some(Outcome::Identity(nameless));
        let response = pb::ValidateTokenResponse { outcome, ..Default::default() };
        assert!(Answered::try_from(response).is_err());
    }
}
