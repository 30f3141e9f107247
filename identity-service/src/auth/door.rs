//! Who gets in with an e-mail address and a password?
//!
//! Whatever is wrong, the answer reads the same and costs the same: one look-up and one hash.
//! That holds for guesses that come too often as well: they are answered as wrong, unread.

use std::{sync::Arc, time::Instant};

use proto::common::v1::{ErrorReason as Reason, Role};
use service_kit::{
    db::{Db, TenantTx},
    error::Error,
    fields::{Email, email_key},
    telemetry::context,
};

use crate::{
    accounts,
    attempts::{Attempts, Kind, Mailing, Network},
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

    /// Counts a letter to an address that somebody chooses.
    ///
    /// # Errors
    /// Where there were too many, and the letter must not be written.
    pub fn mail(&self, mailing: Mailing, to: &Email) -> Result<(), Error> {
        self.attempts
            .mail(mailing, &to.key(), Instant::now())
            .map_err(|retry| Error::TooManyAttempts { retry })
    }

    /// Somebody has shown that an address is theirs: whatever strangers did to it, they get in
    /// from where they are.
    pub fn welcome_back(&self, email: &str) {
        self.attempts.know(&email_key(email), network(), Instant::now());
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

    /// Whether a password is somebody's, who is signed in already. Their guesses are not those
    /// of strangers at their address, who could spend them.
    pub async fn is_password(
        &self,
        employee: &Employee,
        password: &str,
        hash: Option<String>,
    ) -> Result<bool, Error> {
        let key = format!("employee {}/{}", employee.account_id, employee.id);
        let guess = self.attempts.guess(&key, network(), Instant::now());
        let matches = self.passwords.verify(password, hash).await?;
        let Some(guess) = guess.filter(|_| matches) else { return Ok(false) };
        guess.succeeded(Instant::now());
        Ok(true)
    }

    async fn check_may_enter(&self, tx: &mut TenantTx, employee: &Employee) -> Result<(), Error> {
        // Whoever closes it now waits, and ends what is made here.
        let account = accounts::sql::share(tx).await?;
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
