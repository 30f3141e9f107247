//! Queries for reports.

use service_kit::{caller::Tz, clock, db::TenantTx, error::Error, sql};

use super::model::{AsOf, Days, Owed, Paid, Part, Series};
use crate::visibility::Scope;

/// What payments `p` add up to, for a [`Revenue`](super::model::Revenue).
macro_rules! sums {
    () => {
        "p.currency, count(*) AS payments, sum(p.amount)::text AS gross,
         sum(p.refunded)::text AS refunded,
         coalesce(sum(p.amount - p.refunded) FILTER (WHERE p.dispute IN ('open', 'lost')), 0)::text
             AS disputed"
    };
}

/// That a payment `p` of the account $1 counts, and was paid from the day $2 to the day $3 in
/// the time zone $4. The instants reach a day further on both sides, for the index: where clocks
/// are put back at midnight a day begins twice, and only its date tells which is which.
macro_rules! counts {
    () => {
        "p.account_id = $1 AND p.void_time IS NULL AND NOT p.has_failed
         AND p.paid_at >= ($2::date - 1)::timestamp AT TIME ZONE $4::text
         AND p.paid_at < ($3::date + 2)::timestamp AT TIME ZONE $4::text
         AND (p.paid_at AT TIME ZONE $4::text)::date BETWEEN $2::date AND $3::date"
    };
}

/// What was paid in each period and currency.
pub async fn revenue(
    tx: &mut TenantTx,
    series: &Series,
    zone: Tz,
    scope: Scope,
) -> Result<Vec<Paid>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT date_trunc($5::text, p.paid_at AT TIME ZONE $4::text)::date AS period, ",
        sums!(),
        " FROM crm.payments p
         WHERE ",
        counts!(),
        " AND ($6::text IS NULL OR p.currency = $6)
           AND ($7::bigint IS NULL OR p.client_id IN (
               SELECT client_id FROM crm.client_members WHERE account_id = $1 AND employee_id = $7))
         GROUP BY period, p.currency
         ORDER BY period, p.currency"
    ))
    .bind(account_id)
    .bind(series.days.from)
    .bind(series.days.until)
    .bind(clock::zone_name(zone))
    .bind(series.interval.unit())
    .bind(series.currency.map(service_kit::fields::Currency::code))
    .bind(scope.employee_id());
    tx.all(query).await
}

/// What is owed in each currency, by age.
pub async fn receivables(tx: &mut TenantTx, as_of: AsOf, scope: Scope) -> Result<Vec<Owed>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT i.currency, width_bucket($2::date - i.schedule_date, ARRAY[1, 31, 61, 91]) AS age,
             count(*) AS instalments, sum(i.amount - i.allocated)::text AS amount
         FROM crm.instalments i
         JOIN crm.clients c
             ON c.account_id = $1 AND c.id = i.client_id AND c.delete_time IS NULL
         WHERE i.account_id = $1 AND i.status IN ('open', 'failed')
           AND ($3::bigint IS NULL OR i.client_id IN (
               SELECT client_id FROM crm.client_members WHERE account_id = $1 AND employee_id = $3))
         GROUP BY i.currency, age
         ORDER BY i.currency, age"
    ))
    .bind(account_id)
    .bind(as_of.day())
    .bind(scope.employee_id());
    tx.all(query).await
}

/// In how many clients each employee has which part, and what these paid in each currency;
/// without a currency where they paid nothing.
pub async fn team(
    tx: &mut TenantTx,
    days: Days,
    zone: Tz,
    scope: Scope,
) -> Result<Vec<Part>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "WITH parts AS (
             SELECT held.employee_id, held.part, c.id AS client_id
             FROM crm.clients c
             CROSS JOIN LATERAL (VALUES
                 (c.coach_id, 'coach'), (c.closer_id, 'closer'), (c.setter_id, 'setter')
             ) AS held (employee_id, part)
             WHERE c.account_id = $1 AND c.delete_time IS NULL AND held.employee_id IS NOT NULL
               AND ($5::bigint IS NULL OR c.id IN (
                   SELECT client_id FROM crm.client_members
                   WHERE account_id = $1 AND employee_id = $5))
         ), sizes AS (
             SELECT employee_id, part, count(*) AS clients FROM parts GROUP BY employee_id, part
         ), paid AS (
             SELECT parts.employee_id, parts.part, ",
        sums!(),
        "    FROM parts JOIN crm.payments p ON p.client_id = parts.client_id
             WHERE ",
        counts!(),
        "    GROUP BY parts.employee_id, parts.part, p.currency
         )
         SELECT e.id AS employee_id, e.name AS employee_name, sizes.part, sizes.clients,
             coalesce(paid.currency, '') AS currency, coalesce(paid.payments, 0) AS payments,
             coalesce(paid.gross, '0') AS gross, coalesce(paid.refunded, '0') AS refunded,
             coalesce(paid.disputed, '0') AS disputed
         FROM sizes
         JOIN crm.employees e ON e.account_id = $1 AND e.id = sizes.employee_id
         LEFT JOIN paid ON paid.employee_id = sizes.employee_id AND paid.part = sizes.part
         ORDER BY e.id, sizes.part, paid.currency"
    ))
    .bind(account_id)
    .bind(days.from)
    .bind(days.until)
    .bind(clock::zone_name(zone))
    .bind(scope.employee_id());
    tx.all(query).await
}
