//! What is there already?
//!
//! A start that goes on where another was interrupted makes only what is missing. Everything is
//! known by something that does not change: people and clients by address, packages by name, what
//! was sold by client and package, payments by reference. Stored answers to a `request_id` do the
//! rest while a call is made again; they are kept for a day, and this must hold for longer.

use std::collections::HashMap;

use proto::{
    crm::v1::{
        self as pb, ListClientPackagesRequest, ListClientsRequest, ListInstalmentsRequest,
        ListPackagesRequest, ListPaymentsRequest,
    },
    identity::v1::{self as id, ListEmployeesRequest},
};

use super::server::{Server, patiently};
use crate::transfer::fault::Fault;

const PAGE_SIZE: i32 = 1000;

/// What an account has.
pub struct Found {
    /// By e-mail address.
    pub employees: HashMap<String, id::Employee>,
    /// By name.
    pub packages: HashMap<String, pb::Package>,
    /// By e-mail address.
    pub clients: HashMap<String, pb::Client>,
    /// By client and package.
    pub sales: HashMap<(i64, i64), pb::ClientPackage>,
    /// By what was sold, in the order of their numbers.
    pub instalments: HashMap<i64, Vec<pb::Instalment>>,
    /// By reference.
    pub payments: HashMap<String, pb::Payment>,
}

/// Every page of a list, one after the other.
macro_rules! all {
    ($server:expr, $client:ident.$method:ident, $request:ident, $items:ident $(, $field:ident: $value:expr)*) => {{
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = patiently(stringify!($method), async || {
                let page_token = page_token.clone();
                let request = $request {
                    page_size: PAGE_SIZE,
                    page_token,
                    $($field: $value,)*
                    ..Default::default()
                };
                $server.$client().$method($server.request(request)).await
            })
            .await?;
            all.extend(page.$items);
            if page.next_page_token.is_empty() {
                break all;
            }
            page_token = page.next_page_token;
        }
    }};
}

impl Found {
    pub async fn all(server: &Server) -> Result<Self, Fault> {
        let employees = all!(server, employees.list_employees, ListEmployeesRequest, employees);
        let clients = all!(server, clients.list_clients, ListClientsRequest, clients);
        let sales = all!(
            server,
            client_packages.list_client_packages,
            ListClientPackagesRequest,
            client_packages
        );
        let instalments =
            all!(server, instalments.list_instalments, ListInstalmentsRequest, instalments);
        let payments = all!(server, payments.list_payments, ListPaymentsRequest, payments,
            include_voided: true);
        let by_reference = |payment: pb::Payment| (payment.external_reference.clone(), payment);
        Ok(Self {
            employees: employees.into_iter().map(|one| (one.email.clone(), one)).collect(),
            packages: packages(server).await?,
            clients: clients.into_iter().map(|one| (one.email.clone(), one)).collect(),
            sales: sales.into_iter().map(|one| ((one.client_id, one.package_id), one)).collect(),
            instalments: by_sale(instalments),
            payments: payments.into_iter().map(by_reference).collect(),
        })
    }

    pub fn instalments_of(&self, sale: i64) -> &[pb::Instalment] {
        self.instalments.get(&sale).map_or(&[], Vec::as_slice)
    }
}

/// The packages of an account, by name.
pub async fn packages(server: &Server) -> Result<HashMap<String, pb::Package>, Fault> {
    let packages = all!(server, packages.list_packages, ListPackagesRequest, packages);
    Ok(packages.into_iter().map(|one| (one.package_name.clone(), one)).collect())
}

fn by_sale(instalments: Vec<pb::Instalment>) -> HashMap<i64, Vec<pb::Instalment>> {
    let mut by_sale: HashMap<i64, Vec<pb::Instalment>> = HashMap::new();
    for one in instalments {
        by_sale.entry(one.client_package_id).or_default().push(one);
    }
    for of_sale in by_sale.values_mut() {
        of_sale.sort_by_key(|one| one.instalment_number);
    }
    by_sale
}
