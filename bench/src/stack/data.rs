//! Accounts to measure with: signed up as anybody signs up, filled in bulk.

use proto::{
    crm::v1::{self as crm, client_service_client::ClientServiceClient},
    identity::v1::{self as identity, auth_service_client::AuthServiceClient},
};
use sqlx::{AssertSqlSafe, PgPool};
use tonic::{metadata::AsciiMetadataValue, transport::Channel};
use uuid::Uuid;

use super::Stack;
use crate::Outcome;

/// With which everybody in the data logs in.
pub const LOADED_PASSWORD: &str = "correct horse battery";
/// Rows of one statement.
const BATCH: u64 = 100_000;
/// Of how many clients ids are known: calls about one go to these.
const KNOWN: i64 = 10_000;

/// An account, its super admin, and what they call with.
pub struct Account {
    pub id: i64,
    pub employee_id: i64,
    pub email: String,
    pub token: String,
    /// Under which the token is stored.
    pub token_key: String,
    /// Some of its clients.
    pub clients: Vec<i64>,
}

impl Account {
    pub(super) async fn load(stack: &Stack, clients: u64) -> Outcome<Self> {
        let mut account = sign_up(stack).await?;
        let owner = stack.owner();
        // The first one by a call, so that crm-service has met the account.
        create_client(stack, &account).await?;
        let mut made = 1;
        while made < clients {
            let batch = BATCH.min(clients - made);
            insert_clients(owner, account.id, made, made + batch).await?;
            made += batch;
        }
        settle(owner, account.id).await?;
        account.token_key =
            sqlx::query_scalar("SELECT key FROM identity.employee_tokens WHERE user_id = $1")
                .bind(account.employee_id)
                .fetch_one(owner)
                .await?;
        account.clients =
            sqlx::query_scalar("SELECT id FROM crm.clients WHERE account_id = $1 LIMIT $2")
                .bind(account.id)
                .bind(KNOWN)
                .fetch_all(owner)
                .await?;
        Ok(account)
    }

    /// What goes into `authorization`.
    pub fn authorization(&self) -> String {
        format!("Token {}", self.token)
    }

    /// Other accounts beside this one, so that there are so many, each with 100 clients.
    pub async fn neighbours(&self, stack: &Stack, accounts: i64) -> Outcome<()> {
        let owner = stack.owner();
        let there: i64 =
            sqlx::query_scalar("SELECT count(*) FROM crm.accounts").fetch_one(owner).await?;
        let more = accounts - there;
        if more <= 0 {
            return Ok(());
        }
        // Ids that the services do not give out in a lifetime.
        let insert = "WITH made AS (
                 INSERT INTO crm.accounts (id)
                 SELECT 1000000000 + $1 + n FROM generate_series(1, $2) n RETURNING id)
             INSERT INTO crm.clients
                 (account_id, first_name, last_name, name_key, email, email_key, phone_number,
                  status, country, currency, notes, labels, create_time, update_time)
             SELECT made.id, 'First', 'Last', 'last first', '', NULL, '', 'active', 'NL', 'USD', '',
                 '{}', now(), now()
             FROM made, generate_series(1, 100)";
        sqlx::query(insert).bind(there).bind(more).execute(owner).await?;
        sqlx::raw_sql("VACUUM ANALYZE crm.clients").execute(owner).await?;
        Ok(())
    }

    /// An instalment of each of so many clients, never to be paid off: `(client, instalment)`.
    pub async fn instalments(&self, stack: &Stack, clients: i64) -> Outcome<Vec<(i64, i64)>> {
        let insert = "INSERT INTO crm.instalments
                 (account_id, client_id, instalment_number, currency, amount, schedule_date, state,
                  create_time, update_time)
             SELECT account_id, id, 1, 'USD', 1000000000000, '2025-01-31', 'open', now(), now()
             FROM crm.clients WHERE account_id = $1 LIMIT $2
             RETURNING client_id, id";
        let made = sqlx::query_as(insert).bind(self.id).bind(clients);
        let made = made.fetch_all(stack.owner()).await?;
        sqlx::raw_sql("VACUUM ANALYZE crm.instalments").execute(stack.owner()).await?;
        Ok(made)
    }
}

async fn sign_up(stack: &Stack) -> Outcome<Account> {
    let channel = connect(&stack.identity.address.to_string()).await?;
    let email = format!("{}@bench.example", Uuid::new_v4().simple());
    let request = identity::SignUpRequest {
        account: Some(identity::SignUpAccount { name: "Bench".into(), ..Default::default() }),
        employee: Some(identity::SignUpEmployee {
            name: "Ana".into(),
            email: email.clone(),
            password: LOADED_PASSWORD.into(),
        }),
        ..Default::default()
    };
    let answer = AuthServiceClient::new(channel).sign_up(request).await?.into_inner();
    let employee = answer.employee.ok_or("a sign-up makes an employee")?;
    Ok(Account {
        id: employee.account_id,
        employee_id: employee.id,
        email,
        token: answer.token,
        token_key: String::new(),
        clients: Vec::new(),
    })
}

async fn create_client(stack: &Stack, account: &Account) -> Outcome<()> {
    let channel = connect(&stack.crm.address.to_string()).await?;
    let client = crm::Client { first_name: "Ada".into(), ..Default::default() };
    let request = crm::CreateClientRequest { client: Some(client), ..Default::default() };
    let mut request = tonic::Request::new(request);
    let authorization: AsciiMetadataValue = account.authorization().parse()?;
    request.metadata_mut().insert("authorization", authorization);
    ClientServiceClient::new(channel).create_client(request).await?;
    Ok(())
}

async fn connect(address: &str) -> Outcome<Channel> {
    Ok(Channel::from_shared(format!("http://{address}"))?.connect().await?)
}

/// Clients number `from` to `to`, with the words by which they are found.
async fn insert_clients(owner: &PgPool, account_id: i64, from: u64, to: u64) -> Outcome<()> {
    let insert = format!(
        "WITH made AS (
             INSERT INTO crm.clients
                 (account_id, first_name, last_name, name_key, email, email_key, phone_number,
                  status, country, currency, notes, labels, create_time, update_time)
             SELECT {account_id}, 'First' || n, 'Last' || n, 'last' || n || ' first' || n,
                 'client' || n || '@example.com', 'client' || n || '@example.com', '+31 20 1234567',
                 (ARRAY['active', 'inactive', 'onboarding', 'paused', 'cancelled'])[1 + n % 5],
                 'NL', 'USD', 'Met at the fair, wants to be called on Mondays.', '{{\"tier\": \"gold\"}}',
                 now() - (interval '1 second' * (10000000 - n)), now()
             FROM generate_series({from}, {last}) n
             RETURNING account_id, id, first_name, last_name, email_key)
         INSERT INTO crm.client_search_words (account_id, word, client_id)
         SELECT account_id, lower(word), id
         FROM made, unnest(ARRAY[first_name, last_name, email_key]) word",
        last = to - 1
    );
    sqlx::query(AssertSqlSafe(insert)).execute(owner).await?;
    Ok(())
}

/// What the services keep beside the rows, and what the planner knows of them.
async fn settle(owner: &PgPool, account_id: i64) -> Outcome<()> {
    let counts = "INSERT INTO crm.client_counts (account_id, employee_id, status, clients)
         SELECT account_id, 0, status, count(*) FROM crm.clients
         WHERE account_id = $1 AND delete_time IS NULL GROUP BY account_id, status
         ON CONFLICT (account_id, employee_id, status) DO UPDATE SET clients = excluded.clients";
    sqlx::query(counts).bind(account_id).execute(owner).await?;
    let vacuum = "VACUUM ANALYZE crm.clients; VACUUM ANALYZE crm.client_search_words;
                  VACUUM ANALYZE crm.client_counts; VACUUM ANALYZE identity.employee_tokens";
    for statement in vacuum.split(';') {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(owner).await?;
    }
    Ok(())
}
