//! In which order does an account come to be?
//!
//! First its team and what it sells; then its clients, several at once, each with all that they
//! bought and paid in the order in which it happened; and, when all of them are there, the last
//! package, which says so.

use futures::stream::{self, StreamExt, TryStreamExt};
use proto::{
    common::v1::Money,
    crm::v1::{self as pb, ClientPackageStatus, DisputeOutcome, PaymentStatus},
    identity::v1 as id,
};
use service_kit::clock::now;

use super::{
    chance::request_id,
    found::Found,
    people::{self, Company, LAST_PACKAGE, Offer, Person, Team},
    progress::Progress,
    sales::{self, Paid, Sale, Then},
    server::{Server, patiently},
};
use crate::transfer::fault::Fault;

/// So many clients at once, with one call of each. More would be no faster on two cores, and wait
/// for connections that are only being made.
const AT_ONCE: usize = 4;

/// An account that is being filled.
pub struct Filling<'a> {
    pub company: &'a Company,
    pub server: Server,
    pub found: Found,
    /// With which its employees log in.
    pub password: &'a str,
    pub progress: &'a Progress,
}

impl Filling<'_> {
    /// Makes everything that is missing.
    pub async fn complete(&self) -> Result<(), Fault> {
        let team = self.team().await?;
        let mut packages = Vec::new();
        for offer in self.company.packages {
            packages.push(self.package(offer).await?);
        }
        let clients = (0..self.company.clients).map(|number| self.client(number, &team, &packages));
        stream::iter(clients).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        self.package(&LAST_PACKAGE).await?;
        Ok(())
    }

    /// The id of the request that takes a step.
    fn step(&self, step: &str) -> String {
        request_id(&format!("{} {step}", self.company.domain))
    }

    async fn team(&self) -> Result<Team, Fault> {
        let mut team = Team::default();
        for person in self.company.team {
            let id = self.employee(person).await?;
            team.0.entry(person.job).or_default().push(id);
        }
        Ok(team)
    }

    async fn employee(&self, person: &Person) -> Result<i64, Fault> {
        let email = person.email(self.company);
        if let Some(found) = self.found.employees.get(&email) {
            return Ok(found.id);
        }
        let employee = id::Employee {
            name: person.name(),
            first_name: person.first_name.into(),
            last_name: person.last_name.into(),
            role: person.role().into(),
            job_role: person.job.into(),
            email,
            ..Default::default()
        };
        let request = id::CreateEmployeeRequest {
            request_id: self.step(&format!("employee {}", employee.email)),
            employee: Some(employee),
            password: self.password.into(),
        };
        let made = patiently("CreateEmployee", async || {
            self.server.employees().create_employee(self.server.request(request.clone())).await
        });
        Ok(made.await?.employee.unwrap_or_default().id)
    }

    async fn package(&self, offer: &Offer) -> Result<i64, Fault> {
        if let Some(found) = self.found.packages.get(offer.name) {
            return Ok(found.id);
        }
        let package = pb::Package {
            package_name: offer.name.into(),
            description: offer.description.into(),
            list_price: Some(money(&offer.price.to_string(), self.company.currency)),
            ..Default::default()
        };
        let request_id = self.step(&format!("package {}", offer.name));
        let request = pb::CreatePackageRequest { package: Some(package), request_id };
        let made = patiently("CreatePackage", async || {
            self.server.packages().create_package(self.server.request(request.clone())).await
        });
        Ok(made.await?.package.unwrap_or_default().id)
    }

    /// A client, and all that they bought.
    async fn client(&self, number: usize, team: &Team, packages: &[i64]) -> Result<(), Fault> {
        let client = people::client(self.company, number, team);
        let sales = sales::sales(self.company, number, &client, now().date_naive());
        let client_id = self.created(client).await?;
        for sale in sales {
            self.sale(&sale, client_id, packages[sale.package]).await?;
        }
        self.progress.passed();
        Ok(())
    }

    async fn created(&self, client: pb::Client) -> Result<i64, Fault> {
        if let Some(found) = self.found.clients.get(&client.email) {
            return Ok(found.id);
        }
        let request_id = self.step(&format!("client {}", client.email));
        let request = pb::CreateClientRequest { client: Some(client), request_id };
        let made = patiently("CreateClient", async || {
            self.server.clients().create_client(self.server.request(request.clone())).await
        });
        Ok(made.await?.client.unwrap_or_default().id)
    }

    /// A sale, its plan, what was paid of it, and its end.
    async fn sale(&self, sale: &Sale, client_id: i64, package_id: i64) -> Result<(), Fault> {
        let sold = match self.found.sales.get(&(client_id, package_id)) {
            Some(found) => found.clone(),
            None => self.sold(sale, client_id, package_id).await?,
        };
        if sold.status() != ClientPackageStatus::Active {
            return Ok(());
        }
        let instalments = match self.found.instalments_of(sold.id) {
            [] => self.planned(sale, sold.id).await?,
            found => found.to_vec(),
        };
        for paid in sales::payments(sale, &instalments, now()) {
            self.paid(&paid, client_id, &sale.currency).await?;
        }
        if sale.cancelled {
            self.cancelled(sale, sold.id).await?;
        }
        Ok(())
    }

    async fn sold(
        &self,
        sale: &Sale,
        client_id: i64,
        package_id: i64,
    ) -> Result<pb::ClientPackage, Fault> {
        let client_package = pb::ClientPackage {
            client_id,
            package_id,
            custom_price: Some(money(&sale.price, &sale.currency)),
            payment_schedule: sale.schedule.into(),
            start_date: sale.start.to_string(),
            ..Default::default()
        };
        let request = pb::CreateClientPackageRequest {
            client_package: Some(client_package),
            request_id: self.step(&format!("sale {}", sale.key)),
        };
        let made = patiently("CreateClientPackage", async || {
            let request = self.server.request(request.clone());
            self.server.client_packages().create_client_package(request).await
        });
        Ok(made.await?.client_package.unwrap_or_default())
    }

    async fn planned(&self, sale: &Sale, id: i64) -> Result<Vec<pb::Instalment>, Fault> {
        let request = pb::GenerateInstalmentsRequest {
            client_package_id: id,
            count: sale.instalments,
            request_id: self.step(&format!("plan {}", sale.key)),
        };
        let made = patiently("GenerateInstalments", async || {
            let request = self.server.request(request.clone());
            self.server.client_packages().generate_instalments(request).await
        });
        Ok(made.await?.instalments)
    }

    async fn cancelled(&self, sale: &Sale, id: i64) -> Result<(), Fault> {
        let request_id = self.step(&format!("cancel {}", sale.key));
        let request = pb::CancelClientPackageRequest { id, request_id, ..Default::default() };
        let cancelled = patiently("CancelClientPackage", async || {
            let request = self.server.request(request.clone());
            self.server.client_packages().cancel_client_package(request).await
        });
        cancelled.await.map(drop)
    }

    /// A payment, and what became of it.
    async fn paid(&self, paid: &Paid, client_id: i64, currency: &str) -> Result<(), Fault> {
        let payment = match self.found.payments.get(&paid.reference) {
            Some(found) => found.clone(),
            None => self.recorded(paid, client_id, currency).await?,
        };
        if payment.void_time.is_some() {
            return Ok(());
        }
        match &paid.then {
            Then::Stays | Then::Failed => Ok(()),
            Then::Refunded(amount) => self.refunded(&payment, amount.as_deref()).await,
            Then::Disputed(outcome) => self.disputed(payment, *outcome).await,
        }
    }

    async fn recorded(
        &self,
        paid: &Paid,
        client_id: i64,
        currency: &str,
    ) -> Result<pb::Payment, Fault> {
        let has_failed = paid.then == Then::Failed;
        let status = if has_failed { PaymentStatus::Failed } else { PaymentStatus::Paid };
        let payment = pb::Payment {
            client_id,
            amount: Some(money(&paid.amount, currency)),
            status: status.into(),
            paid_at: Some(prost_types::Timestamp { seconds: paid.time.timestamp(), nanos: 0 }),
            external_reference: paid.reference.clone(),
            ..Default::default()
        };
        let request = pb::CreatePaymentRequest {
            payment: Some(payment),
            auto_allocate: paid.allocate && !has_failed,
            request_id: self.step(&format!("payment {}", paid.reference)),
            ..Default::default()
        };
        let made = patiently("CreatePayment", async || {
            self.server.payments().create_payment(self.server.request(request.clone())).await
        });
        Ok(made.await?.payment.unwrap_or_default())
    }

    async fn refunded(&self, payment: &pb::Payment, amount: Option<&str>) -> Result<(), Fault> {
        let is_untouched = payment.refunded_amount.as_ref().is_none_or(is_nothing);
        if payment.status() != PaymentStatus::Paid || !is_untouched {
            return Ok(());
        }
        let in_its_currency = |amount| money(amount, "");
        let request = pb::RefundPaymentRequest {
            id: payment.id,
            amount: amount.map(in_its_currency),
            reason: "As agreed on the phone.".into(),
            request_id: self.step(&format!("refund {}", payment.external_reference)),
            ..Default::default()
        };
        let refunded = patiently("RefundPayment", async || {
            self.server.payments().refund_payment(self.server.request(request.clone())).await
        });
        refunded.await.map(drop)
    }

    async fn disputed(
        &self,
        mut payment: pb::Payment,
        outcome: Option<DisputeOutcome>,
    ) -> Result<(), Fault> {
        let reference = payment.external_reference.clone();
        if payment.status() == PaymentStatus::Paid && payment.dispute.is_none() {
            let request = pb::DisputePaymentRequest {
                id: payment.id,
                reason: "The bank says that the holder does not know it.".into(),
                request_id: self.step(&format!("dispute {reference}")),
                ..Default::default()
            };
            let disputed = patiently("DisputePayment", async || {
                self.server.payments().dispute_payment(self.server.request(request.clone())).await
            });
            payment = disputed.await?.payment.unwrap_or_default();
        }
        let is_open =
            payment.dispute.is_some_and(|dispute| dispute.outcome() == DisputeOutcome::Open);
        let (true, Some(outcome)) = (is_open, outcome) else { return Ok(()) };
        let request = pb::ResolveDisputeRequest {
            id: payment.id,
            outcome: outcome.into(),
            request_id: self.step(&format!("resolve {reference}")),
            ..Default::default()
        };
        let resolved = patiently("ResolveDispute", async || {
            self.server.payments().resolve_dispute(self.server.request(request.clone())).await
        });
        resolved.await.map(drop)
    }
}

fn money(amount: &str, currency: &str) -> Money {
    Money { currency_code: currency.into(), amount: amount.into() }
}

fn is_nothing(money: &Money) -> bool {
    money.amount.chars().all(|digit| matches!(digit, '0' | '.'))
}
