//! How many clients there are, however they came to be so many.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use prost::Message;
use proto::crm::v1::{self as pb, ClientStatus};
use service_kit::testing::refusal::refusal;
use tonic::{Code, Status};

use crate::{
    people::Employee,
    support::{Crm, Person, SERVICE_SECRET, named, signed},
};

impl Crm {
    /// That everything that is kept beside clients says what they say.
    pub async fn assert_counted(&self) {
        let members = "SELECT c.account_id, e.id, c.id, c.coach_id IS NOT DISTINCT FROM e.id,
                 c.closer_id IS NOT DISTINCT FROM e.id, c.setter_id IS NOT DISTINCT FROM e.id,
                 c.create_time, c.name_key, c.delete_time IS NULL
             FROM crm.clients c JOIN crm.employees e ON e.account_id = c.account_id
                 AND e.id IN (c.coach_id, c.closer_id, c.setter_id)";
        let counts = "SELECT account_id, employee_id, status, count(*)
             FROM (SELECT account_id, 0 AS employee_id, status FROM crm.clients
                   WHERE delete_time IS NULL
                   UNION ALL
                   SELECT account_id, employee_id, status FROM crm.client_members m
                   JOIN crm.clients c USING (account_id)
                   WHERE c.id = m.client_id AND delete_time IS NULL) AS counted
             GROUP BY account_id, employee_id, status";
        for (kept, recount) in [
            ("SELECT * FROM crm.client_members", members),
            ("SELECT * FROM crm.client_counts WHERE clients <> 0", counts),
        ] {
            let differences = format!(
                "SELECT count(*) FROM
                     ((({kept}) EXCEPT ({recount})) UNION ALL (({recount}) EXCEPT ({kept}))) AS d"
            );
            let (different,): (i64,) = sqlx::query_as(sqlx::AssertSqlSafe(differences))
                .fetch_one(&self.database.owner)
                .await
                .unwrap();
            assert_eq!(different, 0, "{kept}");
        }
    }
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())]
    }
}

const STATUSES: [ClientStatus; 5] = [
    ClientStatus::Active,
    ClientStatus::Inactive,
    ClientStatus::Onboarding,
    ClientStatus::Paused,
    ClientStatus::Cancelled,
];

/// A company in which much happens to few clients.
struct Office {
    crm: Crm,
    ana: Person,
    employees: Vec<Employee>,
    /// The newest client's id.
    newest: AtomicI64,
}

impl Office {
    async fn open() -> Self {
        let crm = Crm::start().await;
        let ana = crm.sign_up("ana").await;
        let mut employees = Vec::new();
        for name in ["eve", "max", "kim"] {
            employees.push(crm.hire(&ana, name).await);
        }
        let newest = AtomicI64::new(crm.create(&ana, named("Ada", "")).await.id);
        Self { crm, ana, employees, newest }
    }

    fn some_client(&self, dice: &mut Dice) -> pb::Client {
        let ids: Vec<_> = self.employees.iter().map(|e| e.id).chain([0, 0]).collect();
        pb::Client {
            status: dice.one_of(&STATUSES).into(),
            coach_id: dice.one_of(&ids),
            closer_id: dice.one_of(&ids),
            setter_id: dice.one_of(&ids),
            ..named(dice.one_of(&["Ada", "Bo", "Cy"]), dice.one_of(&["Love", "Lock", ""]))
        }
    }

    /// Does something to some client. That it is deleted already, or not yet, is no mistake.
    async fn happen(&self, dice: &mut Dice) -> Result<(), Status> {
        let (mut clients, by) = (self.crm.clients(), &self.ana);
        let newest = self.newest.load(Ordering::Relaxed);
        let id = 1 + i64::try_from(dice.roll(10_000)).unwrap() % newest;
        let client = pb::Client { id, ..self.some_client(dice) };
        let done = match dice.roll(10) {
            0 | 1 => {
                let client = Some(client);
                let request = pb::CreateClientRequest { client, ..Default::default() };
                let made = clients.create_client(signed(by, request)).await?.into_inner();
                self.newest.fetch_max(made.client.unwrap().id, Ordering::Relaxed);
                return Ok(());
            }
            2 | 3 => {
                let request = pb::DeleteClientRequest { id, ..Default::default() };
                clients.delete_client(signed(by, request)).await.map(drop)
            }
            4 | 5 => {
                let request = pb::UndeleteClientRequest { id, ..Default::default() };
                clients.undelete_client(signed(by, request)).await.map(drop)
            }
            _ => {
                let all = ["status", "coach_id", "closer_id", "setter_id", "last_name"];
                self.crm.update(by, client, &all[dice.roll(all.len())..]).await.map(drop)
            }
        };
        match done {
            Err(status) if status.code() == Code::NotFound => Ok(()),
            done => done,
        }
    }

    /// That what each sees adds up, and is what the rows say.
    async fn adds_up(&self) {
        self.crm.assert_counted().await;
        let everyone = self.employees.iter().map(|employee| &employee.person).chain([&self.ana]);
        for person in everyone {
            let counted = self.crm.statistics(person, pb::GetClientStatisticsRequest::default());
            let counted = counted.await;
            assert_eq!(counted, self.recount(person).await);
        }
    }

    /// The statistics of what somebody sees, from their list.
    async fn recount(&self, by: &Person) -> pb::ClientStatistics {
        let request = pb::ListClientsRequest { page_size: 1000, ..Default::default() };
        let list = self.crm.list(by, request).await;
        assert_eq!(list.next_page_token, "");
        let of = |status| {
            let alike = list.clients.iter().filter(|client| client.status() == status);
            i64::try_from(alike.count()).unwrap()
        };
        pb::ClientStatistics {
            total: i64::try_from(list.clients.len()).unwrap(),
            active: of(ClientStatus::Active),
            inactive: of(ClientStatus::Inactive),
            onboarding: of(ClientStatus::Onboarding),
            paused: of(ClientStatus::Paused),
            cancelled: of(ClientStatus::Cancelled),
        }
    }
}

#[tokio::test]
async fn counts_are_what_a_recount_gives_whatever_happened() {
    let office = Office::open().await;
    let mut dice = Dice(7);
    for _ in 0..15 {
        for _ in 0..10 {
            office.happen(&mut dice).await.unwrap();
        }
        office.crm.assert_counted().await;
    }
    office.adds_up().await;
    office.crm.show_only_assigned(&office.ana).await;
    office.adds_up().await;
}

#[tokio::test]
async fn counts_are_what_a_recount_gives_after_writers_at_once() {
    let office = Arc::new(Office::open().await);
    for n in 0..10 {
        office.crm.create(&office.ana, office.some_client(&mut Dice(n))).await;
    }
    office.newest.store(11, Ordering::Relaxed);
    let writers = (0..4).map(|writer| {
        let office = Arc::clone(&office);
        tokio::spawn(async move {
            let mut dice = Dice(1000 + writer);
            let mut done = 0;
            while done < 30 {
                match office.happen(&mut dice).await {
                    Ok(()) => done += 1,
                    // Whoever finds no connection free is told to try again.
                    Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    office.adds_up().await;
    office.crm.show_only_assigned(&office.ana).await;
    office.adds_up().await;
}

#[tokio::test]
async fn statistics_are_narrowed_as_lists_are() {
    let office = Office::open().await;
    let mut dice = Dice(3);
    for _ in 0..40 {
        office.crm.create(&office.ana, office.some_client(&mut dice)).await;
    }
    let (crm, eve) = (&office.crm, &office.employees[0]);
    let everyone = [&office.ana, &eve.person];
    crm.show_only_assigned(&office.ana).await;
    for by in everyone {
        for (status, coach_id, closer_id, search) in [
            (vec![], 0, 0, "lo"),
            (vec![1], 0, 0, ""),
            (vec![1, 4], 0, 0, "ada"),
            (vec![], eve.id, 0, ""),
            (vec![], eve.id, office.employees[1].id, ""),
            (vec![2, 3, 5], eve.id, 0, "lov"),
            (vec![], 999_999, 0, ""),
        ] {
            let list = pb::ListClientsRequest {
                status: status.clone(),
                coach_id,
                closer_id,
                search: search.into(),
                include_total: true,
                page_size: 1000,
                ..Default::default()
            };
            let asked = pb::GetClientStatisticsRequest {
                status,
                coach_id,
                closer_id,
                search: search.into(),
                ..Default::default()
            };
            let (list, counted) = (crm.list(by, list).await, crm.statistics(by, asked).await);
            let listed = i64::try_from(list.clients.len()).unwrap();
            assert_eq!((counted.total, list.total_size), (listed, Some(listed)));
            let active = list.clients.iter().filter(|c| c.status() == ClientStatus::Active);
            assert_eq!(counted.active, i64::try_from(active.count()).unwrap());
        }
    }
}

#[tokio::test]
async fn everything_wrong_with_filters_is_named_at_once() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let request = pb::GetClientStatisticsRequest {
        status: vec![99],
        country: "XX".into(),
        search: "a b c d e f g h i".into(),
        ..Default::default()
    };
    let refused = refusal(crm.clients().get_client_statistics(signed(&ana, request)).await);
    assert_eq!(refused.fields, ["status", "country", "search"]);
    let request = pb::ListMyClientsRequest {
        page_size: -1,
        status: vec![99],
        order_by: "email".into(),
        ..Default::default()
    };
    let refused = refusal(crm.clients().list_my_clients(signed(&ana, request)).await);
    assert_eq!(refused.fields, ["status", "order_by", "page_size"]);
}

/// One statement is one snapshot: what is written meanwhile is in all of the figures or in none.
#[tokio::test]
async fn figures_are_read_in_one_statement() {
    let any_port = |settings: &mut crm_service::Settings| {
        settings.server.admin_listen = Some(([127, 0, 0, 1], 0).into());
    };
    let crm = Crm::with(SERVICE_SECRET, any_port).await;
    let ana = crm.sign_up("ana").await;
    let series = pb::GetRevenueSeriesRequest {
        from_date: "2025-01-01".into(),
        until_date: "2025-12-31".into(),
        interval: pb::RevenueInterval::Month.into(),
        ..Default::default()
    };
    let team = pb::GetTeamPerformanceRequest {
        from_date: "2025-01-01".into(),
        until_date: "2025-12-31".into(),
    };
    for (method, message) in [
        ("ClientService/GetClientStatistics", Vec::new()),
        ("PaymentService/GetPaymentStatistics", Vec::new()),
        ("ReportService/GetReceivables", Vec::new()),
        ("ReportService/GetRevenueSeries", series.encode_to_vec()),
        ("ReportService/GetTeamPerformance", team.encode_to_vec()),
    ] {
        let name =
            format!("rpc_statements_total{{service=\"crm-service\",method=\"crm.v1.{method}\"}}");
        let path = format!("/crm.v1.{method}");
        crm.call(&ana, &path, &message).await.expect(method);
        let before = crm.figure(&name).await;
        crm.call(&ana, &path, &message).await.expect(method);
        // It, and the one before it that says whose rows there are to read.
        assert_eq!(crm.figure(&name).await - before, 2, "{method}");
    }
}
