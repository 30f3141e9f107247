//! crm.v1.InstalmentService.

use std::sync::Arc;

use proto::crm::v1::{
    self as pb, InstalmentStatus as Status, instalment_service_server::InstalmentService,
};
use service_kit::{
    Reply,
    auth::open,
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
    model::{self, Change, Filter, Instalment, New, Same},
    sql,
};
use crate::{
    buyer::{self, Belonging, Buyer},
    client_packages::{self, model::ClientPackage},
    currencies::{self, Of},
    visibility::Scope,
};

pub struct Instalments {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub repeats: Repeats,
}

#[tonic::async_trait]
impl InstalmentService for Instalments {
    async fn create_instalment(
        &self,
        request: Request<pb::CreateInstalmentRequest>,
    ) -> Reply<pb::CreateInstalmentResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let said = request.instalment.unwrap_or_default();
        let new = New::parse(&mut fields, &said);
        let row = match said.client_package_id {
            0 => Of::Client(said.client_id),
            id => Of::ClientPackage(id),
        };
        currencies::judge(&self.db, &caller, &mut fields, row).await?;
        let (repeat, new) = fields.all((repeat, new))?;
        let state = new.state()?;

        let (mut tx, scope) = (self.db.begin(&caller).await?, Scope::of(&caller));
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let buyer = buyer::lock(&mut tx, scope, new.client_id).await?;
        let field = "instalment.client_id";
        let buyer = buyer.ok_or(Error::NotFound { resource: "client", field })?;
        let sold = find_sold(&mut tx, scope, new.client_package_id).await?;
        let amount = new.priced(&buyer, sold.as_ref())?;
        buyer.must_be_live()?;
        sold.map_or(Ok(()), |sold| sold.must_be_active())?;
        let made = sql::insert(&mut tx, &new, amount, state).await?;
        let act = Act::on("instalment", made.id, "create");
        let answer = pb::CreateInstalmentResponse { instalment: Some(made.shown(caller.today())) };
        repeat.finish(tx, [act], answer).await
    }

    async fn get_instalment(
        &self,
        request: Request<pb::GetInstalmentRequest>,
    ) -> Reply<pb::GetInstalmentResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let id = fields.take("id", id(request.id));
        let (id,) = fields.all((id,))?;

        let mut tx = self.db.begin(&caller).await?;
        let found = sql::find(&mut tx, Scope::of(&caller), id).await?.ok_or(not_found("id"))?;
        reply(pb::GetInstalmentResponse { instalment: Some(found.shown(caller.today())) })
    }

    async fn list_instalments(
        &self,
        request: Request<pb::ListInstalmentsRequest>,
    ) -> Reply<pb::ListInstalmentsResponse> {
        let (caller, request) = open(request)?;
        let (mut fields, today) = (Fields::default(), caller.today());
        let filter = Filter::parse(&mut fields, &request, today);
        let page = Page::parse(
            &mut fields,
            &request,
            &caller,
            &self.keys,
            model::ORDERS,
            model::DEFAULT_ORDER,
        );
        let (filter, page) = fields.all((filter, page))?;

        let (mut tx, scope) = (self.db.begin(&caller).await?, Scope::of(&caller));
        let found = sql::list(&mut tx, scope, &filter, &page).await?;
        let total_size = if page.include_total {
            Some(sql::count(&mut tx, scope, &filter).await?)
        } else {
            None
        };
        let (found, next_page_token) = page.cut(found, &self.keys, |found| found.id);
        let instalments = found.into_iter().map(|found| found.shown(today)).collect();
        reply(pb::ListInstalmentsResponse { instalments, next_page_token, total_size })
    }

    async fn update_instalment(
        &self,
        request: Request<pb::UpdateInstalmentRequest>,
    ) -> Reply<pb::UpdateInstalmentResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let (same, change) = (Same::of(&request), Change::parse(&mut fields, &request));
        let said = request.instalment.unwrap_or_default();
        let id = fields.take("instalment.id", id(said.id));
        let scope = Scope::of(&caller);
        // What only the row tells is told beside all else, where something is wrong anyway.
        if !fields.are_good() {
            let mut tx = self.db.begin(&caller).await?;
            if let Some(before) = sql::find(&mut tx, scope, said.id).await? {
                fields.judge_in(before.currency()?);
                same.check_whose(&mut fields, &before);
                same.check_status(&mut fields, &before);
            }
        }
        let (repeat, change, id) = fields.all((repeat, change, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let (buyer, before) = lock(&mut tx, scope, id, "instalment.id").await?;
        etag::check(&said.etag, before.version)?;
        buyer.must_be_live()?;
        let details = change.apply(&same, &before)?;
        let changes = details.changes(&before.details);
        // What changes nothing leaves the etag as it is.
        let (after, act) = if changes.is_empty() {
            (before, None)
        } else {
            let act = Act::on("instalment", id, "update").with("fields", changes);
            (sql::update(&mut tx, id, &details).await?, Some(act))
        };
        let answer = pb::UpdateInstalmentResponse { instalment: Some(after.shown(caller.today())) };
        repeat.finish(tx, act, answer).await
    }

    async fn close_instalment(
        &self,
        request: Request<pb::CloseInstalmentRequest>,
    ) -> Reply<pb::CloseInstalmentResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let (repeat, id) = fields.all((repeat, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let (_, before) = lock(&mut tx, Scope::of(&caller), id, "id").await?;
        etag::check(&request.etag, before.version)?;
        let (after, act) = match before.status() {
            Status::Paid => return Err(Instalment::PAID.into()),
            Status::Closed => (before, None),
            _ => (sql::close(&mut tx, id).await?, Some(Act::on("instalment", id, "close"))),
        };
        let answer = pb::CloseInstalmentResponse { instalment: Some(after.shown(caller.today())) };
        repeat.finish(tx, act, answer).await
    }
}

/// An instalment that nobody else changes until the transaction ends, and whose it is.
async fn lock(
    tx: &mut TenantTx,
    scope: Scope,
    id: i64,
    field: &'static str,
) -> Result<(Buyer, Instalment), Error> {
    let buyer = buyer::lock_of(tx, scope, Belonging::Instalment(id)).await?;
    let buyer = buyer.ok_or(not_found(field))?;
    let instalment = sql::lock(tx, id).await?.ok_or(not_found(field))?;
    Ok((buyer, instalment))
}

/// The client package that an instalment is said to belong to, if it is.
async fn find_sold(
    tx: &mut TenantTx,
    scope: Scope,
    id: Option<i64>,
) -> Result<Option<ClientPackage>, Error> {
    let Some(id) = id else { return Ok(None) };
    let field = "instalment.client_package_id";
    let found = client_packages::sql::find(tx, scope, id).await?;
    found.map(Some).ok_or(client_packages::work::not_found(field))
}

fn not_found(field: &'static str) -> Error {
    Error::NotFound { resource: "instalment", field }
}
