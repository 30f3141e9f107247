//! What is in a report?

use std::{
    collections::BTreeMap,
    iter::successors,
    num::ParseIntError,
    ops::{AddAssign, Sub},
};

use chrono::{Datelike, Months, NaiveDate, Weekday};
use proto::{
    common::v1 as common,
    crm::v1::{self as pb, RevenueInterval},
};
use service_kit::fields::{Currency, Fields, Flaw, date, optional_date, shown_money};

/// The days that a report is about, the last one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    pub from: NaiveDate,
    pub until: NaiveDate,
}

impl Days {
    pub fn parse(fields: &mut Fields, from_date: &str, until_date: &str) -> Option<Self> {
        let from = fields.take("from_date", date(from_date));
        let until = fields.take("until_date", date(until_date));
        let (from, until) = (from?, until?);
        if until < from {
            fields.refuse("until_date", Flaw::bad("must not be before from_date"));
        }
        Some(Self { from, until })
    }

    fn shared_with(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }
}

/// How long the periods of a series are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    Day,
    Week,
    Month,
}

impl Interval {
    fn parse(number: i32) -> Result<Self, Flaw> {
        match RevenueInterval::try_from(number) {
            Ok(RevenueInterval::Unspecified) => Err(Flaw::Missing),
            Ok(RevenueInterval::Day) => Ok(Self::Day),
            Ok(RevenueInterval::Week) => Ok(Self::Week),
            Ok(RevenueInterval::Month) => Ok(Self::Month),
            Err(_) => Err(Flaw::bad("must be a known interval")),
        }
    }

    /// As `date_trunc` calls it.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The first day of the whole period that a day lies in.
    fn first_day(self, day: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Day => Some(day),
            Self::Week => Some(day.week(Weekday::Mon).first_day()),
            Self::Month => day.with_day(1),
        }
    }

    /// The first day of the period after the one that begins on this day.
    fn next(self, first_day: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Day => first_day.succ_opt(),
            Self::Week => first_day.checked_add_days(chrono::Days::new(7)),
            Self::Month => first_day.checked_add_months(Months::new(1)),
        }
    }

    /// The whole periods, one after the other, that some days lie in.
    fn periods(self, days: Days) -> impl Iterator<Item = Days> {
        successors(self.first_day(days.from), move |first_day| self.next(*first_day))
            .take_while(move |first_day| *first_day <= days.until)
            .filter_map(move |from| Some(Days { from, until: self.next(from)?.pred_opt()? }))
    }
}

/// A series that is asked for.
#[derive(Debug)]
pub struct Series {
    pub days: Days,
    pub interval: Interval,
    pub currency: Option<Currency>,
}

impl Series {
    const MOST_PERIODS: usize = 1000;

    pub fn parse(fields: &mut Fields, request: &pb::GetRevenueSeriesRequest) -> Option<Self> {
        let days = Days::parse(fields, &request.from_date, &request.until_date);
        let interval = fields.take("interval", Interval::parse(request.interval));
        let currency = fields.take("currency", Currency::optional(&request.currency));
        let (days, interval) = (days?, interval?);
        if interval.periods(days).nth(Self::MOST_PERIODS).is_some() {
            let flaw =
                Flaw::bad("must be so near to from_date that there are at most 1,000 periods");
            fields.refuse("until_date", flaw);
        }
        Some(Self { days, interval, currency: currency? })
    }

    /// The whole series, with what was paid in its periods.
    pub fn filled_with(&self, paid: Vec<Paid>) -> pb::GetRevenueSeriesResponse {
        let mut totals = BTreeMap::<String, Revenue>::new();
        let mut by_period = BTreeMap::<NaiveDate, Vec<pb::Revenue>>::new();
        for Paid { period, revenue } in paid {
            *totals.entry(revenue.currency.clone()).or_default() += &revenue;
            by_period.entry(period).or_default().push(revenue.into());
        }
        let periods = self.interval.periods(self.days).map(|period| {
            let revenues = by_period.remove(&period.from).unwrap_or_default();
            let Days { from, until } = period.shared_with(self.days);
            pb::RevenuePeriod {
                from_date: from.to_string(),
                until_date: until.to_string(),
                revenues,
            }
        });
        let periods = periods.collect();
        let totals = totals.into_values().map(Into::into).collect();
        pb::GetRevenueSeriesResponse { periods, totals }
    }
}

/// What was paid in one period in one currency.
#[derive(Debug, sqlx::FromRow)]
pub struct Paid {
    /// Its first day, also where the days asked for begin later.
    period: NaiveDate,
    #[sqlx(flatten)]
    revenue: Revenue,
}

/// What payments of one currency add up to.
#[derive(Debug, Clone, Default, sqlx::FromRow)]
pub struct Revenue {
    currency: String,
    payments: i64,
    #[sqlx(try_from = "String")]
    gross: Sum,
    #[sqlx(try_from = "String")]
    refunded: Sum,
    #[sqlx(try_from = "String")]
    disputed: Sum,
}

/// Minor units, more of them than any amount has. PostgreSQL gives sums as text, so that none
/// is too large.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum(i128);

impl TryFrom<String> for Sum {
    type Error = ParseIntError;

    fn try_from(text: String) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Sum {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Sum {
    fn shown(self, currency: &str) -> Option<common::Money> {
        Some(shown_money(self.0, currency))
    }
}

impl AddAssign<&Self> for Revenue {
    fn add_assign(&mut self, other: &Self) {
        self.currency.clone_from(&other.currency);
        self.payments += other.payments;
        self.gross += other.gross;
        self.refunded += other.refunded;
        self.disputed += other.disputed;
    }
}

impl From<Revenue> for pb::Revenue {
    fn from(revenue: Revenue) -> Self {
        let Revenue { currency, payments, gross, refunded, disputed } = revenue;
        let net = gross - refunded - disputed;
        Self {
            payments,
            gross: gross.shown(&currency),
            refunded: refunded.shown(&currency),
            disputed: disputed.shown(&currency),
            net: net.shown(&currency),
            currency_code: currency,
        }
    }
}

/// The day by which it is decided what is overdue.
#[derive(Debug, Clone, Copy)]
pub struct AsOf(NaiveDate);

impl AsOf {
    pub fn parse(text: &str, today: NaiveDate) -> Result<Self, Flaw> {
        Ok(Self(optional_date(text)?.unwrap_or(today)))
    }

    pub fn day(self) -> NaiveDate {
        self.0
    }

    pub fn answer(self, owed: Vec<Owed>) -> pb::GetReceivablesResponse {
        let mut by_currency = BTreeMap::<String, Ages>::new();
        for owed in owed {
            by_currency.entry(owed.currency.clone()).or_default().add(&owed);
        }
        let receivables = by_currency.into_iter().map(|(currency, ages)| ages.shown(currency));
        let as_of_date = self.0.to_string();
        pb::GetReceivablesResponse { as_of_date, receivables: receivables.collect() }
    }
}

/// What is owed in one currency, of one age.
#[derive(Debug, sqlx::FromRow)]
pub struct Owed {
    currency: String,
    /// 0 is not due, 1 to 4 are overdue by 1, 31, 61 or 91 days and more.
    age: i32,
    instalments: i64,
    #[sqlx(try_from = "String")]
    amount: Sum,
}

/// Instalments, and what is still to be paid of them.
#[derive(Debug, Clone, Copy, Default)]
struct Receivable {
    instalments: i64,
    amount: Sum,
}

impl Receivable {
    fn add(&mut self, owed: &Owed) {
        self.instalments += owed.instalments;
        self.amount += owed.amount;
    }

    fn shown(self, currency: &str) -> Option<pb::Receivable> {
        let Self { instalments, amount } = self;
        Some(pb::Receivable { instalments, amount: amount.shown(currency) })
    }
}

/// What is owed in one currency, by age.
#[derive(Debug, Default)]
struct Ages {
    outstanding: Receivable,
    not_due: Receivable,
    overdue_1_to_30: Receivable,
    overdue_31_to_60: Receivable,
    overdue_61_to_90: Receivable,
    overdue_over_90: Receivable,
}

impl Ages {
    fn add(&mut self, owed: &Owed) {
        self.outstanding.add(owed);
        let of_that_age = match owed.age {
            ..=0 => &mut self.not_due,
            1 => &mut self.overdue_1_to_30,
            2 => &mut self.overdue_31_to_60,
            3 => &mut self.overdue_61_to_90,
            4.. => &mut self.overdue_over_90,
        };
        of_that_age.add(owed);
    }

    fn shown(self, currency: String) -> pb::Receivables {
        pb::Receivables {
            outstanding: self.outstanding.shown(&currency),
            not_due: self.not_due.shown(&currency),
            overdue_1_to_30: self.overdue_1_to_30.shown(&currency),
            overdue_31_to_60: self.overdue_31_to_60.shown(&currency),
            overdue_61_to_90: self.overdue_61_to_90.shown(&currency),
            overdue_over_90: self.overdue_over_90.shown(&currency),
            currency_code: currency,
        }
    }
}

/// What an employee has in one part, in one currency: an empty one where nothing was paid.
#[derive(Debug, sqlx::FromRow)]
pub struct Part {
    employee_id: i64,
    employee_name: String,
    part: String,
    clients: i64,
    #[sqlx(flatten)]
    revenue: Revenue,
}

/// The parts of each employee, together.
pub fn members(parts: Vec<Part>) -> Vec<pb::TeamMember> {
    let mut members = BTreeMap::<i64, pb::TeamMember>::new();
    for Part { employee_id, employee_name, part, clients, revenue } in parts {
        let member = members.entry(employee_id).or_default();
        (member.employee_id, member.employee_name) = (employee_id, employee_name);
        let performance = match part.as_str() {
            "coach" => &mut member.coach,
            "closer" => &mut member.closer,
            _ => &mut member.setter,
        };
        let performance = performance.get_or_insert_default();
        performance.clients = clients;
        if !revenue.currency.is_empty() {
            performance.revenues.push(revenue.into());
        }
    }
    members.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(from: &str, until: &str) -> Days {
        Days { from: from.parse().unwrap(), until: until.parse().unwrap() }
    }

    fn series(from: &str, until: &str, interval: RevenueInterval) -> pb::GetRevenueSeriesRequest {
        pb::GetRevenueSeriesRequest {
            from_date: from.into(),
            until_date: until.into(),
            interval: interval.into(),
            currency: String::new(),
        }
    }

    fn paid(period: &str, currency: &str, gross: i128) -> Paid {
        let (currency, gross) = (currency.to_owned(), Sum(gross));
        let revenue = Revenue { currency, payments: 1, gross, ..Revenue::default() };
        Paid { period: period.parse().unwrap(), revenue }
    }

    /// The fields that are wrong with a series.
    fn wrong(request: &pb::GetRevenueSeriesRequest) -> Vec<String> {
        let mut fields = Fields::default();
        let series = Series::parse(&mut fields, request);
        let wrong = fields.all((series,)).err();
        wrong.iter().flat_map(|wrong| wrong.iter().map(|one| one.field.clone())).collect()
    }

    #[test]
    fn every_day_lies_in_one_period() {
        let asked = days("2023-12-27", "2024-03-02");
        for interval in [Interval::Day, Interval::Week, Interval::Month] {
            let mut expected = asked.from;
            for period in interval.periods(asked).map(|period| period.shared_with(asked)) {
                assert_eq!(period.from, expected, "{interval:?}");
                for day in period.from.iter_days().take_while(|day| *day <= period.until) {
                    let first = interval.first_day(day).unwrap().max(asked.from);
                    assert_eq!(first, period.from, "{interval:?} {day}");
                }
                expected = period.until.succ_opt().unwrap();
            }
            assert_eq!(expected, days("2024-03-03", "2024-03-03").from, "{interval:?}");
        }
    }

    #[test]
    fn a_week_begins_on_monday_and_a_month_on_its_first() {
        let of = |interval: Interval, from, until| interval.periods(days(from, until)).collect();
        let weeks: Vec<_> = of(Interval::Week, "2025-02-02", "2025-02-03");
        assert_eq!(weeks, [days("2025-01-27", "2025-02-02"), days("2025-02-03", "2025-02-09")]);
        let months: Vec<_> = of(Interval::Month, "2024-02-29", "2024-03-01");
        assert_eq!(months, [days("2024-02-01", "2024-02-29"), days("2024-03-01", "2024-03-31")]);
    }

    #[test]
    fn a_series_has_at_most_a_thousand_periods_whatever_their_length() {
        use RevenueInterval::{Day, Month, Week};
        for (interval, last, too_far) in [
            (Day, "2024-09-26", "2024-09-27"),
            (Week, "2041-02-24", "2041-02-25"),
            (Month, "2105-04-30", "2105-05-01"),
        ] {
            assert_eq!(wrong(&series("2022-01-01", last, interval)), [""; 0], "{interval:?}");
            assert_eq!(wrong(&series("2022-01-01", too_far, interval)), ["until_date"]);
        }
        let all_time = series("0001-01-01", "9999-12-31", Month);
        assert_eq!(wrong(&all_time), ["until_date"]);
        assert_eq!(wrong(&series("9999-12-01", "9999-12-31", Month)), [""; 0]);
        assert_eq!(wrong(&series("0001-01-01", "0001-01-02", Week)), [""; 0]);
    }

    #[test]
    fn everything_wrong_with_a_series_is_named_at_once() {
        let nothing = pb::GetRevenueSeriesRequest::default();
        assert_eq!(wrong(&nothing), ["from_date", "until_date", "interval"]);
        let bad = pb::GetRevenueSeriesRequest {
            interval: 9,
            currency: "euro".into(),
            ..series("2025-01-02", "2025-01-01", RevenueInterval::Day)
        };
        assert_eq!(wrong(&bad), ["until_date", "interval", "currency"]);
    }

    #[test]
    fn a_series_has_every_period_cut_to_the_days_asked_for() {
        let series = Series {
            days: days("2025-01-15", "2025-03-10"),
            interval: Interval::Month,
            currency: None,
        };
        let answer = series.filled_with(vec![
            paid("2025-01-01", "EUR", 1050),
            paid("2025-01-01", "JPY", 7),
            paid("2025-03-01", "EUR", 1),
        ]);
        let shown: Vec<_> = answer
            .periods
            .iter()
            .map(|period| (&*period.from_date, &*period.until_date, period.revenues.len()))
            .collect();
        let expected = [
            ("2025-01-15", "2025-01-31", 2),
            ("2025-02-01", "2025-02-28", 0),
            ("2025-03-01", "2025-03-10", 1),
        ];
        assert_eq!(shown, expected);
        let totals: Vec<_> = answer
            .totals
            .iter()
            .map(|total| {
                (&*total.currency_code, total.payments, total.gross.clone().unwrap().amount)
            })
            .collect();
        assert_eq!(totals, [("EUR", 2, "10.51".to_owned()), ("JPY", 1, "7".to_owned())]);
    }

    #[test]
    fn what_is_left_may_be_nothing_or_less_and_larger_than_any_amount() {
        let most = i128::from(i64::MAX) * 1_000_000;
        let revenue = Revenue {
            currency: "EUR".into(),
            payments: 2,
            gross: Sum(most),
            refunded: Sum(most),
            disputed: Sum(1),
        };
        let shown = pb::Revenue::from(revenue);
        assert_eq!(shown.net.unwrap().amount, "-0.01");
        assert_eq!(Sum::try_from(most.to_string()), Ok(Sum(most)));
        assert!(Sum::try_from("1.5".to_owned()).is_err());
    }
}
