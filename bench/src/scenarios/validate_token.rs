//! `ValidateToken` against a bare unary call with one indexed read.

use proto::identity::v1::ValidateTokenRequest;

use super::{Bench, always};
use crate::{
    Outcome,
    compare::Comparison,
    figures::table::{Floor, Report},
    roles::bare,
    stack::{Stack, grpc::Method},
};

pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    let (stack, account) = (bench.stack, bench.stack.account(1_000).await?);
    let unary = Method {
        name: "bare tonic, nothing read".into(),
        address: stack.bare.address,
        path: bare::UNARY,
        metadata: Vec::new(),
        message: always(&ValidateTokenRequest { credential: account.token_key.clone() }),
        watched: vec![stack.bare.watched("bare")],
    };
    let reference = Method {
        name: "bare tonic, one indexed read".into(),
        address: stack.bare.address,
        path: bare::VALIDATE,
        metadata: Vec::new(),
        message: always(&ValidateTokenRequest { credential: account.token_key.clone() }),
        watched: vec![stack.bare.watched("bare"), stack.watched_postgres()],
    };
    let subject = Method {
        name: "ValidateToken".into(),
        address: stack.identity.address,
        path: "/identity.v1.TokenService/ValidateToken",
        metadata: vec![Stack::service_metadata()],
        message: always(&ValidateTokenRequest { credential: account.token.clone() }),
        watched: vec![stack.identity.watched("identity"), stack.watched_postgres()],
    };
    let connections = bench.options.connections;
    let targets = [
        reference.target(connections).await?,
        subject.target(connections).await?,
        unary.target(connections).await?,
    ];
    let lines = Comparison::new(bench.options, bench.progress).run(&targets).await?;
    let mut report = Report::new("validate-token", "who calls, asked of identity-service");
    let floor = Floor::ratio("ValidateToken against one indexed read", &lines[1], 0.9);
    report.floors.push(floor);
    report.lines = lines;
    Ok(report)
}
