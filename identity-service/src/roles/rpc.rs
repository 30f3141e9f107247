//! identity.v1.RoleService.

use std::sync::Arc;

use proto::identity::v1::{self as pb, role_service_server::RoleService};
use service_kit::{
    Reply,
    auth::open,
    caller::Caller,
    db::{Act, Db, TenantTx},
    error::Error,
    etag,
    fields::{Fields, id},
    idempotency::Repeats,
    keys::Keyring,
    page::Page,
    reply,
};
use tonic::Request;

use super::{
    model::{self, Change, CompanyRole, Details, SystemRole, parse_system_role},
    sql,
};
use crate::{
    employees,
    feeds::{self, Holder},
};

pub struct Roles {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub repeats: Repeats,
}

#[tonic::async_trait]
impl RoleService for Roles {
    async fn create_company_role(
        &self,
        request: Request<pb::CreateCompanyRoleRequest>,
    ) -> Reply<pb::CreateCompanyRoleResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let details = Details::parse(&mut fields, &request.company_role.unwrap_or_default());
        let (repeat, details) = fields.all((repeat, details))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let role = sql::insert(&mut tx, &details).await?;
        let act = Act::on("company_role", role.id, "create");
        let answer = pb::CreateCompanyRoleResponse { company_role: Some(role.into()) };
        repeat.finish(tx, [act], answer).await
    }

    async fn get_company_role(
        &self,
        request: Request<pb::GetCompanyRoleRequest>,
    ) -> Reply<pb::GetCompanyRoleResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let id = fields.take("id", id(request.id));
        let (id,) = fields.all((id,))?;

        let mut tx = self.db.begin(&caller).await?;
        let role = sql::find(&mut tx, id).await?.ok_or(not_found("id"))?;
        reply(pb::GetCompanyRoleResponse { company_role: Some(role.into()) })
    }

    async fn list_company_roles(
        &self,
        request: Request<pb::ListCompanyRolesRequest>,
    ) -> Reply<pb::ListCompanyRolesResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let page = Page::parse(
            &mut fields,
            &request,
            &caller,
            &self.keys,
            model::ORDERS,
            model::DEFAULT_ORDER,
        );
        let (page,) = fields.all((page,))?;

        let mut tx = self.db.begin(&caller).await?;
        let roles = sql::list(&mut tx, &page).await?;
        let total_size = if page.include_total { Some(sql::count(&mut tx).await?) } else { None };
        let (roles, next_page_token) = page.cut(roles, &self.keys, |role| role.id);
        let company_roles = roles.into_iter().map(Into::into).collect();
        reply(pb::ListCompanyRolesResponse { company_roles, next_page_token, total_size })
    }

    async fn update_company_role(
        &self,
        request: Request<pb::UpdateCompanyRoleRequest>,
    ) -> Reply<pb::UpdateCompanyRoleResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let change = Change::parse(&mut fields, &request);
        let role = request.company_role.unwrap_or_default();
        let id = fields.take("company_role.id", id(role.id));
        let (repeat, change, id) = fields.all((repeat, change, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = lock(&mut tx, id, "company_role.id").await?;
        etag::check(&role.etag, before.version)?;
        let changes = change.changes(&before);
        if changes.is_empty() {
            let answer = pb::UpdateCompanyRoleResponse { company_role: Some(before.into()) };
            return repeat.finish(tx, [], answer).await;
        }
        let role = sql::update(&mut tx, id, &change).await?;
        // Everybody, here and elsewhere, sees the labels by their names.
        if changes.contains(&"name") {
            change_holders(&mut tx, id).await?;
        }
        let act = Act::on("company_role", id, "update").with("fields", changes);
        let answer = pb::UpdateCompanyRoleResponse { company_role: Some(role.into()) };
        repeat.finish(tx, [act], answer).await
    }

    async fn delete_company_role(
        &self,
        request: Request<pb::DeleteCompanyRoleRequest>,
    ) -> Reply<pb::DeleteCompanyRoleResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let (repeat, id) = fields.all((repeat, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = lock(&mut tx, id, "id").await?;
        etag::check(&request.etag, before.version)?;
        change_holders(&mut tx, id).await?;
        sql::delete(&mut tx, id).await?;
        let act = Act::on("company_role", id, "delete").with("name", before.name);
        repeat.finish(tx, [act], pb::DeleteCompanyRoleResponse {}).await
    }

    async fn assign_company_role(
        &self,
        request: Request<pb::AssignCompanyRoleRequest>,
    ) -> Reply<pb::AssignCompanyRoleResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let employee_id = fields.take("employee_id", id(request.employee_id));
        let role_id = fields.take("company_role_id", id(request.company_role_id));
        let (repeat, employee_id, role_id) = fields.all((repeat, employee_id, role_id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        // The role first: so does whoever changes it and, with it, those who have it.
        sql::share(&mut tx, role_id).await?.ok_or(not_found("company_role_id"))?;
        lock_managed(&mut tx, &caller, employee_id).await?;
        let act = if sql::assign(&mut tx, employee_id, role_id).await? {
            employees::sql::touch(&mut tx, employee_id).await?;
            feeds::revoke(&mut tx, Holder::Employee(employee_id));
            let act = Act::on("employee", employee_id, "assign_company_role");
            Some(act.with("company_role_id", role_id))
        } else {
            None
        };
        repeat.finish(tx, act, pb::AssignCompanyRoleResponse {}).await
    }

    async fn unassign_company_role(
        &self,
        request: Request<pb::UnassignCompanyRoleRequest>,
    ) -> Reply<pb::UnassignCompanyRoleResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let employee_id = fields.take("employee_id", id(request.employee_id));
        let role_id = fields.take("company_role_id", id(request.company_role_id));
        let (repeat, employee_id, role_id) = fields.all((repeat, employee_id, role_id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        lock_managed(&mut tx, &caller, employee_id).await?;
        sql::find(&mut tx, role_id).await?.ok_or(not_found("company_role_id"))?;
        let act = if sql::unassign(&mut tx, employee_id, role_id).await? {
            employees::sql::touch(&mut tx, employee_id).await?;
            feeds::revoke(&mut tx, Holder::Employee(employee_id));
            let act = Act::on("employee", employee_id, "unassign_company_role");
            Some(act.with("company_role_id", role_id))
        } else {
            None
        };
        repeat.finish(tx, act, pb::UnassignCompanyRoleResponse {}).await
    }

    async fn list_system_roles(
        &self,
        request: Request<pb::ListSystemRolesRequest>,
    ) -> Reply<pb::ListSystemRolesResponse> {
        open(request)?;
        let system_roles = SystemRole::ALL.into_iter().map(Into::into).collect();
        reply(pb::ListSystemRolesResponse { system_roles })
    }

    async fn grant_system_role(
        &self,
        request: Request<pb::GrantSystemRoleRequest>,
    ) -> Reply<pb::GrantSystemRoleResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let employee_id = fields.take("employee_id", id(request.employee_id));
        let role = fields.take("system_role", parse_system_role(request.system_role));
        let (repeat, employee_id, role) = fields.all((repeat, employee_id, role))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        lock_managed(&mut tx, &caller, employee_id).await?;
        let act = if sql::grant(&mut tx, employee_id, role).await? {
            feeds::revoke(&mut tx, Holder::Employee(employee_id));
            let act = Act::on("employee", employee_id, "grant_system_role");
            Some(act.with("system_role", role.text()))
        } else {
            None
        };
        repeat.finish(tx, act, pb::GrantSystemRoleResponse {}).await
    }

    async fn revoke_system_role(
        &self,
        request: Request<pb::RevokeSystemRoleRequest>,
    ) -> Reply<pb::RevokeSystemRoleResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let employee_id = fields.take("employee_id", id(request.employee_id));
        let role = fields.take("system_role", parse_system_role(request.system_role));
        let (repeat, employee_id, role) = fields.all((repeat, employee_id, role))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        lock_managed(&mut tx, &caller, employee_id).await?;
        let act = if sql::revoke(&mut tx, employee_id, role).await? {
            feeds::revoke(&mut tx, Holder::Employee(employee_id));
            let act = Act::on("employee", employee_id, "revoke_system_role");
            Some(act.with("system_role", role.text()))
        } else {
            None
        };
        repeat.finish(tx, act, pb::RevokeSystemRoleResponse {}).await
    }
}

/// What was known of everyone who has a role no longer holds.
async fn change_holders(tx: &mut TenantTx, role_id: i64) -> Result<(), Error> {
    for employee_id in employees::sql::touch_holders(tx, role_id).await? {
        feeds::revoke(tx, Holder::Employee(employee_id));
    }
    Ok(())
}

async fn lock(tx: &mut TenantTx, id: i64, field: &'static str) -> Result<CompanyRole, Error> {
    sql::lock(tx, id).await?.ok_or(not_found(field))
}

/// A person of whom the caller may say what they are: themselves, or nobody above them.
async fn lock_managed(tx: &mut TenantTx, caller: &Caller, id: i64) -> Result<(), Error> {
    let employee = employees::work::lock_live(tx, id, "employee_id").await?;
    caller.may_manage(employee.role())
}

fn not_found(field: &'static str) -> Error {
    Error::NotFound { resource: "company role", field }
}
