//! Packages, what is sold of them and what is due, for the tests that need some.

use std::collections::BTreeMap;

use prost::Message;
use proto::{
    common::v1::Money,
    crm::v1::{
        self as pb, InstalmentStatus, PaymentSchedule,
        client_package_service_client::ClientPackageServiceClient,
        instalment_service_client::InstalmentServiceClient,
        package_service_client::PackageServiceClient,
    },
};
use tonic::{Status, transport::Channel};

use crate::support::{Crm, Person, named, signed};

/// An amount in the currency that applies where none is named.
pub fn worth(amount: &str) -> Option<Money> {
    worth_in("", amount)
}

pub fn worth_in(currency_code: &str, amount: &str) -> Option<Money> {
    Some(Money { currency_code: currency_code.into(), amount: amount.into() })
}

/// A package of this name, with a list price of 1200.
pub fn package(name: &str) -> pb::Package {
    pb::Package { package_name: name.into(), list_price: worth("1200"), ..Default::default() }
}

pub fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() })
}

/// When instalments are due, how much they are and how things stand with them.
pub fn due(instalments: &[pb::Instalment]) -> Vec<(&str, &str, InstalmentStatus)> {
    instalments
        .iter()
        .map(|it| {
            (it.schedule_date.as_str(), it.amount.as_ref().unwrap().amount.as_str(), it.status())
        })
        .collect()
}

impl Crm {
    pub fn packages(&self) -> PackageServiceClient<Channel> {
        PackageServiceClient::new(self.channel.clone())
    }

    pub fn client_packages(&self) -> ClientPackageServiceClient<Channel> {
        ClientPackageServiceClient::new(self.channel.clone())
    }

    pub fn instalments(&self) -> InstalmentServiceClient<Channel> {
        InstalmentServiceClient::new(self.channel.clone())
    }

    pub async fn create_package(
        &self,
        by: &Person,
        package: pb::Package,
    ) -> Result<pb::Package, Status> {
        let request = pb::CreatePackageRequest { package: Some(package), ..Default::default() };
        let answer = self.packages().create_package(signed(by, request)).await?;
        Ok(answer.into_inner().package.unwrap())
    }

    pub async fn delete_package(&self, by: &Person, id: i64) -> pb::Package {
        let request = pb::DeletePackageRequest { id, ..Default::default() };
        let answer = self.packages().delete_package(signed(by, request)).await;
        answer.unwrap().into_inner().package.unwrap()
    }

    pub async fn sell(
        &self,
        by: &Person,
        client_package: pb::ClientPackage,
    ) -> Result<pb::ClientPackage, Status> {
        let request = pb::CreateClientPackageRequest {
            client_package: Some(client_package),
            ..Default::default()
        };
        let answer = self.client_packages().create_client_package(signed(by, request)).await?;
        Ok(answer.into_inner().client_package.unwrap())
    }

    /// Something sold to somebody new, from the end of January 2025 on.
    pub async fn sold(
        &self,
        by: &Person,
        price: &str,
        schedule: PaymentSchedule,
    ) -> pb::ClientPackage {
        let client = self.create(by, named("Ada", "")).await;
        let package = self.create_package(by, package("Coaching")).await.unwrap();
        let client_package = pb::ClientPackage {
            client_id: client.id,
            package_id: package.id,
            custom_price: worth_in("EUR", price),
            payment_schedule: schedule.into(),
            start_date: "2025-01-31".into(),
            ..Default::default()
        };
        self.sell(by, client_package).await.unwrap()
    }

    pub async fn change_sold(
        &self,
        by: &Person,
        client_package: pb::ClientPackage,
        update_mask: Option<prost_types::FieldMask>,
    ) -> Result<pb::ClientPackage, Status> {
        let request = pb::UpdateClientPackageRequest {
            client_package: Some(client_package),
            update_mask,
            ..Default::default()
        };
        let answer = self.client_packages().update_client_package(signed(by, request)).await?;
        Ok(answer.into_inner().client_package.unwrap())
    }

    pub async fn cancel(&self, by: &Person, id: i64) -> Result<pb::ClientPackage, Status> {
        let request = pb::CancelClientPackageRequest { id, ..Default::default() };
        let answer = self.client_packages().cancel_client_package(signed(by, request)).await?;
        Ok(answer.into_inner().client_package.unwrap())
    }

    pub async fn generate(
        &self,
        by: &Person,
        client_package_id: i64,
        count: i32,
    ) -> Result<pb::GenerateInstalmentsResponse, Status> {
        let request =
            pb::GenerateInstalmentsRequest { client_package_id, count, ..Default::default() };
        let answer = self.client_packages().generate_instalments(signed(by, request)).await?;
        Ok(answer.into_inner())
    }

    pub async fn preview(
        &self,
        by: &Person,
        request: pb::PreviewInstalmentsRequest,
    ) -> Result<pb::PreviewInstalmentsResponse, Status> {
        let answer = self.client_packages().preview_instalments(signed(by, request)).await?;
        Ok(answer.into_inner())
    }

    pub async fn owe(
        &self,
        by: &Person,
        instalment: pb::Instalment,
    ) -> Result<pb::Instalment, Status> {
        let request =
            pb::CreateInstalmentRequest { instalment: Some(instalment), ..Default::default() };
        let answer = self.instalments().create_instalment(signed(by, request)).await?;
        Ok(answer.into_inner().instalment.unwrap())
    }

    pub async fn change_owed(
        &self,
        by: &Person,
        instalment: pb::Instalment,
        update_mask: Option<prost_types::FieldMask>,
    ) -> Result<pb::Instalment, Status> {
        let request = pb::UpdateInstalmentRequest {
            instalment: Some(instalment),
            update_mask,
            ..Default::default()
        };
        let answer = self.instalments().update_instalment(signed(by, request)).await?;
        Ok(answer.into_inner().instalment.unwrap())
    }

    pub async fn close(&self, by: &Person, id: i64) -> Result<pb::Instalment, Status> {
        let request = pb::CloseInstalmentRequest { id, ..Default::default() };
        let answer = self.instalments().close_instalment(signed(by, request)).await?;
        Ok(answer.into_inner().instalment.unwrap())
    }

    pub async fn instalment(&self, by: &Person, id: i64) -> Result<pb::Instalment, Status> {
        let request = pb::GetInstalmentRequest { id };
        let answer = self.instalments().get_instalment(signed(by, request)).await?;
        Ok(answer.into_inner().instalment.unwrap())
    }

    pub async fn list_instalments(
        &self,
        by: &Person,
        request: pb::ListInstalmentsRequest,
    ) -> pb::ListInstalmentsResponse {
        self.instalments().list_instalments(signed(by, request)).await.unwrap().into_inner()
    }

    /// All instalments of something sold, by their numbers.
    pub async fn instalments_of(&self, by: &Person, sold: i64) -> Vec<pb::Instalment> {
        let request = pb::ListInstalmentsRequest {
            client_package_id: sold,
            page_size: 1000,
            ..Default::default()
        };
        let mut instalments = self.list_instalments(by, request).await.instalments;
        instalments.sort_by_key(|instalment| instalment.instalment_number);
        instalments
    }

    /// Covers minor units of an instalment by a payment of just as much.
    pub async fn cover(&self, instalment_id: i64, minor: i64) {
        let facts = format!(
            "WITH instalment AS (SELECT * FROM crm.instalments WHERE id = {instalment_id}),
             paid AS (
                 INSERT INTO crm.payments
                     (account_id, client_id, currency, amount, allocated, paid_at,
                      external_reference, notes, create_time, update_time)
                 SELECT account_id, client_id, currency, {minor}, {minor}, now(), '', '', now(), now()
                 FROM instalment RETURNING *),
             entry AS (
                 INSERT INTO crm.allocation_entries
                     (account_id, client_id, currency, payment_id, instalment_id, amount, reason, time)
                 SELECT account_id, client_id, currency, id, {instalment_id}, amount, 'allocated', now()
                 FROM paid)
             UPDATE crm.instalments SET allocated = allocated + {minor} WHERE id = {instalment_id}"
        );
        self.database.execute(&facts).await;
    }

    /// One of everything, sold to one client.
    pub async fn sale(&self, by: &Person) -> Sale {
        let sold = self.sold(by, "1200", PaymentSchedule::Monthly).await;
        self.generate(by, sold.id, 3).await.unwrap();
        let to_cancel = pb::ClientPackage { id: 0, ..sold.clone() };
        let alone = pb::Instalment {
            client_id: sold.client_id,
            amount: worth("5"),
            schedule_date: "2025-03-01".into(),
            ..Default::default()
        };
        Sale {
            client: sold.client_id,
            package: sold.package_id,
            package_to_delete: self.create_package(by, package("Old")).await.unwrap().id,
            sold: sold.id,
            sold_to_cancel: self.sell(by, to_cancel).await.unwrap().id,
            instalment: self.owe(by, alone.clone()).await.unwrap().id,
            instalment_to_close: self.owe(by, alone).await.unwrap().id,
        }
    }
}

/// One of everything, by its id.
#[derive(Debug, Clone, Copy)]
pub struct Sale {
    pub client: i64,
    pub package: i64,
    pub package_to_delete: i64,
    pub sold: i64,
    pub sold_to_cancel: i64,
    pub instalment: i64,
    pub instalment_to_close: i64,
}

/// Fields that are output only in a request, or that are compared with what is there and lead to
/// nothing.
pub const IGNORED: &[(&str, &str)] = &[
    ("/crm.v1.ClientPackageService/CreateClientPackage", "client_package.id"),
    ("/crm.v1.ClientPackageService/UpdateClientPackage", "client_package.client_id"),
    ("/crm.v1.ClientPackageService/UpdateClientPackage", "client_package.package_id"),
    ("/crm.v1.InstalmentService/CreateInstalment", "instalment.id"),
    ("/crm.v1.InstalmentService/UpdateInstalment", "instalment.client_id"),
    ("/crm.v1.InstalmentService/UpdateInstalment", "instalment.client_package_id"),
    ("/crm.v1.PackageService/CreatePackage", "package.id"),
];

/// Fields by which lists are narrowed.
pub const OMITTED: &[(&str, &str)] = &[
    ("/crm.v1.ClientPackageService/ListClientPackages", "client_id"),
    ("/crm.v1.ClientPackageService/ListClientPackages", "package_id"),
    ("/crm.v1.InstalmentService/ListInstalments", "client_id"),
    ("/crm.v1.InstalmentService/ListInstalments", "client_package_id"),
];

impl Sale {
    /// What a field of a method would name of this sale.
    pub fn named(&self, method: &str, field: &str) -> i64 {
        match (field.rsplit('.').next().unwrap(), method) {
            ("client_id", _) => self.client,
            ("package_id", _) => self.package,
            ("client_package_id", _) => self.sold,
            (_, "/crm.v1.ClientPackageService/CancelClientPackage") => self.sold_to_cancel,
            (_, "/crm.v1.InstalmentService/CloseInstalment") => self.instalment_to_close,
            (_, "/crm.v1.PackageService/DeletePackage") => self.package_to_delete,
            _ if method.contains("ClientPackageService") => self.sold,
            _ if method.contains("InstalmentService") => self.instalment,
            _ if method.contains("PackageService") => self.package,
            _ => self.client,
        }
    }

    /// For every method a call that succeeds.
    pub fn examples(&self, request_id: &str) -> BTreeMap<&'static str, Vec<u8>> {
        let request_id = || request_id.to_owned();
        BTreeMap::from([
            (
                "/crm.v1.PackageService/CreatePackage",
                pb::CreatePackageRequest {
                    package: Some(package(&format!("Another {}", self.package))),
                    request_id: request_id(),
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.PackageService/GetPackage",
                pb::GetPackageRequest { id: self.package }.encode_to_vec(),
            ),
            (
                "/crm.v1.PackageService/ListPackages",
                pb::ListPackagesRequest::default().encode_to_vec(),
            ),
            (
                "/crm.v1.PackageService/UpdatePackage",
                pb::UpdatePackageRequest {
                    package: Some(pb::Package { id: self.package, ..package("Renamed") }),
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.PackageService/DeletePackage",
                pb::DeletePackageRequest {
                    id: self.package_to_delete,
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.PackageService/UndeletePackage",
                pb::UndeletePackageRequest {
                    id: self.package,
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.ClientPackageService/CreateClientPackage",
                pb::CreateClientPackageRequest {
                    client_package: Some(pb::ClientPackage {
                        client_id: self.client,
                        package_id: self.package,
                        payment_schedule: PaymentSchedule::Pif.into(),
                        ..Default::default()
                    }),
                    request_id: request_id(),
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.ClientPackageService/GetClientPackage",
                pb::GetClientPackageRequest { id: self.sold }.encode_to_vec(),
            ),
            (
                "/crm.v1.ClientPackageService/ListClientPackages",
                pb::ListClientPackagesRequest::default().encode_to_vec(),
            ),
            (
                "/crm.v1.ClientPackageService/UpdateClientPackage",
                pb::UpdateClientPackageRequest {
                    client_package: Some(pb::ClientPackage {
                        id: self.sold,
                        custom_price: worth("1300"),
                        ..Default::default()
                    }),
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.ClientPackageService/CancelClientPackage",
                pb::CancelClientPackageRequest {
                    id: self.sold_to_cancel,
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.ClientPackageService/PreviewInstalments",
                pb::PreviewInstalmentsRequest {
                    client_package_id: self.sold,
                    count: 4,
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.ClientPackageService/GenerateInstalments",
                pb::GenerateInstalmentsRequest {
                    client_package_id: self.sold,
                    count: 4,
                    request_id: request_id(),
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.InstalmentService/CreateInstalment",
                pb::CreateInstalmentRequest {
                    instalment: Some(pb::Instalment {
                        client_id: self.client,
                        client_package_id: self.sold,
                        amount: worth("7"),
                        schedule_date: "2025-03-01".into(),
                        ..Default::default()
                    }),
                    request_id: request_id(),
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.InstalmentService/GetInstalment",
                pb::GetInstalmentRequest { id: self.instalment }.encode_to_vec(),
            ),
            (
                "/crm.v1.InstalmentService/ListInstalments",
                pb::ListInstalmentsRequest::default().encode_to_vec(),
            ),
            (
                "/crm.v1.InstalmentService/UpdateInstalment",
                pb::UpdateInstalmentRequest {
                    instalment: Some(pb::Instalment {
                        id: self.instalment,
                        amount: worth("9"),
                        ..Default::default()
                    }),
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            (
                "/crm.v1.InstalmentService/CloseInstalment",
                pb::CloseInstalmentRequest {
                    id: self.instalment_to_close,
                    request_id: request_id(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
        ])
    }
}

impl Crm {
    /// What was recorded, in the order in which it was done.
    pub async fn acts(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT action FROM crm.audit_events ORDER BY id")
            .fetch_all(&self.database.owner)
            .await
            .unwrap()
    }
}
