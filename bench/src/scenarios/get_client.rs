//! `GetClient`, authorised, against the same handler without authorisation.

use proto::crm::v1::GetClientRequest;

use super::{Bench, each, turn};
use crate::{
    Outcome,
    compare::Comparison,
    figures::table::{Floor, Report},
    roles::bare,
    stack::{Account, Service, grpc::Method},
};

pub const PATH: &str = "/crm.v1.ClientService/GetClient";

pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    let (stack, account) = (bench.stack, bench.stack.account(1_000).await?);
    let open = stack.open_crm(&account).await?;
    let connections = bench.options.connections;
    let postgres = || stack.watched_postgres();
    let unauthorised = Method {
        watched: vec![open.watched("crm"), postgres()],
        ..get_client("the same handler, authorisation off", open, &account)
    };
    let call = Method {
        watched: vec![stack.crm.watched("crm"), stack.identity.watched("identity"), postgres()],
        ..get_client("GetClient, call mode", &stack.crm, &account)
    };
    let lease = stack.lease_crm().await?;
    let leased = Method {
        watched: vec![lease.watched("crm"), stack.identity.watched("identity"), postgres()],
        ..get_client("GetClient, lease mode", lease, &account)
    };
    let read = Method {
        path: bare::GET,
        metadata: vec![(bare::ACCOUNT, account.id.to_string())],
        watched: vec![stack.bare.watched("bare"), postgres()],
        ..get_client("bare tonic and sqlx, by primary key", &stack.bare, &account)
    };
    let targets = [
        unauthorised.target(connections).await?,
        call.target(connections).await?,
        leased.target(connections).await?,
        read.target(connections).await?,
    ];
    let lines = Comparison::new(bench.options, bench.progress).run(&targets).await?;
    let mut report = Report::new("get-client", "one client");
    report.floors.push(Floor::ratio("call mode against authorisation off", &lines[1], 0.4));
    report.floors.push(Floor::ratio("lease mode against authorisation off", &lines[2], 0.95));
    report.lines = lines;
    Ok(report)
}

/// A client of the account after another.
pub fn get_client(name: &str, service: &Service, account: &Account) -> Method {
    let clients = account.clients.clone();
    Method {
        name: name.to_owned(),
        address: service.address,
        path: PATH,
        metadata: vec![("authorization", account.authorization())],
        message: each(move |number| GetClientRequest { id: turn(&clients, number) }),
        watched: Vec::new(),
    }
}
