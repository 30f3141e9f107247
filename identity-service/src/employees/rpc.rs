//! identity.v1.EmployeeService.

use std::sync::Arc;

use proto::{
    common::v1::{ErrorReason as Reason, Permission, Role},
    identity::v1::{self as pb, employee_service_server::EmployeeService},
};
use service_kit::{
    Reply, access,
    auth::open,
    caller::Caller,
    db::{Act, Db},
    error::Error,
    etag,
    fields::{Fields, email_key, id},
    idempotency::Repeats,
    keys::Keyring,
    page::Page,
    reply,
};
use tonic::Request;

use super::{
    authority,
    model::{self, Change, Filter, Login, NewEmployee, check_email_stays, parse_permissions},
    sql,
    work::{self, lock, lock_live, not_found},
};
use crate::{
    accounts,
    attempts::{Kind, Mailing},
    auth::door::Door,
    codes::{self, model::Purpose},
    credentials,
    feeds::{self, Holder, State},
    invitations::{self, model::NewInvitation},
    mail::{
        letter,
        post::{Post, address},
    },
    passwords::NewPassword,
};

const INACTIVE: Error = Error::Refused {
    reason: Reason::EmployeeInactive,
    sentence: "Nobody who is deactivated is sent a code.",
};

pub struct Employees {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub door: Door,
    pub post: Post,
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
        let account_name = self.account_name(&caller, &request.password).await?;
        let mut known = vec![account_name.as_str()];
        known.extend(employee.iter().flat_map(NewEmployee::known_words));
        let password = fields.take("password", NewPassword::optional(&request.password, &known));
        let (repeat, employee, password) = fields.all((repeat, employee, password))?;
        caller.may_give(employee.role)?;
        self.door.arrive(Kind::Look)?;
        let login = self.login_with(password).await?;
        // Who has no password shows that the address is theirs by choosing one.
        let must_verify = self.door.verified_only && login.password_hash.is_some();

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let email = employee.email.clone();
        let employee = sql::insert(&mut tx, &employee, &login).await?;
        // Behind the insert: who tries a taken address spends nobody's letters.
        if must_verify && self.door.mail(Mailing::Verification, &email).is_ok() {
            codes::work::ask_to_verify(&mut tx, &self.post, &employee).await?;
        }
        feeds::announce_employee(&mut tx, employee.id, &employee.name, employee.state());
        let act = Act::on("employee", employee.id, "create")
            .with("role", access::role_text(employee.role()));
        let answer = pb::CreateEmployeeResponse { employee: Some(employee.seen_by(&caller)) };
        repeat.finish(tx, [act], answer).await
    }

    async fn invite_employee(
        &self,
        request: Request<pb::InviteEmployeeRequest>,
    ) -> Reply<pb::InviteEmployeeResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let invitation = NewInvitation::parse(&mut fields, &request.invitation.unwrap_or_default());
        let (repeat, invitation) = fields.all((repeat, invitation))?;
        caller.may_give(invitation.role)?;
        self.door.arrive(Kind::Look)?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let may_send = self.door.invite(caller.account_id(), &invitation.email)?;
        let key = invitation.email.key();
        let may = |role| caller.may_manage(role);
        let replaced = invitations::work::take_back(&mut tx, &key, may).await?;
        let (invitation, act) =
            invitations::work::invite(&mut tx, &self.post, &invitation, caller.actor(), may_send)
                .await?;
        let answer = pb::InviteEmployeeResponse { invitation: Some(invitation.into()) };
        repeat.finish(tx, replaced.into_iter().chain([act]), answer).await
    }

    async fn list_invitations(
        &self,
        request: Request<pb::ListInvitationsRequest>,
    ) -> Reply<pb::ListInvitationsResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let page = Page::parse(
            &mut fields,
            &request,
            &caller,
            &self.keys,
            invitations::model::ORDERS,
            invitations::model::DEFAULT_ORDER,
        );
        let (page,) = fields.all((page,))?;

        let mut tx = self.db.begin(&caller).await?;
        let open_at = request.open_only.then_some(tx.now());
        let found = invitations::sql::list(&mut tx, open_at, &page).await?;
        let total_size = if page.include_total {
            Some(invitations::sql::count(&mut tx, open_at).await?)
        } else {
            None
        };
        let (found, next_page_token) = page.cut(found, &self.keys, |invitation| invitation.id);
        let invitations = found.into_iter().map(Into::into).collect();
        reply(pb::ListInvitationsResponse { invitations, next_page_token, total_size })
    }

    async fn revoke_invitation(
        &self,
        request: Request<pb::RevokeInvitationRequest>,
    ) -> Reply<pb::RevokeInvitationResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let (repeat, id) = fields.all((repeat, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let not_found = Error::NotFound { resource: "invitation", field: "id" };
        let before = invitations::sql::lock(&mut tx, id).await?.ok_or(not_found)?;
        caller.may_manage(before.role())?;
        if !before.is_open(tx.now()) {
            let answer = pb::RevokeInvitationResponse { invitation: Some(before.into()) };
            return repeat.finish(tx, [], answer).await;
        }
        let invitation = invitations::sql::revoke(&mut tx, id).await?;
        let answer = pb::RevokeInvitationResponse { invitation: Some(invitation.into()) };
        repeat.finish(tx, [Act::on("invitation", id, "revoke")], answer).await
    }

    async fn send_password_reset(
        &self,
        request: Request<pb::SendPasswordResetRequest>,
    ) -> Reply<pb::SendPasswordResetResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let (repeat, id) = fields.all((repeat, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let employee = lock_live(&mut tx, id, "id").await?;
        authority::check_manages(&caller, &employee)?;
        if !codes::work::is_wanted(Purpose::Reset, &employee) {
            return Err(INACTIVE.into());
        }
        let admin = sql::find(&mut tx, caller.employee_id()?).await?;
        let admin = admin.map(|admin| admin.name).unwrap_or_default();
        let to = address(&employee.email)?;
        self.door.mail(Mailing::ResetByAdmin, &to)?;
        let code = codes::work::renew(&mut tx, &employee, Purpose::Reset, None).await?;
        let app_url = self.post.app_url();
        let letter = letter::password_reset_by_admin(app_url, to, &admin, &code.expose());
        self.post.send(&mut tx, &letter).await?;
        let act = Act::on("employee", id, "send_password_reset");
        repeat.finish(tx, [act], pb::SendPasswordResetResponse {}).await
    }

    async fn get_employee(
        &self,
        request: Request<pb::GetEmployeeRequest>,
    ) -> Reply<pb::GetEmployeeResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let id = fields.take("id", id(request.id));
        let (id,) = fields.all((id,))?;

        let mut tx = self.db.begin(&caller).await?;
        let employee = sql::find(&mut tx, id).await?.ok_or(not_found("id"))?;
        reply(pb::GetEmployeeResponse { employee: Some(employee.seen_by(&caller)) })
    }

    async fn batch_get_employees(
        &self,
        request: Request<pb::BatchGetEmployeesRequest>,
    ) -> Reply<pb::BatchGetEmployeesResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let ids = fields.ids("ids", &request.ids);
        let (ids,) = fields.all((ids,))?;

        let mut tx = self.db.begin(&caller).await?;
        let employees = sql::find_all(&mut tx, &ids).await?;
        let employees = employees.into_iter().map(|employee| employee.seen_by(&caller)).collect();
        reply(pb::BatchGetEmployeesResponse { employees })
    }

    async fn list_employees(
        &self,
        request: Request<pb::ListEmployeesRequest>,
    ) -> Reply<pb::ListEmployeesResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let filter = Filter::parse(&mut fields, &request);
        let page = Page::parse(
            &mut fields,
            &request,
            &caller,
            &self.keys,
            model::ORDERS,
            model::DEFAULT_ORDER,
        );
        let (filter, page) = fields.all((filter, page))?;

        let mut tx = self.db.begin(&caller).await?;
        let employees = sql::list(&mut tx, &filter, &page).await?;
        let total_size =
            if page.include_total { Some(sql::count(&mut tx, &filter).await?) } else { None };
        let (employees, next_page_token) = page.cut(employees, &self.keys, |employee| employee.id);
        let employees = employees.into_iter().map(|employee| employee.seen_by(&caller)).collect();
        reply(pb::ListEmployeesResponse { employees, next_page_token, total_size })
    }

    async fn update_employee(
        &self,
        request: Request<pb::UpdateEmployeeRequest>,
    ) -> Reply<pb::UpdateEmployeeResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let change = Change::parse(&mut fields, &request);
        let sent = request.employee.unwrap_or_default();
        let id = fields.take("employee.id", id(sent.id));
        let update = (&sent, request.update_mask.as_ref());
        work::note_email(&self.db, &caller, sent.id, update, &mut fields).await?;
        let (repeat, change, id) = fields.all((repeat, change, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            authority::check_update_again(&caller, id)?;
            return reply(answer);
        }
        let before = lock_live(&mut tx, id, "employee.id").await?;
        authority::check_change(&caller, &before, &change)?;
        etag::check(&sent.etag, before.version)?;
        let mut fields = Fields::default();
        check_email_stays(&mut fields, &sent, request.update_mask.as_ref(), &before);
        fields.all(())?;
        let (employee, act) = work::update(&mut tx, before, change).await?;
        let answer = pb::UpdateEmployeeResponse { employee: Some(employee.seen_by(&caller)) };
        repeat.finish(tx, act, answer).await
    }

    async fn delete_employee(
        &self,
        request: Request<pb::DeleteEmployeeRequest>,
    ) -> Reply<pb::DeleteEmployeeResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let (repeat, id) = fields.all((repeat, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = lock_live(&mut tx, id, "id").await?;
        authority::check_manages(&caller, &before)?;
        etag::check(&request.etag, before.version)?;
        authority::check_super_admin_stays(&mut tx, &before).await?;
        let ended = credentials::end_of_deleted(&mut tx, id).await?;
        // Or they would come back as somebody new.
        let key = email_key(&before.email);
        let invitation = invitations::work::take_back(&mut tx, &key, |_| Ok(())).await?;
        let employee = sql::set_deleted(&mut tx, id, true).await?;
        feeds::announce_employee(&mut tx, id, &employee.name, State::Deleted);
        let act = Act::on("employee", id, "delete").with("credentials_ended", ended);
        let answer = pb::DeleteEmployeeResponse { employee: Some(employee.seen_by(&caller)) };
        repeat.finish(tx, invitation.into_iter().chain([act]), answer).await
    }

    async fn undelete_employee(
        &self,
        request: Request<pb::UndeleteEmployeeRequest>,
    ) -> Reply<pb::UndeleteEmployeeResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let (repeat, id) = fields.all((repeat, id))?;
        self.door.arrive(Kind::Look)?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = lock(&mut tx, id, "id").await?;
        authority::check_manages(&caller, &before)?;
        etag::check(&request.etag, before.version)?;
        if before.delete_time.is_none() {
            let answer = pb::UndeleteEmployeeResponse { employee: Some(before.seen_by(&caller)) };
            return repeat.finish(tx, [], answer).await;
        }
        let employee = sql::set_deleted(&mut tx, id, false).await?;
        feeds::revoke(&mut tx, Holder::Employee(id));
        feeds::announce_employee(&mut tx, id, &employee.name, employee.state());
        let act = Act::on("employee", id, "undelete");
        let answer = pb::UndeleteEmployeeResponse { employee: Some(employee.seen_by(&caller)) };
        repeat.finish(tx, [act], answer).await
    }

    async fn update_permissions(
        &self,
        request: Request<pb::UpdatePermissionsRequest>,
    ) -> Reply<pb::UpdatePermissionsResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let permissions = fields.take("permissions", parse_permissions(&request.permissions));
        let (repeat, id, permissions) = fields.all((repeat, id, permissions))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = lock_live(&mut tx, id, "id").await?;
        authority::check_grant(&caller, &before, &permissions)?;
        etag::check(&request.etag, before.version)?;
        if permissions == before.permissions() {
            let answer = pb::UpdatePermissionsResponse { employee: Some(before.seen_by(&caller)) };
            return repeat.finish(tx, [], answer).await;
        }
        let employee = sql::set_permissions(&mut tx, id, &permissions).await?;
        feeds::revoke(&mut tx, Holder::Employee(id));
        credentials::revoke_keys_made_by(&mut tx, id).await?;
        let act = Act::on("employee", id, "update_permissions")
            .with("before", names(&before.permissions()))
            .with("after", names(&permissions));
        let answer = pb::UpdatePermissionsResponse { employee: Some(employee.seen_by(&caller)) };
        repeat.finish(tx, [act], answer).await
    }

    async fn list_permissions(
        &self,
        request: Request<pb::ListPermissionsRequest>,
    ) -> Reply<pb::ListPermissionsResponse> {
        open(request)?;
        let permissions = access::CATALOGUE.iter().copied().map(catalogue_entry).collect();
        reply(pb::ListPermissionsResponse { permissions })
    }
}

impl Employees {
    /// What a password must not be made of, where one is chosen.
    async fn account_name(&self, caller: &Caller, password: &str) -> Result<String, Error> {
        if password.is_empty() {
            return Ok(String::new());
        }
        let mut tx = self.db.begin(caller).await?;
        Ok(accounts::sql::get(&mut tx).await?.name)
    }

    /// What to store for somebody whose password was chosen for them, if one was.
    async fn login_with(&self, password: Option<NewPassword>) -> Result<Login, Error> {
        let Some(password) = password else {
            return Ok(Login::default());
        };
        let hash = self.door.passwords.hash(password).await?;
        Ok(Login { password_hash: Some(hash), password_change_advised: true })
    }
}

fn names(permissions: &[Permission]) -> Vec<String> {
    permissions.iter().copied().map(access::permission_name).collect()
}

fn catalogue_entry(permission: Permission) -> pb::PermissionEntry {
    let roles = [Role::SuperAdmin, Role::Admin, Role::Employee].into_iter();
    let holders = roles.filter(|role| access::held_by(*role).contains(&permission));
    pb::PermissionEntry {
        permission: permission.into(),
        name: access::permission_name(permission),
        held_by: holders.map(Into::into).collect(),
    }
}
