//! identity.v1.DirectoryService.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt, try_unfold};
use proto::identity::v1::{self as pb, directory_service_server::DirectoryService};
use service_kit::{
    Reply,
    fields::{Fields, id},
    reply,
};
use tonic::{Request, Status};

use super::{model::Position, news::News, sql, watch::Watch};

pub struct Directory {
    pub news: Arc<News>,
}

#[tonic::async_trait]
impl DirectoryService for Directory {
    type WatchDirectoryStream = BoxStream<'static, Result<pb::WatchDirectoryResponse, Status>>;

    async fn batch_resolve_employees(
        &self,
        request: Request<pb::BatchResolveEmployeesRequest>,
    ) -> Reply<pb::BatchResolveEmployeesResponse> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let account_id = fields.take("account_id", id(request.account_id));
        // It may be about the account alone.
        let ids = match request.employee_ids.as_slice() {
            [] => Some(Vec::new()),
            ids => fields.ids("employee_ids", ids),
        };
        let (account_id, ids) = fields.all((account_id, ids))?;

        let resolved = sql::resolve(self.news.db(), account_id, &ids).await?;
        reply(resolved.message(account_id))
    }

    async fn watch_directory(
        &self,
        request: Request<pb::WatchDirectoryRequest>,
    ) -> Reply<Self::WatchDirectoryStream> {
        let mut fields = Fields::default();
        let cursor = Position::parse(request.into_inner().cursor.as_ref());
        let cursor = fields.take("cursor", cursor);
        let (cursor,) = fields.all((cursor,))?;

        let watch = Watch::from(cursor, Arc::clone(&self.news)).await?;
        let responses = try_unfold(watch, |mut watch| async move {
            let response = watch.next().await?;
            Ok(Some((response, watch)))
        });
        reply(responses.boxed())
    }
}
