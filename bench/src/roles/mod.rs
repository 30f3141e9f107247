//! What the processes of the stack serve.
//!
//! They are this very program, so that subject and reference are built alike.

pub mod bare;

use std::{io::Write, net::SocketAddr, sync::Arc};

use proto::{common::v1::Role as PersonRole, identity::v1::EmployeeClientVisibility};
use service_kit::{
    access,
    auth::{Authenticator, Credential},
    caller::{Actor, Facts},
    config::StartError,
    error::Error,
    fields::Currency,
    program::Program,
    serve::{self, App, Bound, shutdown_token},
};

use crate::{Outcome, options::Role};

/// What a child says when it listens, and where.
pub const LISTENING: &str = "listening on ";
/// Whom everybody is to an open crm-service: `account/employee`.
pub const OPEN_TO: &str = "BENCH_OPEN_TO";

/// Serves until it is told to stop.
pub async fn serve(role: Role) -> Outcome<()> {
    end_with_the_parent();
    match role {
        Role::Identity => identity().await?,
        Role::Crm => crm(None).await?,
        Role::CrmOpen => crm(Some(everybody()?)).await?,
        Role::Bare => bare::serve().await?,
    }
    Ok(())
}

async fn identity() -> Result<(), StartError> {
    let program =
        Program::begin(identity_service::NAME, "IDENTITY_", identity_service::Settings::read)?;
    let bound = Bound::bind(&program.settings.server).await?;
    let app = identity_service::app(&program.settings, program.spans()).await?;
    say_where(bound.address());
    serve::serve(app, bound, &program.settings.server, shutdown_token()).await
}

async fn crm(everybody: Option<Everybody>) -> Result<(), StartError> {
    let program = Program::begin(crm_service::NAME, "CRM_", crm_service::Settings::read)?;
    let bound = Bound::bind(&program.settings.server).await?;
    let mut app: App = crm_service::app(&program.settings, program.spans()).await?;
    if let Some(everybody) = everybody {
        app.gate.authenticator = Arc::new(everybody);
    }
    say_where(bound.address());
    serve::serve(app, bound, &program.settings.server, shutdown_token()).await
}

/// The parent holds the other end of standard input; when it is gone, however it went, so are we.
#[expect(clippy::disallowed_methods, reason = "nobody waits for an answer any more")]
fn end_with_the_parent() {
    std::thread::spawn(|| {
        _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}

/// Tells whoever started it where it listens.
fn say_where(address: SocketAddr) {
    println!("{LISTENING}{address}");
    _ = std::io::stdout().flush();
}

/// Takes everybody for one and the same super admin, and asks nobody.
struct Everybody {
    account_id: i64,
    employee_id: i64,
}

fn everybody() -> Outcome<Everybody> {
    let text = std::env::var(OPEN_TO)?;
    let (account, employee) = text.split_once('/').ok_or("it is written account/employee")?;
    Ok(Everybody { account_id: account.parse()?, employee_id: employee.parse()? })
}

#[tonic::async_trait]
impl Authenticator for Everybody {
    async fn authenticate(&self, _: &Credential) -> Result<Facts, Error> {
        Ok(Facts {
            account_id: self.account_id,
            actor: Actor::Employee(self.employee_id),
            role: PersonRole::SuperAdmin,
            permissions: access::effective(PersonRole::SuperAdmin, &[]),
            default_currency: Currency::USD,
            time_zone: chrono_tz::UTC,
            visibility: EmployeeClientVisibility::Account,
            session_id: None,
            account_closed: false,
        })
    }
}
