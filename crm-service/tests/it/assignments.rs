//! Who looks after a client: parts given, moved and taken.

use prost::Message;
use proto::crm::v1 as pb;
use service_kit::testing::refusal::{Refusal, refusal};
use tonic::Code;

use crate::support::{Crm, Person, named, signed};

/// Puts an employee into one of the parts of a client.
type Give = fn(&mut pb::Client, i64);

const PARTS: [(&str, Give); 3] = [
    ("client.coach_id", |client, id| client.coach_id = id),
    ("client.closer_id", |client, id| client.closer_id = id),
    ("client.setter_id", |client, id| client.setter_id = id),
];

impl Crm {
    pub async fn update(
        &self,
        by: &Person,
        client: pb::Client,
        paths: &[&str],
    ) -> Result<pb::Client, tonic::Status> {
        let paths = paths.iter().map(ToString::to_string).collect();
        let request = pb::UpdateClientRequest {
            client: Some(client),
            update_mask: Some(prost_types::FieldMask { paths }),
            request_id: String::new(),
        };
        let answer = self.clients().update_client(signed(by, request)).await?;
        Ok(answer.into_inner().client.unwrap())
    }

    /// Everything but the copy of the directory, which may learn of somebody meanwhile.
    async fn clients_digest(&self) -> Vec<(String, Option<String>)> {
        let mut digest = self.database.digest().await;
        digest.retain(|(table, _)| table != "employees" && table != "accounts");
        digest
    }
}

/// Output only in a request.
pub const IGNORED: &[(&str, &str)] = &[
    ("/crm.v1.ClientService/BatchImportClients", "rows.id"),
    ("/crm.v1.ClientService/CreateClient", "client.id"),
    ("/crm.v1.ClientService/ImportClients", "rows.id"),
];

pub const OMITTED: &[(&str, &str)] = &[
    ("/crm.v1.ClientService/BatchGetClients", "ids"),
    // A row is refused, and the call is not.
    ("/crm.v1.ClientService/BatchImportClients", "rows.closer_id"),
    ("/crm.v1.ClientService/BatchImportClients", "rows.coach_id"),
    ("/crm.v1.ClientService/BatchImportClients", "rows.setter_id"),
    ("/crm.v1.ClientService/ExportClients", "closer_id"),
    ("/crm.v1.ClientService/ExportClients", "coach_id"),
    ("/crm.v1.ClientService/ExportClients", "setter_id"),
    ("/crm.v1.ClientService/GetClientStatistics", "closer_id"),
    ("/crm.v1.ClientService/GetClientStatistics", "coach_id"),
    ("/crm.v1.ClientService/GetClientStatistics", "setter_id"),
    ("/crm.v1.ClientService/ImportClients", "rows.closer_id"),
    ("/crm.v1.ClientService/ImportClients", "rows.coach_id"),
    ("/crm.v1.ClientService/ImportClients", "rows.setter_id"),
    ("/crm.v1.ClientService/ListClients", "closer_id"),
    ("/crm.v1.ClientService/ListClients", "coach_id"),
    ("/crm.v1.ClientService/ListClients", "setter_id"),
    ("/crm.v1.ClientService/ListMyClients", "closer_id"),
    ("/crm.v1.ClientService/ListMyClients", "coach_id"),
    ("/crm.v1.ClientService/ListMyClients", "setter_id"),
];

/// A client whom nothing was sold to, and somebody who has every part in it.
pub struct Care {
    client: i64,
    employee: i64,
}

impl Crm {
    pub async fn care(&self, by: &Person) -> Care {
        let employee = self.id_of(by).await;
        let client = pb::Client {
            coach_id: employee,
            closer_id: employee,
            setter_id: employee,
            ..named("Ada", "")
        };
        Care { client: self.create(by, client).await.id, employee }
    }
}

impl Care {
    /// Calls of `ClientService` that succeed.
    pub fn examples(&self) -> Vec<(&'static str, Vec<u8>)> {
        let id = self.client;
        let client = Some(pb::Client { id, first_name: "Eve".into(), ..Default::default() });
        let new = Some(named("Eve", ""));
        let rows = || vec![named("Eve", "")];
        vec![
            (
                "/crm.v1.ClientService/ImportClients",
                pb::ImportClientsRequest { options: None, rows: rows() }.encode_to_vec(),
            ),
            (
                "/crm.v1.ClientService/BatchImportClients",
                pb::BatchImportClientsRequest { rows: rows(), ..Default::default() }
                    .encode_to_vec(),
            ),
            (
                "/crm.v1.ClientService/ExportClients",
                pb::ExportClientsRequest::default().encode_to_vec(),
            ),
            (
                "/crm.v1.ClientService/CreateClient",
                pb::CreateClientRequest { client: new, ..Default::default() }.encode_to_vec(),
            ),
            ("/crm.v1.ClientService/GetClient", pb::GetClientRequest { id }.encode_to_vec()),
            (
                "/crm.v1.ClientService/BatchGetClients",
                pb::BatchGetClientsRequest { ids: vec![id] }.encode_to_vec(),
            ),
            (
                "/crm.v1.ClientService/ListClients",
                pb::ListClientsRequest::default().encode_to_vec(),
            ),
            (
                "/crm.v1.ClientService/ListMyClients",
                pb::ListMyClientsRequest::default().encode_to_vec(),
            ),
            (
                "/crm.v1.ClientService/GetClientStatistics",
                pb::GetClientStatisticsRequest::default().encode_to_vec(),
            ),
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
        ]
    }

    /// The row that a field of `ClientService` names.
    pub fn named(&self, method: &str, field: &str) -> Option<i64> {
        let is_ours = method.contains(".ClientService/");
        let of_part =
            ["coach_id", "closer_id", "setter_id"].iter().any(|part| field.ends_with(part));
        is_ours.then_some(if of_part { self.employee } else { self.client })
    }
}

/// What is said to whoever gives this employee a part: of a new client and of an old one alike.
async fn refused(crm: &Crm, by: &Person, old: i64, give: Give, employee_id: i64) -> Refusal {
    let mut client = named("Ada", "");
    give(&mut client, employee_id);
    let create = pb::CreateClientRequest { client: Some(client.clone()), ..Default::default() };
    let of_new = refusal(crm.clients().create_client(signed(by, create)).await);
    client.id = old;
    let update = pb::UpdateClientRequest { client: Some(client), ..Default::default() };
    let of_old = refusal(crm.clients().update_client(signed(by, update)).await);
    assert_eq!(of_new, of_old);
    of_new
}

#[tokio::test]
async fn a_client_has_the_parts_it_is_given_until_they_are_taken() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let (eve, max) = (crm.hire(&ana, "eve").await.id, crm.hire(&ana, "max").await.id);
    let given = pb::Client { coach_id: eve, setter_id: eve, ..named("Ada", "") };
    let made = crm.create(&ana, given).await;
    assert_eq!((made.coach_id, made.closer_id, made.setter_id), (eve, 0, eve));
    assert_eq!(crm.get(&ana, made.id).await.unwrap(), made);

    // Without a mask what is absent stays.
    let sent = pb::Client { id: made.id, closer_id: max, ..Default::default() };
    let request = pb::UpdateClientRequest { client: Some(sent), ..Default::default() };
    let changed = crm.clients().update_client(signed(&ana, request)).await.unwrap().into_inner();
    let changed = changed.client.unwrap();
    assert_eq!((changed.coach_id, changed.closer_id, changed.setter_id), (eve, max, eve));
    assert_ne!(changed.etag, made.etag);

    let cleared = pb::Client { id: made.id, ..Default::default() };
    let changed = crm.update(&ana, cleared, &["coach_id", "closer_id"]).await.unwrap();
    assert_eq!((changed.coach_id, changed.closer_id, changed.setter_id), (0, 0, eve));
    assert_eq!(crm.get(&ana, made.id).await.unwrap(), changed);
}

/// Security checklist 36.
#[tokio::test]
async fn nobody_but_an_active_employee_of_the_account_is_given_a_part() {
    let crm = Crm::start().await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    let foreign = crm.id_of(&bob).await;
    let gone = crm.hire(&ana, "gone").await.id;
    crm.dismiss(&ana, gone).await;
    crm.is_told().await;
    let idle = crm.hire(&ana, "idle").await.id;
    crm.deactivate(&ana, idle).await;
    crm.is_told().await;
    let old = crm.create(&ana, named("Old", "")).await.id;
    let before = crm.clients_digest().await;
    for (field, give) in PARTS {
        let unknown = refused(&crm, &ana, old, give, 999_999).await;
        assert_eq!(unknown.said(), (Code::NotFound, "NOT_FOUND"));
        let metadata = [("field".into(), field.into()), ("resource".into(), "employee".into())];
        assert_eq!(unknown.metadata, metadata);
        for id in [foreign, gone, -1, i64::MAX] {
            assert_eq!(refused(&crm, &ana, old, give, id).await, unknown, "{id}");
        }
        let inactive = refused(&crm, &ana, old, give, idle).await;
        assert_eq!(inactive.said(), (Code::FailedPrecondition, "ASSIGNEE_NOT_ACTIVE"));
    }
    assert_eq!(crm.clients_digest().await, before);
}

#[tokio::test]
async fn everyone_who_is_not_found_is_named() {
    let crm = Crm::start().await;
    let (ana, bob) = (crm.sign_up("ana").await, crm.sign_up("bob").await);
    let (mine, foreign) = (crm.id_of(&ana).await, crm.id_of(&bob).await);
    for (coach_id, closer_id, setter_id, fields) in [
        (foreign, 99_999, 0, "client.coach_id, client.closer_id"),
        (foreign, mine, -1, "client.coach_id, client.setter_id"),
        (mine, foreign, 99_999, "client.closer_id, client.setter_id"),
        (1 << 60, foreign, 99_999, "client.coach_id, client.closer_id, client.setter_id"),
    ] {
        let client = pb::Client { coach_id, closer_id, setter_id, ..named("Ada", "") };
        let request = pb::CreateClientRequest { client: Some(client), ..Default::default() };
        let refused = refusal(crm.clients().create_client(signed(&ana, request)).await);
        assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
        assert_eq!(refused.metadata[0], ("field".into(), fields.into()));
    }
}

#[tokio::test]
async fn whoever_became_inactive_keeps_their_part_and_gets_no_other() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let eve = crm.hire(&ana, "eve").await.id;
    let made = crm.create(&ana, pb::Client { coach_id: eve, ..named("Ada", "") }).await;
    crm.deactivate(&ana, eve).await;
    crm.is_told().await;

    let renamed = pb::Client { first_name: "Augusta".into(), ..made.clone() };
    let renamed = crm.update(&ana, renamed, &["first_name", "coach_id"]).await.unwrap();
    assert_eq!((renamed.first_name.as_str(), renamed.coach_id), ("Augusta", eve));
    let moved = pb::Client { id: made.id, closer_id: eve, ..Default::default() };
    let refused = refusal(crm.update(&ana, moved, &["coach_id", "closer_id"]).await);
    assert_eq!(refused.said(), (Code::FailedPrecondition, "ASSIGNEE_NOT_ACTIVE"));
    crm.delete(&ana, made.id).await;
    let undelete = pb::UndeleteClientRequest { id: made.id, ..Default::default() };
    let back = crm.clients().undelete_client(signed(&ana, undelete)).await.unwrap().into_inner();
    assert_eq!(back.client.unwrap().coach_id, eve);
}

#[tokio::test]
async fn a_client_that_is_not_there_is_said_before_what_it_would_be_given() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let client = pb::Client { id: 999_999, coach_id: 999_999, ..Default::default() };
    let refused = refusal(crm.update(&ana, client, &["coach_id"]).await);
    assert_eq!(refused.metadata[0], ("field".into(), "client.id".into()));
}

/// What whoever watches clients will be told: number, client, and who had a part before.
async fn told(crm: &Crm) -> Vec<(i64, i64, Vec<i64>)> {
    let changes = "SELECT number, client_id, before FROM crm.client_changes ORDER BY number";
    sqlx::query_as(changes).fetch_all(&crm.database.owner).await.unwrap()
}

#[tokio::test]
async fn every_change_is_told_with_those_who_had_a_part_before() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let (eve, max) = (crm.hire(&ana, "eve").await.id, crm.hire(&ana, "max").await.id);
    let made = crm.create(&ana, pb::Client { coach_id: eve, ..named("Ada", "") }).await;
    let id = made.id;
    let moved = pb::Client { id, coach_id: max, setter_id: eve, ..Default::default() };
    crm.update(&ana, moved.clone(), &["coach_id", "setter_id"]).await.unwrap();
    // What changes nothing is not told.
    crm.update(&ana, moved, &["coach_id"]).await.unwrap();
    crm.delete(&ana, id).await;
    let undelete = pb::UndeleteClientRequest { id, ..Default::default() };
    for _ in 0..2 {
        crm.clients().undelete_client(signed(&ana, undelete.clone())).await.unwrap();
    }
    let both = vec![eve.min(max), eve.max(max)];
    let expected = [(1, id, vec![]), (2, id, vec![eve]), (3, id, both.clone()), (4, id, both)];
    assert_eq!(told(&crm).await, expected);
}

#[tokio::test]
async fn of_parts_given_at_once_the_last_one_counts() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let mut coaches = Vec::new();
    for name in ["eve", "max", "kim"] {
        coaches.push(crm.hire(&ana, name).await.id);
    }
    let id = crm.create(&ana, named("Ada", "")).await.id;
    let calls = (0..4).map(|call| {
        let coach_id = coaches[call % coaches.len()];
        let client = pb::Client { id, coach_id, ..Default::default() };
        let request = pb::UpdateClientRequest { client: Some(client), ..Default::default() };
        let (mut clients, request) = (crm.clients(), signed(&ana, request));
        async move { clients.update_client(request).await.unwrap().into_inner().client.unwrap() }
    });
    let mut answers = futures::future::join_all(calls).await;
    answers.sort_by_key(|client| client.etag[1..].parse::<i64>().unwrap());
    assert_eq!(crm.get(&ana, id).await.unwrap(), answers[answers.len() - 1]);
    crm.assert_counted().await;
    // One after the other: each knew the one before. Some found it done already.
    answers.dedup();
    let mut coaches: Vec<_> = answers.iter().map(|client| vec![client.coach_id]).collect();
    coaches.pop();
    let before: Vec<_> = told(&crm).await.into_iter().map(|(_, _, before)| before).collect();
    assert_eq!(before, [vec![vec![], vec![]], coaches].concat());
}
