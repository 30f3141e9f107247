//! Beside the tables of the applications that were there before, in one database.

use std::time::Duration;

use crm_service::SCHEMA;
use proto::crm::v1 as pb;
use service_kit::{db::migrate, testing::cluster};
use sqlx::{Executor, PgPool};
use tokio::time::timeout;

use crate::support::{Crm, SERVICE_SECRET, named, signed};

const TABLES: [&str; 4] = ["auth_user", "authtoken_token", "employees", "employee_tokens"];

/// As the applications made them.
const LEGACY: &str = "
    CREATE TABLE auth_user (id serial PRIMARY KEY, username varchar(150) UNIQUE, email text);
    CREATE TABLE authtoken_token (
        key varchar(40) PRIMARY KEY, created timestamptz NOT NULL DEFAULT now(),
        user_id integer NOT NULL UNIQUE REFERENCES auth_user (id));
    CREATE TABLE employees (id serial PRIMARY KEY, email text, name text);
    CREATE TABLE employee_tokens (
        key varchar(40) PRIMARY KEY, created timestamptz NOT NULL DEFAULT now(),
        user_id integer NOT NULL REFERENCES employees (id) ON DELETE CASCADE);
    INSERT INTO auth_user (username, email) SELECT 'user' || n, n || '@old.example'
    FROM generate_series(1, 50) n;
    INSERT INTO authtoken_token (key, user_id) SELECT md5(id::text), id FROM auth_user;
    INSERT INTO employees (email, name) SELECT email, username FROM auth_user;
    INSERT INTO employee_tokens (key, user_id) SELECT md5(id::text), id FROM employees";

/// What is in the tables, and where each row lies.
async fn contents(owner: &PgPool) -> Vec<String> {
    let mut contents = Vec::new();
    for table in TABLES {
        let text = format!(
            "SELECT coalesce(string_agg(t.ctid::text || t.xmin::text || t::text, ',' ORDER BY t.ctid), '')
             FROM public.{table} t"
        );
        contents
            .push(sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(owner).await.unwrap());
    }
    contents
}

/// Security checklist 61 and 64: whoever holds all of them is not waited for.
#[tokio::test]
async fn migrating_and_working_leaves_the_tables_of_others_alone() {
    let settings = cluster::empty_database().await;
    let owner = PgPool::connect(settings.url.expose()).await.unwrap();
    owner.execute(LEGACY).await.unwrap();
    let before = contents(&owner).await;
    let mut holder = owner.begin().await.unwrap();
    let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", TABLES.join(", "));
    holder.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();

    let patience = Duration::from_secs(60);
    timeout(patience, migrate(&settings, &SCHEMA)).await.expect("nobody is waited for").unwrap();
    let work = async {
        let database = settings.clone();
        let crm = Crm::with(SERVICE_SECRET, |ours| ours.database = Some(database)).await;
        let ana = crm.sign_up("ana").await;
        let bob = crm.hire(&ana, "bob").await;
        let client = pb::Client { coach_id: bob.id, ..named("Ada", "Lovelace") };
        let client = crm.create(&ana, client).await;
        crm.delete(&ana, client.id).await;
        let request = pb::ListClientsRequest { search: "ada".into(), ..Default::default() };
        assert!(crm.list(&ana, request).await.clients.is_empty());
        let statistics = pb::GetClientStatisticsRequest::default();
        crm.clients().get_client_statistics(signed(&ana, statistics)).await.unwrap();
    };
    timeout(patience, work).await.expect("nobody is waited for");
    holder.rollback().await.unwrap();
    assert_eq!(contents(&owner).await, before);

    // Nor could they be read.
    let mut service = owner.acquire().await.unwrap();
    for role in ["crm_app", "crm_lookup", "crm_sweep"] {
        service.execute(sqlx::AssertSqlSafe(format!("SET ROLE {role}"))).await.unwrap();
        for table in TABLES {
            let read = format!("SELECT 1 FROM public.{table}");
            let refused = service.execute(sqlx::AssertSqlSafe(read)).await.unwrap_err();
            let code = refused.as_database_error().and_then(sqlx::error::DatabaseError::code);
            assert_eq!(code.as_deref(), Some("42501"), "{role}: {table}");
        }
    }
}
