//! identity.v1.AuthService.

use std::sync::Arc;

use proto::{
    common::v1::ErrorReason as Reason,
    identity::v1::{
        self as pb, auth_service_server::AuthService, revoke_all_sessions_request::Target,
    },
};
use service_kit::{
    Reply,
    auth::{Credential, open},
    caller::Actor,
    clock,
    db::{Act, Db},
    error::Error,
    etag,
    fields::{Email, Fields, Flaw, Text, email_key, id},
    idempotency::Repeats,
    keys::Keyring,
    reply,
};
use tonic::Request;

use super::{
    door::{Door, Entry},
    model::SignUp,
    work::{revoke_all, revoke_all_of},
};
use crate::{
    accounts,
    attempts::{Kind, Mailing},
    codes::{self, model::Purpose},
    employees::{
        self,
        authority::{self, check_manages},
        model::{Change, Login, check_email_stays},
        work::{self, lock_live},
    },
    feeds::{self, Holder},
    invitations,
    mail::{letter, post::Post},
    passwords::NewPassword,
    secrets::{Kind as SecretKind, Secret},
    sessions::{self, work::Sessions},
    tokens::{
        self,
        judge::{Form, Judge},
    },
};

const API_KEY_CANNOT_LOG_OUT: Error = Error::Refused {
    reason: Reason::ApiKeyCannotLogOut,
    sentence: "An API key is revoked, it does not log out.",
};
const SIGN_UP_OFF: Error =
    Error::Refused { reason: Reason::SignUpOff, sentence: "No sign-ups are taken here." };

pub struct Auth {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub door: Door,
    pub judge: Judge,
    pub sessions: Sessions,
    pub post: Post,
    pub repeats: Repeats,
    /// Whether anybody may sign a company up.
    pub open_to_all: bool,
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn sign_up(&self, request: Request<pb::SignUpRequest>) -> Reply<pb::SignUpResponse> {
        if !self.open_to_all {
            return Err(SIGN_UP_OFF.into());
        }
        self.door.arrive(Kind::SignUp)?;
        let request = request.into_inner();
        let account = request.account.clone().unwrap_or_default();
        let employee = request.employee.clone().unwrap_or_default();
        let mut fields = Fields::default();
        let repeat =
            fields.take("request_id", self.repeats.of_public(&request, email_key(&employee.email)));
        let sign_up = SignUp::parse(&mut fields, &account, &employee, &request.additional_admins);
        let (repeat, sign_up) = fields.all((repeat, sign_up))?;
        let login = Login {
            password_hash: Some(self.door.passwords.hash(sign_up.password).await?),
            password_change_advised: false,
        };

        let mut tx = self.db.begin_system(self.db.new_tenant("sign-up").await?).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let account = accounts::sql::insert(&mut tx, &sign_up.account).await?;
        let employee = employees::sql::insert(&mut tx, &sign_up.employee, &login).await?;
        let token = self.token(&mut tx, employee.id).await?;
        codes::work::ask_to_verify(&mut tx, &self.post, &employee).await?;
        let mut acts = Vec::new();
        for admin in &sign_up.additional_admins {
            // Too many letters are no reason not to make the account.
            let may_send = self.door.invite(account.id, &admin.email).unwrap_or(false);
            let inviter = Actor::Employee(employee.id);
            let (_, act) =
                invitations::work::invite(&mut tx, &self.post, admin, inviter, may_send).await?;
            acts.push(act);
        }
        feeds::announce_account(&mut tx, &account);
        feeds::announce_employee(&mut tx, employee.id, &employee.name, employee.state());
        acts.push(Act::on("account", account.id, "sign_up").with("employee_id", employee.id));
        let answer = pb::SignUpResponse {
            token: token.expose(),
            employee: Some(employee.shown_to_self()),
            account: Some(account.into()),
        };
        repeat.finish(tx, acts, answer).await
    }

    async fn login(&self, request: Request<pb::LoginRequest>) -> Reply<pb::LoginResponse> {
        let request = request.into_inner();
        let Entry { mut tx, employee, weak_hash } =
            self.door.let_in(&request.email, &request.password, "login").await?;
        let token = self.token(&mut tx, employee.id).await?;
        tx.commit([Act::on("employee", employee.id, "log_in")]).await?;
        self.door.strengthen(weak_hash, &request.password).await;
        reply(pb::LoginResponse { token: token.expose(), employee: Some(employee.shown_to_self()) })
    }

    async fn logout(&self, request: Request<pb::LogoutRequest>) -> Reply<pb::LogoutResponse> {
        let credential = Credential::from_headers(request.metadata().as_ref())?;
        match self.judge.form(&credential) {
            Form::EmployeeToken(token) => self.log_out_token(&token).await?,
            // Also where its time is over: the session may go on without it.
            Form::AccessToken(reading) => self.log_out_session(reading.claims).await?,
            Form::ApiKey(_) => return Err(API_KEY_CANNOT_LOG_OUT.into()),
            Form::Unknown => return Err(Error::Unauthenticated(Reason::TokenInvalid).into()),
        }
        reply(pb::LogoutResponse {})
    }

    async fn issue_tokens(
        &self,
        request: Request<pb::IssueTokensRequest>,
    ) -> Reply<pb::IssueTokensResponse> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let label = fields.take("device_label", Text::<100>::parse(&request.device_label));
        let (label,) = fields.all((label,))?;

        let Entry { mut tx, employee, weak_hash } =
            self.door.let_in(&request.email, &request.password, "log-in").await?;
        let (pair, act) = self.sessions.open(&mut tx, &employee, label.as_str()).await?;
        tx.commit([act]).await?;
        self.door.strengthen(weak_hash, &request.password).await;
        reply(pb::IssueTokensResponse {
            access_token: pair.access_token,
            refresh_token: pair.refresh_token,
            access_expire_time: Some(clock::timestamp(pair.access_expire_time)),
            refresh_expire_time: Some(clock::timestamp(pair.refresh_expire_time)),
            employee: Some(employee.shown_to_self()),
        })
    }

    async fn refresh_tokens(
        &self,
        request: Request<pb::RefreshTokensRequest>,
    ) -> Reply<pb::RefreshTokensResponse> {
        self.door.arrive(Kind::Refresh)?;
        let request = request.into_inner();
        let pair = self.sessions.refresh(&self.db, &request.refresh_token).await?;
        reply(pb::RefreshTokensResponse {
            access_token: pair.access_token,
            refresh_token: pair.refresh_token,
            access_expire_time: Some(clock::timestamp(pair.access_expire_time)),
            refresh_expire_time: Some(clock::timestamp(pair.refresh_expire_time)),
        })
    }

    async fn change_email(
        &self,
        request: Request<pb::ChangeEmailRequest>,
    ) -> Reply<pb::ChangeEmailResponse> {
        let (caller, request) = open(request)?;
        let employee_id = caller.employee_id()?;
        self.door.arrive(Kind::LogIn)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let new = fields.take("new_email", Email::required(&request.new_email));
        let (employee, hash) = self.with_hash(&caller, employee_id).await?;
        if new.as_ref().is_some_and(|new| new.as_str() == employee.email) {
            fields.refuse("new_email", Flaw::bad("is the present address"));
        }
        let password = ("password", request.password.as_str());
        self.check_password(&mut fields, password, &employee, hash.clone()).await?;
        let (repeat, new) = fields.all((repeat, new))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let employee = lock_live(&mut tx, employee_id, "id").await?;
        // The very hash that was just compared: a password that was replaced meanwhile, perhaps
        // because somebody else knows it, opens nothing any more.
        if employees::sql::password_hash(&mut tx, employee_id).await? != hash {
            return Err(Error::Conflict.into());
        }
        self.door.mail(Mailing::NewAddress, &new)?;
        let code = codes::work::renew(&mut tx, &employee, Purpose::ChangeEmail, Some(&new)).await?;
        let notice = |old| letter::address_change_notice(old, &new);
        self.post.notify(&mut tx, &employee.email, notice).await?;
        let letter = letter::address_change(self.post.app_url(), new, &code.expose());
        self.post.send(&mut tx, &letter).await?;
        let act = Act::on("employee", employee_id, "request_email_change");
        repeat.finish(tx, [act], pb::ChangeEmailResponse {}).await
    }

    async fn request_password_reset(
        &self,
        request: Request<pb::RequestPasswordResetRequest>,
    ) -> Reply<pb::RequestPasswordResetResponse> {
        let request = request.into_inner();
        let repeat = self.repeats.of_public(&request, email_key(&request.email));
        let answer = pb::RequestPasswordResetResponse {};
        self.ask_for_code(repeat, &request.email, Purpose::Reset, answer).await
    }

    async fn reset_password(
        &self,
        request: Request<pb::ResetPasswordRequest>,
    ) -> Reply<pb::ResetPasswordResponse> {
        self.door.arrive(Kind::Code)?;
        let request = request.into_inner();
        let mut fields = Fields::default();
        let scope = codes::model::scope(&request.code, SecretKind::ResetCode);
        let repeat = fields.take("request_id", self.repeats.of_public(&request, scope));
        let code = fields.take("code", codes::model::present(&request.code));
        let found = codes::work::find(&self.db, &request.code, SecretKind::ResetCode).await?;
        let known = match &found {
            Some((_, located)) => codes::work::known_words(&self.db, located).await?,
            None => Vec::new(),
        };
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let new = fields.take("new_password", NewPassword::parse(&request.new_password, &known));
        let (repeat, _, new) = fields.all((repeat, code, new))?;
        if let Some(answer) = self.answered(&repeat).await? {
            return reply(answer);
        }
        let (code, located) = found.ok_or(Error::CodeInvalid)?;
        let hash = self.door.passwords.hash(new).await?;

        let mut tx = self.db.begin_system(located.system("reset")).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let (email, act) =
            codes::work::reset_password(&mut tx, &self.post, &located, &code, &hash).await?;
        let answer = repeat.finish(tx, [act], pb::ResetPasswordResponse {}).await?;
        self.door.welcome_back(&email);
        Ok(answer)
    }

    async fn request_email_verification(
        &self,
        request: Request<pb::RequestEmailVerificationRequest>,
    ) -> Reply<pb::RequestEmailVerificationResponse> {
        let request = request.into_inner();
        let repeat = self.repeats.of_public(&request, email_key(&request.email));
        let answer = pb::RequestEmailVerificationResponse {};
        self.ask_for_code(repeat, &request.email, Purpose::Verify, answer).await
    }

    async fn verify_email(
        &self,
        request: Request<pb::VerifyEmailRequest>,
    ) -> Reply<pb::VerifyEmailResponse> {
        self.door.arrive(Kind::Code)?;
        let request = request.into_inner();
        let mut fields = Fields::default();
        let scope = codes::model::scope(&request.code, SecretKind::VerificationCode);
        let repeat = fields.take("request_id", self.repeats.of_public(&request, scope));
        let code = fields.take("code", codes::model::present(&request.code));
        let (repeat, code) = fields.all((repeat, code))?;
        if let Some(answer) = self.answered(&repeat).await? {
            return reply(answer);
        }
        let found = codes::work::find(&self.db, code, SecretKind::VerificationCode).await?;
        let (code, located) = found.ok_or(Error::CodeInvalid)?;

        let mut tx = self.db.begin_system(located.system("verify")).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let (answer, act) = codes::work::verify_email(&mut tx, &located, &code).await?;
        repeat.finish(tx, [act], answer).await
    }

    async fn accept_invite(
        &self,
        request: Request<pb::AcceptInviteRequest>,
    ) -> Reply<pb::AcceptInviteResponse> {
        self.door.arrive(Kind::Code)?;
        let request = request.into_inner();
        let mut fields = Fields::default();
        let scope = codes::model::scope(&request.code, SecretKind::InvitationCode);
        let repeat = fields.take("request_id", self.repeats.of_public(&request, scope));
        let code = fields.take("code", codes::model::present(&request.code));
        let name = fields.take("name", Text::parse(&request.name));
        let located = match code.and_then(|code| Secret::parse(code, SecretKind::InvitationCode)) {
            Some(code) => invitations::sql::locate(&self.db, &code).await?,
            None => None,
        };
        let mut known = vec![request.name.clone()];
        if let Some(located) = &located {
            known.extend(invitations::work::known_words(&self.db, located).await?);
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let password = fields.take("password", NewPassword::parse(&request.password, &known));
        let (repeat, _, name, password) = fields.all((repeat, code, name, password))?;
        if let Some(answer) = self.answered(&repeat).await? {
            return reply(answer);
        }
        let located = located.ok_or(Error::CodeInvalid)?;
        let hash = self.door.passwords.hash(password).await?;

        let mut tx = self.db.begin_system(located.system("accept-invite")).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let invitation = invitations::work::lock_open(&mut tx, located.id).await?;
        let (employee, act) = invitations::work::accept(&mut tx, &invitation, name, hash).await?;
        let token = self.token(&mut tx, employee.id).await?;
        let employee = Some(employee.shown_to_self());
        let answer = pb::AcceptInviteResponse { token: token.expose(), employee };
        repeat.finish(tx, [act], answer).await
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Reply<pb::ListSessionsResponse> {
        let (caller, _) = open(request)?;
        let mut tx = self.db.begin(&caller).await?;
        let sessions = sessions::sql::list(&mut tx, caller.employee_id()?).await?;
        let shown = sessions.into_iter().map(|session| session.shown(caller.session_id()));
        reply(pb::ListSessionsResponse { sessions: shown.collect() })
    }

    async fn revoke_session(
        &self,
        request: Request<pb::RevokeSessionRequest>,
    ) -> Reply<pb::RevokeSessionResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let id = fields.take("id", id(request.id));
        let (id,) = fields.all((id,))?;

        let mut tx = self.db.begin(&caller).await?;
        if !sessions::sql::revoke(&mut tx, caller.employee_id()?, id).await? {
            return Err(Error::NotFound { resource: "session", field: "id" }.into());
        }
        feeds::revoke(&mut tx, Holder::Session(id));
        tx.commit([Act::on("session", id, "revoke")]).await?;
        reply(pb::RevokeSessionResponse {})
    }

    async fn revoke_other_sessions(
        &self,
        request: Request<pb::RevokeOtherSessionsRequest>,
    ) -> Reply<pb::RevokeOtherSessionsResponse> {
        let (caller, _) = open(request)?;
        let employee_id = caller.employee_id()?;
        let mut tx = self.db.begin(&caller).await?;
        lock_live(&mut tx, employee_id, "id").await?;
        let kept = caller.session_id();
        let mut ended = 0;
        if kept.is_some() {
            ended += tokens::sql::revoke_employee(&mut tx, employee_id).await?;
        }
        ended += sessions::sql::revoke_employee(&mut tx, employee_id, kept).await?;
        feeds::revoke(&mut tx, Holder::Employee(employee_id));
        let act = Act::on("employee", employee_id, "revoke_other_sessions");
        tx.commit([act.with("credentials_ended", ended)]).await?;
        let revoked_count = i64::try_from(ended).unwrap_or(i64::MAX);
        reply(pb::RevokeOtherSessionsResponse { revoked_count })
    }

    async fn revoke_all_sessions(
        &self,
        request: Request<pb::RevokeAllSessionsRequest>,
    ) -> Reply<pb::RevokeAllSessionsResponse> {
        let (caller, request) = open(request)?;
        let mut tx = self.db.begin(&caller).await?;
        let (act, ended) = match request.target {
            None => {
                let id = caller.employee_id()?;
                lock_live(&mut tx, id, "employee_id").await?;
                revoke_all_of(&mut tx, id).await?
            }
            Some(Target::EmployeeId(said)) => {
                let mut fields = Fields::default();
                let said = fields.take("employee_id", id(said));
                let (id,) = fields.all((said,))?;
                let employee = lock_live(&mut tx, id, "employee_id").await?;
                if !caller.is(id) {
                    check_manages(&caller, &employee)?;
                }
                revoke_all_of(&mut tx, id).await?
            }
            Some(Target::WholeAccount(true)) => revoke_all(&mut tx, &caller).await?,
            Some(Target::WholeAccount(false)) => {
                let mut fields = Fields::default();
                fields.refuse("whole_account", Flaw::bad("must be true, or absent"));
                fields.all(())?;
                return Err(Error::internal("a refused field was none").into());
            }
        };
        tx.commit([act.with("credentials_ended", ended)]).await?;
        let revoked_count = i64::try_from(ended).unwrap_or(i64::MAX);
        reply(pb::RevokeAllSessionsResponse { revoked_count })
    }

    async fn change_password(
        &self,
        request: Request<pb::ChangePasswordRequest>,
    ) -> Reply<pb::ChangePasswordResponse> {
        let shown = Credential::from_headers(request.metadata().as_ref())?;
        let (caller, request) = open(request)?;
        let employee_id = caller.employee_id()?;
        self.door.arrive(Kind::LogIn)?;
        let (employee, hash) = self.with_hash(&caller, employee_id).await?;
        let known = employee.known_words();
        let mut fields = Fields::default();
        let new = fields.take("new_password", NewPassword::parse(&request.new_password, &known));
        if new.is_some() && request.new_password == request.old_password {
            fields.refuse("new_password", Flaw::bad("must not be the old one"));
        }
        let old = ("old_password", request.old_password.as_str());
        self.check_password(&mut fields, old, &employee, hash.clone()).await?;
        let (new,) = fields.all((new,))?;
        let new = self.door.passwords.hash(new).await?;

        let mut tx = self.db.begin(&caller).await?;
        // The very hash that was just compared: of two changes at once the second is refused.
        let changed =
            employees::sql::change_password(&mut tx, employee_id, hash.as_deref(), &new).await?;
        let employee = changed.ok_or(Error::Conflict)?;
        // Whoever closes it now waits, and ends what is made here.
        if accounts::sql::share(&mut tx).await?.close_time.is_some() {
            return Err(Error::ACCOUNT_CLOSED.into());
        }
        codes::sql::drop_all(&mut tx, employee_id).await?;
        self.post.notify(&mut tx, &employee.email, letter::password_changed).await?;
        let ended = self.end_others(&mut tx, &caller, &shown).await?;
        let token = self.token(&mut tx, employee_id).await?;
        let act = Act::on("employee", employee_id, "change_password");
        tx.commit([act.with("credentials_ended", ended)]).await?;
        let employee = Some(employee.shown_to_self());
        reply(pb::ChangePasswordResponse { token: token.expose(), employee })
    }

    async fn get_me(&self, request: Request<pb::GetMeRequest>) -> Reply<pb::GetMeResponse> {
        let (caller, _) = open(request)?;
        let id = caller.employee_id()?;
        let mut tx = self.db.begin(&caller).await?;
        let employee = employees::sql::find(&mut tx, id).await?;
        // Gone between the check of the token and here.
        let employee = employee.ok_or(Error::Unauthenticated(Reason::EmployeeInactive))?;
        reply(pb::GetMeResponse { employee: Some(employee.shown_to_self()) })
    }

    async fn update_me(
        &self,
        request: Request<pb::UpdateMeRequest>,
    ) -> Reply<pb::UpdateMeResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let change = Change::parse_profile(&mut fields, &request);
        let sent = request.employee.clone().unwrap_or_default();
        let (id, update) = (caller.employee_id()?, (&sent, request.update_mask.as_ref()));
        work::note_email(&self.db, &caller, id, update, &mut fields).await?;
        let (repeat, change) = fields.all((repeat, change))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = lock_live(&mut tx, id, "employee.id").await?;
        authority::check_change(&caller, &before, &change)?;
        etag::check(&sent.etag, before.version)?;
        let mut fields = Fields::default();
        check_email_stays(&mut fields, &sent, request.update_mask.as_ref(), &before);
        fields.all(())?;
        let (employee, act) = work::update(&mut tx, before, change).await?;
        let answer = pb::UpdateMeResponse { employee: Some(employee.shown_to_self()) };
        repeat.finish(tx, act, answer).await
    }
}
