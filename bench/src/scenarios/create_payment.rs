//! `CreatePayment` with an allocation, an audit row and a `request_id`, against one durable insert.

use std::sync::Arc;

use proto::{
    common::v1::Money,
    crm::v1::{CreatePaymentRequest, GetClientRequest, Payment, PaymentAllocation},
};
use uuid::Uuid;

use super::{Bench, each, turn};
use crate::{
    Outcome,
    compare::Comparison,
    figures::table::{Floor, Report},
    roles::bare,
    stack::grpc::Method,
};

/// Clients who pay: many, for whoever pays holds their client's row.
const CLIENTS: i64 = 1_000;

pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    let (stack, account) = (bench.stack, bench.stack.account(1_000).await?);
    let instalments = Arc::new(account.instalments(stack, CLIENTS).await?);
    let open = stack.open_crm(&account).await?;
    let connections = bench.options.connections;
    let postgres = || stack.watched_postgres();
    let reference = Method {
        name: "bare tonic, one durable insert".into(),
        address: stack.bare.address,
        path: bare::INSERT,
        metadata: Vec::new(),
        message: each(|_| GetClientRequest { id: 1 }),
        watched: vec![stack.bare.watched("bare"), postgres()],
    };
    let payment = |name: &str, address, watched| {
        let instalments = instalments.clone();
        Method {
            name: name.to_owned(),
            address,
            path: "/crm.v1.PaymentService/CreatePayment",
            metadata: vec![("authorization", account.authorization())],
            message: each(move |number| create_payment(turn(&instalments, number))),
            watched,
        }
    };
    let watched = vec![stack.crm.watched("crm"), stack.identity.watched("identity"), postgres()];
    let call = payment("CreatePayment, call mode", stack.crm.address, watched);
    let lease = stack.lease_crm().await?;
    let watched = vec![lease.watched("crm"), stack.identity.watched("identity"), postgres()];
    let leased = payment("CreatePayment, lease mode", lease.address, watched);
    let watched = vec![open.watched("crm"), postgres()];
    let unauthorised = payment("CreatePayment, authorisation off", open.address, watched);
    let targets = [
        reference.target(connections).await?,
        call.target(connections).await?,
        leased.target(connections).await?,
        unauthorised.target(connections).await?,
    ];
    let lines = Comparison::new(bench.options, bench.progress).run(&targets).await?;
    let mut report = Report::new("create-payment", "a payment that covers a part of an instalment");
    let floor = Floor::ratio("CreatePayment against one durable insert", &lines[1], 0.4);
    report.floors.push(floor);
    report.lines = lines;
    Ok(report)
}

fn create_payment((client_id, instalment_id): (i64, i64)) -> CreatePaymentRequest {
    let amount = || Some(Money { currency_code: "USD".into(), amount: "1.00".into() });
    CreatePaymentRequest {
        payment: Some(Payment { client_id, amount: amount(), ..Default::default() }),
        allocations: vec![PaymentAllocation { instalment_id, amount: amount() }],
        auto_allocate: false,
        request_id: Uuid::new_v4().to_string(),
    }
}
