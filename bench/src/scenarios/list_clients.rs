//! `ListClients`, 50 rows, against bare tonic and sqlx with the same rows.

use proto::crm::v1::{ListClientsRequest, client_service_client::ClientServiceClient};
use tonic::metadata::AsciiMetadataValue;

use super::{Bench, always};
use crate::{
    Outcome,
    compare::Comparison,
    figures::table::{Floor, Report},
    roles::bare,
    stack::{
        Account, Service,
        grpc::{Method, connect},
    },
};

pub const PATH: &str = "/crm.v1.ClientService/ListClients";

pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    let (stack, account) = (bench.stack, bench.stack.account(1_000).await?);
    let open = stack.open_crm(&account).await?;
    let connections = bench.options.connections;
    let postgres = || stack.watched_postgres();
    let reference = Method {
        path: bare::LIST,
        metadata: vec![(bare::ACCOUNT, account.id.to_string())],
        watched: vec![stack.bare.watched("bare"), postgres()],
        ..first_page("bare tonic and sqlx, 50 rows", &stack.bare, &account)
    };
    let call = Method {
        watched: vec![stack.crm.watched("crm"), stack.identity.watched("identity"), postgres()],
        ..first_page("ListClients, call mode", &stack.crm, &account)
    };
    let lease = stack.lease_crm().await?;
    let leased = Method {
        watched: vec![lease.watched("crm"), stack.identity.watched("identity"), postgres()],
        ..first_page("ListClients, lease mode", lease, &account)
    };
    let unauthorised = Method {
        watched: vec![open.watched("crm"), postgres()],
        ..first_page("ListClients, authorisation off", open, &account)
    };
    let targets = [
        reference.target(connections).await?,
        leased.target(connections).await?,
        call.target(connections).await?,
        unauthorised.target(connections).await?,
    ];
    let lines = Comparison::new(bench.options, bench.progress).run(&targets).await?;
    let mut report = Report::new("list-clients", "a page of 50 clients");
    report.floors.push(Floor::ratio("lease mode against bare", &lines[1], 0.85));
    report.lines = lines;
    Ok(report)
}

/// The newest 50.
pub fn first_page(name: &str, service: &Service, account: &Account) -> Method {
    page(name, service, account, String::new())
}

/// The page of a token.
pub fn page(name: &str, service: &Service, account: &Account, page_token: String) -> Method {
    Method {
        name: name.to_owned(),
        address: service.address,
        path: PATH,
        metadata: vec![("authorization", account.authorization())],
        message: always(&ListClientsRequest { page_token, ..Default::default() }),
        watched: Vec::new(),
    }
}

/// The tokens of several pages, found by walking to them.
pub async fn page_tokens(
    bench: &Bench<'_>,
    account: &Account,
    pages: &[u32],
) -> Outcome<Vec<String>> {
    let mut clients = ClientServiceClient::new(connect(bench.stack.crm.address).await?);
    let authorization: AsciiMetadataValue = account.authorization().parse()?;
    let (mut tokens, mut page_token, mut number) = (Vec::new(), String::new(), 1);
    for wanted in pages {
        while number < *wanted {
            let asked = ListClientsRequest { page_token, ..Default::default() };
            let mut request = tonic::Request::new(asked);
            request.metadata_mut().insert("authorization", authorization.clone());
            page_token = clients.list_clients(request).await?.into_inner().next_page_token;
            if page_token.is_empty() {
                return Err(format!("there is no page {wanted}").into());
            }
            number += 1;
        }
        tokens.push(page_token.clone());
    }
    Ok(tokens)
}
