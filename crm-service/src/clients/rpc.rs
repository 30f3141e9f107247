//! crm.v1.ClientService.

use std::sync::Arc;

use proto::crm::v1::{self as pb, client_service_server::ClientService};
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
    model::{self, Change, Client, Details, Filter},
    sql,
};
use crate::directory::Directory;

pub struct Clients {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub repeats: Repeats,
    pub directory: Directory,
}

#[tonic::async_trait]
impl ClientService for Clients {
    async fn create_client(
        &self,
        request: Request<pb::CreateClientRequest>,
    ) -> Reply<pb::CreateClientResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let client = request.client.unwrap_or_default();
        let details = Details::parse(&mut fields, &client, caller.default_currency());
        let (repeat, details) = fields.all((repeat, details))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let client = sql::insert(&mut tx, &details).await?;
        let act = Act::on("client", client.id, "create");
        let answer = pb::CreateClientResponse { client: Some(client.into()) };
        repeat.finish(tx, [act], answer).await
    }

    async fn get_client(
        &self,
        request: Request<pb::GetClientRequest>,
    ) -> Reply<pb::GetClientResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let id = fields.take("id", id(request.id));
        let (id,) = fields.all((id,))?;

        let mut tx = self.db.begin(&caller).await?;
        let client = sql::find(&mut tx, id).await?.ok_or(not_found("id"))?;
        reply(pb::GetClientResponse { client: Some(client.into()) })
    }

    async fn list_clients(
        &self,
        request: Request<pb::ListClientsRequest>,
    ) -> Reply<pb::ListClientsResponse> {
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
        let clients = sql::list(&mut tx, &filter, &page).await?;
        let total_size =
            if page.include_total { Some(sql::count(&mut tx, &filter).await?) } else { None };
        let (clients, next_page_token) = page.cut(clients, &self.keys, |client| client.id);
        let clients = clients.into_iter().map(Into::into).collect();
        reply(pb::ListClientsResponse { clients, next_page_token, total_size })
    }

    async fn update_client(
        &self,
        request: Request<pb::UpdateClientRequest>,
    ) -> Reply<pb::UpdateClientResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let change = Change::parse(&mut fields, &request, caller.default_currency());
        let client = request.client.unwrap_or_default();
        let id = fields.take("client.id", id(client.id));
        let (repeat, change, id) = fields.all((repeat, change, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = lock_live(&mut tx, id, "client.id").await?;
        etag::check(&client.etag, before.version)?;
        let details = change.apply(&before.details);
        // What changes nothing leaves the etag as it is.
        if details == before.details {
            let answer = pb::UpdateClientResponse { client: Some(before.into()) };
            return repeat.finish(tx, [], answer).await;
        }
        let act = Act::on("client", id, "update").with("fields", details.changes(&before.details));
        let client = sql::update(&mut tx, &before, &details).await?;
        let answer = pb::UpdateClientResponse { client: Some(client.into()) };
        repeat.finish(tx, [act], answer).await
    }

    async fn delete_client(
        &self,
        request: Request<pb::DeleteClientRequest>,
    ) -> Reply<pb::DeleteClientResponse> {
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
        let client = sql::delete(&mut tx, id).await?;
        let answer = pb::DeleteClientResponse { client: Some(client.into()) };
        repeat.finish(tx, [Act::on("client", id, "delete")], answer).await
    }

    async fn undelete_client(
        &self,
        request: Request<pb::UndeleteClientRequest>,
    ) -> Reply<pb::UndeleteClientResponse> {
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
        let (client, act) = match before.delete_time {
            Some(_) => (sql::undelete(&mut tx, id).await?, Some(Act::on("client", id, "undelete"))),
            None => (before, None),
        };
        let answer = pb::UndeleteClientResponse { client: Some(client.into()) };
        repeat.finish(tx, act, answer).await
    }
}

/// A client that is not deleted, and that nobody else changes until the transaction ends.
async fn lock_live(tx: &mut TenantTx, id: i64, field: &'static str) -> Result<Client, Error> {
    let client = sql::lock(tx, id).await?;
    client.filter(|client| client.delete_time.is_none()).ok_or(not_found(field))
}

fn not_found(field: &'static str) -> Error {
    Error::NotFound { resource: "client", field }
}
