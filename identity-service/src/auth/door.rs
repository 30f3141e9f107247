//! Who gets in with an e-mail address and a password?
//!
//! Whatever is wrong, the answer reads the same and costs the same: one look-up and one hash.
//! That holds for guesses that come too often as well: they are answered as wrong, unread.

use std::{sync::Arc, time::Instant};

use proto::common::v1::{ErrorReason as Reason, Role};
use service_kit::{
    db::{Db, TenantTx},
    error::Error,
    fields::email_key,
    telemetry::context,
};

use crate::{
    accounts,
    attempts::{Attempts, Kind, Network},
    employees::{self, model::Employee},
    passwords::Passwords,
};

const NOT_VERIFIED: Error = Error::Refused {
    reason: Reason::EmailNotVerified,
    sentence: "The e-mail address is not verified yet.",
};

/// What stands before every account.
#[derive(Clone)]
pub struct Door {
    pub db: Db,
    pub passwords: Arc<Passwords>,
    pub attempts: Arc<Attempts>,
    /// Whether only those get in who have shown that their address is theirs.
    pub verified_only: bool,
}

impl Door {
    /// Refuses a call of which too many came from where this one comes, or from everywhere.
    pub fn arrive(&self, kind: Kind) -> Result<(), Error> {
        self.attempts
            .arrive(kind, network(), Instant::now())
            .map_err(|retry| Error::TooManyAttempts { retry })
    }

    /// Whether an address is sent one more letter; if not, nobody is told.
    pub fn may_mail(&self, email_key: &str) -> bool {
        self.attempts.may_mail(email_key, Instant::now())
    }

    /// Whoever it is, and a transaction in their account, in which they stay as they are.
    pub async fn let_in(
        &self,
        email: &str,
        password: &str,
        task: &'static str,
    ) -> Result<(TenantTx, Employee), Error> {
        let refused = || Error::Unauthenticated(Reason::InvalidCredentials);
        self.arrive(Kind::LogIn)?;
        let key = email_key(email);
        let guess = self.attempts.guess(&key, network(), Instant::now());
        let candidate = employees::sql::find_by_email(&self.db, &key).await?;
        let stored = candidate.as_ref().and_then(|candidate| candidate.password_hash.clone());
        let matches = self.passwords.verify(password, stored).await?;
        // Only now, so that everyone who is refused has cost the same.
        let candidate = candidate.filter(|found| matches && found.is_active).ok_or_else(refused)?;
        guess.ok_or_else(refused)?.succeeded(Instant::now());

        let mut tx = self.db.begin_system(candidate.system(task)).await?;
        let employee = employees::sql::find_for_login(&mut tx, &candidate).await?;
        let employee = employee.ok_or_else(refused)?;
        self.check_may_enter(&mut tx, &employee).await?;
        Ok((tx, employee))
    }

    /// Whether a password is somebody's, who is signed in already.
    pub async fn is_password(
        &self,
        employee: &Employee,
        password: &str,
        hash: Option<String>,
    ) -> Result<bool, Error> {
        let key = email_key(&employee.email);
        let guess = self.attempts.guess(&key, network(), Instant::now());
        let matches = self.passwords.verify(password, hash).await?;
        let Some(guess) = guess.filter(|_| matches) else { return Ok(false) };
        guess.succeeded(Instant::now());
        Ok(true)
    }

    async fn check_may_enter(&self, tx: &mut TenantTx, employee: &Employee) -> Result<(), Error> {
        let account = accounts::sql::get(tx).await?;
        if account.close_time.is_some() && employee.role() != Role::SuperAdmin {
            return Err(Error::ACCOUNT_CLOSED);
        }
        if self.verified_only && employee.email_verify_time.is_none() {
            return Err(NOT_VERIFIED);
        }
        Ok(())
    }
}

/// Where the present call comes from.
fn network() -> Option<Network> {
    context::current().and_then(|request| request.client()).map(Network::from)
}
