//! What does a client buy, and what do they pay of it?

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use proto::crm::v1::{self as pb, ClientStatus, DisputeOutcome, PaymentSchedule};

use super::{chance::Chance, people::Company};

/// How long ago the first ones bought.
const TWO_YEARS: u32 = 728;
/// Yen for a euro or a dollar.
const YEN: i64 = 150;

/// A package sold to a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Sale {
    /// Begins the references of its payments.
    pub key: String,
    /// Which of the company's packages.
    pub package: usize,
    pub price: String,
    pub currency: String,
    pub schedule: PaymentSchedule,
    pub instalments: i32,
    pub start: NaiveDate,
    /// Ends before it is paid.
    pub cancelled: bool,
    /// How many of the instalments that are due the client is behind with.
    behind: usize,
}

/// Something that a client paid, or tried to.
#[derive(Debug, Clone, PartialEq)]
pub struct Paid {
    pub reference: String,
    pub amount: String,
    pub time: DateTime<Utc>,
    /// Goes to the oldest instalments that are due, or stays credit.
    pub allocate: bool,
    pub then: Then,
}

/// What becomes of a payment.
#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    Stays,
    Failed,
    /// In part, or all of it.
    Refunded(Option<String>),
    /// Open, or ended like that.
    Disputed(Option<DisputeOutcome>),
}

/// What a client bought, up to a day.
pub fn sales(company: &Company, number: usize, client: &pb::Client, today: NaiveDate) -> Vec<Sale> {
    let chance = &mut Chance::of(&format!("{} sales {number}", company.key));
    let first = chance.place(company.packages.len());
    let second = chance.percent(25).then(|| (first + 1) % company.packages.len());
    let packages = [Some(first), second].into_iter().flatten();
    packages.map(|package| sale(company, number, package, client, today)).collect()
}

fn sale(
    company: &Company,
    number: usize,
    package: usize,
    client: &pb::Client,
    today: NaiveDate,
) -> Sale {
    let key = format!("{}-{number:04}-{}", company.key, package + 1);
    let chance = &mut Chance::of(&key);
    let (schedule, instalments) = chance.weighted(&[
        (28, (PaymentSchedule::Pif, 1)),
        (22, (PaymentSchedule::Monthly, 6)),
        (22, (PaymentSchedule::Monthly, 12)),
        (16, (PaymentSchedule::Quarterly, 4)),
        (12, (PaymentSchedule::Yearly, 2)),
    ]);
    let status = client.status();
    let days_ago = match status {
        ClientStatus::Onboarding => chance.between(1, 30),
        ClientStatus::Inactive | ClientStatus::Cancelled => chance.between(200, TWO_YEARS),
        _ => chance.between(10, TWO_YEARS),
    };
    let is_late = chance.percent(if status == ClientStatus::Paused { 70 } else { 12 });
    Sale {
        key,
        package,
        price: price(company.packages[package].price, &client.currency),
        currency: client.currency.clone(),
        schedule,
        instalments,
        start: today - Days::new(days_ago.into()),
        cancelled: status == ClientStatus::Cancelled,
        behind: if is_late { chance.between(1, 3) as usize } else { 0 },
    }
}

/// Takes rates for good: it is a demo.
fn price(whole: i64, currency: &str) -> String {
    if currency == "JPY" { (whole * YEN).to_string() } else { format!("{whole}.00") }
}

/// What was paid of a sale's instalments up to an instant. What is said of one instalment does not
/// depend on how many others are due: later it is the same, and more.
pub fn payments(sale: &Sale, instalments: &[pb::Instalment], now: DateTime<Utc>) -> Vec<Paid> {
    let mut paid = deposit(sale, now);
    let due = instalments.iter().filter_map(|one| Some((one, due_time(one)?)));
    let due: Vec<_> = due.filter(|(_, time)| *time < now).collect();
    let punctual = due.len().saturating_sub(sale.behind);
    for (instalment, time) in due.into_iter().take(punctual) {
        paid.extend(payments_of(sale, instalment, time));
    }
    paid.retain(|payment| payment.time < now);
    paid
}

/// Some pay something before they know for what.
fn deposit(sale: &Sale, now: DateTime<Utc>) -> Vec<Paid> {
    let chance = &mut Chance::of(&format!("{} deposit", sale.key));
    let time = at(sale.start, 8, chance) - Days::new(3);
    if !chance.percent(6) || time >= now {
        return Vec::new();
    }
    let amount = price(50, &sale.currency);
    let reference = format!("{}-D", sale.key);
    vec![Paid { reference, amount, time, allocate: false, then: Then::Stays }]
}

fn payments_of(sale: &Sale, instalment: &pb::Instalment, time: DateTime<Utc>) -> Vec<Paid> {
    let reference = format!("{}-{:02}", sale.key, instalment.instalment_number);
    let chance = &mut Chance::of(&reference);
    let time = time + Days::new(chance.below(4).into());
    let whole = instalment.amount.as_ref().map(|money| money.amount.clone()).unwrap_or_default();
    let paid = |suffix: &str, amount: &str, days: u64, then| Paid {
        reference: format!("{reference}{suffix}"),
        amount: amount.to_owned(),
        time: time + Days::new(days),
        allocate: true,
        then,
    };
    let half = share(&whole, 50);
    match chance.below(100) {
        0..5 => vec![paid("F", &whole, 0, Then::Failed), paid("", &whole, 3, Then::Stays)],
        5..7 => vec![paid("", &whole, 0, Then::Refunded(None))],
        7..10 => vec![paid("", &whole, 0, Then::Refunded(Some(share(&whole, 20))))],
        10..13 => vec![paid("", &whole, 0, Then::Disputed(outcome(chance)))],
        13..17 => {
            vec![paid("A", &half, 0, Then::Stays), paid("B", &rest(&whole, &half), 9, Then::Stays)]
        }
        _ => vec![paid("", &whole, 0, Then::Stays)],
    }
}

fn outcome(chance: &mut Chance) -> Option<DisputeOutcome> {
    *chance.one(&[None, Some(DisputeOutcome::Won), Some(DisputeOutcome::Lost)])
}

fn due_time(instalment: &pb::Instalment) -> Option<DateTime<Utc>> {
    let day = instalment.schedule_date.parse().ok()?;
    let name = format!("{} {}", instalment.schedule_date, instalment.instalment_number);
    Some(at(day, 7, &mut Chance::of(&name)))
}

/// In the hours after that one.
fn at(day: NaiveDate, hour: u32, chance: &mut Chance) -> DateTime<Utc> {
    let time = NaiveTime::from_hms_opt(hour + chance.below(10), chance.below(60), chance.below(60));
    day.and_time(time.unwrap_or_default()).and_utc()
}

/// So many hundredths of an amount, rounded down.
fn share(amount: &str, percent: i64) -> String {
    let (minor, decimals) = minor(amount);
    written((minor * percent / 100).max(1), decimals)
}

fn rest(amount: &str, less: &str) -> String {
    let (minor_units, decimals) = minor(amount);
    written(minor_units - minor(less).0, decimals)
}

/// An amount in minor units, and how many decimals it has.
fn minor(amount: &str) -> (i64, usize) {
    let decimals = amount.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    (amount.replace('.', "").parse().unwrap_or_default(), decimals)
}

fn written(minor: i64, decimals: usize) -> String {
    let digits = format!("{minor:0width$}", width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proto::common::v1::Money;

    use super::*;
    use crate::demo::people::{COMPANIES, Team, client};

    fn today() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 3, 15).unwrap()
    }

    fn every_sale() -> Vec<Sale> {
        let of = |company: &'static Company| {
            (0..company.clients).flat_map(move |number| {
                let client = client(company, number, &Team::default());
                sales(company, number, &client, today())
            })
        };
        COMPANIES.iter().flat_map(of).collect()
    }

    fn instalments(sale: &Sale) -> Vec<pb::Instalment> {
        let (price, decimals) = minor(&sale.price);
        let amount = written(price / i64::from(sale.instalments), decimals);
        (0..sale.instalments)
            .map(|number| pb::Instalment {
                instalment_number: number + 1,
                amount: Some(Money {
                    currency_code: sale.currency.clone(),
                    amount: amount.clone(),
                }),
                schedule_date: (sale.start + Days::new(30 * u64::from(number.unsigned_abs())))
                    .to_string(),
                ..Default::default()
            })
            .collect()
    }

    fn paid_until(sale: &Sale, day: NaiveDate) -> Vec<Paid> {
        payments(sale, &instalments(sale), day.and_time(NaiveTime::MIN).and_utc())
    }

    #[test]
    fn every_schedule_and_everything_that_becomes_of_payments_occurs() {
        let sales = every_sale();
        let schedules: HashSet<_> = sales.iter().map(|sale| sale.schedule as i32).collect();
        assert_eq!(schedules, HashSet::from([1, 2, 3, 4]));
        assert!(sales.iter().any(|sale| sale.cancelled));
        assert!(sales.iter().any(|sale| sale.behind > 0));
        let paid: Vec<_> = sales.iter().flat_map(|sale| paid_until(sale, today())).collect();
        let kinds = paid.iter().map(|paid| std::mem::discriminant(&paid.then));
        assert_eq!(kinds.collect::<HashSet<_>>().len(), 4);
        assert!(paid.iter().any(|paid| !paid.allocate));
        let references: HashSet<_> = paid.iter().map(|paid| &paid.reference).collect();
        assert_eq!(references.len(), paid.len(), "each has a reference of its own");
        assert!((1_000..3_000).contains(&paid.len()), "{}", paid.len());
    }

    #[test]
    fn later_it_is_the_same_and_more() {
        for sale in every_sale().iter().filter(|sale| sale.behind == 0) {
            let (now, later) =
                (paid_until(sale, today()), paid_until(sale, today() + Days::new(40)));
            assert!(now.iter().all(|paid| later.contains(paid)), "{sale:?}");
        }
    }

    #[test]
    fn shares_are_written_as_their_currency_is() {
        assert_eq!((share("99.99", 50), rest("99.99", "49.99")), ("49.99".into(), "50.00".into()));
        assert_eq!((share("1501", 50), rest("1501", "750")), ("750".into(), "751".into()));
        assert_eq!((share("0.05", 20), share("0.01", 20)), ("0.01".into(), "0.01".into()));
        assert_eq!((price(1200, "JPY"), price(1200, "EUR")), ("180000".into(), "1200.00".into()));
    }
}
