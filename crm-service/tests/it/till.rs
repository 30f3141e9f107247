//! A company, a client of theirs who has something to pay, and everything that can be done with
//! their payments.

use std::time::Duration;

use prost::Message;
use proto::{
    common::v1::Money,
    crm::v1::{self as pb, DisputeOutcome, payment_service_client::PaymentServiceClient},
};
use service_kit::testing::refusal::{Refusal, refusal};
use tonic::{Code, Response, Status, transport::Channel};

use crate::support::{Crm, Person, named, signed};

pub type Answer = Result<pb::Payment, Status>;

/// Where money comes in.
pub struct Till {
    pub crm: Crm,
    pub ana: Person,
    /// Pays in euros, where nothing else is said.
    pub ada: pb::Client,
}

pub fn eur(amount: &str) -> Option<Money> {
    money("EUR", amount)
}

pub fn money(currency_code: &str, amount: &str) -> Option<Money> {
    Some(Money { currency_code: currency_code.into(), amount: amount.into() })
}

/// So much to each of these instalments, in the payment's currency.
pub fn shares(shares: &[(i64, &str)]) -> Vec<pb::PaymentAllocation> {
    let share = |(instalment_id, amount): &(i64, &str)| pb::PaymentAllocation {
        instalment_id: *instalment_id,
        amount: money("", amount),
    };
    shares.iter().map(share).collect()
}

/// What a payment covers, as it reads.
pub fn covered(payment: &pb::Payment) -> Vec<(i64, &str)> {
    payment.allocations.iter().map(|it| (it.instalment_id, said(it.amount.as_ref()))).collect()
}

pub fn said(money: Option<&Money>) -> &str {
    &money.unwrap().amount
}

/// Refunded, credit and status of a payment, as they read.
pub fn state(payment: &pb::Payment) -> (&str, &str, pb::PaymentStatus) {
    (said(payment.refunded_amount.as_ref()), said(payment.credit_amount.as_ref()), payment.status())
}

/// The answer, however busy everything is: whoever is told to try again does.
async fn patiently<T>(call: impl AsyncFn() -> Result<Response<T>, Status>) -> Result<T, Status> {
    for _ in 0..30 {
        match call().await {
            Err(status) if status.code() == Code::Unavailable => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            answer => return answer.map(Response::into_inner),
        }
    }
    panic!("not available for a long time");
}

/// A refusal for the state of things.
pub fn refused_because(answer: Answer) -> String {
    let Refusal { code, reason, .. } = refusal(answer);
    assert_eq!(code, Code::FailedPrecondition, "{reason}");
    reason
}

impl Till {
    pub async fn open() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut crm_service::Settings)) -> Self {
        let crm = Crm::with(crate::support::SERVICE_SECRET, change).await;
        let ana = crm.sign_up("ana").await;
        let ada = crm.create(&ana, euros("Ada")).await;
        Self { crm, ana, ada }
    }

    pub fn service(&self) -> PaymentServiceClient<Channel> {
        PaymentServiceClient::new(self.crm.channel.clone())
    }

    /// Something that a client has to pay, in cents.
    pub async fn due_of(&self, client: &pb::Client, cents: i64, day: &str) -> i64 {
        let query = "INSERT INTO crm.instalments
                (account_id, client_id, instalment_number, currency, amount, schedule_date, state,
                 create_time, update_time)
             SELECT account_id, id, 1, currency, $2, $3::text::date, 'open', now(), now()
             FROM crm.clients WHERE id = $1 RETURNING id";
        let query = sqlx::query_scalar(query).bind(client.id).bind(cents).bind(day);
        query.fetch_one(&self.crm.database.owner).await.unwrap()
    }

    pub async fn due(&self, cents: i64, day: &str) -> i64 {
        self.due_of(&self.ada, cents, day).await
    }

    /// What is covered of an instalment, in cents, and how it stands.
    pub async fn instalment(&self, id: i64) -> (i64, String) {
        let query = "SELECT allocated, status FROM crm.instalments WHERE id = $1";
        sqlx::query_as(query).bind(id).fetch_one(&self.crm.database.owner).await.unwrap()
    }

    pub fn paying(&self, amount: &str) -> pb::CreatePaymentRequest {
        let payment =
            pb::Payment { client_id: self.ada.id, amount: money("", amount), ..Default::default() };
        pb::CreatePaymentRequest { payment: Some(payment), ..Default::default() }
    }

    pub async fn create_as(&self, by: &Person, request: pb::CreatePaymentRequest) -> Answer {
        let call = async || self.service().create_payment(signed(by, request.clone())).await;
        Ok(patiently(call).await?.payment.unwrap())
    }

    pub async fn create(&self, request: pb::CreatePaymentRequest) -> Answer {
        self.create_as(&self.ana, request).await
    }

    /// A payment that stays credit.
    pub async fn paid(&self, amount: &str) -> pb::Payment {
        self.create(self.paying(amount)).await.unwrap()
    }

    /// A payment that covers this.
    pub async fn paid_for(&self, amount: &str, allocations: &[(i64, &str)]) -> Answer {
        let allocations = shares(allocations);
        self.create(pb::CreatePaymentRequest { allocations, ..self.paying(amount) }).await
    }

    pub async fn get(&self, id: i64) -> pb::Payment {
        self.get_as(&self.ana, id).await.unwrap()
    }

    pub async fn get_as(&self, by: &Person, id: i64) -> Answer {
        let request = pb::GetPaymentRequest { id };
        let call = async || self.service().get_payment(signed(by, request)).await;
        Ok(patiently(call).await?.payment.unwrap())
    }

    pub async fn allocate(&self, request: pb::AllocatePaymentRequest) -> Answer {
        let call =
            async || self.service().allocate_payment(signed(&self.ana, request.clone())).await;
        Ok(patiently(call).await?.payment.unwrap())
    }

    pub async fn cover(&self, id: i64, allocations: &[(i64, &str)]) -> Answer {
        let allocations = shares(allocations);
        self.allocate(pb::AllocatePaymentRequest { id, allocations, ..Default::default() }).await
    }

    pub async fn cover_oldest(&self, id: i64) -> Answer {
        let auto_allocate = true;
        self.allocate(pb::AllocatePaymentRequest { id, auto_allocate, ..Default::default() }).await
    }

    /// Without an amount: all that is left.
    pub async fn refund(&self, id: i64, amount: &str) -> Answer {
        let amount = if amount.is_empty() { None } else { money("", amount) };
        let request = pb::RefundPaymentRequest { id, amount, ..Default::default() };
        let call = async || self.service().refund_payment(signed(&self.ana, request.clone())).await;
        Ok(patiently(call).await?.payment.unwrap())
    }

    pub async fn dispute(&self, id: i64) -> Answer {
        let request =
            pb::DisputePaymentRequest { id, reason: "fraudulent".into(), ..Default::default() };
        let call =
            async || self.service().dispute_payment(signed(&self.ana, request.clone())).await;
        Ok(patiently(call).await?.payment.unwrap())
    }

    pub async fn resolve(&self, id: i64, outcome: DisputeOutcome) -> Answer {
        let request =
            pb::ResolveDisputeRequest { id, outcome: outcome.into(), ..Default::default() };
        let call =
            async || self.service().resolve_dispute(signed(&self.ana, request.clone())).await;
        Ok(patiently(call).await?.payment.unwrap())
    }

    pub async fn fail(&self, id: i64) -> Answer {
        let request = pb::MarkPaymentFailedRequest { id, ..Default::default() };
        let call =
            async || self.service().mark_payment_failed(signed(&self.ana, request.clone())).await;
        Ok(patiently(call).await?.payment.unwrap())
    }

    pub async fn void(&self, id: i64) -> Answer {
        let request =
            pb::VoidPaymentRequest { id, reason: "entered twice".into(), ..Default::default() };
        let call = async || self.service().void_payment(signed(&self.ana, request.clone())).await;
        Ok(patiently(call).await?.payment.unwrap())
    }

    pub async fn update(&self, payment: pb::Payment, paths: &[&str]) -> Answer {
        let update_mask = (!paths.is_empty()).then(|| prost_types::FieldMask {
            paths: paths.iter().map(ToString::to_string).collect(),
        });
        let request =
            pb::UpdatePaymentRequest { payment: Some(payment), update_mask, ..Default::default() };
        let call = async || self.service().update_payment(signed(&self.ana, request.clone())).await;
        Ok(patiently(call).await?.payment.unwrap())
    }

    pub async fn list(
        &self,
        by: &Person,
        request: pb::ListPaymentsRequest,
    ) -> pb::ListPaymentsResponse {
        let call = async || self.service().list_payments(signed(by, request.clone())).await;
        patiently(call).await.unwrap()
    }

    pub async fn statistics_of(
        &self,
        by: &Person,
        request: pb::GetPaymentStatisticsRequest,
    ) -> pb::GetPaymentStatisticsResponse {
        let call =
            async || self.service().get_payment_statistics(signed(by, request.clone())).await;
        patiently(call).await.unwrap()
    }

    pub async fn statistics(&self) -> pb::GetPaymentStatisticsResponse {
        self.statistics_of(&self.ana, pb::GetPaymentStatisticsRequest::default()).await
    }

    /// Every sum that is kept is what its facts add up to.
    pub async fn recount(&self) {
        for (what, query) in SUMS {
            let wrong: i64 =
                sqlx::query_scalar(*query).fetch_one(&self.crm.database.owner).await.unwrap();
            assert_eq!(wrong, 0, "{what}");
        }
    }
}

pub fn euros(first_name: &str) -> pb::Client {
    pb::Client { currency: "EUR".into(), ..named(first_name, "") }
}

/// How many sums differ from what they are sums of.
const SUMS: &[(&str, &str)] = &[
    (
        "what payments cover",
        "SELECT count(*) FROM crm.payments p WHERE allocated <> (
             SELECT coalesce(sum(amount), 0) FROM crm.allocation_entries e
             WHERE e.account_id = p.account_id AND e.payment_id = p.id)",
    ),
    (
        "what is covered of instalments",
        "SELECT count(*) FROM crm.instalments i WHERE allocated <> (
             SELECT coalesce(sum(amount), 0) FROM crm.allocation_entries e
             WHERE e.account_id = i.account_id AND e.instalment_id = i.id)",
    ),
    (
        "nothing covers less than nothing",
        "SELECT count(*) FROM (
             SELECT FROM crm.allocation_entries GROUP BY account_id, payment_id, instalment_id
             HAVING sum(amount) < 0) below",
    ),
    (
        "what was given back",
        "SELECT count(*) FROM crm.payments p WHERE refunded <> (
             SELECT coalesce(sum(amount), 0) FROM crm.payment_events e
             WHERE e.account_id = p.account_id AND e.payment_id = p.id AND kind = 'refunded')",
    ),
    (
        "the totals of accounts",
        "WITH counted AS (
             SELECT account_id, currency, status, count(*) n, sum(amount) a, sum(refunded) r
             FROM crm.payments WHERE void_time IS NULL GROUP BY 1, 2, 3),
         kept AS (
             SELECT account_id, currency, status, sum(payments) n, sum(amount) a, sum(refunded) r
             FROM crm.payment_totals GROUP BY 1, 2, 3)
         SELECT count(*) FROM counted FULL JOIN kept USING (account_id, currency, status)
         WHERE (coalesce(counted.n, 0), coalesce(counted.a, 0), coalesce(counted.r, 0))
            <> (coalesce(kept.n, 0), coalesce(kept.a, 0), coalesce(kept.r, 0))",
    ),
    (
        "the totals of clients",
        "WITH counted AS (
             SELECT account_id, client_id, currency, status, count(*) n, sum(amount) a, sum(refunded) r
             FROM crm.payments WHERE void_time IS NULL GROUP BY 1, 2, 3, 4)
         SELECT count(*)
         FROM counted FULL JOIN crm.client_payment_totals kept USING (account_id, client_id, currency, status)
         WHERE (coalesce(counted.n, 0), coalesce(counted.a, 0), coalesce(counted.r, 0))
            <> (coalesce(kept.payments, 0), coalesce(kept.amount, 0), coalesce(kept.refunded, 0))",
    ),
];

/// One payment for each method that takes one, and what else it takes.
pub struct Scene {
    pub client: i64,
    pub instalment: i64,
    payments: Vec<(&'static str, i64)>,
}

/// Fields of these methods that are output only there, or that are compared with what is there and
/// lead to nothing.
pub const IGNORED: &[(&str, &str)] = &[
    ("/crm.v1.PaymentService/CreatePayment", "payment.id"),
    ("/crm.v1.PaymentService/CreatePayment", "payment.allocations.instalment_id"),
    ("/crm.v1.PaymentService/UpdatePayment", "payment.client_id"),
    ("/crm.v1.PaymentService/UpdatePayment", "payment.allocations.instalment_id"),
];

/// Fields of these methods that narrow a list.
pub const OMITTED: &[(&str, &str)] = &[
    ("/crm.v1.PaymentService/ListPayments", "client_id"),
    ("/crm.v1.PaymentService/GetPaymentStatistics", "client_id"),
];

impl Till {
    /// Something of everything, of a client of somebody's own.
    pub async fn scene(&self, by: &Person) -> Scene {
        let client = self.crm.create(by, euros("Sid")).await;
        let instalment = self.due_of(&client, 100_000, "2025-01-31").await;
        let mut payments = Vec::new();
        for method in [
            "AllocatePayment",
            "UpdatePayment",
            "VoidPayment",
            "GetPayment",
            "RefundPayment",
            "DisputePayment",
            "ResolveDispute",
            "MarkPaymentFailed",
        ] {
            let payment = pb::Payment {
                client_id: client.id,
                amount: money("", "100"),
                ..Default::default()
            };
            let request = pb::CreatePaymentRequest { payment: Some(payment), ..Default::default() };
            payments.push((method, self.create_as(by, request).await.unwrap().id));
        }
        let scene = Scene { client: client.id, instalment, payments };
        let request =
            pb::DisputePaymentRequest { id: scene.payment("ResolveDispute"), ..Default::default() };
        self.service().dispute_payment(signed(by, request)).await.unwrap();
        scene
    }
}

impl Scene {
    pub fn payment(&self, method: &str) -> i64 {
        self.payments.iter().find(|(known, _)| method.ends_with(known)).unwrap().1
    }

    /// What a field of a method names here, if the method is one of these.
    pub fn named(&self, method: &str, field: &str) -> Option<i64> {
        method.contains(".PaymentService/").then(|| match field {
            "payment.client_id" | "client_id" => self.client,
            "allocations.instalment_id" => self.instalment,
            _ => self.payment(method),
        })
    }

    /// For each method a call that succeeds, encoded.
    pub fn examples(&self, request_id: &str) -> Vec<(&'static str, Vec<u8>)> {
        let of = |method| self.payment(method);
        let request_id = || request_id.to_owned();
        let allocations = || shares(&[(self.instalment, "1")]);
        let payment =
            pb::Payment { client_id: self.client, amount: money("", "5"), ..Default::default() };
        let update =
            pb::Payment { id: of("UpdatePayment"), notes: "Late.".into(), ..Default::default() };
        vec![
            (
                "/crm.v1.PaymentService/CreatePayment",
                pb::CreatePaymentRequest {
                    payment: Some(payment),
                    allocations: allocations(),
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.PaymentService/AllocatePayment",
                pb::AllocatePaymentRequest {
                    id: of("AllocatePayment"),
                    allocations: allocations(),
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.PaymentService/UpdatePayment",
                pb::UpdatePaymentRequest {
                    payment: Some(update),
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.PaymentService/VoidPayment",
                pb::VoidPaymentRequest {
                    id: of("VoidPayment"),
                    reason: "Twice.".into(),
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.PaymentService/RefundPayment",
                pb::RefundPaymentRequest {
                    id: of("RefundPayment"),
                    amount: money("", "1"),
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.PaymentService/DisputePayment",
                pb::DisputePaymentRequest {
                    id: of("DisputePayment"),
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.PaymentService/ResolveDispute",
                pb::ResolveDisputeRequest {
                    id: of("ResolveDispute"),
                    outcome: DisputeOutcome::Won.into(),
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.PaymentService/MarkPaymentFailed",
                pb::MarkPaymentFailedRequest {
                    id: of("MarkPaymentFailed"),
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.PaymentService/GetPayment",
                pb::GetPaymentRequest { id: of("GetPayment") }.encode_to_vec(),
            ),
            (
                "/crm.v1.PaymentService/ListPayments",
                pb::ListPaymentsRequest { client_id: self.client, ..Default::default() }
                    .encode_to_vec(),
            ),
            (
                "/crm.v1.PaymentService/GetPaymentStatistics",
                pb::GetPaymentStatisticsRequest { client_id: self.client, ..Default::default() }
                    .encode_to_vec(),
            ),
        ]
    }
}
