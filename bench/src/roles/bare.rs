//! References: what tonic and sqlx cost by themselves.
//!
//! The same messages, rows, pool and build as the subjects; no authorisation, no row security, no
//! layers, no log.

use std::{collections::BTreeMap, convert::Infallible, future::Future, sync::Arc};

use axum::{Router, body::Body, extract::State, routing::any};
use chrono::{DateTime, Utc};
use http::{Request, Response};
use prost::Message;
use proto::{
    crm::v1::{self as crm, ClientStatus},
    identity::v1::{self as identity, validate_token_response::Outcome as Validated},
};
use sqlx::{PgPool, postgres::PgPoolOptions, types::Json};
use tokio::net::TcpListener;
use tonic::{
    Status,
    server::Grpc,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::say_where;
use crate::Outcome;

pub const DATABASE_URL: &str = "BENCH_DATABASE_URL";
pub const POOL_SIZE: &str = "BENCH_POOL_SIZE";

/// Answers at once.
pub const UNARY: &str = "/bare.Bare/Unary";
/// Looks a token up by its primary key.
pub const VALIDATE: &str = "/bare.Bare/Validate";
/// Reads a client by its primary key.
pub const GET: &str = "/bare.Bare/Get";
/// Reads a page of clients.
pub const LIST: &str = "/bare.Bare/List";
/// Inserts one row, durably.
pub const INSERT: &str = "/bare.Bare/Insert";

/// Serves until it is killed.
pub async fn serve() -> Outcome<()> {
    let size = std::env::var(POOL_SIZE)?.parse()?;
    let pool = PgPoolOptions::new().max_connections(size).test_before_acquire(false);
    let bare = Bare { pool: pool.connect(&std::env::var(DATABASE_URL)?).await? };
    let router = Router::new()
        .route(UNARY, any(unary))
        .route(VALIDATE, any(validate))
        .route(GET, any(get))
        .route(LIST, any(list))
        .route(INSERT, any(insert))
        .with_state(Arc::new(bare));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say_where(listener.local_addr()?);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder().add_routes(Routes::from(router)).serve_with_incoming(incoming).await?;
    Ok(())
}

struct Bare {
    pool: PgPool,
}

type Shared = State<Arc<Bare>>;
type Answer = Result<Response<tonic::body::Body>, Infallible>;

/// One unary call.
async fn answer<Q, A, F>(request: Request<Body>, work: impl Fn(Q) -> F + Clone) -> Answer
where
    Q: Message + Default + Send + 'static,
    A: Message + Send + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    let work = service_fn(move |request: tonic::Request<Q>| {
        let work = work(request.into_inner());
        async move { Ok(tonic::Response::new(work.await?)) }
    });
    Ok(Grpc::new(ProstCodec::<A, Q>::default()).unary(work, request).await)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn broken(error: sqlx::Error) -> Status {
    Status::internal(error.to_string())
}

async fn unary(State(_): Shared, request: Request<Body>) -> Answer {
    answer(request, |_: identity::ValidateTokenRequest| async {
        Ok(identity::ValidateTokenResponse::default())
    })
    .await
}

/// The answer is as long as a real one.
async fn validate(State(bare): Shared, request: Request<Body>) -> Answer {
    answer(request, move |request: identity::ValidateTokenRequest| {
        let pool = bare.pool.clone();
        async move {
            let query = "SELECT account_id, user_id FROM identity.employee_tokens WHERE key = $1";
            let (account_id, employee_id): (i64, i64) = sqlx::query_as(query)
                .bind(request.credential)
                .fetch_one(&pool)
                .await
                .map_err(broken)?;
            let kind = identity::actor::Kind::EmployeeId(employee_id);
            let found = identity::Identity {
                actor: Some(identity::Actor { kind: Some(kind) }),
                account_id,
                account_settings: Some(identity::AccountSettings {
                    default_currency: "USD".to_owned(),
                    time_zone: "UTC".to_owned(),
                    ..Default::default()
                }),
                role: 3,
                permissions: (1..=20).collect(),
                system_roles: vec![1, 2],
                ..Default::default()
            };
            let position = identity::LogPosition {
                epoch: "00000000-0000-0000-0000-000000000000".to_owned(),
                number: 1,
            };
            Ok(identity::ValidateTokenResponse {
                outcome: Some(Validated::Identity(found)),
                log_position: Some(position),
            })
        }
    })
    .await
}

macro_rules! client_columns {
    () => {
        "id, create_time, first_name, last_name, email, phone_number, status, coach_id, closer_id,
         setter_id, country, currency, notes, labels, update_time, delete_time, version"
    };
}

#[derive(sqlx::FromRow)]
struct ClientRow {
    id: i64,
    create_time: DateTime<Utc>,
    first_name: String,
    last_name: String,
    email: String,
    phone_number: String,
    status: String,
    coach_id: Option<i64>,
    closer_id: Option<i64>,
    setter_id: Option<i64>,
    country: String,
    currency: String,
    notes: String,
    labels: Json<BTreeMap<String, String>>,
    update_time: DateTime<Utc>,
    delete_time: Option<DateTime<Utc>>,
    version: i64,
}

fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0);
    prost_types::Timestamp { seconds: time.timestamp(), nanos }
}

impl From<ClientRow> for crm::Client {
    fn from(row: ClientRow) -> Self {
        let status = format!("CLIENT_STATUS_{}", row.status.to_ascii_uppercase());
        Self {
            id: row.id,
            first_name: row.first_name,
            last_name: row.last_name,
            email: row.email,
            phone_number: row.phone_number,
            status: ClientStatus::from_str_name(&status).unwrap_or_default().into(),
            coach_id: row.coach_id.unwrap_or(0),
            closer_id: row.closer_id.unwrap_or(0),
            setter_id: row.setter_id.unwrap_or(0),
            country: row.country,
            currency: row.currency,
            notes: row.notes,
            labels: row.labels.0,
            create_time: Some(timestamp(row.create_time)),
            update_time: Some(timestamp(row.update_time)),
            delete_time: row.delete_time.map(timestamp),
            etag: row.version.to_string(),
        }
    }
}

async fn get(State(bare): Shared, request: Request<Body>) -> Answer {
    let account_id = account_id(&request);
    answer(request, move |request: crm::GetClientRequest| {
        let pool = bare.pool.clone();
        async move {
            let query = concat!(
                "SELECT ",
                client_columns!(),
                " FROM crm.clients WHERE account_id = $1 AND id = $2 AND delete_time IS NULL"
            );
            let row: ClientRow = sqlx::query_as(query)
                .bind(account_id)
                .bind(request.id)
                .fetch_one(&pool)
                .await
                .map_err(broken)?;
            Ok(crm::GetClientResponse { client: Some(row.into()) })
        }
    })
    .await
}

async fn list(State(bare): Shared, request: Request<Body>) -> Answer {
    let account_id = account_id(&request);
    answer(request, move |_: crm::ListClientsRequest| {
        let pool = bare.pool.clone();
        async move {
            let query = concat!(
                "SELECT ",
                client_columns!(),
                " FROM crm.clients WHERE account_id = $1 AND delete_time IS NULL
                  ORDER BY create_time DESC, id DESC LIMIT 51"
            );
            let mut rows: Vec<ClientRow> =
                sqlx::query_as(query).bind(account_id).fetch_all(&pool).await.map_err(broken)?;
            rows.truncate(50);
            let clients = rows.into_iter().map(Into::into).collect();
            Ok(crm::ListClientsResponse { clients, ..Default::default() })
        }
    })
    .await
}

async fn insert(State(bare): Shared, request: Request<Body>) -> Answer {
    answer(request, move |request: crm::GetClientRequest| {
        let pool = bare.pool.clone();
        async move {
            let query =
                "INSERT INTO bench.rows (client_id, note) VALUES ($1, 'a payment') RETURNING id";
            let (id,): (i64,) =
                sqlx::query_as(query).bind(request.id).fetch_one(&pool).await.map_err(broken)?;
            let client = crm::Client { id, ..Default::default() };
            Ok(crm::GetClientResponse { client: Some(client) })
        }
    })
    .await
}

/// The metadata in which the caller of a reference says whose rows it wants.
pub const ACCOUNT: &str = "bench-account";

fn account_id(request: &Request<Body>) -> i64 {
    let value = request.headers().get(ACCOUNT).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}
