//! identity.v1.EmployeeService.

use std::sync::Arc;

use proto::identity::v1::{self as pb, employee_service_server::EmployeeService};
use service_kit::{Reply, auth::open, db::Db, fields::Fields, idempotency::Repeats, reply};
use tonic::Request;

use super::{
    model::{Login, NewEmployee},
    sql,
};
use crate::passwords::{NewPassword, Passwords};

pub struct Employees {
    pub db: Db,
    pub passwords: Arc<Passwords>,
    pub repeats: Repeats,
}

#[tonic::async_trait]
impl EmployeeService for Employees {
    async fn create_employee(
        &self,
        request: Request<pb::CreateEmployeeRequest>,
    ) -> Reply<pb::CreateEmployeeResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let employee = NewEmployee::parse(&mut fields, &request.employee.unwrap_or_default());
        let password = fields.take("password", NewPassword::optional(&request.password));
        let (repeat, employee, password) = fields.all((repeat, employee, password))?;
        caller.may_give(employee.role)?;
        let login = self.login_with(password).await?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let employee = sql::insert(&mut tx, &employee, &login).await?;
        let answer = pb::CreateEmployeeResponse { employee: Some(employee.into()) };
        repeat.finish(tx, answer).await
    }
}

impl Employees {
    /// What to store for somebody whose password was chosen for them, if one was.
    async fn login_with(
        &self,
        password: Option<NewPassword>,
    ) -> Result<Login, service_kit::error::Error> {
        let Some(password) = password else {
            return Ok(Login::default());
        };
        let hash = self.passwords.hash(password).await?;
        Ok(Login { password_hash: Some(hash), password_change_advised: true })
    }
}
