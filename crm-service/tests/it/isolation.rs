//! Two accounts side by side.

use std::collections::BTreeMap;

use crm_service::POLICY;
use prost::Message;
use proto::crm::v1 as pb;
use service_kit::testing::isolation::{Ids, Service, id_fields, leaks};

use crate::{
    assignments, audit, sales, stripe_customers,
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
        audit::OMITTED,
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
