//! `revoke-all`: logs a person out, or an account, or everyone.

use clap::{ArgGroup, Args};
use service_kit::{
    config::StartError,
    db::{Act, Db, System, Tenanted},
    error::Error,
    fields::{Flaw, Violations, email_key},
};

use super::said;
use crate::{SCHEMA, Settings, accounts, app::database, credentials, employees, leases};

const TASK: &str = "revoke-all";

/// Whom. API keys are not ended: they belong to programs.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whom").required(true).multiple(true)
    .args(["account_id", "employee_id", "email", "yes"])))]
pub struct RevokeAll {
    /// Everyone in this account; with one of the next two, the person must be in it.
    #[arg(long)]
    account_id: Option<i64>,
    /// This person.
    #[arg(long, conflicts_with = "email")]
    employee_id: Option<i64>,
    /// Whoever logs in with this e-mail address.
    #[arg(long)]
    email: Option<String>,
    /// Everyone in every account, if nothing else is said.
    #[arg(long)]
    yes: bool,
}

/// Whose credentials end.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Employee(System, i64),
    Account(System),
}

impl RevokeAll {
    /// Ends tokens and sessions, and says how many.
    pub async fn run(self, settings: &Settings) -> Result<(), StartError> {
        let db = Db::connect(database(settings)?, &SCHEMA).await?;
        let (mut ended, mut accounts) = (0, 0);
        for whose in self.whose(&db).await.map_err(said)? {
            match end(&db, whose).await {
                Ok(count) => ended += count,
                Err(error) => {
                    let error = said(error);
                    return Err(StartError::new(format!(
                        "After {ended} credentials in {accounts} accounts it ended, so run it again: {error}"
                    )));
                }
            }
            accounts += 1;
        }
        // What it says next is true everywhere.
        leases::settle::settle(&db).await;
        println!("Tokens and sessions ended: {ended}.");
        Ok(())
    }

    async fn whose(&self, db: &Db) -> Result<Vec<Whose>, Error> {
        if let Some(email) = &self.email {
            let found = employees::sql::find_by_email(db, &email_key(email)).await?;
            let found = found.filter(|found| self.is_in(found.account_id()));
            let found = found.ok_or(Error::NotFound { resource: "employee", field: "--email" })?;
            return Ok(vec![Whose::Employee(found.system(TASK), found.id)]);
        }
        if let Some(id) = self.employee_id {
            let mut found = employees::sql::locate(db, id).await?;
            found.retain(|found| self.is_in(found.account_id()));
            if found.len() > 1 {
                return Err(ambiguous().into());
            }
            let missing = Error::NotFound { resource: "employee", field: "--employee-id" };
            let found = found.pop().ok_or(missing)?;
            return Ok(vec![Whose::Employee(found.system(TASK), id)]);
        }
        if let Some(id) = self.account_id {
            let found = accounts::sql::locate(db, id).await?;
            let missing = Error::NotFound { resource: "account", field: "--account-id" };
            return Ok(vec![Whose::Account(found.ok_or(missing)?.system(TASK))]);
        }
        let all = accounts::sql::locate_all(db).await?;
        Ok(all.iter().map(|found| Whose::Account(found.system(TASK))).collect())
    }

    fn is_in(&self, account_id: i64) -> bool {
        self.account_id.is_none_or(|wanted| wanted == account_id)
    }
}

fn ambiguous() -> Violations {
    let several = "is needed: several accounts have an employee of this id";
    Violations::one("--account-id", Flaw::bad(several))
}

/// One transaction for each account, so that nobody waits for all of them.
async fn end(db: &Db, whose: Whose) -> Result<u64, Error> {
    let (Whose::Employee(system, _) | Whose::Account(system)) = whose;
    let mut tx = db.begin_system(system).await?;
    let (subject, id, ended) = match whose {
        Whose::Employee(_, id) => {
            // In the order in which every call takes them: the person first.
            employees::sql::lock(&mut tx, id).await?;
            ("employee", id, credentials::end_of_employee(&mut tx, id).await?)
        }
        Whose::Account(system) => {
            ("account", system.account_id(), credentials::end_of_account(&mut tx).await?)
        }
    };
    let act = Act::on(subject, id, "revoke_all_sessions").with("credentials_ended", ended);
    tx.commit([act]).await?;
    Ok(ended)
}
