//! Accounts with facts planted by hand, and the questions that reports answer.

use proto::{
    common::v1::{Permission, Role},
    crm::v1::{self as pb, RevenueInterval, report_service_client::ReportServiceClient},
};
use service_kit::access::permission_name;
use sqlx::AssertSqlSafe;
use tonic::{Status, transport::Channel};

use crate::{
    audit::me,
    support::{Crm, Person, signed},
};

/// An account, and those of its people who are in this.
pub struct Stage {
    pub crm: Crm,
    pub owner: Person,
    account_id: i64,
}

impl Stage {
    /// An account with nobody in it but its owner, whose days are those of a place.
    pub async fn set(zone: &str) -> Self {
        let crm = Crm::start().await;
        let owner = crm.sign_up("owner").await;
        let account_id = me(&crm, &owner).await.account_id;
        let stage = Self { crm, owner, account_id };
        stage.move_to(zone).await;
        stage
            .execute("INSERT INTO crm.accounts (id) VALUES ({account}) ON CONFLICT DO NOTHING")
            .await;
        stage
    }

    pub async fn move_to(&self, zone: &str) {
        let update = format!("UPDATE identity.accounts SET time_zone = '{zone}'");
        self.crm.identity.database.execute(&update).await;
    }

    pub async fn show_only_what_is_assigned(&self) {
        let update = "UPDATE identity.accounts SET employee_client_visibility = 'assigned'";
        self.crm.identity.database.execute(update).await;
    }

    /// Runs a statement on the CRM; `{account}` stands for the account.
    pub async fn execute(&self, statement: &str) {
        let statement = statement.replace("{account}", &self.account_id.to_string());
        self.crm.database.execute(&statement).await;
    }

    /// An employee to whom these were granted.
    pub async fn employee(&self, name: &str, permissions: &[Permission]) -> (Person, i64) {
        let person = self.crm.add(&self.owner, name, Role::Employee).await;
        let id = me(&self.crm, &person).await.id;
        let names: Vec<_> = permissions.iter().map(|it| permission_name(*it)).collect();
        let grant = format!(
            "UPDATE identity.employees SET permissions = '{{{}}}' WHERE id = {id}",
            names.join(",")
        );
        self.crm.identity.database.execute(&grant).await;
        (person, id)
    }

    /// Makes somebody the coach of some clients.
    pub async fn put_in_charge(&self, person: &Person, id: i64, clients: &str) {
        let name = me(&self.crm, person).await.name;
        self.execute(&format!(
            "INSERT INTO crm.employees VALUES ({{account}}, {id}, '{name}', 'active', '', 1)
             ON CONFLICT DO NOTHING;
             INSERT INTO crm.client_members
             SELECT account_id, {id}, id, true, false, false, create_time, name_key,
                 delete_time IS NULL
             FROM crm.clients WHERE account_id = {{account}} AND {clients};
             UPDATE crm.clients SET coach_id = {id} WHERE account_id = {{account}} AND {clients}"
        ))
        .await;
    }

    /// A client with one payment of 1.00 EUR at each of some instants.
    pub async fn payments_at(&self, instants: &[&str]) {
        self.execute(
            "INSERT INTO crm.clients
                 (account_id, id, first_name, last_name, name_key, email, phone_number, status,
                  country, currency, notes, labels, create_time, update_time)
             VALUES ({account}, 1, 'Ada', '', 'ada', '', '', 'active', '', 'EUR', '', '{}', now(), now())",
        )
        .await;
        for instant in instants {
            self.execute(&format!(
                "INSERT INTO crm.payments (account_id, client_id, currency, amount, paid_at,
                     external_reference, notes, create_time, update_time)
                 VALUES ({{account}}, 1, 'EUR', 100, '{instant}', '', '', now(), now())"
            ))
            .await;
        }
    }

    /// Twelve employees, eighty clients with all that is due from and was paid by them, and the
    /// same of another account.
    pub async fn crowd(&self) {
        for account in [self.account_id, self.account_id + 1000] {
            let crowd = CROWD.replace("{account}", &account.to_string());
            self.crm.database.execute(&crowd).await;
        }
    }

    pub async fn rows<T>(&self, columns_and_table: &str) -> Vec<T>
    where
        T: Send + Unpin + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
    {
        let query = format!("SELECT {columns_and_table} WHERE account_id = {}", self.account_id);
        sqlx::query_as(AssertSqlSafe(query)).fetch_all(&self.crm.database.owner).await.unwrap()
    }

    pub fn reports(&self) -> ReportServiceClient<Channel> {
        ReportServiceClient::new(self.crm.channel.clone())
    }

    pub async fn series(
        &self,
        by: &Person,
        (from, until): (&str, &str),
        interval: RevenueInterval,
    ) -> Result<pb::GetRevenueSeriesResponse, Status> {
        let request = pb::GetRevenueSeriesRequest {
            from_date: from.into(),
            until_date: until.into(),
            interval: interval.into(),
            currency: String::new(),
        };
        Ok(self.reports().get_revenue_series(signed(by, request)).await?.into_inner())
    }

    pub async fn receivables(
        &self,
        by: &Person,
        as_of_date: &str,
    ) -> Result<pb::GetReceivablesResponse, Status> {
        let request = pb::GetReceivablesRequest { as_of_date: as_of_date.into() };
        Ok(self.reports().get_receivables(signed(by, request)).await?.into_inner())
    }

    pub async fn team(
        &self,
        by: &Person,
        (from, until): (&str, &str),
    ) -> Result<pb::GetTeamPerformanceResponse, Status> {
        let request =
            pb::GetTeamPerformanceRequest { from_date: from.into(), until_date: until.into() };
        Ok(self.reports().get_team_performance(signed(by, request)).await?.into_inner())
    }
}

/// A fifth of the clients is deleted, some have nobody, some have one employee in two parts. Of
/// the payments some are refunded, in part or whole, some failed, disputed or voided, some huge;
/// half of them lie around the midnights of places where days are shorter and longer.
const CROWD: &str = "
    SELECT setseed(0.42);
    INSERT INTO crm.accounts (id) VALUES ({account}) ON CONFLICT DO NOTHING;
    INSERT INTO crm.employees
    SELECT {account}, {account} * 100 + n, 'Employee ' || n,
        CASE n WHEN 3 THEN 'inactive' ELSE 'active' END, '', n
    FROM generate_series(1, 12) n;
    INSERT INTO crm.clients
        (account_id, id, first_name, last_name, name_key, email, phone_number, status, country,
         currency, notes, labels, create_time, update_time, delete_time, coach_id, closer_id,
         setter_id)
    SELECT {account}, {account} * 1000 + n, 'First', 'Last', 'last', '', '', 'active', '', 'EUR',
        '', '{}', now(), now(), CASE WHEN n % 5 = 0 THEN now() END,
        {account} * 100 + nullif(n % 6, 0), {account} * 100 + nullif(n % 8, 0),
        {account} * 100 + nullif(n % 11, 0)
    FROM generate_series(1, 80) n;
    INSERT INTO crm.client_members
    SELECT account_id, employee_id, id, employee_id IS NOT DISTINCT FROM coach_id,
        employee_id IS NOT DISTINCT FROM closer_id, employee_id IS NOT DISTINCT FROM setter_id,
        create_time, name_key, delete_time IS NULL
    FROM crm.clients, LATERAL (
        SELECT DISTINCT unnest(ARRAY[coach_id, closer_id, setter_id]) AS employee_id) AS member
    WHERE account_id = {account} AND employee_id IS NOT NULL;
    WITH drawn AS MATERIALIZED (
        SELECT {account} * 1000 + 1 + floor(random() * 80)::bigint AS client_id,
            1 + floor(random() * 3)::int AS currency, floor(random() * 12) AS kind,
            CASE WHEN random() < 0.02 THEN 1000000000000000 ELSE 3 + floor(random() * 100000) END::bigint AS amount,
            floor(random() * 1200)::int AS day, 1 + floor(random() * 6)::int AS place,
            1 + floor(random() * 5)::int AS edge, random() AS time
        FROM generate_series(1, 1500))
    INSERT INTO crm.payments
        (account_id, client_id, currency, amount, refunded, has_failed, dispute, void_time,
         paid_at, external_reference, notes, create_time, update_time)
    SELECT {account}, client_id, (ARRAY['EUR', 'JPY', 'KWD'])[currency], amount,
        CASE WHEN kind IN (1, 2) THEN amount / 3 WHEN kind IN (3, 4) THEN amount ELSE 0 END,
        kind = 5,
        CASE WHEN kind IN (2, 4, 6) THEN 'open' WHEN kind = 7 THEN 'lost' WHEN kind = 8 THEN 'won'
             ELSE '' END,
        CASE WHEN kind = 9 THEN now() END,
        CASE WHEN time < 0.5 THEN timestamptz '2022-06-01' + day * interval '1 day' * time
             ELSE (date '2022-06-01' + day)::timestamp AT TIME ZONE
                      (ARRAY['Europe/Amsterdam', 'America/New_York', 'Asia/Kolkata',
                             'Atlantic/Azores', 'Pacific/Apia', 'UTC'])[place]
                  + (ARRAY['-1 hour', '-1 microsecond', '0', '1 microsecond', '59 minutes'])[edge]::interval
        END, '', '', now(), now()
    FROM drawn;
    WITH drawn AS MATERIALIZED (
        SELECT {account} * 1000 + 1 + floor(random() * 80)::bigint AS client_id,
            1 + floor(random() * 3)::int AS currency, 1 + floor(random() * 3)::int AS state,
            CASE WHEN random() < 0.02 THEN 1000000000000000 ELSE 4 + floor(random() * 100000) END::bigint AS amount,
            floor(random() * 4) AS quarters, floor(random() * 300)::int AS day
        FROM generate_series(1, 900))
    INSERT INTO crm.instalments
        (account_id, client_id, instalment_number, currency, amount, allocated, state,
         schedule_date, create_time, update_time)
    SELECT {account}, client_id, 1, (ARRAY['EUR', 'JPY', 'KWD'])[currency], amount,
        CASE quarters WHEN 3 THEN amount ELSE floor(amount * quarters / 4) END,
        (ARRAY['open', 'failed', 'closed'])[state], date '2024-12-31' - 200 + day, now(), now()
    FROM drawn;";
