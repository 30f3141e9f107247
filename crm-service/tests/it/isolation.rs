//! Two accounts side by side.

use std::collections::BTreeMap;

use crm_service::POLICY;
use proto::crm::v1 as pb;
use service_kit::testing::isolation::{Ids, Service, id_fields, leaks};

use crate::{
    assignments, sales,
    support::{Crm, named, signed},
    till::{self, Till},
};

#[tokio::test]
async fn no_id_reaches_into_another_account() {
    let till = Till::open().await;
    let (crm, ana, bob) = (&till.crm, &till.ana, till.crm.sign_up("bob").await);
    let (hers, his) = (crm.sale(ana).await, crm.sale(&bob).await);
    let (own, foreign) = (crm.care(ana).await, crm.care(&bob).await);
    let (her_money, his_money) = (till.scene(ana).await, till.scene(&bob).await);
    let examples =
        hers.examples("").into_iter().chain(own.examples()).chain(her_money.examples(""));
    let ignored = [assignments::IGNORED, sales::IGNORED, till::IGNORED].concat();
    let omitted = [assignments::OMITTED, sales::OMITTED, till::OMITTED].concat();
    let service = Service {
        package: "crm.v1",
        policy: POLICY,
        ignored: &ignored,
        omitted: &omitted,
        examples: examples.collect(),
    };
    let before = crm.database.digest().await;
    let foreign = |method: &str, field: &str| Ids {
        foreign: foreign
            .named(method, field)
            .or_else(|| his_money.named(method, field))
            .unwrap_or_else(|| his.named(method, field)),
        unknown: 999_999,
    };
    assert_eq!(leaks(&service, &crm.channel, &ana.token, foreign).await, Vec::<String>::new());
    assert_eq!(crm.database.digest().await, before, "nothing was written");

    let all = id_fields(&service).len();
    // And it can fail: with one's own id every one of the calls succeeds, and with a call
    // that has no example it says so.
    let own = |method: &str, field: &str| Ids {
        foreign: own
            .named(method, field)
            .or_else(|| her_money.named(method, field))
            .unwrap_or_else(|| hers.named(method, field)),
        unknown: 999_999,
    };
    assert_eq!(leaks(&service, &crm.channel, &ana.token, own).await.len(), all);
    let forgetful = Service { examples: BTreeMap::new(), ..service };
    assert_eq!(leaks(&forgetful, &crm.channel, &ana.token, foreign).await.len(), all);
}

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
