//! identity.v1.ApiKeyService.

use std::sync::Arc;

use proto::identity::v1::{self as pb, api_key_service_server::ApiKeyService};
use service_kit::{
    Reply,
    auth::open,
    db::{Act, Db},
    error::Error,
    fields::{Fields, id},
    idempotency::Repeats,
    keys::Keyring,
    page::Page,
    reply,
};
use tonic::Request;

use super::{
    model::{self, NewApiKey},
    sql,
};
use crate::{
    employees::{self, authority::check_holds},
    feeds::{self, Holder},
    secrets::{Kind, Secret},
};

pub struct ApiKeys {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub repeats: Repeats,
}

#[tonic::async_trait]
impl ApiKeyService for ApiKeys {
    async fn create_api_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Reply<pb::CreateApiKeyResponse> {
        let (caller, request) = open(request)?;
        // A key that makes keys would have to be somebody.
        let creator_id = caller.employee_id()?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let key = NewApiKey::parse(&mut fields, &request.api_key.unwrap_or_default());
        let (repeat, key) = fields.all((repeat, key))?;
        check_holds(&caller, key.permissions.iter())?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        // Whoever deletes or deactivates the maker comes before or after, not between.
        employees::work::lock_live(&mut tx, creator_id, "id").await?;
        let secret = Secret::mint(Kind::ApiKey);
        let key = sql::insert(&mut tx, &key, &secret, creator_id).await?;
        let act = Act::on("api_key", key.id, "create").with("permissions", key.permissions.clone());
        let secret = secret.expose();
        let answer = pb::CreateApiKeyResponse { api_key: Some(key.into()), secret };
        repeat.finish(tx, [act], answer).await
    }

    async fn list_api_keys(
        &self,
        request: Request<pb::ListApiKeysRequest>,
    ) -> Reply<pb::ListApiKeysResponse> {
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
        let keys = sql::list(&mut tx, &page).await?;
        let total_size = if page.include_total { Some(sql::count(&mut tx).await?) } else { None };
        let (keys, next_page_token) = page.cut(keys, &self.keys, |key| key.id);
        let api_keys = keys.into_iter().map(Into::into).collect();
        reply(pb::ListApiKeysResponse { api_keys, next_page_token, total_size })
    }

    async fn revoke_api_key(
        &self,
        request: Request<pb::RevokeApiKeyRequest>,
    ) -> Reply<pb::RevokeApiKeyResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let (repeat, id) = fields.all((repeat, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let not_found = Error::NotFound { resource: "API key", field: "id" };
        let before = sql::lock(&mut tx, id).await?.ok_or(not_found)?;
        if before.revoke_time.is_some() {
            let answer = pb::RevokeApiKeyResponse { api_key: Some(before.into()) };
            return repeat.finish(tx, [], answer).await;
        }
        let key = sql::revoke(&mut tx, id).await?;
        feeds::revoke(&mut tx, Holder::ApiKey(id));
        let answer = pb::RevokeApiKeyResponse { api_key: Some(key.into()) };
        repeat.finish(tx, [Act::on("api_key", id, "revoke")], answer).await
    }
}
