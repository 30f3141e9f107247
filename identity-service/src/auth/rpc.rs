//! identity.v1.AuthService.

use std::sync::Arc;

use proto::{
    common::v1::ErrorReason as Reason,
    identity::v1::{self as pb, auth_service_server::AuthService},
};
use service_kit::{
    Reply,
    auth::{Credential, open},
    caller::Actor,
    db::Db,
    error::Error,
    fields::{Fields, email_key},
    idempotency::Repeats,
    keys::Keyring,
    reply,
};
use tonic::Request;

use super::model::SignUp;
use crate::{
    accounts,
    employees::{self, model::Login},
    passwords::Passwords,
    tokens::{self, model::Token},
};

pub struct Auth {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub passwords: Arc<Passwords>,
    pub repeats: Repeats,
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn sign_up(&self, request: Request<pb::SignUpRequest>) -> Reply<pb::SignUpResponse> {
        let request = request.into_inner();
        let account = request.account.clone().unwrap_or_default();
        let employee = request.employee.clone().unwrap_or_default();
        let mut fields = Fields::default();
        let repeat =
            fields.take("request_id", self.repeats.of_public(&request, email_key(&employee.email)));
        let sign_up = SignUp::parse(&mut fields, &account, &employee);
        let (repeat, sign_up) = fields.all((repeat, sign_up))?;
        let login = Login {
            password_hash: Some(self.passwords.hash(sign_up.password).await?),
            password_change_advised: false,
        };

        let mut tx = self.db.begin_system(self.db.new_tenant("sign-up").await?).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let account = accounts::sql::insert(&mut tx, &sign_up.account).await?;
        let employee = employees::sql::insert(&mut tx, &sign_up.employee, &login).await?;
        let token = tokens::sql::get_or_create(&mut tx, &self.keys, employee.id).await?;
        let answer = pb::SignUpResponse {
            token: token.expose(),
            employee: Some(employee.into()),
            account: Some(account.into()),
        };
        repeat.finish(tx, answer).await
    }

    async fn login(&self, request: Request<pb::LoginRequest>) -> Reply<pb::LoginResponse> {
        let request = request.into_inner();
        let refused = || Error::Unauthenticated(Reason::InvalidCredentials);
        let candidate = employees::sql::find_by_email(&self.db, &email_key(&request.email)).await?;
        let stored = candidate.as_ref().and_then(|candidate| candidate.password_hash.clone());
        let matches = self.passwords.verify(&request.password, stored).await?;
        // Only now, so that everyone who is refused has cost the same.
        let candidate = candidate.filter(|found| matches && found.is_active).ok_or_else(refused)?;

        let mut tx = self.db.begin_system(candidate.system("login")).await?;
        let employee = employees::sql::find_for_login(&mut tx, &candidate).await?;
        let employee = employee.ok_or_else(refused)?;
        let token = tokens::sql::get_or_create(&mut tx, &self.keys, employee.id).await?;
        tx.commit().await?;
        reply(pb::LoginResponse { token: token.expose(), employee: Some(employee.into()) })
    }

    async fn logout(&self, request: Request<pb::LogoutRequest>) -> Reply<pb::LogoutResponse> {
        let credential = Credential::from_headers(request.metadata().as_ref())?;
        let token = Token::parse(credential.expose());
        let token = token.ok_or(Error::Unauthenticated(Reason::TokenInvalid))?;
        if let Some(shown) = tokens::sql::look_up(&self.db, &token).await? {
            let mut tx = self.db.begin_system(shown.system("logout")).await?;
            tokens::sql::revoke(&mut tx, &token.key()).await?;
            tx.commit().await?;
        }
        reply(pb::LogoutResponse {})
    }

    async fn get_me(&self, request: Request<pb::GetMeRequest>) -> Reply<pb::GetMeResponse> {
        let (caller, _) = open(request)?;
        let Actor::Employee(id) = caller.actor() else {
            return Err(Error::internal("GetMe was reached by nobody").into());
        };
        let mut tx = self.db.begin(&caller).await?;
        let employee = employees::sql::find(&mut tx, id).await?;
        // Gone between the check of the token and here.
        let employee = employee.ok_or(Error::Unauthenticated(Reason::EmployeeInactive))?;
        reply(pb::GetMeResponse { employee: Some(employee.into()) })
    }
}
