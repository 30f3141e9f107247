//! crm.v1.StripeEndpointService.

use std::sync::Arc;

use proto::crm::v1::{self as pb, stripe_endpoint_service_server::StripeEndpointService};
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
    model::{self, NewStripeEndpoint, SigningSecret},
    sql,
};
use crate::stripe_events;

pub struct StripeEndpoints {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub repeats: Repeats,
    /// Where Stripe reaches us.
    pub public_url: String,
}

#[tonic::async_trait]
impl StripeEndpointService for StripeEndpoints {
    async fn create_stripe_endpoint(
        &self,
        request: Request<pb::CreateStripeEndpointRequest>,
    ) -> Reply<pb::CreateStripeEndpointResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let endpoint = request.stripe_endpoint.unwrap_or_default();
        let endpoint = NewStripeEndpoint::parse(&mut fields, &endpoint);
        let (repeat, endpoint) = fields.all((repeat, endpoint))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let endpoint = sql::insert(&mut tx, &endpoint).await?;
        let act = Act::on("stripe_endpoint", endpoint.id, "create");
        let stripe_endpoint = Some(endpoint.shown(&self.public_url));
        repeat.finish(tx, [act], pb::CreateStripeEndpointResponse { stripe_endpoint }).await
    }

    async fn list_stripe_endpoints(
        &self,
        request: Request<pb::ListStripeEndpointsRequest>,
    ) -> Reply<pb::ListStripeEndpointsResponse> {
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
        let endpoints = sql::list(&mut tx, &page).await?;
        let total_size = if page.include_total { Some(sql::count(&mut tx).await?) } else { None };
        let (endpoints, next_page_token) = page.cut(endpoints, &self.keys, |endpoint| endpoint.id);
        let endpoints = endpoints.into_iter().map(|endpoint| endpoint.shown(&self.public_url));
        let stripe_endpoints = endpoints.collect();
        reply(pb::ListStripeEndpointsResponse { stripe_endpoints, next_page_token, total_size })
    }

    async fn rotate_stripe_endpoint_secret(
        &self,
        request: Request<pb::RotateStripeEndpointSecretRequest>,
    ) -> Reply<pb::RotateStripeEndpointSecretResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let secret = fields.take("secret", SigningSecret::parse(&request.secret));
        let (repeat, id, secret) = fields.all((repeat, id, secret))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = sql::lock(&mut tx, id).await?.ok_or(NOT_FOUND)?;
        let sealed = secret.seal(&self.keys, &before.address);
        let endpoint = sql::rotate(&mut tx, id, sealed).await?;
        let act = Act::on("stripe_endpoint", id, "rotate_secret");
        let stripe_endpoint = Some(endpoint.shown(&self.public_url));
        repeat.finish(tx, [act], pb::RotateStripeEndpointSecretResponse { stripe_endpoint }).await
    }

    async fn delete_stripe_endpoint(
        &self,
        request: Request<pb::DeleteStripeEndpointRequest>,
    ) -> Reply<pb::DeleteStripeEndpointResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let (repeat, id) = fields.all((repeat, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = sql::lock(&mut tx, id).await?.ok_or(NOT_FOUND)?;
        etag::check(&request.etag, before.version)?;
        sql::delete(&mut tx, &before).await?;
        let act = Act::on("stripe_endpoint", id, "delete");
        repeat.finish(tx, [act], pb::DeleteStripeEndpointResponse {}).await
    }

    async fn list_parked_events(
        &self,
        request: Request<pb::ListParkedEventsRequest>,
    ) -> Reply<pb::ListParkedEventsResponse> {
        use stripe_events::{parked, sql};

        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let filter = parked::Filter::parse(&mut fields, &request);
        let page = Page::parse(
            &mut fields,
            &request,
            &caller,
            &self.keys,
            parked::ORDERS,
            parked::DEFAULT_ORDER,
        );
        let (filter, page) = fields.all((filter, page))?;

        let mut tx = self.db.begin(&caller).await?;
        let events = sql::list(&mut tx, &filter, &page).await?;
        let total_size =
            if page.include_total { Some(sql::count(&mut tx, &filter).await?) } else { None };
        let (events, next_page_token) = page.cut(events, &self.keys, |event| event.id);
        let parked_events = events.into_iter().map(Into::into).collect();
        reply(pb::ListParkedEventsResponse { parked_events, next_page_token, total_size })
    }
}

const NOT_FOUND: Error = Error::NotFound { resource: "Stripe endpoint", field: "id" };
