//! Calls that are sent again under the same `request_id`.

use proto::{common::v1::Role, crm::v1 as pb};
use service_kit::{
    policy::Access,
    testing::{refusal::refusal, repeats::wrongly_repeatable},
};
use tonic::Code;

use crate::support::{Crm, named, signed};

use crate::sales_access::access;

const ID: &str = "6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f";

/// Whatever is more than reading needs a permission; so do these, and change nothing. Those that
/// read rows from a stream have it in their options.
const EXCEPTIONS: &[&str] = &[
    "/crm.v1.AuditService/ListAuditEvents",
    "/crm.v1.ClientPackageService/PreviewInstalments",
    "/crm.v1.ClientService/ExportClients",
    "/crm.v1.ClientService/ImportClients",
    "/crm.v1.ReportService/GetReceivables",
    "/crm.v1.ReportService/GetRevenueSeries",
    "/crm.v1.ReportService/GetTeamPerformance",
    "/crm.v1.StripeEndpointService/ListParkedEvents",
    "/crm.v1.StripeEndpointService/ListStripeEndpoints",
];

#[test]
fn whatever_changes_something_can_be_sent_again_and_nothing_else() {
    let changes = |path: &str| access(path) != Access::SignedIn;
    let wrong = |exceptions| wrongly_repeatable("crm.v1", changes, exceptions);
    assert_eq!(wrong(EXCEPTIONS), Vec::<String>::new());

    // And it can fail, in each direction.
    let complaint = format!("{} has no request_id", EXCEPTIONS[0]);
    assert_eq!(wrong(&EXCEPTIONS[1..]), [complaint]);
    let create = "/crm.v1.ClientService/CreateClient";
    let complaint = format!("{create} has a request_id");
    assert_eq!(wrong(&[EXCEPTIONS, &[create]].concat()), [complaint]);
}

fn create(name: &str) -> pb::CreateClientRequest {
    let mut client = named(name, "");
    // A map has no order of its own: it must not make two equal requests differ.
    client.labels = (0..20).map(|n| (format!("k{n}"), n.to_string())).collect();
    pb::CreateClientRequest { client: Some(client), request_id: ID.into() }
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_has_no_second_effect() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let first =
        crm.clients().create_client(signed(&ana, create("Ada"))).await.unwrap().into_inner();
    let before = crm.database.digest().await;
    let again =
        crm.clients().create_client(signed(&ana, create("Ada"))).await.unwrap().into_inner();
    assert_eq!(again, first);
    // A UUID has several spellings.
    let shouted = pb::CreateClientRequest { request_id: ID.to_uppercase(), ..create("Ada") };
    let again = crm.clients().create_client(signed(&ana, shouted)).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert_eq!(crm.database.digest().await, before);
}

#[tokio::test]
async fn many_at_once_are_one() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let calls = (0..8).map(|_| {
        let (mut clients, request) = (crm.clients(), signed(&ana, create("Ada")));
        tokio::spawn(async move {
            clients.create_client(request).await.unwrap().into_inner().client.unwrap().id
        })
    });
    let mut ids = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        ids.push(call.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(crm.list(&ana, pb::ListClientsRequest::default()).await.clients.len(), 1);
}

#[tokio::test]
async fn the_same_id_with_another_body_is_refused() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    crm.clients().create_client(signed(&ana, create("Ada"))).await.unwrap();
    let before = crm.database.digest().await;
    let refused = refusal(crm.clients().create_client(signed(&ana, create("Bob"))).await);
    assert_eq!(refused.said(), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
    assert_eq!(crm.database.digest().await, before);
}

#[tokio::test]
async fn a_call_that_failed_leaves_its_id_free() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let taken = pb::Client { email: "a@example.com".into(), ..named("Ada", "") };
    let other = crm.create(&ana, taken.clone()).await;
    let request = pb::CreateClientRequest { client: Some(taken), request_id: ID.into() };
    refusal(crm.clients().create_client(signed(&ana, request.clone())).await);
    crm.delete(&ana, other.id).await;
    crm.clients().create_client(signed(&ana, request)).await.unwrap();
}

/// Security checklist 35: somebody else's `request_id` is nobody's.
#[tokio::test]
async fn an_id_is_one_callers_and_one_methods() {
    let crm = Crm::start().await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    let hers = crm.clients().create_client(signed(&ana, create("Ada"))).await.unwrap().into_inner();
    let his = crm.clients().create_client(signed(&bob, create("Bob"))).await.unwrap().into_inner();
    assert_ne!(hers, his);
    let partner = crm.add(&ana, "partner", Role::Admin).await;
    let theirs =
        crm.clients().create_client(signed(&partner, create("Ada"))).await.unwrap().into_inner();
    assert_ne!(theirs, hers, "another caller of the same account");
    let id = hers.client.unwrap().id;
    let delete = pb::DeleteClientRequest { id, request_id: ID.into(), ..Default::default() };
    let deleted =
        crm.clients().delete_client(signed(&ana, delete.clone())).await.unwrap().into_inner();
    // Deleting again would be NOT_FOUND; the same call again is the same answer.
    assert_eq!(
        crm.clients().delete_client(signed(&ana, delete)).await.unwrap().into_inner(),
        deleted
    );
    let undelete = pb::UndeleteClientRequest { id, request_id: ID.into(), ..Default::default() };
    let back =
        crm.clients().undelete_client(signed(&ana, undelete.clone())).await.unwrap().into_inner();
    // What it did is undone in between, so that doing it again would show.
    crm.delete(&ana, id).await;
    assert_eq!(
        crm.clients().undelete_client(signed(&ana, undelete)).await.unwrap().into_inner(),
        back
    );
    assert_eq!(refusal(crm.get(&ana, id).await).said(), (Code::NotFound, "NOT_FOUND"));
    let without_id = pb::UndeleteClientRequest { id, ..Default::default() };
    crm.clients().undelete_client(signed(&ana, without_id)).await.unwrap();
    let update = pb::UpdateClientRequest {
        client: Some(pb::Client { id, first_name: "Eve".into(), ..Default::default() }),
        request_id: ID.into(),
        ..Default::default()
    };
    let changed =
        crm.clients().update_client(signed(&ana, update.clone())).await.unwrap().into_inner();
    let meanwhile = pb::UpdateClientRequest {
        client: Some(pb::Client { id, first_name: "Zoe".into(), ..Default::default() }),
        ..Default::default()
    };
    crm.clients().update_client(signed(&ana, meanwhile)).await.unwrap();
    assert_eq!(
        crm.clients().update_client(signed(&ana, update)).await.unwrap().into_inner(),
        changed
    );
    assert_eq!(crm.get(&ana, id).await.unwrap().first_name, "Zoe");
}

#[tokio::test]
async fn whoever_lost_the_right_to_a_call_cannot_repeat_it() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    crm.clients().create_client(signed(&ana, create("Ada"))).await.unwrap();
    crm.identity.database.execute("UPDATE identity.employees SET role = 'employee'").await;
    let refused = refusal(crm.clients().create_client(signed(&ana, create("Ada"))).await);
    assert_eq!(refused.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
}

#[tokio::test]
async fn stored_answers_are_sealed() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    crm.clients().create_client(signed(&ana, create("Zacharias"))).await.unwrap();
    let readable: Option<bool> = sqlx::query_scalar(
        "SELECT bool_or(position('Zacharias'::bytea IN answer) > 0) FROM crm.answers",
    )
    .fetch_one(&crm.database.owner)
    .await
    .unwrap();
    assert_eq!(readable, Some(false));
}
