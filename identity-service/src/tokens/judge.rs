//! Whom does a credential stand for, whichever kind it is?

use std::sync::Arc;

use proto::common::v1::ErrorReason as Reason;
use service_kit::{
    auth::Credential,
    clock,
    db::{Db, Tenanted},
    error::Error,
    lease::log::Position,
};

use super::{idle::IdleLimit, model::Token, sql, standing::Bearer};
use crate::{
    api_keys,
    secrets::{Kind, Secret},
    sessions::{
        self,
        access_token::{AccessTokens, Reading},
    },
};

/// Judges credentials: the one way in which it is done, for the service's own callers and for
/// those of others.
#[derive(Clone)]
pub struct Judge {
    pub db: Db,
    pub access_tokens: Arc<AccessTokens>,
    pub idle: Arc<IdleLimit>,
}

/// What a credential looks like. Whatever looks like none of ours is refused unasked.
pub enum Form {
    EmployeeToken(Token),
    AccessToken(Reading),
    ApiKey(Secret),
    Unknown,
}

/// A judgement, and where in the log of revocations it was read; nowhere, where nothing had to
/// be read.
pub struct Judgement {
    pub bearer: Result<Bearer, Error>,
    pub position: Option<Position>,
}

impl Judgement {
    fn unread(reason: Reason) -> Self {
        Self { bearer: Err(Error::Unauthenticated(reason)), position: None }
    }
}

impl Judge {
    /// # Errors
    /// Where it cannot be found out.
    pub async fn judge(&self, credential: &Credential) -> Result<Judgement, Error> {
        match self.form(credential) {
            Form::EmployeeToken(token) => self.employee_token(&token).await,
            Form::AccessToken(reading) if reading.is_over => {
                Ok(Judgement::unread(Reason::TokenExpired))
            }
            Form::AccessToken(reading) => self.access_token(reading).await,
            Form::ApiKey(secret) => self.api_key(&secret).await,
            Form::Unknown => Ok(Judgement::unread(Reason::TokenInvalid)),
        }
    }

    pub fn form(&self, credential: &Credential) -> Form {
        let text = credential.expose();
        if let Some(token) = Token::parse(text) {
            return Form::EmployeeToken(token);
        }
        if let Some(secret) = Secret::parse(text, Kind::ApiKey) {
            return Form::ApiKey(secret);
        }
        let reading = self.access_tokens.read(text, clock::now());
        reading.map_or(Form::Unknown, Form::AccessToken)
    }

    async fn employee_token(&self, token: &Token) -> Result<Judgement, Error> {
        let shown = sql::look_up(&self.db, token).await?;
        let (system, now) = (shown.system("token-use"), clock::now());
        let shown = shown.into_inner();
        let (account_id, position) = (shown.account_id(), Some(shown.standing.position));
        let bearer = match (shown.holder, shown.used_time) {
            (Some(employee_id), Some(used)) if !self.idle.is_over(used, now) => {
                let bearer = shown.standing.employee(account_id, employee_id, None, None);
                if bearer.is_ok() {
                    self.idle.note(&token.key(), used, now, system);
                }
                bearer
            }
            (Some(_), _) => Err(Error::Unauthenticated(Reason::TokenExpired)),
            (None, _) if shown.was_revoked => Err(Error::Unauthenticated(Reason::TokenRevoked)),
            (None, _) => Err(Error::Unauthenticated(Reason::TokenInvalid)),
        };
        Ok(Judgement { bearer, position })
    }

    async fn access_token(&self, reading: Reading) -> Result<Judgement, Error> {
        let claims = reading.claims;
        let named = sessions::sql::look_up(&self.db, claims.session_id).await?.into_inner();
        let (account_id, position) = (named.account_id(), Some(named.standing.position));
        let session = Some(claims.session_id);
        let bearer = match (named.holder, named.end_time) {
            (Some(id), Some(end_time))
                if id == claims.employee_id && account_id == claims.account_id =>
            {
                if clock::now() < end_time {
                    // A session may end before the last of its access tokens.
                    let expire_time = Some(reading.expire_time.min(end_time));
                    named.standing.employee(account_id, id, session, expire_time)
                } else {
                    Err(Error::Unauthenticated(Reason::TokenExpired))
                }
            }
            (None, _) if named.was_revoked => Err(Error::Unauthenticated(Reason::TokenRevoked)),
            _ => Err(Error::Unauthenticated(Reason::TokenInvalid)),
        };
        Ok(Judgement { bearer, position })
    }

    async fn api_key(&self, secret: &Secret) -> Result<Judgement, Error> {
        let shown = api_keys::sql::look_up(&self.db, secret).await?.into_inner();
        let (account_id, position) = (shown.account_id(), Some(shown.standing.position));
        let bearer = match (shown.key_id, shown.expire_time) {
            (Some(_), _) if shown.was_revoked => Err(Error::Unauthenticated(Reason::TokenRevoked)),
            (Some(id), Some(expires)) if clock::now() < expires => {
                shown.standing.api_key(account_id, id, &shown.given, expires)
            }
            (Some(_), _) => Err(Error::Unauthenticated(Reason::TokenExpired)),
            (None, _) => Err(Error::Unauthenticated(Reason::TokenInvalid)),
        };
        Ok(Judgement { bearer, position })
    }
}
