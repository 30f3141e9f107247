//! Can anybody learn from the time of an answer which addresses exist?
//!
//! One call at a time, in an order that is another one each round, each kind as often as the
//! others; then every kind is held against the first by the test of Mann and Whitney.

use std::time::Instant;

use bytes::Bytes;
use prost::Message;
use proto::identity::v1::{
    CreateEmployeeRequest, Employee, Invitation, InviteEmployeeRequest, LoginRequest,
    RequestEmailVerificationRequest, RequestPasswordResetRequest, UpdateEmployeeRequest,
    employee_service_client::EmployeeServiceClient,
};
use rand::seq::SliceRandom;
use sqlx::AssertSqlSafe;
use tonic::{Code, metadata::AsciiMetadataValue, transport::Channel};
use uuid::Uuid;

use super::Bench;
use crate::{
    Outcome,
    figures::{
        ranks::mann_whitney,
        table::{Floor, Line, Report},
    },
    stack::{
        Account, LOADED_PASSWORD,
        grpc::{Metadata, connect, once},
    },
};

/// Samples of each kind from each network, and how many networks: together 200 and more.
const FROM_NETWORK: usize = 8;
const NETWORKS: usize = 26;
/// Guesses that lock an address for a network.
const LOCKING: usize = 51;
/// Samples of each kind of the calls that send letters.
const LETTERS: usize = 300;
/// How often somebody who guesses by the time may be right, in hundredths: 50 is chance. With
/// samples so few, equal kinds stay within 8 of it in 99.9 of 100 cases.
const FAIR: f64 = 58.0;

/// One kind of call; the message of each sample.
struct Kind {
    name: &'static str,
    path: &'static str,
    code: Code,
    messages: Vec<(Metadata, Bytes)>,
    /// In microseconds.
    took: Vec<u64>,
}

impl Kind {
    fn new(name: &'static str, path: &'static str, code: Code) -> Self {
        Self { name, path, code, messages: Vec::new(), took: Vec::new() }
    }

    fn push(&mut self, metadata: &Metadata, message: &impl Message) {
        self.messages.push((metadata.clone(), message.encode_to_vec().into()));
    }

    async fn sample(&mut self, channel: &Channel, number: usize) -> Outcome<()> {
        let (metadata, message) = self.messages[number].clone();
        let asked = Instant::now();
        let answer = once(channel.clone(), self.path, &metadata, message).await;
        self.took.push(u64::try_from(asked.elapsed().as_micros())?);
        let code = answer.err().map_or(Code::Ok, |status| status.code());
        if code == self.code {
            return Ok(());
        }
        Err(format!("{} was answered {code:?}, not {:?}", self.name, self.code).into())
    }
}

pub async fn run(bench: &Bench<'_>) -> Outcome<Report> {
    let mut report = Report::new("equal-cost", "what a stranger may not learn from the time");
    let mut kinds = log_ins(bench).await?;
    compare(&mut report, "log-in", &mut kinds);
    let mut kinds = letters(bench).await?;
    for (name, path) in
        [("password reset", RESET), ("verification", VERIFICATION), ("invitation", INVITATION)]
    {
        let mut of_one: Vec<_> = kinds.extract_if(.., |kind| kind.path == path).collect();
        compare(&mut report, name, &mut of_one);
    }
    Ok(report)
}

const LOGIN: &str = "/identity.v1.AuthService/Login";
const RESET: &str = "/identity.v1.AuthService/RequestPasswordReset";
const VERIFICATION: &str = "/identity.v1.AuthService/RequestEmailVerification";
const INVITATION: &str = "/identity.v1.EmployeeService/InviteEmployee";

async fn log_ins(bench: &Bench<'_>) -> Outcome<Vec<Kind>> {
    let (stack, account) = (bench.stack, bench.stack.account(1_000).await?);
    bench.progress.expect(NETWORKS as u64);
    bench.progress.say("Hiring those whose addresses are guessed");
    let people = People::hire(bench, &account, 5 * NETWORKS).await?;
    // With the limits that are usual, so that an address can be locked.
    let strict = stack.strict_identity()?;
    let channel = connect(strict.address).await?;
    let refused = |name| Kind::new(name, LOGIN, Code::Unauthenticated);
    let mut kinds = vec![
        refused("wrong password"),
        refused("unknown address"),
        refused("inactive"),
        refused("no password"),
        refused("empty password"),
        refused("locked"),
    ];
    for network in 0..NETWORKS {
        bench.progress.say(&format!("Log-ins from network {} of {NETWORKS}", network + 1));
        let metadata = coming_from(network);
        let [wrong, inactive, without, empty, locked] = people.five(network)?;
        people.deactivate(inactive).await?;
        people.forget_password(bench, without).await?;
        for _ in 0..LOCKING {
            let guess = login(locked, "wrong horse battery").encode_to_vec().into();
            _ = once(channel.clone(), LOGIN, &metadata, guess).await;
        }
        for _ in 0..FROM_NETWORK {
            kinds[0].push(&metadata, &login(wrong, "wrong horse battery"));
            kinds[1].push(&metadata, &login(&unknown(), "wrong horse battery"));
            kinds[2].push(&metadata, &login(inactive, LOADED_PASSWORD));
            kinds[3].push(&metadata, &login(without, LOADED_PASSWORD));
            kinds[4].push(&metadata, &login(empty, ""));
            kinds[5].push(&metadata, &login(locked, LOADED_PASSWORD));
        }
        let from = network * FROM_NETWORK;
        sample(&mut kinds, &channel, from, FROM_NETWORK).await?;
        bench.progress.step();
    }
    Ok(kinds)
}

async fn letters(bench: &Bench<'_>) -> Outcome<Vec<Kind>> {
    let (stack, account) = (bench.stack, bench.stack.account(1_000).await?);
    bench.progress.say("Hiring those to whom letters go");
    let people = People::hire(bench, &account, LETTERS).await?;
    let verify = "UPDATE identity.employees SET email_verify_time = now() WHERE account_id = $1 AND id % 2 = 0";
    sqlx::query(verify).bind(account.id).execute(stack.owner()).await?;
    let channel = connect(stack.identity.address).await?;
    let ok = |name, path| Kind::new(name, path, Code::Ok);
    let mut kinds = vec![
        ok("reset, known address", RESET),
        ok("reset, unknown address", RESET),
        ok("verification, known address", VERIFICATION),
        ok("verification, unknown address", VERIFICATION),
        ok("invitation, free address", INVITATION),
        ok("invitation, taken address", INVITATION),
    ];
    let nobody = Metadata::default();
    let admin = vec![("authorization", account.authorization())];
    for number in 0..LETTERS {
        let known = people.emails[number].clone();
        let reset = |email| RequestPasswordResetRequest { email, ..Default::default() };
        kinds[0].push(&nobody, &reset(known.clone()));
        kinds[1].push(&nobody, &reset(unknown()));
        let verification = |email| RequestEmailVerificationRequest { email, ..Default::default() };
        kinds[2].push(&nobody, &verification(known.clone()));
        kinds[3].push(&nobody, &verification(unknown()));
        kinds[4].push(&admin, &invitation(unknown()));
        kinds[5].push(&admin, &invitation(known));
    }
    bench.progress.say("Letters to known and unknown addresses");
    sample(&mut kinds, &channel, 0, LETTERS).await?;
    Ok(kinds)
}

/// So many samples of each kind from one number on, in turn, whoever comes first.
async fn sample(kinds: &mut [Kind], channel: &Channel, from: usize, samples: usize) -> Outcome<()> {
    let mut order: Vec<_> = (0..kinds.len()).collect();
    for number in from..from + samples {
        order.shuffle(&mut rand::rng());
        for place in &order {
            kinds[*place].sample(channel, number).await?;
        }
    }
    Ok(())
}

/// A line for each kind, and what tells it from the first.
fn compare(report: &mut Report, call: &str, kinds: &mut [Kind]) {
    let Some((first, others)) = kinds.split_first() else { return };
    for kind in others {
        let verdict = mann_whitney(&kind.took, &first.took);
        let what = format!("{call}: {} told from {}, percent right", kind.name, first.name);
        let right = 50.0 + (verdict.above - 0.5).abs() * 100.0;
        report.floors.push(Floor::at_most(&what, right, FAIR));
        report.notes.push(format!(
            "{call}: {} against {}: p = {:.3}, {} samples each",
            kind.name,
            first.name,
            verdict.p,
            kind.took.len()
        ));
    }
    report.lines.extend(kinds.iter_mut().map(line));
}

#[expect(clippy::cast_precision_loss, reason = "nobody takes 2^52 samples")]
fn line(kind: &mut Kind) -> Line {
    kind.took.sort_unstable();
    let at = |percent: usize| kind.took[(kind.took.len() * percent / 100).min(kind.took.len() - 1)];
    let sum: u64 = kind.took.iter().sum();
    Line {
        name: kind.name.to_owned(),
        per_second: kind.took.len() as f64 * 1_000_000.0 / sum.max(1) as f64,
        p50_us: at(50),
        p99_us: at(99),
        ratio: None,
        cpu_us: Vec::new(),
        resident_kib: Vec::new(),
    }
}

fn login(email: &str, password: &str) -> LoginRequest {
    LoginRequest { email: email.to_owned(), password: password.to_owned() }
}

fn invitation(email: String) -> InviteEmployeeRequest {
    let invitation = Invitation { email, ..Default::default() };
    InviteEmployeeRequest { invitation: Some(invitation), ..Default::default() }
}

fn unknown() -> String {
    format!("{}@bench.example", Uuid::new_v4().simple())
}

/// As a proxy tells it.
fn coming_from(network: usize) -> Metadata {
    vec![("x-forwarded-for", format!("203.0.{network}.1"))]
}

/// People of the account.
struct People {
    emails: Vec<String>,
    ids: Vec<i64>,
    employees: EmployeeServiceClient<Channel>,
    authorization: AsciiMetadataValue,
}

impl People {
    async fn hire(bench: &Bench<'_>, account: &Account, count: usize) -> Outcome<Self> {
        let channel = connect(bench.stack.identity.address).await?;
        let mut people = Self {
            emails: Vec::new(),
            ids: Vec::new(),
            employees: EmployeeServiceClient::new(channel),
            authorization: account.authorization().parse()?,
        };
        for _ in 0..count {
            let email = unknown();
            let employee = Employee { email: email.clone(), ..Default::default() };
            let request = CreateEmployeeRequest {
                employee: Some(employee),
                password: LOADED_PASSWORD.to_owned(),
                ..Default::default()
            };
            let mut request = tonic::Request::new(request);
            request.metadata_mut().insert("authorization", people.authorization.clone());
            let made = people.employees.create_employee(request).await?.into_inner();
            people.emails.push(email);
            people.ids.push(made.employee.map_or(0, |employee| employee.id));
        }
        Ok(people)
    }

    /// Five of them whom nobody else is.
    fn five(&self, network: usize) -> Outcome<[&str; 5]> {
        let five = self.emails[5 * network..].first_chunk::<5>().ok_or("there are too few")?;
        Ok(five.each_ref().map(String::as_str))
    }

    fn id(&self, email: &str) -> Outcome<i64> {
        let place = self.emails.iter().position(|it| it == email).ok_or("nobody has it")?;
        Ok(self.ids[place])
    }

    async fn deactivate(&self, email: &str) -> Outcome<()> {
        let employee =
            Employee { id: self.id(email)?, is_active: Some(false), ..Default::default() };
        let request = UpdateEmployeeRequest { employee: Some(employee), ..Default::default() };
        let mut request = tonic::Request::new(request);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        self.employees.clone().update_employee(request).await?;
        Ok(())
    }

    async fn forget_password(&self, bench: &Bench<'_>, email: &str) -> Outcome<()> {
        let id = self.id(email)?;
        let forget = format!("UPDATE identity.employees SET password_hash = NULL WHERE id = {id}");
        sqlx::query(AssertSqlSafe(forget)).execute(bench.stack.owner()).await?;
        Ok(())
    }
}
