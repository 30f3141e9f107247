//! How do all clients that match leave, some at a time?

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt, try_unfold};
use proto::crm::v1 as pb;
use service_kit::{
    auth::Guard,
    caller::Caller,
    db::{Act, Db},
    error::Error,
    keys::Keyring,
    page::Page,
};
use tonic::Status;

use super::{filter::Filter, model::Client, sql};
use crate::visibility::Scope;

/// Oldest first, so that what is created meanwhile comes last.
pub const ORDER: &str = "create_time";
/// Clients of one answer.
const MOST_CLIENTS: i32 = 500;

/// Clients on their way out.
pub struct Export {
    db: Db,
    keys: Arc<Keyring>,
    caller: Caller,
    guard: Guard,
    filter: Filter,
    /// What is to be read next; nothing at the end.
    page: Option<Page<Client>>,
}

impl Export {
    /// Records that somebody takes clients out, before the first one leaves.
    pub async fn begin(
        db: Db,
        keys: Arc<Keyring>,
        (caller, guard): (Caller, Guard),
        filter: Filter,
        page: Page<Client>,
    ) -> Result<Self, Error> {
        // Of which there is no one: whoever may export may take all.
        let act = Act::on("client", 0, "export").with("filters", filter.names());
        db.begin(&caller).await?.commit([act]).await?;
        let page = Some(page.sized(MOST_CLIENTS));
        Ok(Self { db, keys, caller, guard, filter, page })
    }

    /// The answers. Between two of them nothing is held but a place.
    pub fn responses(self) -> BoxStream<'static, Result<pb::ExportClientsResponse, Status>> {
        let answers = try_unfold(self, |mut export| async move {
            let answer = export.next().await?;
            Ok(answer.map(|answer| (answer, export)))
        });
        answers.boxed()
    }

    async fn next(&mut self) -> Result<Option<pb::ExportClientsResponse>, Error> {
        let Some(page) = self.page.take() else { return Ok(None) };
        if let Some(caller) = self.guard.again().await? {
            self.caller = caller;
        }
        let mut tx = self.db.begin(&self.caller).await?;
        let clients = sql::list(&mut tx, Scope::of(&self.caller), &self.filter, &page).await?;
        let (clients, next_page_token) = page.cut(clients, &self.keys, |client| client.id);
        if !next_page_token.is_empty() {
            self.page = clients.last().map(|last| page.behind(last, last.id));
        }
        let clients = clients.into_iter().map(Into::into).collect();
        Ok(Some(pb::ExportClientsResponse { clients, next_page_token }))
    }
}
