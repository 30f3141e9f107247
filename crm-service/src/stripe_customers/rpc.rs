//! crm.v1.StripeCustomerService.

use std::sync::Arc;

use proto::crm::v1::{self as pb, stripe_customer_service_server::StripeCustomerService};
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
    model::{self, Change, Filter, NewStripeCustomer, StripeCustomer, check_same},
    sql,
};
use crate::{
    buyer::{self, Belonging},
    stripe_events::{self, backlog},
    visibility::Scope,
};

pub struct StripeCustomers {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub repeats: Repeats,
}

#[tonic::async_trait]
impl StripeCustomerService for StripeCustomers {
    async fn create_stripe_customer(
        &self,
        request: Request<pb::CreateStripeCustomerRequest>,
    ) -> Reply<pb::CreateStripeCustomerResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let customer = request.stripe_customer.unwrap_or_default();
        let customer = NewStripeCustomer::parse(&mut fields, &customer);
        let (repeat, customer) = fields.all((repeat, customer))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        // Whoever takes in an event of this customer comes before or after, not between.
        stripe_events::sql::queue(&mut tx).await?;
        let buyer = buyer::lock(&mut tx, Scope::of(&caller), customer.client_id).await?;
        let no_client = Error::NotFound { resource: "client", field: "stripe_customer.client_id" };
        buyer.ok_or(no_client)?.must_be_live()?;
        let customer = sql::insert(&mut tx, &customer).await?;
        let mut acts = vec![Act::on("stripe_customer", customer.id, "create")];
        let stripe_id = &customer.stripe_customer_id;
        acts.extend(stripe_events::work::settle_customer(&mut tx, stripe_id).await?);
        let some_wait = backlog::begin(&mut tx, stripe_id).await?;
        // They may be gone at Stripe, which made it inactive.
        let now = sql::lock(&mut tx, customer.id).await?;
        let answer = pb::CreateStripeCustomerResponse { stripe_customer: now.map(Into::into) };
        let answer = repeat.finish(tx, acts, answer).await?;
        if some_wait {
            backlog::go_on(&self.db, caller.account_id(), stripe_id).await;
        }
        Ok(answer)
    }

    async fn get_stripe_customer(
        &self,
        request: Request<pb::GetStripeCustomerRequest>,
    ) -> Reply<pb::GetStripeCustomerResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let id = fields.take("id", id(request.id));
        let (id,) = fields.all((id,))?;

        let mut tx = self.db.begin(&caller).await?;
        let customer = sql::find(&mut tx, Scope::of(&caller), id).await?.ok_or(not_found("id"))?;
        reply(pb::GetStripeCustomerResponse { stripe_customer: Some(customer.into()) })
    }

    async fn list_stripe_customers(
        &self,
        request: Request<pb::ListStripeCustomersRequest>,
    ) -> Reply<pb::ListStripeCustomersResponse> {
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
        let customers = sql::list(&mut tx, scope, &filter, &page).await?;
        let total_size = if page.include_total {
            Some(sql::count(&mut tx, scope, &filter).await?)
        } else {
            None
        };
        let (customers, next_page_token) = page.cut(customers, &self.keys, |customer| customer.id);
        let stripe_customers = customers.into_iter().map(Into::into).collect();
        reply(pb::ListStripeCustomersResponse { stripe_customers, next_page_token, total_size })
    }

    async fn update_stripe_customer(
        &self,
        request: Request<pb::UpdateStripeCustomerRequest>,
    ) -> Reply<pb::UpdateStripeCustomerResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let change = Change::parse(&mut fields, &request);
        let sent = request.stripe_customer.unwrap_or_default();
        let id = fields.take("stripe_customer.id", id(sent.id));
        let scope = Scope::of(&caller);
        // What only the row tells is told beside all else, where something is wrong anyway.
        if !fields.are_good() {
            let mut tx = self.db.begin(&caller).await?;
            if let Some(before) = sql::find(&mut tx, scope, sent.id).await? {
                check_same(&mut fields, &sent, &before);
            }
        }
        let (repeat, change, id) = fields.all((repeat, change, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let before = lock(&mut tx, scope, id, "stripe_customer.id").await?;
        etag::check(&sent.etag, before.version)?;
        let mut fields = Fields::default();
        check_same(&mut fields, &sent, &before);
        fields.all(())?;
        let status = change.apply(&before);
        // What changes nothing leaves the etag as it is.
        if status == before.status {
            let answer = pb::UpdateStripeCustomerResponse { stripe_customer: Some(before.into()) };
            return repeat.finish(tx, [], answer).await;
        }
        let customer = sql::set_status(&mut tx, id, &status).await?;
        let act = Act::on("stripe_customer", id, "update").with("status", status);
        let answer = pb::UpdateStripeCustomerResponse { stripe_customer: Some(customer.into()) };
        repeat.finish(tx, [act], answer).await
    }

    async fn delete_stripe_customer(
        &self,
        request: Request<pb::DeleteStripeCustomerRequest>,
    ) -> Reply<pb::DeleteStripeCustomerResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let (repeat, id) = fields.all((repeat, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        // So that no event on its way still takes the customer for this client.
        stripe_events::sql::queue(&mut tx).await?;
        let before = lock(&mut tx, Scope::of(&caller), id, "id").await?;
        etag::check(&request.etag, before.version)?;
        sql::delete(&mut tx, id).await?;
        let act = Act::on("stripe_customer", id, "delete").with("client_id", before.client_id);
        repeat.finish(tx, [act], pb::DeleteStripeCustomerResponse {}).await
    }
}

/// One whose client the caller sees; the client's money is this transaction's.
async fn lock(
    tx: &mut TenantTx,
    scope: Scope,
    id: i64,
    field: &'static str,
) -> Result<StripeCustomer, Error> {
    buyer::lock_of(tx, scope, Belonging::StripeCustomer(id)).await?.ok_or(not_found(field))?;
    sql::lock(tx, id).await?.ok_or(not_found(field))
}

fn not_found(field: &'static str) -> Error {
    Error::NotFound { resource: "Stripe customer", field }
}
