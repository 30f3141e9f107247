//! Two accounts side by side.

use std::collections::{BTreeMap, BTreeSet};

use crm_service::POLICY;
use prost::Message;
use proto::crm::v1 as pb;
use service_kit::testing::{
    isolation::{Ids, Service, id_fields, leaks},
    pages::{list_methods, listed, next_page_token, one_of_a_page},
    repeats::faults_named_apart,
};

use crate::{
    assignments, audit_lists, sales, stripe_customers,
    stripe_webhook::{SECRET, charge, event},
    support::{Crm, Person, named, signed},
    till::{self, Till},
};

/// Rows of every kind, of one account.
pub struct Rows {
    pub owner: i64,
    care: assignments::Care,
    pub sale: sales::Sale,
    tied: stripe_customers::Tied,
    payments: till::Scene,
}

impl Rows {
    pub async fn of(till: &Till, by: &Person) -> Self {
        let crm = &till.crm;
        let (care, sale, tied) = (crm.care(by).await, crm.sale(by).await, crm.tied(by).await);
        let owner = crm.id_of(by).await;
        Self { owner, care, sale, tied, payments: till.scene(by).await }
    }

    /// What a field of a method would name of these.
    pub fn named(&self, method: &str, field: &str) -> i64 {
        if field == "actor_employee_id" {
            return self.owner;
        }
        let payments = self.payments.named(method, field);
        let named = payments.or_else(|| self.care.named(method, field));
        let named = named.or_else(|| self.tied.named(method, field));
        named.unwrap_or_else(|| self.sale.named(method, field))
    }

    /// For each method a call that succeeds, encoded.
    pub fn examples(&self) -> BTreeMap<&'static str, Vec<u8>> {
        let examples = self.sale.examples("").into_iter().chain(self.care.examples());
        let acts = pb::ListAuditEventsRequest { subject: "client".into(), ..Default::default() };
        let acts = ("/crm.v1.AuditService/ListAuditEvents", acts.encode_to_vec());
        let examples = examples.chain(self.tied.examples()).chain(self.payments.examples(""));
        examples.chain([acts]).collect()
    }
}

/// Security checklist 35.
#[tokio::test]
async fn no_id_reaches_into_another_account() {
    let till = Till::open().await;
    let (crm, ana) = (&till.crm, &till.ana);
    let bob = crm.sign_up("bob").await;
    let (hers, his) = (Rows::of(&till, ana).await, Rows::of(&till, &bob).await);
    let ignored =
        [assignments::IGNORED, sales::IGNORED, stripe_customers::IGNORED, till::IGNORED].concat();
    let omitted = [
        assignments::OMITTED,
        audit_lists::OMITTED,
        sales::OMITTED,
        stripe_customers::OMITTED,
        till::OMITTED,
    ]
    .concat();
    let service = Service {
        package: "crm.v1",
        policy: POLICY,
        ignored: &ignored,
        omitted: &omitted,
        examples: hers.examples(),
    };
    // Who takes clients out is recorded, also where there are none.
    let written = || async {
        let mut digest = crm.database.digest().await;
        digest.retain(|(table, _)| table != "audit_events");
        digest
    };
    let before = written().await;
    let foreign =
        |method: &str, field: &str| Ids { foreign: his.named(method, field), unknown: 999_999 };
    assert_eq!(leaks(&service, &crm.channel, &ana.token, foreign).await, Vec::<String>::new());
    assert_eq!(written().await, before, "nothing was written");

    let all = id_fields(&service).len();
    // And it can fail: with one's own id every one of the calls succeeds, and with a call
    // that has no example it says so. All but one: no API key has done anything.
    let own =
        |method: &str, field: &str| Ids { foreign: hers.named(method, field), unknown: 999_999 };
    assert_eq!(leaks(&service, &crm.channel, &ana.token, own).await.len(), all - 1);
    let forgetful = Service { examples: BTreeMap::new(), ..service };
    assert_eq!(leaks(&forgetful, &crm.channel, &ana.token, foreign).await.len(), all);
}

/// Ids of requests that may be missing.
const FREE: &[(&str, &str)] = &[
    ("/crm.v1.ClientService/BatchImportClients", "rows.closer_id"),
    ("/crm.v1.ClientService/BatchImportClients", "rows.coach_id"),
    ("/crm.v1.ClientService/BatchImportClients", "rows.setter_id"),
    ("/crm.v1.ClientService/CreateClient", "client.closer_id"),
    ("/crm.v1.ClientService/CreateClient", "client.coach_id"),
    ("/crm.v1.ClientService/CreateClient", "client.setter_id"),
    ("/crm.v1.ClientService/UpdateClient", "client.closer_id"),
    ("/crm.v1.ClientService/UpdateClient", "client.coach_id"),
    ("/crm.v1.ClientService/UpdateClient", "client.setter_id"),
    ("/crm.v1.InstalmentService/CreateInstalment", "instalment.client_package_id"),
];

/// Every bad field at once, also where each is looked at in another place.
#[tokio::test]
async fn a_missing_id_and_a_bad_request_id_are_named_together() {
    let till = Till::open().await;
    let (crm, ana) = (&till.crm, &till.ana);
    let examples = Rows::of(&till, ana).await.examples();
    let ignored =
        [assignments::IGNORED, sales::IGNORED, stripe_customers::IGNORED, till::IGNORED].concat();
    let service =
        Service { package: "crm.v1", policy: POLICY, ignored: &ignored, omitted: &[], examples };
    let before = crm.database.digest().await;
    let found = faults_named_apart(&service, &crm.channel, &ana.token, FREE).await;
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(crm.database.digest().await, before, "nothing was written");

    // And it can fail.
    let without_one = faults_named_apart(&service, &crm.channel, &ana.token, &FREE[1..]).await;
    assert_eq!(without_one.len(), 1);
}

/// Two rows and more of whatever is listed.
async fn fill_lists(till: &Till, by: &Person) {
    let crm = &till.crm;
    for _ in 0..2 {
        Rows::of(till, by).await;
    }
    let endpoint = crm.endpoint(by, SECRET, false).await;
    for n in 0..2 {
        let mut charge = charge(&format!("ch_{n}"), 100, 0, "succeeded");
        charge["customer"] = "cus_nobody".into();
        let told = event(&format!("evt_{n}"), "charge.succeeded", 1_700_000_000, charge);
        assert_eq!(crm.deliver(&endpoint, &told).await, 200);
    }
}

/// Security checklist 35 and 51.
#[tokio::test]
async fn no_place_in_a_list_of_another_account_is_one_in_ones_own() {
    let till = Till::open().await;
    let (crm, ana) = (&till.crm, &till.ana);
    let bob = crm.sign_up("bob").await;
    fill_lists(&till, ana).await;
    fill_lists(&till, &bob).await;
    let lists = list_methods("crm.v1");
    assert_eq!(lists.len(), 10, "{lists:?}");
    for path in &lists {
        let page = async |by: &Person, page_token: &str| {
            crm.call(by, path, &one_of_a_page(path, page_token)).await
        };
        let hers = next_page_token(path, &page(ana, "").await.expect(path));
        assert!(!hers.is_empty(), "{path} has one more");
        page(ana, &hers).await.expect(path);
        let foreign = page(&bob, &hers).await.expect_err(path);
        let unknown = page(&bob, "nonsense").await.expect_err(path);
        assert_eq!(foreign.fields, ["page_token"], "{path}");
        assert_eq!(foreign, unknown, "{path}");
    }
}

/// Every page of every list, one row after the other, is the whole of it, each row once.
#[tokio::test]
async fn the_pages_of_every_list_are_the_whole_of_it() {
    let till = Till::open().await;
    let (crm, ana) = (&till.crm, &till.ana);
    fill_lists(&till, ana).await;
    for path in &list_methods("crm.v1") {
        let all = crm.call(ana, path, &[]).await.expect(path);
        let (mut rows, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = crm.call(ana, path, &one_of_a_page(path, &page_token)).await.expect(path);
            let ids = listed(path, &page);
            assert_eq!(ids.len(), 1, "{path}");
            rows.extend(ids);
            page_token = next_page_token(path, &page);
            if page_token.is_empty() {
                break;
            }
        }
        assert!(rows.len() >= 2, "{path}");
        let first = listed(path, &all);
        assert_eq!(rows[..first.len()], first, "{path}");
        assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len(), "{path}");
    }
}

/// Security checklist 35 and 58.
#[tokio::test]
async fn lists_searches_and_totals_stay_within_the_account() {
    let crm = Crm::start().await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    crm.create(&ana, named("Ada", "Lovelace")).await;
    crm.create(&bob, named("Bob", "Lovelace")).await;
    for search in ["", "lovelace"] {
        let request = pb::ListClientsRequest {
            search: search.into(),
            include_total: true,
            ..Default::default()
        };
        let list = crm.list(&ana, request).await;
        assert_eq!(
            (list.clients.len(), list.total_size, list.clients[0].first_name.as_str()),
            (1, Some(1), "Ada")
        );
    }
}

/// Security checklist 35 and 45.
#[tokio::test]
async fn headers_that_name_an_account_have_no_effect() {
    let crm = Crm::start().await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    let his = crm.create(&bob, named("Bob", "")).await;
    let account_id: i64 = sqlx::query_scalar("SELECT account_id FROM crm.clients")
        .fetch_one(&crm.database.owner)
        .await
        .unwrap();
    let mut request = signed(&ana, pb::GetClientRequest { id: his.id });
    for name in ["x-account-id", "x-user-id", "account-id", "app.account_id", "x-internal"] {
        request.metadata_mut().insert(name, account_id.into());
    }
    assert_eq!(crm.clients().get_client(request).await.unwrap_err().code(), tonic::Code::NotFound);
    assert_eq!(crm.get(&bob, his.id).await.unwrap(), his, "it is there");
}
