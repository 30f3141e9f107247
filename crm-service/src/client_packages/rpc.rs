//! crm.v1.ClientPackageService.

use std::sync::Arc;

use proto::crm::v1::{self as pb, client_package_service_server::ClientPackageService};
use service_kit::{
    Reply,
    auth::open,
    db::{Act, Db},
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
    model::{self, Change, Filter, New, Preview, Same},
    plan::{parse_count, plan},
    sql,
    work::{self, not_found},
};
use crate::{
    buyer,
    currencies::{self, Of},
    instalments, packages,
    visibility::Scope,
};

pub struct ClientPackages {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub repeats: Repeats,
}

#[tonic::async_trait]
impl ClientPackageService for ClientPackages {
    async fn create_client_package(
        &self,
        request: Request<pb::CreateClientPackageRequest>,
    ) -> Reply<pb::CreateClientPackageResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let said = request.client_package.unwrap_or_default();
        let new = New::parse(&mut fields, &said, caller.today());
        work::judge_sale(&self.db, &caller, &mut fields, &said).await?;
        let (repeat, new) = fields.all((repeat, new))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let buyer = buyer::lock(&mut tx, Scope::of(&caller), new.client_id).await?;
        let buyer = buyer.ok_or(no("client", "client_package.client_id"))?;
        buyer.must_be_live()?;
        let package = packages::sql::find_to_sell(&mut tx, new.package_id).await?;
        let package = package.ok_or(no("package", "client_package.package_id"))?;
        package.must_be_live()?;
        let list_price = package.details.list_price()?;
        let details = new.offer.priced("client_package.", list_price, buyer.currency()?)?;
        let made = sql::insert(&mut tx, buyer.id, package.id, &details).await?;
        let act = Act::on("client_package", made.id, "create");
        let answer = pb::CreateClientPackageResponse { client_package: Some(made.into()) };
        repeat.finish(tx, [act], answer).await
    }

    async fn get_client_package(
        &self,
        request: Request<pb::GetClientPackageRequest>,
    ) -> Reply<pb::GetClientPackageResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let id = fields.take("id", id(request.id));
        let (id,) = fields.all((id,))?;

        let mut tx = self.db.begin(&caller).await?;
        let found = sql::find(&mut tx, Scope::of(&caller), id).await?.ok_or(not_found("id"))?;
        reply(pb::GetClientPackageResponse { client_package: Some(found.into()) })
    }

    async fn list_client_packages(
        &self,
        request: Request<pb::ListClientPackagesRequest>,
    ) -> Reply<pb::ListClientPackagesResponse> {
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

        let (mut tx, scope) = (self.db.begin(&caller).await?, Scope::of(&caller));
        let found = sql::list(&mut tx, scope, &filter, &page).await?;
        let total_size = if page.include_total {
            Some(sql::count(&mut tx, scope, &filter).await?)
        } else {
            None
        };
        let (found, next_page_token) = page.cut(found, &self.keys, |found| found.id);
        let client_packages = found.into_iter().map(Into::into).collect();
        reply(pb::ListClientPackagesResponse { client_packages, next_page_token, total_size })
    }

    async fn update_client_package(
        &self,
        request: Request<pb::UpdateClientPackageRequest>,
    ) -> Reply<pb::UpdateClientPackageResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let (same, change) = (Same::of(&request), Change::parse(&mut fields, &request));
        let said = request.client_package.unwrap_or_default();
        let id = fields.take("client_package.id", id(said.id));
        let scope = Scope::of(&caller);
        // What only the row tells is told beside all else, where something is wrong anyway.
        if !fields.are_good() {
            let mut tx = self.db.begin(&caller).await?;
            if let Some(before) = sql::find(&mut tx, scope, said.id).await? {
                same.check(&mut fields, &before);
                fields.judge_in(before.currency()?);
            }
        }
        let (repeat, change, id) = fields.all((repeat, change, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let (buyer, before) = work::lock(&mut tx, scope, id, "client_package.id").await?;
        etag::check(&said.etag, before.version)?;
        buyer.must_be_live()?;
        let details = change.apply(&same, "client_package.", &before)?;
        // What changes nothing leaves the etag as it is.
        if details == before.details {
            let answer = pb::UpdateClientPackageResponse { client_package: Some(before.into()) };
            return repeat.finish(tx, [], answer).await;
        }
        let standing = instalments::sql::standing(&mut tx, id).await?;
        details.must_suit(&before.details, &standing)?;
        let changes = details.changes(&before.details);
        let act = Act::on("client_package", id, "update").with("fields", changes);
        let after = sql::update(&mut tx, id, &details).await?;
        let answer = pb::UpdateClientPackageResponse { client_package: Some(after.into()) };
        repeat.finish(tx, [act], answer).await
    }

    async fn cancel_client_package(
        &self,
        request: Request<pb::CancelClientPackageRequest>,
    ) -> Reply<pb::CancelClientPackageResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let (repeat, id) = fields.all((repeat, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let (_, before) = work::lock(&mut tx, Scope::of(&caller), id, "id").await?;
        etag::check(&request.etag, before.version)?;
        let closed = instalments::sql::close_all_of(&mut tx, id).await?;
        let details = before.details.cancelled();
        let is_over = details == before.details;
        let after = if is_over { before } else { sql::update(&mut tx, id, &details).await? };
        let act = Act::on("client_package", id, "cancel").with("closed", closed);
        let acts = (!is_over || closed > 0).then_some(act);
        let answer = pb::CancelClientPackageResponse { client_package: Some(after.into()) };
        repeat.finish(tx, acts, answer).await
    }

    async fn preview_instalments(
        &self,
        request: Request<pb::PreviewInstalmentsRequest>,
    ) -> Reply<pb::PreviewInstalmentsResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let (today, currency) = (caller.today(), caller.default_currency());
        let preview = Preview::parse(&mut fields, &request, today, currency);
        let count = fields.take("count", parse_count(request.count));
        let row = Of::ClientPackage(request.client_package_id);
        currencies::judge(&self.db, &caller, &mut fields, row).await?;
        let (preview, count) = fields.all((preview, count))?;

        let (mut tx, scope) = (self.db.begin(&caller).await?, Scope::of(&caller));
        let (details, standing) = work::read(&mut tx, scope, preview, currency).await?;
        let plan = plan(&details.terms(), &standing.kept(), count).map_err(Error::from)?;
        reply(pb::PreviewInstalmentsResponse {
            instalments: plan.iter().map(|planned| planned.shown(&details)).collect(),
            kept_amount: Some(details.shown(standing.kept)),
            closed_count: i32::try_from(standing.closing).unwrap_or(i32::MAX),
        })
    }

    async fn generate_instalments(
        &self,
        request: Request<pb::GenerateInstalmentsRequest>,
    ) -> Reply<pb::GenerateInstalmentsResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("client_package_id", id(request.client_package_id));
        let count = fields.take("count", parse_count(request.count));
        let (repeat, id, count) = fields.all((repeat, id, count))?;

        let (mut tx, scope) = (self.db.begin(&caller).await?, Scope::of(&caller));
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let sold = work::lock_to_plan(&mut tx, scope, id, "client_package_id").await?;
        let standing = instalments::sql::standing(&mut tx, id).await?;
        let plan = plan(&sold.details.terms(), &standing.kept(), count).map_err(Error::from)?;
        let closed = instalments::sql::close_unallocated_of(&mut tx, id).await?;
        let made = instalments::sql::insert_plan(&mut tx, &sold, &plan).await?;
        let ids: Vec<_> = made.iter().map(|instalment| instalment.id).collect();
        let has_effect = closed > 0 || !ids.is_empty();
        let act = Act::on("client_package", id, "generate_instalments")
            .with("instalments", ids)
            .with("closed", closed);
        let answer = pb::GenerateInstalmentsResponse {
            instalments: made.into_iter().map(|made| made.shown(caller.today())).collect(),
            closed_count: i32::try_from(closed).unwrap_or(i32::MAX),
        };
        repeat.finish(tx, has_effect.then_some(act), answer).await
    }
}

fn no(resource: &'static str, field: &'static str) -> Error {
    Error::NotFound { resource, field }
}
