//! How many payments are there of each currency and status, and what do they add up to?
//!
//! Counted in the transactions that change them, for the account and for each client, so that
//! nobody has to look at all of them. The account's counts are spread over slots: a transaction
//! takes one of them, and waits for those few only that took the same. It adds to them once, for
//! all payments that it changed, and in the order of their keys: two that change several payments
//! in different orders do not wait for each other.

use std::{collections::BTreeMap, mem};

use serde_json::json;
use service_kit::{
    db::{Event, Feed, ListQuery, TenantTx},
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
#[derive(Debug)]
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

/// Which of sixteen slots a transaction takes: whoever begins in another microsecond takes another.
macro_rules! slot {
    ($now:literal) => {
        concat!("(extract(epoch FROM ", $now, "::timestamptz) * 1000000)::bigint % 16")
    };
}
pub(super) use slot;

/// Who counts several payments.
static TOTALS: Feed = Feed {
    place: 0,
    append: sql!(
        "WITH shift AS (
             SELECT client_id, body ->> 'currency' AS currency, body ->> 'status' AS status,
                 (body ->> 'payments')::bigint AS payments, (body ->> 'amount')::numeric AS amount,
                 (body ->> 'refunded')::numeric AS refunded
             FROM unnest($3::text[], $4::bigint[], $5::jsonb[]) AS event (kind, client_id, body)),
         of_account AS (
             INSERT INTO crm.payment_totals AS total
                 (account_id, currency, status, slot, payments, amount, refunded)
             SELECT $1, currency, status, ",
        slot!("$2"),
        ", sum(payments), sum(amount), sum(refunded)
             FROM shift GROUP BY currency, status ORDER BY currency, status
             ON CONFLICT (account_id, currency, status, slot) DO UPDATE
             SET payments = total.payments + EXCLUDED.payments,
                 amount = total.amount + EXCLUDED.amount,
                 refunded = total.refunded + EXCLUDED.refunded)
         INSERT INTO crm.client_payment_totals AS total
             (account_id, client_id, currency, status, payments, amount, refunded)
         SELECT $1, client_id, currency, status, sum(payments), sum(amount), sum(refunded)
         FROM shift GROUP BY client_id, currency, status ORDER BY client_id, currency, status
         ON CONFLICT (account_id, client_id, currency, status) DO UPDATE
         SET payments = total.payments + EXCLUDED.payments,
             amount = total.amount + EXCLUDED.amount,
             refunded = total.refunded + EXCLUDED.refunded"
    ),
};

/// Keeps the counts true to a payment that changed, at the end of the transaction: nothing of the
/// shift is left to be counted at once.
pub fn count(tx: &mut TenantTx, shift: &mut Shift<'_>) {
    for (status, step) in mem::take(&mut shift.steps) {
        let body = json!({
            "currency": shift.currency,
            "status": status.text(),
            "payments": step.payments,
            "amount": step.amount,
            "refunded": step.refunded,
        });
        tx.tell(&TOTALS, Event { kind: "payment", id: shift.client_id, body });
    }
}

/// Adds a shift to both tables, as two parts of a `WITH`, where the transaction changes no other
/// payment. Takes the parameters $1 to $8, which [`bind_shift`] binds.
macro_rules! totals_shifted {
    () => {
        concat!(
            "of_account AS (
             INSERT INTO crm.payment_totals AS total
                 (account_id, currency, status, slot, payments, amount, refunded)
             SELECT $1, $3, status, ",
            $crate::payments::totals::slot!("$4"),
            ", payments, amount, refunded
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
        )
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
        .bind(tx.now())
        .bind(Vec::from_iter(shift.steps.keys().map(|status| status.text())))
        .bind(column(|step| step.payments))
        .bind(column(|step| step.amount))
        .bind(column(|step| step.refunded))
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
