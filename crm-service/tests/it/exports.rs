//! Exports: all clients that match, as a stream.

use proto::{
    common::v1::Permission,
    crm::v1::{self as pb, ClientStatus},
};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Status};

use crate::support::{Crm, Person, named, signed};

impl Crm {
    /// The answers, each with its clients.
    async fn export(
        &self,
        by: &Person,
        request: pb::ExportClientsRequest,
    ) -> Result<Vec<pb::ExportClientsResponse>, Status> {
        let mut stream = self.clients().export_clients(signed(by, request)).await?.into_inner();
        let mut answers = Vec::new();
        while let Some(answer) = stream.message().await? {
            answers.push(answer);
        }
        let (last, before) = answers.split_last().unwrap();
        assert!(last.next_page_token.is_empty(), "the last answer says so");
        assert!(before.iter().all(|answer| !answer.next_page_token.is_empty()));
        Ok(answers)
    }

    async fn exported(&self, by: &Person, request: pb::ExportClientsRequest) -> Vec<String> {
        let answers = self.export(by, request).await.unwrap();
        let clients = answers.into_iter().flat_map(|answer| answer.clients);
        clients.map(|client| client.first_name).collect()
    }

    async fn fill(&self, by: &Person, names: &[String]) {
        for names in names.chunks(500) {
            let rows = names.iter().map(|name| named(name, "")).collect();
            let request = pb::BatchImportClientsRequest { rows, ..Default::default() };
            self.clients().batch_import_clients(signed(by, request)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn everything_leaves_once_in_the_order_in_which_it_came_and_goes_on_from_any_answer() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let names: Vec<_> = (0..1_300).map(|n| format!("C{n}")).collect();
    crm.fill(&ana, &names).await;
    let answers = crm.export(&ana, pb::ExportClientsRequest::default()).await.unwrap();
    let sizes: Vec<_> = answers.iter().map(|answer| answer.clients.len()).collect();
    assert_eq!(sizes, [500, 500, 300]);
    let all: Vec<_> = answers.iter().flat_map(|answer| &answer.clients).collect();
    assert!(all.iter().map(|client| &client.first_name).eq(&names));
    assert_eq!(&crm.get(&ana, all[700].id).await.unwrap(), all[700]);

    let page_token = answers[0].next_page_token.clone();
    let request = pb::ExportClientsRequest { page_token, ..Default::default() };
    assert_eq!(crm.exported(&ana, request.clone()).await, names[500..]);
    // It belongs to its account and its filters.
    let bob = crm.sign_up("bob").await;
    let other = pb::ExportClientsRequest { country: "NL".into(), ..request.clone() };
    for (who, request) in [(&bob, request), (&ana, other)] {
        assert_eq!(refusal(crm.export(who, request).await).fields, ["page_token"]);
    }
    assert_eq!(crm.exported(&bob, pb::ExportClientsRequest::default()).await, [""; 0]);
}

#[tokio::test]
async fn filters_narrow_and_deleted_clients_stay() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let coach = crm.hire(&ana, "coach").await;
    let paused = pb::Client {
        status: ClientStatus::Paused.into(),
        country: "NL".into(),
        coach_id: coach.id,
        ..named("Ada", "Lovelace")
    };
    crm.create(&ana, paused).await;
    crm.create(&ana, named("Bob", "")).await;
    let gone = crm.create(&ana, named("Gone", "")).await;
    crm.delete(&ana, gone.id).await;
    let nothing = pb::ExportClientsRequest::default;
    assert_eq!(crm.exported(&ana, nothing()).await, ["Ada", "Bob"]);
    let (status, coach_id) = (vec![ClientStatus::Paused.into()], coach.id);
    for request in [
        pb::ExportClientsRequest { status, ..nothing() },
        pb::ExportClientsRequest { country: "NL".into(), ..nothing() },
        pb::ExportClientsRequest { coach_id, ..nothing() },
        pb::ExportClientsRequest { search: "love".into(), ..nothing() },
    ] {
        assert_eq!(crm.exported(&ana, request).await, ["Ada"]);
    }
    let bad = pb::ExportClientsRequest {
        status: vec![77],
        country: "XX".into(),
        page_token: "x".into(),
        ..nothing()
    };
    let refused = refusal(crm.export(&ana, bad).await);
    assert_eq!(refused.fields, ["status", "country", "page_token"]);
}

/// Security checklist 29.
#[tokio::test]
async fn nobody_takes_out_what_they_do_not_see() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let eve = crm.hire(&ana, "eve").await;
    crm.show_only_assigned(&ana).await;
    crm.create(&ana, named("Ada", "")).await;
    crm.create(&ana, pb::Client { setter_id: eve.id, ..named("Bob", "") }).await;
    let denied = refusal(crm.export(&eve.person, pb::ExportClientsRequest::default()).await);
    assert_eq!(denied.said(), (Code::PermissionDenied, "PERMISSION_DENIED"));
    assert_eq!(denied.message, "This needs the permission export_data.");
    crm.grant(&ana, &eve.person, &[Permission::ExportData]).await;
    let hers = crm.exported(&eve.person, pb::ExportClientsRequest::default()).await;
    assert_eq!(hers, ["Bob"]);
}

/// Security checklist 60.
#[tokio::test]
async fn an_export_is_recorded_before_its_first_client() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let request = pb::ExportClientsRequest { search: "ada".into(), ..Default::default() };
    // Nothing of it is read.
    drop(crm.clients().export_clients(signed(&ana, request)).await.unwrap());
    let recorded: Vec<(String, String)> = sqlx::query_as(
        "SELECT actor, details::text FROM crm.audit_events WHERE action = 'client.export'",
    )
    .fetch_all(&crm.database.owner)
    .await
    .unwrap();
    let actor = format!("employee:{}", crm.id_of(&ana).await);
    assert_eq!(recorded, [(actor, "{\"filters\": [\"search\"]}".to_owned())]);
}

/// Security checklist 19.
#[tokio::test]
async fn an_export_ends_with_the_right_to_it() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    crm.fill(&ana, &vec!["Client".to_owned(); 1_000]).await;
    // More than fits between a server and a reader who waits.
    let notes = "UPDATE crm.clients SET notes = repeat('x', 10000)";
    crm.database.execute(notes).await;
    let request = signed(&ana, pb::ExportClientsRequest::default());
    let mut answers = crm.clients().export_clients(request).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    crm.identity.database.execute("UPDATE identity.employees SET role = 'employee'").await;
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let last = loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it went on to its end"),
            Err(status) => break status,
        }
    };
    assert_eq!(last.code(), Code::PermissionDenied);
}
