//! Who gets in with an e-mail address and a password?
//!
//! Whatever is wrong, the answer reads the same and costs the same: one look-up and one hash.
//! That holds for guesses that come too often as well: they are answered as wrong, unread.

use std::{sync::Arc, time::Instant};

use proto::common::v1::{ErrorReason as Reason, Role};
use service_kit::{
    db::{Act, Db, Found, System, TenantTx},
    error::Error,
    fields::{Email, email_key},
    telemetry::context,
};

use crate::{
    accounts,
    attempts::{Attempts, Kind, Mailing, Network},
    employees::{self, model::Employee, sql::Candidate},
    passwords::{Passwords, is_weak},
};

const NOT_VERIFIED: Error = Error::Refused {
    reason: Reason::EmailNotVerified,
    sentence: "The e-mail address is not verified yet.",
};

/// Somebody who was let in, and a transaction in their account in which they stay as they are.
pub struct Entry {
    pub tx: TenantTx,
    pub employee: Employee,
    /// To be replaced, once the transaction is through.
    pub weak_hash: Option<WeakHash>,
}

/// A hash that is weaker than those of today, and whose it is.
pub struct WeakHash {
    system: System,
    employee_id: i64,
    hash: String,
}

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

    /// Counts an invitation to an address, and says whether its letter may go.
    ///
    /// # Errors
    /// Where the account has sent too many there.
    pub fn invite(&self, account_id: i64, to: &Email) -> Result<bool, Error> {
        self.attempts
            .invite(account_id, &to.key(), Instant::now())
            .map_err(|retry| Error::TooManyAttempts { retry })
    }

    /// Somebody has shown that an address is theirs: whatever strangers did to it, they get in
    /// from where they are.
    pub fn welcome_back(&self, email: &str) {
        self.attempts.know(&email_key(email), network(), Instant::now());
    }

    /// Whoever it is.
    pub async fn let_in(
        &self,
        email: &str,
        password: &str,
        task: &'static str,
    ) -> Result<Entry, Error> {
        let refused = || Error::Unauthenticated(Reason::InvalidCredentials);
        self.arrive(Kind::LogIn)?;
        let key = email_key(email);
        let guess = self.attempts.guess(&key, network(), Instant::now());
        let candidate = self.recognise(&key, password).await?.ok_or_else(refused)?;
        guess.ok_or_else(refused)?.succeeded(Instant::now());
        if let Some(entry) = self.enter(&candidate, task).await? {
            return Ok(entry);
        }
        if weak_hash(&candidate, task).is_none() {
            return Err(refused());
        }
        // Another log-in at the same time may have put a stronger hash in the place of this one.
        let candidate = self.recognise(&key, password).await?.ok_or_else(refused)?;
        self.enter(&candidate, task).await?.ok_or_else(refused)
    }

    /// Whoever has an address, if they are active and this is their password: one look-up and
    /// one hash, whatever is wrong.
    async fn recognise(
        &self,
        email_key: &str,
        password: &str,
    ) -> Result<Option<Found<Candidate>>, Error> {
        let candidate = employees::sql::find_by_email(&self.db, email_key).await?;
        let stored = candidate.as_ref().and_then(|candidate| candidate.password_hash.clone());
        let matches = self.passwords.verify(password, stored).await?;
        // Only now, so that everyone who is refused has cost the same.
        Ok(candidate.filter(|found| matches && found.is_active))
    }

    /// Lets somebody in who was recognised, unless they changed meanwhile.
    async fn enter(
        &self,
        candidate: &Found<Candidate>,
        task: &'static str,
    ) -> Result<Option<Entry>, Error> {
        let mut tx = self.db.begin_system(candidate.system(task)).await?;
        let employee = employees::sql::find_for_login(&mut tx, candidate).await?;
        let Some(employee) = employee else { return Ok(None) };
        self.check_may_enter(&mut tx, &employee).await?;
        Ok(Some(Entry { tx, employee, weak_hash: weak_hash(candidate, task) }))
    }

    /// Puts a hash of today in the place of a weak one. In a transaction of its own, because two
    /// log-ins at once both hold the person's row; and where it does not succeed the next log-in
    /// tries again.
    pub async fn strengthen(&self, weak_hash: Option<WeakHash>, password: &str) {
        let Some(weak) = weak_hash else { return };
        if let Err(error) = self.replace(&weak, password).await {
            tracing::warn!(error = %error.for_log(), "a password keeps its weak hash for now");
        }
    }

    async fn replace(&self, weak: &WeakHash, password: &str) -> Result<(), Error> {
        let hash = self.passwords.hash_anew(password).await?;
        let mut tx = self.db.begin_system(weak.system).await?;
        if !employees::sql::strengthen(&mut tx, weak.employee_id, &weak.hash, &hash).await? {
            return Ok(());
        }
        tx.commit([Act::on("employee", weak.employee_id, "strengthen_password_hash")]).await
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

fn weak_hash(candidate: &Found<Candidate>, task: &'static str) -> Option<WeakHash> {
    let hash = candidate.password_hash.clone().filter(|hash| is_weak(hash))?;
    Some(WeakHash { system: candidate.system(task), employee_id: candidate.id, hash })
}

/// Where the present call comes from.
fn network() -> Option<Network> {
    context::current().and_then(|request| request.client()).map(Network::from)
}
