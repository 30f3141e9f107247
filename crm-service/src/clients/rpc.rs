//! crm.v1.ClientService.

use std::{sync::Arc, time::Duration};

use futures::stream::BoxStream;
use proto::{
    Paged,
    crm::v1::{self as pb, client_service_server::ClientService},
};
use service_kit::{
    Reply,
    auth::{open, open_stream},
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
use tonic::{Request, Status, Streaming};

use super::{
    export::{self, Export},
    filter::Filter,
    imports::{Chunk, Import, Places, Tries, employees, some_rows},
    model::{self, Change, Client, Details},
    parts::Parts,
    sql,
    watch::{Cursor, Watcher, news::News},
    work::{Changed, follow},
};
use crate::{
    directory::{Directory, sql::share},
    visibility::{Scope, employee_id},
};

pub struct Clients {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub repeats: Repeats,
    pub directory: Directory,
    pub news: Arc<News>,
    pub places: Places,
    /// How long who imports may send nothing.
    pub import_idle_limit: Duration,
}

#[tonic::async_trait]
impl ClientService for Clients {
    type WatchClientsStream = BoxStream<'static, Result<pb::WatchClientsResponse, Status>>;
    type ImportClientsStream = BoxStream<'static, Result<pb::ImportClientsResponse, Status>>;
    type ExportClientsStream = BoxStream<'static, Result<pb::ExportClientsResponse, Status>>;

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
        let named = details.parts.employees();
        self.directory.meet(caller.account_id(), &named).await?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        details.parts.check(&Parts::default(), &share(&mut tx, &named).await?)?;
        let client = sql::insert(&mut tx, &details).await?;
        follow(&mut tx, &[Changed { before: None, after: &client }]).await?;
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
        let client = sql::find(&mut tx, Scope::of(&caller), id).await?;
        let client = client.ok_or(not_found("id"))?;
        reply(pb::GetClientResponse { client: Some(client.into()) })
    }

    async fn batch_get_clients(
        &self,
        request: Request<pb::BatchGetClientsRequest>,
    ) -> Reply<pb::BatchGetClientsResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let ids = fields.ids("ids", &request.ids);
        let (ids,) = fields.all((ids,))?;

        let mut tx = self.db.begin(&caller).await?;
        let clients = sql::find_all(&mut tx, Scope::of(&caller), ids).await?;
        let clients = clients.into_iter().map(Into::into).collect();
        reply(pb::BatchGetClientsResponse { clients })
    }

    async fn list_clients(
        &self,
        request: Request<pb::ListClientsRequest>,
    ) -> Reply<pb::ListClientsResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let filter = Filter::parse(&mut fields, &request);
        let page = self.page(&mut fields, &request, &caller);
        let (filter, page) = fields.all((filter, page))?;

        let scope = Scope::of(&caller);
        let mut tx = self.db.begin(&caller).await?;
        let clients = sql::list(&mut tx, scope, &filter, &page).await?;
        let total_size = sql::total(&mut tx, scope, &filter, &page).await?;
        let (clients, next_page_token) = page.cut(clients, &self.keys, |client| client.id);
        let clients = clients.into_iter().map(Into::into).collect();
        reply(pb::ListClientsResponse { clients, next_page_token, total_size })
    }

    async fn list_my_clients(
        &self,
        request: Request<pb::ListMyClientsRequest>,
    ) -> Reply<pb::ListMyClientsResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let filter = Filter::parse(&mut fields, &request);
        let page = self.page(&mut fields, &request, &caller);
        let (filter, page) = fields.all((filter, page))?;

        let me = employee_id(&caller);
        let scope = Scope::Assigned(me);
        let mut tx = self.db.begin(&caller).await?;
        let clients = sql::list(&mut tx, scope, &filter, &page).await?;
        let total_size = sql::total(&mut tx, scope, &filter, &page).await?;
        let (clients, next_page_token) = page.cut(clients, &self.keys, |client| client.id);
        let my_clients = clients.into_iter().map(|client| client.of_employee(me)).collect();
        reply(pb::ListMyClientsResponse { my_clients, next_page_token, total_size })
    }

    async fn get_client_statistics(
        &self,
        request: Request<pb::GetClientStatisticsRequest>,
    ) -> Reply<pb::GetClientStatisticsResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let filter = Filter::parse(&mut fields, &request);
        let (filter,) = fields.all((filter,))?;

        let mut tx = self.db.begin(&caller).await?;
        let statistics = sql::statistics(&mut tx, Scope::of(&caller), &filter).await?;
        reply(pb::GetClientStatisticsResponse { statistics: Some(statistics.into()) })
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
        let named = change.employees();
        self.meet_those_named_anew(&caller, id, &change).await?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        // Employees before clients, in the order in which the directory takes their parts away.
        let employees = share(&mut tx, &named).await?;
        let before = lock_live(&mut tx, Scope::of(&caller), id, "client.id").await?;
        etag::check(&client.etag, before.version)?;
        let details = change.apply(&before.details);
        details.parts.check(&before.details.parts, &employees)?;
        // What changes nothing leaves the etag as it is.
        if details == before.details {
            let answer = pb::UpdateClientResponse { client: Some(before.into()) };
            return repeat.finish(tx, [], answer).await;
        }
        let act = Act::on("client", id, "update").with("fields", details.changes(&before.details));
        let client = sql::update(&mut tx, id, &details).await?;
        follow(&mut tx, &[Changed { before: Some(&before), after: &client }]).await?;
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
        let before = lock_live(&mut tx, Scope::of(&caller), id, "id").await?;
        etag::check(&request.etag, before.version)?;
        let client = sql::delete(&mut tx, id).await?;
        follow(&mut tx, &[Changed { before: Some(&before), after: &client }]).await?;
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
        let before = sql::lock(&mut tx, Scope::of(&caller), id).await?;
        let before = before.ok_or(not_found("id"))?;
        etag::check(&request.etag, before.version)?;
        if before.delete_time.is_none() {
            let answer = pb::UndeleteClientResponse { client: Some(before.into()) };
            return repeat.finish(tx, [], answer).await;
        }
        let client = sql::undelete(&mut tx, id).await?;
        follow(&mut tx, &[Changed { before: Some(&before), after: &client }]).await?;
        let answer = pb::UndeleteClientResponse { client: Some(client.into()) };
        repeat.finish(tx, [Act::on("client", id, "undelete")], answer).await
    }

    async fn watch_clients(
        &self,
        request: Request<pb::WatchClientsRequest>,
    ) -> Reply<Self::WatchClientsStream> {
        let (caller, guard, request) = open_stream(request)?;
        let mut fields = Fields::default();
        let cursor = Cursor::parse(&request.cursor, &caller, &self.keys);
        let cursor = fields.take("cursor", cursor);
        let (cursor,) = fields.all((cursor,))?;

        let (news, keys) = (self.news.clone(), self.keys.clone());
        let watcher = Watcher::from(cursor, caller, news, keys).await?;
        let still = watcher.still();
        reply(guard.over(watcher.responses(), still))
    }

    async fn import_clients(
        &self,
        request: Request<Streaming<pb::ImportClientsRequest>>,
    ) -> Reply<Self::ImportClientsStream> {
        let (caller, guard, requests) = open_stream(request)?;
        let (directory, keys) = (self.directory.clone(), self.keys.clone());
        let (places, idle, who) = (self.places.clone(), self.import_idle_limit, (caller, guard));
        let import = Import::begin(directory, keys, places, idle, who, requests).await?;
        reply(import.responses())
    }

    async fn batch_import_clients(
        &self,
        request: Request<pb::BatchImportClientsRequest>,
    ) -> Reply<pb::BatchImportClientsResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let rows = fields.take("rows", some_rows(&request.rows));
        let (repeat, rows) = fields.all((repeat, rows))?;

        self.directory.meet(caller.account_id(), &employees(rows)).await?;

        let _place = self.places.take().await?;
        let chunk = Chunk { caller: &caller, rows };
        let mut tries = Tries::default();
        let (tx, applied) = loop {
            let mut tx = self.db.begin(&caller).await?;
            if let Some(answer) = repeat.answer(&mut tx).await? {
                return reply(answer);
            }
            match chunk.deal_with(&mut tx, !request.dry_run).await {
                Ok(applied) => break (tx, applied),
                Err(error) if tries.again(&error) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let (acts, answer) = applied.complete();
        if request.dry_run { reply(answer) } else { repeat.finish(tx, acts, answer).await }
    }

    async fn export_clients(
        &self,
        request: Request<pb::ExportClientsRequest>,
    ) -> Reply<Self::ExportClientsStream> {
        let (caller, guard, request) = open_stream(request)?;
        let mut fields = Fields::default();
        let filter = Filter::parse(&mut fields, &request);
        let page =
            Page::parse(&mut fields, &request, &caller, &self.keys, model::ORDERS, export::ORDER);
        let (filter, page) = fields.all((filter, page))?;

        let (db, keys) = (self.db.clone(), self.keys.clone());
        let export = Export::begin(db, keys, (caller, guard), filter, page).await?;
        reply(export.responses())
    }
}

impl Clients {
    /// Asks about those to whom an update gives a part that they do not have. The look is before
    /// the transaction that counts, because so is the question: whoever loses a part in between
    /// had it a moment ago, and is judged by what is known of them.
    async fn meet_those_named_anew(
        &self,
        caller: &Caller,
        id: i64,
        change: &Change,
    ) -> Result<(), Error> {
        if change.employees().is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin(caller).await?;
        // Where there is no client nobody is given anything.
        let Some(client) = sql::find(&mut tx, Scope::of(caller), id).await? else {
            return Ok(());
        };
        drop(tx);
        let anew = change.employees_besides(&client.details.parts);
        self.directory.meet(caller.account_id(), &anew).await
    }

    /// The page of a list of clients that a request asks for.
    fn page<R: Paged>(
        &self,
        fields: &mut Fields,
        request: &R,
        caller: &Caller,
    ) -> Option<Page<Client>> {
        Page::parse(fields, request, caller, &self.keys, model::ORDERS, model::DEFAULT_ORDER)
    }
}

/// A client that is not deleted, and that nobody else changes until the transaction ends.
async fn lock_live(
    tx: &mut TenantTx,
    scope: Scope,
    id: i64,
    field: &'static str,
) -> Result<Client, Error> {
    let client = sql::lock(tx, scope, id).await?;
    client.filter(|client| client.delete_time.is_none()).ok_or(not_found(field))
}

fn not_found(field: &'static str) -> Error {
    Error::NotFound { resource: "client", field }
}
