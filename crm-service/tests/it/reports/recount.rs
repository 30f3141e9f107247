//! The same figures, counted row by row and in no way that the service counts them.

use std::{collections::BTreeMap, ops::RangeInclusive};

use chrono::{DateTime, Datelike, NaiveDate, Utc, Weekday};
use proto::{
    common::v1 as common,
    crm::v1::{self as pb, RevenueInterval},
};
use service_kit::caller::Tz;

use super::stage::Stage;

/// Each with its decimals.
pub const CURRENCIES: [(&str, usize); 3] = [("EUR", 2), ("JPY", 0), ("KWD", 3)];

/// What an account has, as it lies in the tables.
#[derive(Clone)]
pub struct Facts {
    pub clients: Vec<Client>,
    pub payments: Vec<Payment>,
    pub instalments: Vec<Instalment>,
    names: BTreeMap<i64, String>,
}

#[derive(Clone, sqlx::FromRow)]
pub struct Client {
    pub id: i64,
    coach_id: Option<i64>,
    closer_id: Option<i64>,
    setter_id: Option<i64>,
    is_live: bool,
}

#[derive(Clone, sqlx::FromRow)]
pub struct Payment {
    pub client_id: i64,
    currency: String,
    amount: i64,
    refunded: i64,
    has_failed: bool,
    dispute: String,
    paid_at: DateTime<Utc>,
    is_void: bool,
}

#[derive(Clone, sqlx::FromRow)]
pub struct Instalment {
    client_id: i64,
    currency: String,
    amount: i64,
    allocated: i64,
    status: String,
    schedule_date: NaiveDate,
}

impl Client {
    pub fn has(&self, employee_id: i64) -> bool {
        [self.coach_id, self.closer_id, self.setter_id].contains(&Some(employee_id))
    }
}

impl Payment {
    fn day(&self, zone: Tz) -> NaiveDate {
        self.paid_at.with_timezone(&zone).date_naive()
    }
}

impl Facts {
    pub async fn of(stage: &Stage) -> Self {
        let clients = "id, coach_id, closer_id, setter_id, delete_time IS NULL AS is_live
                       FROM crm.clients";
        let payments = "client_id, currency, amount, refunded, has_failed, dispute, paid_at,
                        void_time IS NOT NULL AS is_void FROM crm.payments";
        let instalments = "client_id, currency, amount, allocated, status, schedule_date
                           FROM crm.instalments";
        let names: Vec<(i64, String)> = stage.rows("id, name FROM crm.employees").await;
        Self {
            clients: stage.rows(clients).await,
            payments: stage.rows(payments).await,
            instalments: stage.rows(instalments).await,
            names: names.into_iter().collect(),
        }
    }

    fn client(&self, id: i64) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == id)
    }

    /// Those of some clients; the payments may be everyone's all the same.
    pub fn of_clients(&self, sees: impl Fn(&Client) -> bool, all_payments: bool) -> Self {
        let mut seen = self.clone();
        seen.clients.retain(sees);
        let clients: Vec<i64> = seen.clients.iter().map(|client| client.id).collect();
        seen.payments.retain(|payment| all_payments || clients.contains(&payment.client_id));
        seen
    }

    /// What all payments add up to, whenever they were paid.
    pub fn revenue(&self) -> Vec<pb::Revenue> {
        let mut revenues = Revenues::new();
        self.payments.iter().for_each(|payment| add(&mut revenues, payment));
        shown(&revenues)
    }

    /// Period by period: the days of each, counted one after the other.
    pub fn series(
        &self,
        zone: Tz,
        range: (&str, &str),
        interval: RevenueInterval,
    ) -> pb::GetRevenueSeriesResponse {
        let days = days(range);
        let mut periods = Vec::<(NaiveDate, NaiveDate, Revenues)>::new();
        for day in days.start().iter_days().take_while(|day| days.contains(day)) {
            let begins = match interval {
                RevenueInterval::Week => day.weekday() == Weekday::Mon,
                RevenueInterval::Month => day.day() == 1,
                _ => true,
            };
            if begins || periods.is_empty() {
                periods.push((day, day, Revenues::new()));
            }
            periods.last_mut().unwrap().1 = day;
        }
        let mut totals = Revenues::new();
        for payment in &self.payments {
            let day = payment.day(zone);
            let period = periods.iter_mut().find(|period| (period.0..=period.1).contains(&day));
            if let Some((.., revenues)) = period {
                add(revenues, payment);
                add(&mut totals, payment);
            }
        }
        let periods = periods.into_iter().map(|(first, last, revenues)| pb::RevenuePeriod {
            from_date: first.to_string(),
            until_date: last.to_string(),
            revenues: shown(&revenues),
        });
        pb::GetRevenueSeriesResponse { periods: periods.collect(), totals: shown(&totals) }
    }

    /// What live clients owe, by age.
    pub fn receivables(&self, as_of: NaiveDate) -> Vec<pb::Receivables> {
        let mut owed = BTreeMap::<&str, [(i64, i128); 6]>::new();
        for instalment in &self.instalments {
            let is_owed = ["open", "failed"].contains(&instalment.status.as_str());
            let client = self.client(instalment.client_id);
            if !is_owed || !client.is_some_and(|client| client.is_live) {
                continue;
            }
            let column = match (as_of - instalment.schedule_date).num_days() {
                91.. => 5,
                61..=90 => 4,
                31..=60 => 3,
                1..=30 => 2,
                ..=0 => 1,
            };
            let columns = owed.entry(&instalment.currency).or_default();
            for column in [0, column] {
                columns[column].0 += 1;
                columns[column].1 +=
                    i128::from(instalment.amount) - i128::from(instalment.allocated);
            }
        }
        let shown = owed.into_iter().map(|(code, columns)| {
            let [outstanding, not_due, to_30, to_60, to_90, over_90] =
                columns.map(|(number, sum)| {
                    Some(pb::Receivable { instalments: number, amount: Some(money(sum, code)) })
                });
            pb::Receivables {
                currency_code: code.into(),
                outstanding,
                not_due,
                overdue_1_to_30: to_30,
                overdue_31_to_60: to_60,
                overdue_61_to_90: to_90,
                overdue_over_90: over_90,
            }
        });
        shown.collect()
    }

    /// What each employee has in each part.
    pub fn team(&self, zone: Tz, range: (&str, &str)) -> Vec<pb::TeamMember> {
        let days = days(range);
        let mut parts = BTreeMap::<(i64, usize), (i64, Revenues)>::new();
        for client in self.clients.iter().filter(|client| client.is_live) {
            let paid = self.payments.iter().filter(|payment| payment.client_id == client.id);
            let paid: Vec<_> = paid.filter(|payment| days.contains(&payment.day(zone))).collect();
            let employees = [client.coach_id, client.closer_id, client.setter_id];
            for (part, employee) in employees.into_iter().enumerate() {
                let Some(employee) = employee else { continue };
                let (clients, revenues) = parts.entry((employee, part)).or_default();
                *clients += 1;
                paid.iter().for_each(|payment| add(revenues, payment));
            }
        }
        let mut members = BTreeMap::<i64, pb::TeamMember>::new();
        for ((employee_id, part), (clients, revenues)) in parts {
            let member = members.entry(employee_id).or_insert_with(|| pb::TeamMember {
                employee_id,
                employee_name: self.names[&employee_id].clone(),
                ..Default::default()
            });
            let performance = Some(pb::PartPerformance { clients, revenues: shown(&revenues) });
            match part {
                0 => member.coach = performance,
                1 => member.closer = performance,
                _ => member.setter = performance,
            }
        }
        members.into_values().collect()
    }
}

fn days((from, until): (&str, &str)) -> RangeInclusive<NaiveDate> {
    from.parse().unwrap()..=until.parse().unwrap()
}

/// Payments, gross, refunded, disputed, net: of each currency.
type Revenues = BTreeMap<String, [i128; 5]>;

fn add(revenues: &mut Revenues, payment: &Payment) {
    if payment.is_void || payment.has_failed {
        return;
    }
    let (amount, refunded) = (i128::from(payment.amount), i128::from(payment.refunded));
    let held =
        if ["open", "lost"].contains(&payment.dispute.as_str()) { amount - refunded } else { 0 };
    let sums = revenues.entry(payment.currency.clone()).or_default();
    for (sum, more) in sums.iter_mut().zip([1, amount, refunded, held, amount - refunded - held]) {
        *sum += more;
    }
}

/// As they stand in an answer, each in its own decimals and currency.
fn shown(revenues: &Revenues) -> Vec<pb::Revenue> {
    let shown = revenues.iter().map(|(code, [payments, gross, refunded, disputed, net])| {
        let money = |minor: &i128| Some(money(*minor, code));
        pb::Revenue {
            currency_code: code.clone(),
            payments: i64::try_from(*payments).unwrap(),
            gross: money(gross),
            refunded: money(refunded),
            disputed: money(disputed),
            net: money(net),
        }
    });
    shown.collect()
}

pub fn money(minor: i128, code: &str) -> common::Money {
    let (_, decimals) = CURRENCIES.into_iter().find(|(known, _)| *known == code).unwrap();
    let unit = 10_i128.pow(u32::try_from(decimals).unwrap());
    let (whole, rest) = (minor / unit, minor % unit);
    let amount =
        if decimals == 0 { whole.to_string() } else { format!("{whole}.{rest:0decimals$}") };
    common::Money { currency_code: code.to_owned(), amount }
}
