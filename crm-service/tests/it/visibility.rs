//! Which clients an employee sees.

use proto::{common::v1::Permission, crm::v1 as pb};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Request, Status};

use crate::{
    people::Employee,
    support::{Crm, Person, named, signed},
};

impl Crm {
    pub async fn mine(&self, by: &Person, request: pb::ListMyClientsRequest) -> Vec<pb::MyClient> {
        let answer = self.clients().list_my_clients(signed(by, request)).await.unwrap();
        answer.into_inner().my_clients
    }

    pub async fn batch(&self, by: &Person, ids: &[i64]) -> Vec<i64> {
        let request = pb::BatchGetClientsRequest { ids: ids.to_vec() };
        let answer = self.clients().batch_get_clients(signed(by, request)).await.unwrap();
        answer.into_inner().clients.into_iter().map(|client| client.id).collect()
    }

    pub async fn statistics(
        &self,
        by: &Person,
        request: pb::GetClientStatisticsRequest,
    ) -> pb::ClientStatistics {
        let answer = self.clients().get_client_statistics(signed(by, request)).await.unwrap();
        answer.into_inner().statistics.unwrap()
    }

    async fn listed(&self, by: &Person, request: pb::ListClientsRequest) -> Vec<i64> {
        let order_by = "create_time".into();
        let list = self.list(by, pb::ListClientsRequest { order_by, ..request }).await;
        list.clients.iter().map(|client| client.id).collect()
    }
}

/// An account in which Eve has parts in two of four clients, and sees no more by herself.
struct Office {
    crm: Crm,
    ana: Person,
    eve: Employee,
    /// Eve coaches the first and is closer and setter of the second; Max coaches the third;
    /// nobody has the fourth.
    clients: [i64; 4],
}

impl Office {
    async fn open() -> Self {
        let crm = Crm::start().await;
        let ana = crm.sign_up("ana").await;
        let eve = crm.hire(&ana, "eve").await;
        let max = crm.hire(&ana, "max").await;
        let first = pb::Client { coach_id: eve.id, ..named("Ada", "Lovelace") };
        let second = pb::Client {
            closer_id: eve.id,
            setter_id: eve.id,
            coach_id: max.id,
            country: "NL".into(),
            status: pb::ClientStatus::Paused.into(),
            ..named("Blaise", "Lovelock")
        };
        let third = pb::Client { coach_id: max.id, ..named("Charles", "Lovell") };
        let mut clients = [0; 4];
        for (place, client) in
            [first, second, third, named("Dora", "Lovett")].into_iter().enumerate()
        {
            clients[place] = crm.create(&ana, client).await.id;
        }
        crm.show_only_assigned(&ana).await;
        Self { crm, ana, eve, clients }
    }

    /// That somebody sees these clients, in whichever way they look.
    async fn sees(&self, by: &Person, seen: &[i64]) {
        let Self { crm, clients, .. } = self;
        let unknown = refusal(crm.get(by, 999_999).await);
        for id in clients {
            match crm.get(by, *id).await {
                Ok(client) => assert!(seen.contains(id), "{client:?}"),
                Err(status) => {
                    assert!(!seen.contains(id));
                    assert_eq!(refusal(Err::<(), _>(status)), unknown);
                }
            }
        }
        assert_eq!(crm.batch(by, clients).await, seen);
        assert_eq!(crm.listed(by, pb::ListClientsRequest::default()).await, seen);
        for include_total in [pb::ListClientsRequest::default(), searched("love")] {
            let request = pb::ListClientsRequest { include_total: true, ..include_total };
            let list = crm.list(by, request).await;
            assert_eq!(list.total_size, i64::try_from(seen.len()).ok());
            assert_eq!(list.clients.len(), seen.len());
        }
        for search in ["", "love"] {
            let request =
                pb::GetClientStatisticsRequest { search: search.into(), ..Default::default() };
            let statistics = crm.statistics(by, request).await;
            assert_eq!(statistics.total, i64::try_from(seen.len()).unwrap());
        }
    }
}

fn searched(search: &str) -> pb::ListClientsRequest {
    pb::ListClientsRequest { search: search.into(), ..Default::default() }
}

/// Security checklist 29.
#[tokio::test]
async fn an_employee_sees_their_own_clients_only_where_the_account_says_so() {
    let office = Office::open().await;
    let Office { crm, ana, eve, clients } = &office;
    office.sees(ana, clients).await;
    office.sees(&eve.person, &clients[..2]).await;

    let open = crm.sign_up("open").await;
    let kim = crm.hire(&open, "kim").await;
    let theirs = crm.create(&open, named("Ada", "")).await;
    assert_eq!(crm.get(&kim.person, theirs.id).await.unwrap(), theirs);
    assert_eq!(crm.listed(&kim.person, pb::ListClientsRequest::default()).await, [theirs.id]);
}

#[tokio::test]
async fn either_permission_on_clients_lets_an_employee_see_all_of_them() {
    let office = Office::open().await;
    let Office { crm, ana, eve, clients } = &office;
    for permission in [Permission::ViewAllClients, Permission::ManageAllClients] {
        crm.grant(ana, &eve.person, &[permission]).await;
        office.sees(&eve.person, clients).await;
        let change = pb::Client { id: clients[3], notes: "Seen.".into(), ..Default::default() };
        let changed = crm.update(&eve.person, change, &["notes"]).await;
        assert_eq!(changed.is_ok(), permission == Permission::ManageAllClients);
        crm.grant(ana, &eve.person, &[]).await;
    }
    crm.grant(ana, &eve.person, &[Permission::ViewPayments, Permission::ManagePackages]).await;
    office.sees(&eve.person, &clients[..2]).await;
}

#[tokio::test]
async fn filters_narrow_what_is_seen() {
    let office = Office::open().await;
    let Office { crm, eve, clients, .. } = &office;
    let by = &eve.person;
    let all = pb::ListClientsRequest::default;
    for (request, found) in [
        (searched("lovelace"), &clients[..1]),
        (searched("lovell"), &[]),
        (pb::ListClientsRequest { country: "NL".into(), ..all() }, &clients[1..2]),
        (pb::ListClientsRequest { status: vec![1], ..all() }, &clients[..1]),
        (pb::ListClientsRequest { status: vec![1, 4], ..all() }, &clients[..2]),
        (pb::ListClientsRequest { coach_id: eve.id, ..all() }, &clients[..1]),
        (pb::ListClientsRequest { setter_id: eve.id, closer_id: eve.id, ..all() }, &clients[1..2]),
        (pb::ListClientsRequest { coach_id: 999_999, ..all() }, &[]),
    ] {
        assert_eq!(crm.listed(by, request.clone()).await, found, "{request:?}");
    }
}

#[tokio::test]
async fn each_part_is_a_filter_of_its_own() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let [one, two, three] = [
        crm.hire(&ana, "one").await.id,
        crm.hire(&ana, "two").await.id,
        crm.hire(&ana, "three").await.id,
    ];
    let mut ids = Vec::new();
    for (coach_id, closer_id, setter_id) in
        [(one, two, three), (two, three, one), (three, one, two)]
    {
        let client = pb::Client { coach_id, closer_id, setter_id, ..named("Client", "") };
        ids.push(crm.create(&ana, client).await.id);
    }
    let all = pb::ListClientsRequest::default;
    for (request, found) in [
        (pb::ListClientsRequest { coach_id: one, ..all() }, &ids[..1]),
        (pb::ListClientsRequest { closer_id: one, ..all() }, &ids[2..]),
        (pb::ListClientsRequest { setter_id: one, ..all() }, &ids[1..2]),
        (pb::ListClientsRequest { coach_id: one, setter_id: three, ..all() }, &ids[..1]),
        (pb::ListClientsRequest { coach_id: one, closer_id: one, ..all() }, &[]),
    ] {
        assert_eq!(crm.listed(&ana, request.clone()).await, found, "{request:?}");
    }
}

#[tokio::test]
async fn ones_own_clients_say_which_part_one_has() {
    use pb::ClientPart::{Closer, Coach, Setter};
    let office = Office::open().await;
    let Office { crm, ana, eve, clients } = &office;
    let ask = || pb::ListMyClientsRequest { order_by: "last_name".into(), ..Default::default() };
    let shown = |mine: Vec<pb::MyClient>| {
        let parts = |mine: &pb::MyClient| mine.parts().collect::<Vec<_>>();
        mine.iter().map(|mine| (mine.client.as_ref().unwrap().id, parts(mine))).collect::<Vec<_>>()
    };
    let own = vec![(clients[0], vec![Coach]), (clients[1], vec![Closer, Setter])];
    assert_eq!(shown(crm.mine(&eve.person, ask()).await), own);
    // Whatever else one sees.
    assert_eq!(shown(crm.mine(ana, ask()).await), []);
    crm.grant(ana, &eve.person, &[Permission::ViewAllClients]).await;
    assert_eq!(shown(crm.mine(&eve.person, ask()).await), own);

    let filtered = pb::ListMyClientsRequest {
        search: "love".into(),
        closer_id: eve.id,
        include_total: true,
        ..ask()
    };
    let mut service = crm.clients();
    let answer = service.list_my_clients(signed(&eve.person, filtered)).await.unwrap().into_inner();
    assert_eq!((answer.total_size, shown(answer.my_clients)), (Some(1), own[1..].to_vec()));
    let first = crm.mine(&eve.person, ask()).await.remove(0).client.unwrap();
    assert_eq!(first, crm.get(&eve.person, clients[0]).await.unwrap(), "whole clients");
}

#[tokio::test]
async fn a_client_leaves_the_view_with_the_last_part_and_while_it_is_deleted() {
    let office = Office::open().await;
    let Office { crm, ana, eve, clients } = &office;
    let [first, second, ..] = *clients;
    let taken = |id| pb::Client { id, ..Default::default() };
    crm.update(ana, taken(second), &["closer_id"]).await.unwrap();
    office.sees(&eve.person, &[first, second]).await;
    crm.update(ana, taken(second), &["setter_id"]).await.unwrap();
    office.sees(&eve.person, &[first]).await;
    crm.delete(ana, first).await;
    office.sees(&eve.person, &[]).await;
    assert!(crm.mine(&eve.person, pb::ListMyClientsRequest::default()).await.is_empty());
    let undelete = pb::UndeleteClientRequest { id: first, ..Default::default() };
    crm.clients().undelete_client(signed(ana, undelete)).await.unwrap();
    office.sees(&eve.person, &[first]).await;
}

#[tokio::test]
async fn a_program_has_no_part_in_any_client() {
    let office = Office::open().await;
    let Office { crm, ana, clients, .. } = &office;
    let blind = crm.key(ana, &[Permission::ViewPayments]).await;
    let seeing = crm.key(ana, &[Permission::ViewAllClients]).await;
    let mut service = crm.clients();

    let get = pb::GetClientRequest { id: clients[0] };
    let refused = refusal(service.get_client(blind.signed(get)).await);
    assert_eq!(refused.said(), (Code::NotFound, "NOT_FOUND"));
    service.get_client(seeing.signed(get)).await.unwrap();
    let batch = pb::BatchGetClientsRequest { ids: clients.to_vec() };
    for (key, seen) in [(&blind, 0), (&seeing, 4)] {
        let found = service.batch_get_clients(key.signed(batch.clone())).await.unwrap();
        assert_eq!(found.into_inner().clients.len(), seen);
        let list = pb::ListClientsRequest { include_total: true, ..Default::default() };
        let list = service.list_clients(key.signed(list)).await.unwrap().into_inner();
        let total = i64::try_from(seen).unwrap();
        assert_eq!((list.clients.len(), list.total_size), (seen, Some(total)));
        let asked = pb::GetClientStatisticsRequest::default();
        let counted = service.get_client_statistics(key.signed(asked)).await.unwrap();
        assert_eq!(counted.into_inner().statistics.unwrap().total, total);
        let mine = pb::ListMyClientsRequest { include_total: true, ..Default::default() };
        let mine = service.list_my_clients(key.signed(mine)).await.unwrap().into_inner();
        assert_eq!((mine.my_clients.len(), mine.total_size), (0, Some(0)));
    }
}

#[tokio::test]
async fn pages_of_ones_own_clients_show_each_once_in_every_order() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let eve = crm.hire(&ana, "eve").await;
    for number in 0..40 {
        let coach_id = if number % 2 == 0 { eve.id } else { 0 };
        let client = named(&number.to_string(), &format!("Name {}", number / 4));
        crm.create(&ana, pb::Client { coach_id, ..client }).await;
    }
    crm.show_only_assigned(&ana).await;
    for order_by in ["create_time", "create_time desc", "last_name", "last_name desc"] {
        let ask = |page_size, page_token| pb::ListClientsRequest {
            order_by: order_by.into(),
            page_size,
            page_token,
            ..Default::default()
        };
        let whole = crm.list(&eve.person, ask(100, String::new())).await.clients;
        let everyone = crm.list(&ana, ask(100, String::new())).await.clients;
        let expected: Vec<_> =
            everyone.into_iter().filter(|client| client.coach_id == eve.id).collect();
        assert_eq!(whole, expected);
        let (mut paged, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = crm.list(&eve.person, ask(7, page_token)).await;
            paged.extend(page.clients);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, whole, "{order_by}");
    }
}

/// Security checklist 43.
#[tokio::test]
async fn a_batch_is_each_client_once_and_up_to_five_hundred() {
    let office = Office::open().await;
    let Office { crm, ana, clients, .. } = &office;
    let [first, second, ..] = *clients;
    assert_eq!(crm.batch(ana, &[second, first, second, 999_999]).await, [first, second]);
    crm.delete(ana, second).await;
    assert_eq!(crm.batch(ana, &[second, first]).await, [first]);
    let ask = |ids: Vec<i64>| -> Request<_> { signed(ana, pb::BatchGetClientsRequest { ids }) };
    let none = vec!["ids[1]", "ids[2]"];
    for (ids, bad) in
        [(vec![], vec!["ids"]), (vec![first, 0, -7], none), ((1..=501).collect(), vec!["ids"])]
    {
        let refused = refusal(crm.clients().batch_get_clients(ask(ids)).await);
        assert_eq!(refused.code, Code::InvalidArgument);
        assert_eq!(refused.fields, bad);
    }
    crm.clients().batch_get_clients(ask((1..=500).collect())).await.unwrap();
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_an_answer_says_so() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let large = pb::Client { notes: "密".repeat(10_000), ..named("Large", "") };
    let mut ids = Vec::new();
    for _ in 0..75 {
        ids.push(crm.create(&ana, large.clone()).await.id);
    }
    let too_large: Result<_, Status> = crm
        .clients()
        .batch_get_clients(signed(&ana, pb::BatchGetClientsRequest { ids: ids.clone() }))
        .await;
    assert_eq!(refusal(too_large).said(), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    assert_eq!(crm.batch(&ana, &ids[..40]).await, ids[..40]);
}
