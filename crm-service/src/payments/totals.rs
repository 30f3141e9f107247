//! How many payments are there of each currency and status, and what do they add up to?
//!
//! Counted in the transactions that change them, for the account and for each client, so that
//! nobody has to look at all of them. The account's counts are spread over slots: a transaction
//! takes one of them, and waits for those few only that took the same.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use service_kit::{
    db::{ListQuery, TenantTx},
    error::Error,
    fields::Currency,
    sql, sql_family,
};
use sqlx::{
    FromRow, Postgres, Row as _,
    postgres::{PgArguments, PgRow},
    query::QueryAs,
};

use super::{
    ledger::{Facts, Status},
    model::Payment,
};
use crate::visibility::Scope;

/// By how much the counts of one status change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Step {
    payments: i64,
    amount: i64,
    refunded: i64,
}

/// By how much the counts of a client's payments in a currency change.
pub struct Shift<'a> {
    client_id: i64,
    currency: &'a str,
    steps: BTreeMap<Status, Step>,
}

impl<'a> Shift<'a> {
    /// From what was known of a payment, if it was there, to what is known now.
    pub fn new(payment: &'a Payment, before: Option<&Facts>) -> Self {
        let mut steps = BTreeMap::<Status, Step>::new();
        for (facts, sign) in [(before, -1), (Some(&payment.facts), 1)] {
            if let Some(facts) = facts.filter(|facts| !facts.is_void) {
                let step = steps.entry(facts.status()).or_default();
                step.payments += sign;
                step.amount += sign * facts.amount;
                step.refunded += sign * facts.refunded;
            }
        }
        steps.retain(|_, step| *step != Step::default());
        Self { client_id: payment.client_id, currency: &payment.currency, steps }
    }
}

const SLOTS: i64 = 16;

/// Which slot a transaction takes: whoever begins in another microsecond takes another.
fn slot(now: DateTime<Utc>) -> i64 {
    now.timestamp_micros().rem_euclid(SLOTS)
}

/// Adds a shift to both tables, as two parts of a `WITH`. Takes the parameters $1 to $8, which
/// [`bind_shift`] binds. Rows are locked in the order of the arrays.
macro_rules! totals_shifted {
    () => {
        "of_account AS (
             INSERT INTO crm.payment_totals AS total
                 (account_id, currency, status, slot, payments, amount, refunded)
             SELECT $1, $3, status, $4, payments, amount, refunded
             FROM unnest($5::text[], $6::bigint[], $7::bigint[], $8::bigint[])
                 AS step (status, payments, amount, refunded)
             ON CONFLICT (account_id, currency, status, slot) DO UPDATE
             SET payments = total.payments + EXCLUDED.payments,
                 amount = total.amount + EXCLUDED.amount,
                 refunded = total.refunded + EXCLUDED.refunded),
         of_client AS (
             INSERT INTO crm.client_payment_totals AS total
                 (account_id, client_id, currency, status, payments, amount, refunded)
             SELECT $1, $2, $3, status, payments, amount, refunded
             FROM unnest($5::text[], $6::bigint[], $7::bigint[], $8::bigint[])
                 AS step (status, payments, amount, refunded)
             ON CONFLICT (account_id, client_id, currency, status) DO UPDATE
             SET payments = total.payments + EXCLUDED.payments,
                 amount = total.amount + EXCLUDED.amount,
                 refunded = total.refunded + EXCLUDED.refunded)"
    };
}
pub(super) use totals_shifted;

/// A shift, as $1 to $8.
pub fn bind_shift<'q, Row>(
    query: QueryAs<'q, Postgres, Row, PgArguments>,
    tx: &TenantTx,
    shift: &Shift<'q>,
) -> QueryAs<'q, Postgres, Row, PgArguments> {
    let column = |of: fn(&Step) -> i64| Vec::from_iter(shift.steps.values().map(of));
    query
        .bind(tx.account_id())
        .bind(shift.client_id)
        .bind(shift.currency)
        .bind(slot(tx.now()))
        .bind(Vec::from_iter(shift.steps.keys().map(|status| status.text())))
        .bind(column(|step| step.payments))
        .bind(column(|step| step.amount))
        .bind(column(|step| step.refunded))
}

/// Keeps the counts true to a payment that changed.
pub async fn apply(tx: &mut TenantTx, shift: &Shift<'_>) -> Result<(), Error> {
    if shift.steps.is_empty() {
        return Ok(());
    }
    let query = sqlx::query_as(sql!("WITH ", totals_shifted!(), " SELECT 1"));
    let query = bind_shift(query, tx, shift);
    let (_,): (i32,) = tx.one(query).await?;
    Ok(())
}

/// What the payments of one currency and status add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    pub currency: String,
    pub status: String,
    pub payments: i64,
    pub amount: i128,
    pub refunded: i128,
}

impl FromRow<'_, PgRow> for Total {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        // Sums outgrow a bigint: they come as text.
        let sum = |column: &str| {
            let text: String = row.try_get(column)?;
            text.parse().map_err(|error| sqlx::Error::ColumnDecode {
                index: column.to_owned(),
                source: Box::<dyn std::error::Error + Send + Sync>::from(error),
            })
        };
        Ok(Self {
            currency: row.try_get("currency")?,
            status: row.try_get("status")?,
            payments: row.try_get("payments")?,
            amount: sum("amount")?,
            refunded: sum("refunded")?,
        })
    }
}

/// Whose payments, and in which currency.
#[derive(Debug, Clone, Copy, Default)]
pub struct Of {
    pub client_id: Option<i64>,
    pub currency: Option<Currency>,
}

/// The totals of what a caller may see, in one statement.
pub async fn read(tx: &mut TenantTx, scope: Scope, of: Of) -> Result<Vec<Total>, Error> {
    let totals = query(tx.account_id(), scope, of).fetch(tx).await?;
    Ok(totals.rows)
}

fn query(account_id: i64, scope: Scope, of: Of) -> ListQuery {
    macro_rules! select_from {
        ($table:literal) => {
            concat!(
                "SELECT currency, status, sum(payments)::bigint AS payments,
                 sum(amount)::text AS amount, sum(refunded)::text AS refunded
                 FROM ",
                $table,
                " WHERE account_id = "
            )
        };
    }
    // The clients' own are read only where not all of the account's are asked for.
    let mut query = match (of.client_id, scope) {
        (None, Scope::Account) => ListQuery::new(select_from!("crm.payment_totals"), account_id),
        _ => ListQuery::new(select_from!("crm.client_payment_totals"), account_id),
    };
    if let Some(client_id) = of.client_id {
        query.text(" AND client_id = ").bind(client_id);
    }
    if let Some(currency) = of.currency {
        query.text(" AND currency = ").bind(currency.code());
    }
    scope.narrow(&mut query, account_id, "client_id");
    query.text(" GROUP BY currency, status HAVING sum(payments) > 0 ORDER BY currency, status");
    query
}

/// Every combination of filters and scopes.
fn variants() -> Vec<String> {
    let mut variants = Vec::new();
    for scope in [Scope::Account, Scope::Assigned(1)] {
        for client_id in [None, Some(1)] {
            for currency in [None, Some(Currency::USD)] {
                variants.push(query(1, scope, Of { client_id, currency }).into_text());
            }
        }
    }
    variants
}

sql_family!(variants);
