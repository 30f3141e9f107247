//! Two accounts side by side.

use std::collections::BTreeMap;

use crm_service::POLICY;
use prost::Message;
use proto::crm::v1 as pb;
use service_kit::testing::isolation::{Ids, Service, id_fields, leaks};

use crate::{
    audit::me,
    support::{Crm, named, signed},
};

#[tokio::test]
async fn no_id_reaches_into_another_account() {
    let crm = Crm::start().await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    let hers = crm.create(&ana, named("Ada", "")).await;
    let his = crm.create(&bob, named("Bob", "")).await;
    let client = Some(pb::Client { id: hers.id, first_name: "Eve".into(), ..Default::default() });
    let id = hers.id;
    let service = Service {
        package: "crm.v1",
        policy: POLICY,
        ignored: &[("/crm.v1.ClientService/CreateClient", "client.id")],
        omitted: &[
            ("/crm.v1.AuditService/ListAuditEvents", "actor_api_key_id"),
            ("/crm.v1.AuditService/ListAuditEvents", "actor_employee_id"),
            ("/crm.v1.AuditService/ListAuditEvents", "subject_id"),
        ],
        examples: BTreeMap::from([
            (
                "/crm.v1.AuditService/ListAuditEvents",
                pb::ListAuditEventsRequest { subject: "client".into(), ..Default::default() }
                    .encode_to_vec(),
            ),
            ("/crm.v1.ClientService/GetClient", pb::GetClientRequest { id }.encode_to_vec()),
            (
                "/crm.v1.ClientService/UpdateClient",
                pb::UpdateClientRequest { client, ..Default::default() }.encode_to_vec(),
            ),
            (
                "/crm.v1.ClientService/DeleteClient",
                pb::DeleteClientRequest { id, ..Default::default() }.encode_to_vec(),
            ),
            (
                "/crm.v1.ClientService/UndeleteClient",
                pb::UndeleteClientRequest { id, ..Default::default() }.encode_to_vec(),
            ),
        ]),
    };
    let before = crm.database.digest().await;
    let (she, he) = (me(&crm, &ana).await.id, me(&crm, &bob).await.id);
    let foreign = |_: &str, field: &str| Ids {
        foreign: if field == "actor_employee_id" { he } else { his.id },
        unknown: 999_999,
    };
    assert_eq!(leaks(&service, &crm.channel, &ana.token, foreign).await, Vec::<String>::new());
    assert_eq!(crm.database.digest().await, before, "nothing was written");

    // And it can fail: with one's own id every one of the calls succeeds, and with a call
    // that has no example it says so.
    let own = |_: &str, field: &str| Ids {
        foreign: if field == "actor_employee_id" { she } else { hers.id },
        unknown: 999_999,
    };
    let found = leaks(&service, &crm.channel, &ana.token, own).await;
    for method in service.examples.keys() {
        assert!(found.iter().any(|leak| leak.contains(method)), "{method}");
    }
    let fields = id_fields(&service).len();
    let forgetful = Service { examples: BTreeMap::new(), ..service };
    assert_eq!(leaks(&forgetful, &crm.channel, &ana.token, foreign).await.len(), fields);
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
