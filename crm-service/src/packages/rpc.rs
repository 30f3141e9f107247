//! crm.v1.PackageService.

use std::sync::Arc;

use proto::crm::v1::{self as pb, package_service_server::PackageService};
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
    model::{self, Change, Details, Package},
    sql,
};

pub struct Packages {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub repeats: Repeats,
}

#[tonic::async_trait]
impl PackageService for Packages {
    async fn create_package(
        &self,
        request: Request<pb::CreatePackageRequest>,
    ) -> Reply<pb::CreatePackageResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let package = request.package.unwrap_or_default();
        let details = Details::parse(&mut fields, &package, caller.default_currency());
        let (repeat, details) = fields.all((repeat, details))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let package = sql::insert(&mut tx, &details).await?;
        let act = Act::on("package", package.id, "create");
        let answer = pb::CreatePackageResponse { package: Some(package.into()) };
        repeat.finish(tx, [act], answer).await
    }

    async fn get_package(
        &self,
        request: Request<pb::GetPackageRequest>,
    ) -> Reply<pb::GetPackageResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let id = fields.take("id", id(request.id));
        let (id,) = fields.all((id,))?;

        let mut tx = self.db.begin(&caller).await?;
        let package = sql::find(&mut tx, id).await?.ok_or(not_found("id"))?;
        reply(pb::GetPackageResponse { package: Some(package.into()) })
    }

    async fn list_packages(
        &self,
        request: Request<pb::ListPackagesRequest>,
    ) -> Reply<pb::ListPackagesResponse> {
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
        let packages = sql::list(&mut tx, &page).await?;
        let total_size = if page.include_total { Some(sql::count(&mut tx).await?) } else { None };
        let (packages, next_page_token) = page.cut(packages, &self.keys, |package| package.id);
        let packages = packages.into_iter().map(Into::into).collect();
        reply(pb::ListPackagesResponse { packages, next_page_token, total_size })
    }

    async fn update_package(
        &self,
        request: Request<pb::UpdatePackageRequest>,
    ) -> Reply<pb::UpdatePackageResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let change = Change::parse(&mut fields, &request, caller.default_currency());
        let package = request.package.unwrap_or_default();
        let id = fields.take("package.id", id(package.id));
        let (repeat, change, id) = fields.all((repeat, change, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = lock_live(&mut tx, id, "package.id").await?;
        etag::check(&package.etag, before.version)?;
        let details = change.apply(&before.details);
        // What changes nothing leaves the etag as it is.
        if details == before.details {
            let answer = pb::UpdatePackageResponse { package: Some(before.into()) };
            return repeat.finish(tx, [], answer).await;
        }
        let act = Act::on("package", id, "update").with("fields", details.changes(&before.details));
        let package = sql::update(&mut tx, id, &details).await?;
        let answer = pb::UpdatePackageResponse { package: Some(package.into()) };
        repeat.finish(tx, [act], answer).await
    }

    async fn delete_package(
        &self,
        request: Request<pb::DeletePackageRequest>,
    ) -> Reply<pb::DeletePackageResponse> {
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
        etag::check(&request.etag, before.version)?;
        let package = sql::set_deleted(&mut tx, id, true).await?;
        let answer = pb::DeletePackageResponse { package: Some(package.into()) };
        repeat.finish(tx, [Act::on("package", id, "delete")], answer).await
    }

    async fn undelete_package(
        &self,
        request: Request<pb::UndeletePackageRequest>,
    ) -> Reply<pb::UndeletePackageResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let (repeat, id) = fields.all((repeat, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = sql::lock(&mut tx, id).await?.ok_or(not_found("id"))?;
        etag::check(&request.etag, before.version)?;
        let (package, act) = match before.delete_time {
            Some(_) => (
                sql::set_deleted(&mut tx, id, false).await?,
                Some(Act::on("package", id, "undelete")),
            ),
            None => (before, None),
        };
        let answer = pb::UndeletePackageResponse { package: Some(package.into()) };
        repeat.finish(tx, act, answer).await
    }
}

/// A package that is not deleted, and that nobody else changes until the transaction ends.
async fn lock_live(tx: &mut TenantTx, id: i64, field: &'static str) -> Result<Package, Error> {
    let package = sql::lock(tx, id).await?;
    package.filter(|package| package.delete_time.is_none()).ok_or(not_found(field))
}

fn not_found(field: &'static str) -> Error {
    Error::NotFound { resource: "package", field }
}
