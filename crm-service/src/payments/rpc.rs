//! crm.v1.PaymentService.

use std::sync::Arc;

use proto::crm::v1::{self as pb, payment_service_server::PaymentService};
use service_kit::{
    Reply,
    auth::open,
    db::Db,
    error::Error,
    etag,
    fields::{Amount, Fields, Text, id},
    idempotency::Repeats,
    keys::Keyring,
    page::Page,
    reply,
};
use tonic::Request;

use super::{
    ledger::Step,
    model::{self, AskedCover, AskedPayment, Change, Filter, Same},
    sql, totals, work,
};
use crate::{
    currencies::{self, Of},
    visibility::Scope,
};

/// Why something happened to a payment.
type Reason = Text<255>;

pub struct Payments {
    pub db: Db,
    pub keys: Arc<Keyring>,
    pub repeats: Repeats,
}

#[tonic::async_trait]
impl PaymentService for Payments {
    async fn create_payment(
        &self,
        request: Request<pb::CreatePaymentRequest>,
    ) -> Reply<pb::CreatePaymentResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let asked = AskedPayment::parse(&mut fields, &request);
        let cover = AskedCover::parse_new(&mut fields, &request);
        let client_id = request.payment.as_ref().map_or(0, |payment| payment.client_id);
        currencies::judge(&self.db, &caller, &mut fields, Of::Client(client_id)).await?;
        let (repeat, asked, cover) = fields.all((repeat, asked, cover))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let scope = Scope::of(&caller);
        let buyer = work::lock_client(&mut tx, scope, asked.client_id, "payment.client_id").await?;
        buyer.must_be_live()?;
        let (new, cover) = asked.with(buyer.currency()?, tx.now(), cover, scope)?;
        let (payment, act) = work::record(&mut tx, &buyer, new, cover).await?;
        let answer = pb::CreatePaymentResponse { payment: Some(payment.into()) };
        repeat.finish(tx, act, answer).await
    }

    async fn allocate_payment(
        &self,
        request: Request<pb::AllocatePaymentRequest>,
    ) -> Reply<pb::AllocatePaymentResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let cover = AskedCover::parse_more(&mut fields, &request);
        currencies::judge(&self.db, &caller, &mut fields, Of::Payment(request.id)).await?;
        let (repeat, id, cover) = fields.all((repeat, id, cover))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let scope = Scope::of(&caller);
        let (buyer, payment) = work::lock_payment(&mut tx, scope, id, "id").await?;
        etag::check(&request.etag, payment.version)?;
        payment.facts.allows(Step::Allocate)?;
        buyer.must_be_live()?;
        let cover = cover.of(&payment, scope)?;
        let (payment, act) = work::allocate(&mut tx, payment, cover).await?;
        let answer = pb::AllocatePaymentResponse { payment: Some(payment.into()) };
        repeat.finish(tx, act, answer).await
    }

    async fn update_payment(
        &self,
        request: Request<pb::UpdatePaymentRequest>,
    ) -> Reply<pb::UpdatePaymentResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let same = Same::parse(&mut fields, &request);
        let change = Change::parse(&mut fields, &request);
        let payment = request.payment.unwrap_or_default();
        let id = fields.take("payment.id", id(payment.id));
        let scope = Scope::of(&caller);
        // What only the row tells is told beside all else, where something is wrong anyway.
        if !fields.are_good() {
            let mut tx = self.db.begin(&caller).await?;
            if let Some(before) = sql::find(&mut tx, scope, payment.id).await? {
                same.check(&mut fields, &before)?;
            }
        }
        let (repeat, change, id) = fields.all((repeat, change, id))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let (_, before) = work::lock_payment(&mut tx, scope, id, "payment.id").await?;
        etag::check(&payment.etag, before.version)?;
        let mut fields = Fields::default();
        same.check(&mut fields, &before)?;
        fields.all(())?;
        let (payment, act) = work::change(&mut tx, before, change).await?;
        let answer = pb::UpdatePaymentResponse { payment: Some(payment.into()) };
        repeat.finish(tx, act, answer).await
    }

    async fn void_payment(
        &self,
        request: Request<pb::VoidPaymentRequest>,
    ) -> Reply<pb::VoidPaymentResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let reason = fields.take("reason", Reason::required(&request.reason));
        let (repeat, id, reason) = fields.all((repeat, id, reason))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let (_, payment) = work::lock_payment(&mut tx, Scope::of(&caller), id, "id").await?;
        etag::check(&request.etag, payment.version)?;
        payment.facts.allows(Step::Void)?;
        let (payment, act) = work::void(&mut tx, payment, reason.as_str()).await?;
        let answer = pb::VoidPaymentResponse { payment: Some(payment.into()) };
        repeat.finish(tx, act, answer).await
    }

    async fn get_payment(
        &self,
        request: Request<pb::GetPaymentRequest>,
    ) -> Reply<pb::GetPaymentResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let id = fields.take("id", id(request.id));
        let (id,) = fields.all((id,))?;

        let mut tx = self.db.begin(&caller).await?;
        let payment = sql::find(&mut tx, Scope::of_payments(&caller), id).await?;
        let payment = payment.ok_or(Error::NotFound { resource: "payment", field: "id" })?;
        reply(pb::GetPaymentResponse { payment: Some(payment.into()) })
    }

    async fn list_payments(
        &self,
        request: Request<pb::ListPaymentsRequest>,
    ) -> Reply<pb::ListPaymentsResponse> {
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

        let scope = Scope::of_payments(&caller);
        let mut tx = self.db.begin(&caller).await?;
        let payments = sql::list(&mut tx, scope, &filter, &page).await?;
        let total_size = if page.include_total {
            Some(sql::count(&mut tx, scope, &filter).await?)
        } else {
            None
        };
        let (payments, next_page_token) = page.cut(payments, &self.keys, |payment| payment.id);
        let payments = payments.into_iter().map(Into::into).collect();
        reply(pb::ListPaymentsResponse { payments, next_page_token, total_size })
    }

    async fn refund_payment(
        &self,
        request: Request<pb::RefundPaymentRequest>,
    ) -> Reply<pb::RefundPaymentResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let amount = fields.amount("amount", Amount::optional(request.amount.as_ref()));
        let reason = fields.take("reason", Reason::parse(&request.reason));
        currencies::judge(&self.db, &caller, &mut fields, Of::Payment(request.id)).await?;
        let (repeat, id, amount, reason) = fields.all((repeat, id, amount, reason))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let (_, payment) = work::lock_payment(&mut tx, Scope::of(&caller), id, "id").await?;
        etag::check(&request.etag, payment.version)?;
        payment.facts.allows(Step::Refund)?;
        let total = model::refunded_after(&payment, amount)?;
        let (payment, act) = work::refund_to(&mut tx, payment, total, reason.as_str()).await?;
        let answer = pb::RefundPaymentResponse { payment: Some(payment.into()) };
        repeat.finish(tx, act, answer).await
    }

    async fn dispute_payment(
        &self,
        request: Request<pb::DisputePaymentRequest>,
    ) -> Reply<pb::DisputePaymentResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let reason = fields.take("reason", Reason::parse(&request.reason));
        let (repeat, id, reason) = fields.all((repeat, id, reason))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let (_, payment) = work::lock_payment(&mut tx, Scope::of(&caller), id, "id").await?;
        etag::check(&request.etag, payment.version)?;
        payment.facts.allows(Step::Dispute)?;
        let (payment, act) = work::dispute(&mut tx, payment, reason.as_str()).await?;
        let answer = pb::DisputePaymentResponse { payment: Some(payment.into()) };
        repeat.finish(tx, act, answer).await
    }

    async fn resolve_dispute(
        &self,
        request: Request<pb::ResolveDisputeRequest>,
    ) -> Reply<pb::ResolveDisputeResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let is_won = fields.take("outcome", model::parse_is_won(request.outcome));
        let (repeat, id, is_won) = fields.all((repeat, id, is_won))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let (_, payment) = work::lock_payment(&mut tx, Scope::of(&caller), id, "id").await?;
        etag::check(&request.etag, payment.version)?;
        payment.facts.allows(Step::Resolve)?;
        let (payment, act) = if is_won {
            work::win_dispute(&mut tx, payment).await?
        } else {
            work::lose_dispute(&mut tx, payment).await?
        };
        let answer = pb::ResolveDisputeResponse { payment: Some(payment.into()) };
        repeat.finish(tx, act, answer).await
    }

    async fn mark_payment_failed(
        &self,
        request: Request<pb::MarkPaymentFailedRequest>,
    ) -> Reply<pb::MarkPaymentFailedResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let repeat = fields.take("request_id", self.repeats.of(&request));
        let id = fields.take("id", id(request.id));
        let reason = fields.take("reason", Reason::parse(&request.reason));
        let (repeat, id, reason) = fields.all((repeat, id, reason))?;

        let mut tx = self.db.begin(&caller).await?;
        if let Some(answer) = repeat.answer(&mut tx).await? {
            return reply(answer);
        }
        let (_, payment) = work::lock_payment(&mut tx, Scope::of(&caller), id, "id").await?;
        etag::check(&request.etag, payment.version)?;
        payment.facts.allows(Step::Fail)?;
        let (payment, act) = work::fail(&mut tx, payment, reason.as_str()).await?;
        let answer = pb::MarkPaymentFailedResponse { payment: Some(payment.into()) };
        repeat.finish(tx, act, answer).await
    }

    async fn get_payment_statistics(
        &self,
        request: Request<pb::GetPaymentStatisticsRequest>,
    ) -> Reply<pb::GetPaymentStatisticsResponse> {
        let (caller, request) = open(request)?;
        let mut fields = Fields::default();
        let of = model::parse_of(&mut fields, &request);
        let (of,) = fields.all((of,))?;

        let mut tx = self.db.begin(&caller).await?;
        let totals = totals::read(&mut tx, Scope::of_payments(&caller), of).await?;
        reply(model::statistics(&totals))
    }
}
