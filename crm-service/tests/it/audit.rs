//! Who did what to clients and their money: on record with the act itself, and read by those
//! who may.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use crm_service::POLICY;
use prost::Message;
use proto::{
    common::v1::Role,
    crm::v1::{self as pb, actor::Kind, audit_service_client::AuditServiceClient},
    identity::v1::{self as id, auth_service_client::AuthServiceClient},
};
use service_kit::testing::{
    conventions::{connected_as, may_not},
    raw,
    refusal::refusal,
};
use sqlx::AssertSqlSafe;
use tonic::{Code, Status};

use crate::{
    isolation::Rows,
    support::{Crm, Person, named, signed},
    till::{Till, money},
};

/// A method, what it is recorded as, and the field that says on whom; none where it is made.
type Recorded = (&'static str, &'static str, &'static str);

/// In an order in which they can be called.
const RECORDED: &[Recorded] = &[
    ("/crm.v1.ClientPackageService/CancelClientPackage", "client_package.cancel", "id"),
    ("/crm.v1.ClientPackageService/CreateClientPackage", "client_package.create", ""),
    (
        "/crm.v1.ClientPackageService/GenerateInstalments",
        "client_package.generate_instalments",
        "client_package_id",
    ),
    (
        "/crm.v1.ClientPackageService/UpdateClientPackage",
        "client_package.update",
        "client_package.id",
    ),
    ("/crm.v1.ClientService/BatchImportClients", "client.create", ""),
    ("/crm.v1.ClientService/CreateClient", "client.create", ""),
    ("/crm.v1.ClientService/DeleteClient", "client.delete", "id"),
    ("/crm.v1.ClientService/ExportClients", "client.export", ""),
    ("/crm.v1.ClientService/ImportClients", "client.create", ""),
    ("/crm.v1.ClientService/UndeleteClient", "client.undelete", "id"),
    ("/crm.v1.ClientService/UpdateClient", "client.update", "client.id"),
    ("/crm.v1.InstalmentService/CloseInstalment", "instalment.close", "id"),
    ("/crm.v1.InstalmentService/CreateInstalment", "instalment.create", ""),
    ("/crm.v1.InstalmentService/UpdateInstalment", "instalment.update", "instalment.id"),
    ("/crm.v1.PackageService/CreatePackage", "package.create", ""),
    ("/crm.v1.PackageService/DeletePackage", "package.delete", "id"),
    (UNDELETE_PACKAGE, "package.undelete", "id"),
    ("/crm.v1.PackageService/UpdatePackage", "package.update", "package.id"),
    ("/crm.v1.PaymentService/AllocatePayment", "payment.allocate", "id"),
    ("/crm.v1.PaymentService/CreatePayment", "payment.create", ""),
    ("/crm.v1.PaymentService/DisputePayment", "payment.dispute", "id"),
    ("/crm.v1.PaymentService/MarkPaymentFailed", "payment.fail", "id"),
    ("/crm.v1.PaymentService/RefundPayment", "payment.refund", "id"),
    ("/crm.v1.PaymentService/ResolveDispute", "payment.win_dispute", "id"),
    ("/crm.v1.PaymentService/UpdatePayment", "payment.update", "payment.id"),
    ("/crm.v1.PaymentService/VoidPayment", "payment.void", "id"),
    (UPDATE_STRIPE_CUSTOMER, "stripe_customer.update", "stripe_customer.id"),
    ("/crm.v1.StripeCustomerService/DeleteStripeCustomer", "stripe_customer.delete", "id"),
    ("/crm.v1.StripeCustomerService/CreateStripeCustomer", "stripe_customer.create", ""),
    (CREATE_STRIPE_ENDPOINT, "stripe_endpoint.create", ""),
    (
        "/crm.v1.StripeEndpointService/RotateStripeEndpointSecret",
        "stripe_endpoint.rotate_secret",
        "id",
    ),
    ("/crm.v1.StripeEndpointService/DeleteStripeEndpoint", "stripe_endpoint.delete", "id"),
];

const UNDELETE_PACKAGE: &str = "/crm.v1.PackageService/UndeletePackage";
const UPDATE_STRIPE_CUSTOMER: &str = "/crm.v1.StripeCustomerService/UpdateStripeCustomer";
const CREATE_STRIPE_ENDPOINT: &str = "/crm.v1.StripeEndpointService/CreateStripeEndpoint";

/// Acts of which nothing else is left: what is taken out, and what is gone.
const LEAVING_NOTHING: &[&str] =
    &["client.export", "stripe_customer.delete", "stripe_endpoint.delete"];

/// Whether a method is for changing something, or for taking it out.
fn acts(method: &str) -> bool {
    let name = method.rsplit('/').next().unwrap();
    !["BatchGet", "Get", "List", "Preview", "Watch"].iter().any(|read| name.starts_with(read))
}

/// Methods that do something and have no line above, or no example.
fn unrecorded(
    recorded: &[Recorded],
    examples: &BTreeMap<&'static str, Vec<u8>>,
) -> Vec<&'static str> {
    let methods = POLICY.iter().map(|rule| rule.method).filter(|method| acts(method));
    let lacks = |method: &&str| {
        !recorded.iter().any(|line| line.0 == *method) || !examples.contains_key(method)
    };
    methods.filter(lacks).collect()
}

/// For each method a call that does something to these.
fn examples(rows: &Rows) -> BTreeMap<&'static str, Vec<u8>> {
    let id = rows.named(UPDATE_STRIPE_CUSTOMER, "stripe_customer.id");
    let status = pb::StripeCustomerStatus::Active.into();
    let active = pb::StripeCustomer { id, status, ..Default::default() };
    let update =
        pb::UpdateStripeCustomerRequest { stripe_customer: Some(active), ..Default::default() };
    let stripe_endpoint = Some(pb::StripeEndpoint::default());
    let create = pb::CreateStripeEndpointRequest { stripe_endpoint, ..Default::default() };
    let mut examples = rows.examples();
    examples.insert(UPDATE_STRIPE_CUSTOMER, update.encode_to_vec());
    examples.insert(CREATE_STRIPE_ENDPOINT, create.encode_to_vec());
    examples
}

#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
struct Row {
    time: DateTime<Utc>,
    actor: String,
    action: String,
    subject: String,
    subject_id: i64,
    network: String,
    request_id: String,
}

async fn rows_after(crm: &Crm, id: i64) -> Vec<Row> {
    sqlx::query_as(
        "SELECT time, actor, action, subject, subject_id, network, request_id
         FROM crm.audit_events WHERE id > $1 ORDER BY id",
    )
    .bind(id)
    .fetch_all(&crm.database.owner)
    .await
    .unwrap()
}

/// Security checklist 60.
#[tokio::test]
async fn whatever_does_something_is_on_record_once() {
    let till = Till::open().await;
    let (crm, ana) = (&till.crm, &till.ana);
    let rows = Rows::of(&till, ana).await;
    let examples = examples(&rows);
    assert_eq!(unrecorded(RECORDED, &examples), Vec::<&str>::new());

    for (number, (method, action, field)) in RECORDED.iter().enumerate() {
        if *method == UNDELETE_PACKAGE {
            crm.delete_package(ana, rows.sale.package).await;
        }
        let newest: i64 = sqlx::query_scalar("SELECT max(id) FROM crm.audit_events")
            .fetch_one(&crm.database.owner)
            .await
            .unwrap();
        let (before, request_id) = (service_kit::clock::now(), format!("call-{number}"));
        let mut request = raw::request(examples[method].clone(), &ana.token);
        request.metadata_mut().insert("x-request-id", request_id.parse().unwrap());
        raw::call(&crm.channel, method, request).await.expect(method);

        let found = rows_after(crm, newest).await;
        let [row] = &found[..] else { panic!("{method}: {found:?}") };
        assert_eq!((row.action.as_str(), row.request_id.as_str()), (*action, &*request_id));
        assert_eq!(Some(row.subject.as_str()), action.split('.').next());
        assert_eq!(row.actor, format!("employee:{}", rows.owner), "{method}");
        assert_eq!(row.network, "127.0.0.0/24", "{method}");
        assert!(row.time >= before && row.time <= service_kit::clock::now(), "{method}");
        if !field.is_empty() {
            assert_eq!(row.subject_id, rows.named(method, field), "{method}");
        } else if *action != "client.export" {
            assert!(is_made(crm, row).await, "{method}: {row:?}");
        }
        let effects = effects_of_the_last(crm).await;
        assert_eq!(effects.is_empty(), LEAVING_NOTHING.contains(action), "{method}: {effects:?}");
    }

    // And it can fail: with a line or an example left out.
    assert_eq!(unrecorded(&RECORDED[1..], &examples), [RECORDED[0].0]);
    let forgetful = examples.into_iter().filter(|(method, _)| *method != RECORDED[0].0).collect();
    assert_eq!(unrecorded(RECORDED, &forgetful), [RECORDED[0].0]);
}

/// Security checklist 60.
#[tokio::test]
async fn what_cannot_be_put_on_record_is_not_done() {
    let till = Till::open().await;
    let (crm, ana) = (&till.crm, &till.ana);
    let rows = Rows::of(&till, ana).await;
    let examples = examples(&rows);
    for (method, ..) in RECORDED {
        if *method == UNDELETE_PACKAGE {
            crm.delete_package(ana, rows.sale.package).await;
        }
        let call = || {
            let request = raw::request(examples[method].clone(), &ana.token);
            raw::call(&crm.channel, method, request)
        };
        crm.database
            .execute("ALTER TABLE crm.audit_events ADD CONSTRAINT no_more CHECK (false) NOT VALID")
            .await;
        let before = crm.database.digest().await;
        assert_eq!(refusal(call().await).said(), (Code::Internal, "INTERNAL"), "{method}");
        assert_eq!(crm.database.digest().await, before, "{method}");
        crm.database.execute("ALTER TABLE crm.audit_events DROP CONSTRAINT no_more").await;
        call().await.expect(method);
    }
}

/// Whether the transaction of a record made the row that it names.
async fn is_made(crm: &Crm, row: &Row) -> bool {
    let table = format!("crm.{}s", row.subject);
    let made = format!(
        "SELECT count(*) FROM {table} AS made, crm.audit_events AS act
         WHERE made.id = $1 AND act.request_id = $2 AND made.xmin = act.xmin"
    );
    let made = sqlx::query_scalar::<_, i64>(AssertSqlSafe(made));
    let made = made.bind(row.subject_id).bind(&row.request_id);
    made.fetch_one(&crm.database.owner).await.unwrap() == 1
}

/// The tables in which the transaction of the newest record wrote a row that is still there.
async fn effects_of_the_last(crm: &Crm) -> Vec<String> {
    let tables = "SELECT tablename::text FROM pg_tables
                  WHERE schemaname = 'crm' AND tablename <> 'audit_events'";
    let tables: Vec<String> =
        sqlx::query_scalar(tables).fetch_all(&crm.database.owner).await.unwrap();
    let each: Vec<_> = tables
        .iter()
        .map(|table| {
            format!("SELECT '{table}' AS name FROM crm.{table} WHERE xmin = (SELECT tx FROM last)")
        })
        .collect();
    let query = format!(
        "WITH last AS (SELECT xmin AS tx FROM crm.audit_events ORDER BY id DESC LIMIT 1)
         SELECT DISTINCT name FROM ({}) AS written",
        each.join(" UNION ALL ")
    );
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&crm.database.owner).await.unwrap()
}

pub async fn list(
    crm: &Crm,
    by: &Person,
    request: pb::ListAuditEventsRequest,
) -> Result<pb::ListAuditEventsResponse, Status> {
    let mut audit = AuditServiceClient::new(crm.channel.clone());
    Ok(audit.list_audit_events(signed(by, request)).await?.into_inner())
}

pub fn any() -> pb::ListAuditEventsRequest {
    pb::ListAuditEventsRequest::default()
}

pub fn actions(answer: &pb::ListAuditEventsResponse) -> Vec<&str> {
    answer.audit_events.iter().map(|event| event.action.as_str()).collect()
}

/// Who somebody is, as identity-service says.
pub async fn me(crm: &Crm, person: &Person) -> id::Employee {
    let mut auth = AuthServiceClient::new(crm.identity.channel.clone());
    let me = auth.get_me(signed(person, id::GetMeRequest {})).await.unwrap();
    me.into_inner().employee.unwrap()
}

/// What a client goes through, from its making to its return.
pub async fn through_everything(crm: &Crm, by: &Person) -> i64 {
    let id = crm.create(by, named("Ada", "Lovelace")).await.id;
    let client = Some(pb::Client { id, last_name: "King".into(), ..Default::default() });
    let update = pb::UpdateClientRequest { client, ..Default::default() };
    crm.clients().update_client(signed(by, update)).await.unwrap();
    crm.delete(by, id).await;
    let undelete = pb::UndeleteClientRequest { id, ..Default::default() };
    crm.clients().undelete_client(signed(by, undelete)).await.unwrap();
    id
}

pub const OF_A_CLIENT: [&str; 4] =
    ["client.undelete", "client.delete", "client.update", "client.create"];

/// Security checklist 60.
#[tokio::test]
async fn every_change_is_on_record_with_who_did_it_from_where_in_which_call() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let mut request = signed(
        &ana,
        pb::CreateClientRequest { client: Some(named("Bob", "")), request_id: String::new() },
    );
    request.metadata_mut().insert("x-request-id", "call-7".parse().unwrap());
    let bob = crm.clients().create_client(request).await.unwrap().into_inner().client.unwrap();
    let created = &list(&crm, &ana, any()).await.unwrap().audit_events[0];
    assert_eq!(created.actor.unwrap().kind, Some(Kind::EmployeeId(me(&crm, &ana).await.id)));
    assert_eq!((created.subject.as_str(), created.subject_id), ("client", bob.id));
    assert_eq!((created.network.as_str(), created.request_id.as_str()), ("127.0.0.0/24", "call-7"));
    assert_eq!(created.time, bob.create_time);

    let id = through_everything(&crm, &ana).await;
    let of_it = pb::ListAuditEventsRequest { subject: "client".into(), subject_id: id, ..any() };
    let events = list(&crm, &ana, of_it).await.unwrap();
    assert_eq!(actions(&events), OF_A_CLIENT);
    let details = format!("{:?}", events.audit_events[2].details);
    assert!(details.contains("last_name") && !details.contains("King"), "{details}");
}

/// How much it was about and why is recorded with what happened to a payment.
#[tokio::test]
async fn a_record_says_how_much_went_and_why() {
    let till = Till::open().await;
    let first = till.paid("30").await;
    let request = pb::RefundPaymentRequest {
        id: first.id,
        amount: money("", "12.5"),
        reason: "Cancelled a lesson.".into(),
        ..Default::default()
    };
    till.service().refund_payment(signed(&till.ana, request)).await.unwrap();
    till.dispute(first.id).await.unwrap();
    till.resolve(first.id, pb::DisputeOutcome::Won).await.unwrap();
    let second = till.paid("7").await;
    let request = pb::MarkPaymentFailedRequest {
        id: second.id,
        reason: "Bounced.".into(),
        ..Default::default()
    };
    till.service().mark_payment_failed(signed(&till.ana, request)).await.unwrap();
    till.void(second.id).await.unwrap();
    let details: Vec<(String, serde_json::Value)> = sqlx::query_as(
        "SELECT action, details FROM crm.audit_events
         WHERE subject = 'payment' AND action <> 'payment.create' ORDER BY id",
    )
    .fetch_all(&till.crm.database.owner)
    .await
    .unwrap();
    let of = |action: &str, amount: &str, reason: Option<&str>| {
        let amount = serde_json::json!({ "currency_code": "EUR", "amount": amount });
        let mut details = serde_json::json!({ "amount": amount });
        if let Some(reason) = reason {
            details["reason"] = reason.into();
        }
        (action.to_owned(), details)
    };
    assert_eq!(
        details,
        [
            of("payment.refund", "12.50", Some("Cancelled a lesson.")),
            of("payment.dispute", "17.50", Some("fraudulent")),
            of("payment.win_dispute", "17.50", None),
            of("payment.fail", "7.00", Some("Bounced.")),
            of("payment.void", "7.00", Some("entered twice")),
        ]
    );
}

/// Security checklist 60.
#[tokio::test]
async fn an_act_and_its_record_are_of_one_transaction() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let id = crm.create(&ana, named("Ada", "")).await.id;
    let same = async || {
        let transactions: (String, String) = sqlx::query_as(
            "SELECT c.xmin::text, a.xmin::text
             FROM crm.clients c, crm.audit_events a ORDER BY a.id DESC LIMIT 1",
        )
        .fetch_one(&crm.database.owner)
        .await
        .unwrap();
        transactions.0 == transactions.1
    };
    assert!(same().await, "create");
    let client = Some(pb::Client { id, last_name: "King".into(), ..Default::default() });
    let update = pb::UpdateClientRequest { client, ..Default::default() };
    crm.clients().update_client(signed(&ana, update)).await.unwrap();
    assert!(same().await, "update");
    crm.delete(&ana, id).await;
    assert!(same().await, "delete");
    let undelete = pb::UndeleteClientRequest { id, ..Default::default() };
    crm.clients().undelete_client(signed(&ana, undelete)).await.unwrap();
    assert!(same().await, "undelete");
    // And it can fail.
    crm.database.execute("UPDATE crm.clients SET notes = 'by hand'").await;
    assert!(!same().await);
}

/// Security checklist 60: a refusal is in the log, and not here.
#[tokio::test]
async fn what_changes_nothing_and_what_is_refused_leave_no_record() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    let employee = crm.add(&ana, "employee", Role::Employee).await;
    let client = crm.create(&ana, named("Ada", "")).await;
    let id = client.id;
    let newest = || async { list(&crm, &ana, any()).await.unwrap().audit_events.len() };
    assert_eq!(newest().await, 1);
    let update = pb::UpdateClientRequest { client: Some(client), ..Default::default() };
    crm.clients().update_client(signed(&ana, update)).await.unwrap();
    let undelete = pb::UndeleteClientRequest { id, ..Default::default() };
    crm.clients().undelete_client(signed(&ana, undelete)).await.unwrap();
    let delete = pb::DeleteClientRequest { id, ..Default::default() };
    refusal(crm.clients().delete_client(signed(&employee, delete.clone())).await);
    let stale = pb::DeleteClientRequest { etag: "stale".into(), ..delete };
    refusal(crm.clients().delete_client(signed(&ana, stale)).await);
    assert_eq!(newest().await, 1);
}

/// Security checklist 60.
#[tokio::test]
async fn nobody_changes_a_record() {
    let crm = Crm::start().await;
    let ana = crm.sign_up("ana").await;
    crm.create(&ana, named("Ada", "")).await;
    let times = async || -> Vec<DateTime<Utc>> {
        let times = sqlx::query_scalar("SELECT time FROM crm.audit_events");
        times.fetch_all(&crm.database.owner).await.unwrap()
    };
    let before = times().await;
    assert_eq!(before.len(), 1);
    for role in ["crm_app", "crm_lookup"] {
        let mut service = connected_as(&crm.database, role).await;
        let statements = [
            "UPDATE crm.audit_events SET action = 'nothing'",
            "DELETE FROM crm.audit_events",
            "TRUNCATE crm.audit_events",
        ];
        may_not(&mut service, &statements).await;
    }
    // Who sweeps deletes what is old and nothing else.
    let mut service = connected_as(&crm.database, "crm_sweep").await;
    may_not(&mut service, &["UPDATE crm.audit_events SET action = 'nothing'"]).await;
    sqlx::query("DELETE FROM crm.audit_events").execute(&mut service).await.unwrap();
    assert_eq!(times().await, before);
}
