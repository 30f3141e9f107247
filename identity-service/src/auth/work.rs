//! What several methods of identity.v1.AuthService do alike.

use prost::{Message, Name};
use proto::common::v1::{ErrorReason as Reason, Role};
use service_kit::{
    Reply,
    auth::Credential,
    caller::Caller,
    db::{Act, TenantTx},
    error::Error,
    fields::{Email, Fields, Flaw},
    idempotency::Repeat,
    reply,
};

use super::rpc::Auth;
use crate::{
    attempts::{Kind, Mailing},
    codes::{self, model::Purpose},
    credentials,
    employees::{self, model::Employee},
    feeds::{self, Holder},
    sessions::{self, access_token::Claims},
    tokens::{self, judge::Form, model::Token},
};

impl Auth {
    /// Writes down that somebody asks for a code by an address. Whether anybody has it is looked
    /// into later: the call does the same in any case.
    pub(super) async fn ask_for_code<A: Message + Name + Default>(
        &self,
        repeat: Result<Repeat, Flaw>,
        email: &str,
        purpose: Purpose,
        answer: A,
    ) -> Reply<A> {
        self.door.arrive(Kind::Mail)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", repeat);
        let email = fields.take("email", Email::required(email));
        let (repeat, email) = fields.all((repeat, email))?;
        let mut tx = self.db.begin_without_tenant("mail").await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let kind = match purpose {
            Purpose::Reset => Mailing::Reset,
            Purpose::Verify | Purpose::ChangeEmail => Mailing::Verification,
        };
        // When there were too many nobody is told.
        if self.door.mail(kind, &email).is_ok() {
            codes::requests::insert(&mut tx, &self.keys, purpose, &email.key()).await?;
        }
        repeat.finish(tx, [], answer).await
    }

    /// What a call by a code was answered before: the code itself is used up since.
    pub(super) async fn answered<A: Message + Name + Default>(
        &self,
        repeat: &Repeat,
    ) -> Result<Option<A>, Error> {
        let mut tx = self.db.begin_without_tenant("repeat").await?;
        repeat.answer(&mut tx).await
    }

    /// The one token of somebody.
    pub(super) async fn token(&self, tx: &mut TenantTx, employee_id: i64) -> Result<Token, Error> {
        tokens::sql::get_or_create(tx, &self.keys, &self.judge.idle, employee_id).await
    }

    /// Ends all that a locked person calls with but the session that this call comes from, if it
    /// comes from one; returns how many that were.
    ///
    /// # Errors
    /// Where what they call with was ended since they were let in.
    pub(super) async fn end_others(
        &self,
        tx: &mut TenantTx,
        caller: &Caller,
        shown: &Credential,
    ) -> Result<u64, Error> {
        let (employee_id, kept) = (caller.employee_id()?, caller.session_id());
        // Tokens before sessions: in the order in which whoever ends everything does.
        let (mut lives, mut ended) = (true, 0);
        if let Form::EmployeeToken(token) = self.judge.form(shown) {
            lives = tokens::sql::revoke(tx, &token.key()).await?;
            ended += u64::from(lives);
        }
        ended += tokens::sql::revoke_employee(tx, employee_id).await?;
        if let Some(id) = kept {
            lives = sessions::sql::lock(tx, id).await?.is_some();
        }
        if !lives {
            return Err(Error::Unauthenticated(Reason::TokenRevoked));
        }
        ended += sessions::sql::revoke_employee(tx, employee_id, kept).await?;
        feeds::revoke(tx, Holder::Employee(employee_id));
        Ok(ended)
    }

    pub(super) async fn log_out_token(&self, token: &Token) -> Result<(), Error> {
        let shown = tokens::sql::look_up(&self.db, token).await?;
        let Some(employee_id) = shown.holder else { return Ok(()) };
        let mut tx = self.db.begin_system(shown.system("logout")).await?;
        if !tokens::sql::revoke(&mut tx, &token.key()).await? {
            return Ok(());
        }
        feeds::revoke(&mut tx, Holder::Employee(employee_id));
        tx.commit([Act::on("employee", employee_id, "log_out")]).await
    }

    pub(super) async fn log_out_session(&self, claims: Claims) -> Result<(), Error> {
        let located = sessions::sql::locate(&self.db, claims.session_id).await?;
        let Some(located) = located else { return Ok(()) };
        let mut tx = self.db.begin_system(located.system("logout")).await?;
        if !sessions::sql::revoke(&mut tx, claims.employee_id, claims.session_id).await? {
            return Ok(());
        }
        feeds::revoke(&mut tx, Holder::Session(claims.session_id));
        let act = Act::on("session", claims.session_id, "log_out");
        tx.commit([act.with("employee_id", claims.employee_id)]).await
    }

    /// Notes where what somebody gave as their present password is not.
    pub(super) async fn check_password(
        &self,
        fields: &mut Fields,
        (field, password): (&str, &str),
        employee: &Employee,
        hash: Option<String>,
    ) -> Result<(), Error> {
        if password.is_empty() {
            fields.refuse(field, Flaw::Missing);
        } else if !self.door.is_password(employee, password, hash).await? {
            fields.refuse(field, Flaw::bad("is not the present password"));
        }
        Ok(())
    }

    /// A person and the hash of their password, as they are now.
    pub(super) async fn with_hash(
        &self,
        caller: &Caller,
        id: i64,
    ) -> Result<(Employee, Option<String>), Error> {
        let mut tx = self.db.begin(caller).await?;
        let employee = employees::sql::find(&mut tx, id).await?;
        let employee = employee.ok_or(Error::Unauthenticated(Reason::EmployeeInactive))?;
        let hash = employees::sql::password_hash(&mut tx, id).await?;
        Ok((employee, hash))
    }
}

pub(super) async fn revoke_all_of(
    tx: &mut TenantTx,
    employee_id: i64,
) -> Result<(Act, u64), Error> {
    let ended = credentials::end_of_employee(tx, employee_id).await?;
    Ok((Act::on("employee", employee_id, "revoke_all_sessions"), ended))
}

pub(super) async fn revoke_all(tx: &mut TenantTx, caller: &Caller) -> Result<(Act, u64), Error> {
    if caller.role() != Role::SuperAdmin {
        return Err(Error::RoleRequired(Role::SuperAdmin));
    }
    let ended = credentials::end_of_account(tx).await?;
    Ok((Act::on("account", caller.account_id(), "revoke_all_sessions"), ended))
}
