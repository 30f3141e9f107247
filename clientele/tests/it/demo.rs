//! `cargo run -- --demo`: two companies to look around in, once.

use std::{path::Path, time::SystemTime};

use proto::{
    crm::v1::{
        self as pb, client_package_service_client::ClientPackageServiceClient,
        instalment_service_client::InstalmentServiceClient,
        payment_service_client::PaymentServiceClient,
    },
    identity::v1 as id,
};
use rustix::process::Signal;
use tonic::transport::Channel;

use crate::{
    all_in_one::{caller_of, on_free_ports},
    support::{Caller, Program, folder},
};

/// What an account has.
#[derive(Debug, PartialEq)]
struct Counts {
    employees: i64,
    clients: pb::ClientStatistics,
    sales: i64,
    instalments: i64,
    payments: pb::GetPaymentStatisticsResponse,
    /// When the first of them was paid.
    first_paid: SystemTime,
}

fn start(data: &Path) -> (Program, Caller) {
    let program = Program::start("clientele", &["--demo"], &on_free_ports(data));
    let caller = caller_of(&program);
    (program, caller)
}

/// The super admins' addresses and their password, as they are printed.
fn logins(program: &Program) -> (Vec<String>, String) {
    let line = program.line_with("Everybody's password is ");
    let password = line.rsplit(' ').next().unwrap().to_owned();
    let founders = (0..2).map(|_| program.line_with("Founder"));
    let address = |line: String| line.split_whitespace().next().unwrap().to_owned();
    (founders.map(address).collect(), password)
}

/// How many clients a drawn line says are there.
fn place(drawn: &str) -> u64 {
    let before = drawn.split("/260 clients").next().unwrap();
    before.rsplit(' ').next().unwrap().parse().expect(drawn)
}

async fn counted(mut caller: Caller, email: &str, password: &str) -> Counts {
    let log_in = id::LoginRequest { email: email.into(), password: password.into() };
    caller.token = caller.auth().login(log_in).await.unwrap().into_inner().token;
    let employees = id::ListEmployeesRequest { include_total: true, ..Default::default() };
    let employees = caller.employees().list_employees(caller.signed(employees)).await.unwrap();
    let statistics = caller.signed(pb::GetClientStatisticsRequest::default());
    let clients = caller.clients().get_client_statistics(statistics).await.unwrap();
    let sales = pb::ListClientPackagesRequest { include_total: true, ..Default::default() };
    let sales = sold(&caller).list_client_packages(caller.signed(sales)).await.unwrap();
    let instalments = pb::ListInstalmentsRequest { include_total: true, ..Default::default() };
    let instalments = planned(&caller).list_instalments(caller.signed(instalments)).await.unwrap();
    let statistics = caller.signed(pb::GetPaymentStatisticsRequest::default());
    let payments = paid(&caller).get_payment_statistics(statistics).await.unwrap();
    let first =
        pb::ListPaymentsRequest { order_by: "paid_at".into(), page_size: 1, ..Default::default() };
    let first = paid(&caller).list_payments(caller.signed(first)).await.unwrap().into_inner();
    let first_paid = first.payments[0].paid_at.unwrap().try_into().unwrap();
    Counts {
        first_paid,
        employees: employees.into_inner().total_size.unwrap(),
        clients: clients.into_inner().statistics.unwrap(),
        sales: sales.into_inner().total_size.unwrap(),
        instalments: instalments.into_inner().total_size.unwrap(),
        payments: payments.into_inner(),
    }
}

fn sold(caller: &Caller) -> ClientPackageServiceClient<Channel> {
    ClientPackageServiceClient::new(caller.crm())
}

fn planned(caller: &Caller) -> InstalmentServiceClient<Channel> {
    InstalmentServiceClient::new(caller.crm())
}

fn paid(caller: &Caller) -> PaymentServiceClient<Channel> {
    PaymentServiceClient::new(caller.crm())
}

async fn both(program: &Program, caller: &Caller) -> Vec<Counts> {
    let (founders, password) = logins(program);
    let mut counts = Vec::new();
    for email in &founders {
        counts.push(counted(caller.clone(), email, &password).await);
    }
    counts
}

/// Interrupted twice, complete, and started once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_demo_is_there_once_however_often_it_is_started_and_interrupted() {
    let folder = folder("demo");
    let data = folder.path().join("data");
    let (mut program, _) = start(&data);
    program.line_with("Demo data: ");
    program.kill();
    // At a terminal a bar is drawn over and over.
    let mut program = Program::start_at_a_terminal("clientele", &["--demo"], &on_free_ports(&data));
    let mut drawn = (0..1_000).map(|_| place(&program.line_with("/260 clients")));
    let first = drawn.next().unwrap();
    assert!(drawn.any(|place| place > first), "it moves");
    program.signal(Signal::TERM);
    assert!(program.ended().success(), "it ends also while it is not complete");

    let (mut program, caller) = start(&data);
    let first = both(&program, &caller).await;
    program.signal(Signal::TERM);
    assert!(program.ended().success());
    for (counts, (employees, clients)) in first.iter().zip([(9, 140), (8, 120)]) {
        let Counts { clients: by_status, payments, .. } = counts;
        assert_eq!((counts.employees, by_status.total), (employees, clients));
        let statuses = [
            by_status.active,
            by_status.inactive,
            by_status.onboarding,
            by_status.paused,
            by_status.cancelled,
            payments.paid,
            payments.failed,
            payments.refunded,
            payments.disputed,
        ];
        assert!(statuses.iter().all(|status| *status > 0), "{counts:?}");
        assert!(counts.sales > clients && counts.instalments > counts.sales, "{counts:?}");
        let currencies = payments.totals.iter().map(|totals| totals.currency_code.as_str());
        assert_eq!(currencies.collect::<Vec<_>>(), ["EUR", "JPY", "USD"]);
        let days = counts.first_paid.elapsed().unwrap().as_secs() / 86_400;
        assert!((670..=760).contains(&days), "two years: {days} days");
    }

    let (program, caller) = start(&data);
    assert_eq!(both(&program, &caller).await, first);
}
