//! `create-super-admin`: somebody who may do everything, in an account that is there or a new
//! one.

use clap::{ArgGroup, Args};
use proto::common::v1::Role;
use service_kit::{
    access,
    config::StartError,
    db::{Act, Db, System},
    error::Error,
    fields::{Currency, Email, Fields, Text, Violations},
};

use super::{password, said};
use crate::{
    SCHEMA, Settings,
    accounts::{self, model::NewAccount},
    app::database,
    employees::{
        self,
        model::{Login, NewEmployee},
    },
    feeds,
    passwords::{NewPassword, Passwords},
};

const TASK: &str = "create-super-admin";

/// Who, and where. The password is never an argument.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("account").required(true).args(["account_id", "account_name"])))]
pub struct CreateSuperAdmin {
    /// The e-mail address that the person logs in with.
    #[arg(long)]
    email: String,
    /// What the person is called; by default what stands before the @.
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// The account to make the person in, if it is there already.
    #[arg(long)]
    account_id: Option<i64>,
    /// What the account is called, if it is to be made.
    #[arg(long)]
    account_name: Option<String>,
    /// The e-mail address of the new account; by default that of the person.
    #[arg(long, requires = "account_name", conflicts_with = "account_id")]
    account_email: Option<String>,
    /// The ISO 4217 code of the currency that the new account reckons in; by default USD.
    #[arg(long, requires = "account_name", conflicts_with = "account_id")]
    default_currency: Option<String>,
}

/// What was made.
struct Made {
    employee_id: i64,
    account_id: i64,
}

/// The account that the person will be in.
enum Home {
    There { system: System, name: String },
    New(NewAccount),
}

impl Home {
    fn name(&self) -> &str {
        match self {
            Self::There { name, .. } => name,
            Self::New(account) => account.name.as_str(),
        }
    }
}

impl CreateSuperAdmin {
    /// Makes the person, and says who it is.
    pub async fn run(self, settings: &Settings) -> Result<(), StartError> {
        let (employee, account) = self.parse().map_err(|bad| said(bad.into()))?;
        let db = Db::connect(database(settings)?, &SCHEMA).await?;
        let home = self.home(&db, account).await.map_err(said)?;
        let password = password::read()?;
        let made = create(&db, home, &employee, &password).await.map_err(said)?;
        println!("employee_id: {}\naccount_id: {}", made.employee_id, made.account_id);
        Ok(())
    }

    fn parse(&self) -> Result<(NewEmployee, Option<NewAccount>), Violations> {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        let mut fields = Fields::default();
        let email = fields.take("--email", Email::required(&self.email));
        let name = fields.take("--name", Text::parse(&self.name));
        let Some(account_name) = &self.account_name else {
            let (email, name) = fields.all((email, name))?;
            return Ok((NewEmployee::super_admin(email, name), None));
        };
        let account_name = fields.take("--account-name", Text::required(account_name));
        let account_email =
            fields.take("--account-email", Email::optional(&text(&self.account_email)));
        let currency =
            fields.take("--default-currency", Currency::optional(&text(&self.default_currency)));
        let taken = (email, name, account_name, account_email, currency);
        let (email, name, account_name, account_email, currency) = fields.all(taken)?;
        let account = NewAccount {
            name: account_name,
            email: account_email.unwrap_or_else(|| email.clone()),
            default_currency: currency.unwrap_or(Currency::USD),
        };
        Ok((NewEmployee::super_admin(email, name), Some(account)))
    }

    async fn home(&self, db: &Db, account: Option<NewAccount>) -> Result<Home, Error> {
        let id = match (account, self.account_id) {
            (Some(account), _) => return Ok(Home::New(account)),
            (None, id) => id.unwrap_or_default(),
        };
        let located = accounts::sql::locate(db, id).await?;
        let located =
            located.ok_or(Error::NotFound { resource: "account", field: "--account-id" })?;
        let system = located.system(TASK);
        let mut tx = db.begin_system(system).await?;
        Ok(Home::There { system, name: accounts::sql::get(&mut tx).await?.name })
    }
}

async fn create(
    db: &Db,
    home: Home,
    employee: &NewEmployee,
    password: &str,
) -> Result<Made, Error> {
    let mut known = vec![home.name()];
    known.extend(employee.known_words());
    let mut fields = Fields::default();
    let password = fields.take("The password", NewPassword::parse(password, &known));
    let (password,) = fields.all((password,))?;
    let password_hash = Some(Passwords::start(1).hash(password).await?);
    let login = Login { password_hash, password_change_advised: false };

    let (system, new) = match home {
        Home::There { system, .. } => (system, None),
        Home::New(account) => (db.new_tenant(TASK).await?, Some(account)),
    };
    let mut tx = db.begin_system(system).await?;
    let mut acts = Vec::new();
    if let Some(new) = new {
        let account = accounts::sql::insert(&mut tx, &new).await?;
        feeds::announce_account(&mut tx, &account);
        acts.push(Act::on("account", account.id, "create"));
    }
    let employee = employees::sql::insert(&mut tx, employee, &login).await?;
    feeds::announce_employee(&mut tx, employee.id, &employee.name, employee.state());
    let role = access::role_text(Role::SuperAdmin);
    acts.push(Act::on("employee", employee.id, "create").with("role", role));
    tx.commit(acts).await?;
    Ok(Made { employee_id: employee.id, account_id: employee.account_id })
}
