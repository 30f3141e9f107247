//! Which instalments does a price come to?
//!
//! Plain arithmetic on minor units and days, for a plan that is shown and for one that is made.

use chrono::{Datelike, Months, NaiveDate};
use proto::common::v1::ErrorReason::BelowAllocated;
use service_kit::{
    error::Error,
    fields::{Flaw, Violations},
};

/// So many that nobody needs more: fifty years of months.
pub const MOST_INSTALMENTS: u32 = 600;

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// In minor units, as everything here.
    pub price: i64,
    pub monthly_amount: Option<i64>,
    /// From one instalment to the next; nothing where all is paid at once.
    pub months: Option<u32>,
    pub start: NaiveDate,
}

/// What the instalments come to that stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    pub amount: i64,
    /// When the last of them is due.
    pub last_due: Option<NaiveDate>,
    /// The highest number that there has been, also of those that do not stay.
    pub last_number: i64,
}

/// An instalment to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub number: i64,
    pub amount: i64,
    pub due: NaiveDate,
}

/// Why there is no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unplannable {
    BelowKept,
    CountMissing,
    NotOne,
    MoreThanMost,
    MoreThanMinorUnits,
    BeyondCalendar,
}

/// How many, where somebody says so.
pub fn parse_count(count: i32) -> Result<Option<u32>, Flaw> {
    match u32::try_from(count) {
        Ok(0) => Ok(None),
        Ok(count @ 1..=MOST_INSTALMENTS) => Ok(Some(count)),
        _ => Err(Flaw::bad("must be from 1 to 600, or 0 to leave it to the monthly amount")),
    }
}

/// The instalments that are to be made beside those kept, so that all add up to the price.
pub fn plan(terms: &Terms, kept: &Kept, count: Option<u32>) -> Result<Vec<Planned>, Unplannable> {
    if terms.months.is_none() && count.is_some_and(|count| count != 1) {
        return Err(Unplannable::NotOne);
    }
    let rest = match terms.price.checked_sub(kept.amount) {
        Some(0) => return Ok(Vec::new()),
        Some(rest @ 1..) => rest,
        _ => return Err(Unplannable::BelowKept),
    };
    let count = i64::from(count.map_or_else(|| count_by_month(terms, rest), Ok)?);
    if count > rest {
        return Err(Unplannable::MoreThanMinorUnits);
    }
    let days = Days::after(terms, kept.last_due);
    (0..count)
        .map(|place| {
            let due = days.get(place).ok_or(Unplannable::BeyondCalendar)?;
            // The first ones take what is left over when all are equal.
            let amount = rest / count + i64::from(place < rest % count);
            Ok(Planned { number: kept.last_number + 1 + place, amount, due })
        })
        .collect()
}

/// As many as it takes to pay `rest` by the monthly amount.
fn count_by_month(terms: &Terms, rest: i64) -> Result<u32, Unplannable> {
    let Some(months) = terms.months else { return Ok(1) };
    let monthly = terms.monthly_amount.ok_or(Unplannable::CountMissing)?;
    // At most 12 times an amount of money, which is far below the largest number.
    let each = monthly.saturating_mul(months.into());
    let count = rest / each + i64::from(rest % each > 0);
    u32::try_from(count)
        .ok()
        .filter(|count| *count <= MOST_INSTALMENTS)
        .ok_or(Unplannable::MoreThanMost)
}

/// The days of a schedule, each counted from the start: so that the 31st is the 31st again after
/// a month that had none.
struct Days {
    start: NaiveDate,
    months: u32,
    first: i64,
}

impl Days {
    /// Those later than all that is kept.
    fn after(terms: &Terms, last_due: Option<NaiveDate>) -> Self {
        let Terms { start, months, .. } = *terms;
        let mut days = Self { start, months: months.unwrap_or_default(), first: 0 };
        if let (Some(last), Some(months)) = (last_due, months) {
            // In the month of the last one at the latest: whatever the days, it is one of two.
            let between = month_of(last) - month_of(start);
            days.first = (between / i64::from(months)).max(0);
            while days.get(0).is_some_and(|day| day <= last) {
                days.first += 1;
            }
        }
        days
    }

    fn get(&self, place: i64) -> Option<NaiveDate> {
        const LAST_YEAR: i32 = 9999;
        let months = (self.first + place).checked_mul(self.months.into())?;
        let day = self.start.checked_add_months(Months::new(u32::try_from(months).ok()?))?;
        (day.year() <= LAST_YEAR).then_some(day)
    }
}

/// Months since the first one there was.
fn month_of(day: NaiveDate) -> i64 {
    i64::from(day.year()) * 12 + i64::from(day.month0())
}

impl From<Unplannable> for Error {
    fn from(why: Unplannable) -> Self {
        let bad = |flaw| Self::Invalid(Violations::one("count", Flaw::bad(flaw)));
        match why {
            Unplannable::BelowKept => Self::Refused {
                reason: BelowAllocated,
                sentence: "The price is below what the instalments come to that payments cover, in part or in full.",
            },
            Unplannable::CountMissing => {
                bad("is required where no monthly_payment_amount says how many there are")
            }
            Unplannable::NotOne => bad("must be 1, or left out, where the schedule is PIF"),
            Unplannable::MoreThanMost => {
                bad("would have to be more than 600 to pay it by the monthly_payment_amount")
            }
            Unplannable::MoreThanMinorUnits => {
                bad("must not be more than there are minor units to be paid")
            }
            Unplannable::BeyondCalendar => bad("leads to days beyond the year 9999"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use service_kit::fields::{Currency, Money, shown_money};

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    fn terms(price: i64, months: u32, start: &str) -> Terms {
        Terms { price, monthly_amount: None, months: Some(months), start: day(start) }
    }

    fn amounts(plan: &[Planned]) -> Vec<i64> {
        plan.iter().map(|planned| planned.amount).collect()
    }

    fn days(plan: &[Planned]) -> Vec<String> {
        plan.iter().map(|planned| planned.due.to_string()).collect()
    }

    #[test]
    fn the_first_ones_take_what_is_left_over() {
        let plan = plan(&terms(1000, 1, "2025-01-01"), &Kept::default(), Some(3)).expect("a plan");
        assert_eq!(amounts(&plan), [334, 333, 333]);
        assert_eq!(plan.iter().map(|planned| planned.number).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn the_end_of_a_month_does_not_drift() {
        for (months, start, expected) in [
            (1, "2025-01-31", ["2025-01-31", "2025-02-28", "2025-03-31", "2025-04-30"]),
            (1, "2024-01-30", ["2024-01-30", "2024-02-29", "2024-03-30", "2024-04-30"]),
            (1, "2025-01-29", ["2025-01-29", "2025-02-28", "2025-03-29", "2025-04-29"]),
            (3, "2024-11-30", ["2024-11-30", "2025-02-28", "2025-05-30", "2025-08-30"]),
            (12, "2024-02-29", ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28"]),
            (12, "2023-12-31", ["2023-12-31", "2024-12-31", "2025-12-31", "2026-12-31"]),
        ] {
            let plan = plan(&terms(400, months, start), &Kept::default(), Some(4));
            assert_eq!(days(&plan.expect("a plan")), expected, "{start}");
        }
        // The leap day is back when there is one.
        let plan = plan(&terms(500, 12, "2024-02-29"), &Kept::default(), Some(5));
        assert_eq!(days(&plan.expect("a plan"))[4], "2028-02-29");
    }

    #[test]
    fn without_a_count_the_monthly_amount_says_how_many() {
        let count = |price, monthly, months| {
            let start = day("2025-01-01");
            let terms = Terms { price, monthly_amount: Some(monthly), months, start };
            plan(&terms, &Kept::default(), None).map(|plan| plan.len())
        };
        assert_eq!(count(120_000, 10_000, Some(1)), Ok(12));
        assert_eq!(count(120_001, 10_000, Some(1)), Ok(13), "rounded up");
        assert_eq!(count(120_000, 10_000, Some(3)), Ok(4));
        assert_eq!(count(130_000, 10_000, Some(12)), Ok(2));
        assert_eq!(count(5, 10_000, Some(12)), Ok(1));
        assert_eq!(count(120_000, 10_000, None), Ok(1), "paid in full");
        assert_eq!(count(601, 1, Some(1)), Err(Unplannable::MoreThanMost));
        let largest = Money::MAX_MINOR;
        assert_eq!(count(largest, largest, Some(12)), Ok(1));
    }

    #[test]
    fn what_leaves_it_open_or_cannot_be_is_refused() {
        let kept = Kept::default();
        let monthly = terms(300, 1, "2025-01-01");
        assert_eq!(plan(&monthly, &kept, None), Err(Unplannable::CountMissing));
        assert_eq!(plan(&monthly, &kept, Some(301)), Err(Unplannable::MoreThanMinorUnits));
        let at_once = Terms { months: None, ..monthly };
        assert_eq!(plan(&at_once, &kept, Some(2)), Err(Unplannable::NotOne));
        assert_eq!(plan(&at_once, &kept, None).map(|plan| amounts(&plan)), Ok(vec![300]));
        assert_eq!(plan(&at_once, &kept, Some(1)).map(|plan| amounts(&plan)), Ok(vec![300]));
        let late = terms(300, 12, "9999-01-01");
        assert_eq!(plan(&late, &kept, Some(2)), Err(Unplannable::BeyondCalendar));
        let kept = Kept { amount: 301, ..kept };
        assert_eq!(plan(&monthly, &kept, Some(1)), Err(Unplannable::BelowKept));
    }

    #[test]
    fn a_count_is_from_one_to_the_most() {
        assert_eq!((parse_count(0), parse_count(1)), (Ok(None), Ok(Some(1))));
        assert_eq!(parse_count(600), Ok(Some(600)));
        for bad in [-1, 601, i32::MIN, i32::MAX] {
            assert!(parse_count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_plan_made_anew_goes_on_behind_what_is_kept() {
        let terms = terms(1200, 1, "2025-01-31");
        let kept = Kept { amount: 300, last_due: Some(day("2025-03-31")), last_number: 12 };
        let plan = plan(&terms, &kept, Some(2)).expect("a plan");
        assert_eq!(amounts(&plan), [450, 450]);
        assert_eq!(days(&plan), ["2025-04-30", "2025-05-31"]);
        assert_eq!(plan[0].number, 13);
    }

    #[test]
    fn a_plan_made_anew_begins_when_the_schedule_does_where_that_is_later() {
        let kept = Kept { amount: 1, last_due: Some(day("2024-06-15")), last_number: 1 };
        let first = |start, last_due: &str| {
            let kept = Kept { last_due: Some(day(last_due)), ..kept };
            days(&plan(&terms(2, 3, start), &kept, Some(1)).expect("a plan"))[0].clone()
        };
        assert_eq!(first("2025-01-31", "2024-06-15"), "2025-01-31");
        assert_eq!(first("2025-01-31", "2025-01-30"), "2025-01-31");
        assert_eq!(first("2025-01-31", "2025-01-31"), "2025-04-30");
        assert_eq!(first("2025-01-31", "2025-04-29"), "2025-04-30");
        assert_eq!(first("2025-01-31", "2025-05-01"), "2025-07-31");
    }

    #[test]
    fn when_nothing_is_left_nothing_is_made() {
        let kept = Kept { amount: 300, last_due: None, last_number: 3 };
        assert_eq!(plan(&terms(300, 1, "2025-01-01"), &kept, None), Ok(Vec::new()));
    }

    /// Any day, and often one that some months do not have.
    fn starts() -> impl Strategy<Value = NaiveDate> {
        let any = (1990..2100, 1..=12_u32, 1..=31_u32);
        let late = (2020..2032, 1..=1_u32, 29..=31_u32);
        prop_oneof![any, late].prop_filter_map("no such day", |(year, month, day)| {
            NaiveDate::from_ymd_opt(year, month, day)
        })
    }

    /// A currency of each number of decimals, and a price in it of whatever size.
    fn prices() -> impl Strategy<Value = Money> {
        let code = prop::sample::select(vec!["JPY", "EUR", "KWD"]);
        let minor = prop_oneof![1..2000_i64, 1..=Money::MAX_MINOR];
        (code, minor).prop_map(|(code, minor)| {
            Money::from_minor(minor, Currency::parse(code).expect("a currency"))
        })
    }

    fn schedules() -> impl Strategy<Value = u32> {
        prop::sample::select(vec![1, 3, 12])
    }

    /// The amounts as they go out, read again: nothing is lost on the wire either.
    fn on_the_wire(plan: &[Planned], currency: Currency) -> Vec<i64> {
        let read = |minor: i64| {
            let shown = shown_money(minor.into(), currency.code());
            Money::required(Some(&shown), Currency::USD).map(Money::minor)
        };
        plan.iter().map(|planned| read(planned.amount).expect("an amount")).collect()
    }

    /// That each day is `months` after the one before, on the start's day of the month or, where
    /// there is none, on the month's last.
    fn never_drift(days: &[NaiveDate], start: NaiveDate, months: u32) -> bool {
        let is_last = |day: NaiveDate| day.succ_opt().is_some_and(|next| next.day() == 1);
        let keeps_day = |day: &NaiveDate| {
            day.day() == start.day() || (day.day() < start.day() && is_last(*day))
        };
        let in_step =
            |pair: &[NaiveDate]| month_of(pair[1]) - month_of(pair[0]) == i64::from(months);
        days.iter().all(keeps_day) && days.windows(2).all(in_step)
    }

    proptest! {
        #[test]
        fn a_plan_is_exact_fair_and_on_its_days(
            price in prices(),
            months in schedules(),
            start in starts(),
            count in 1..=MOST_INSTALMENTS,
        ) {
            let terms =
                Terms { price: price.minor(), monthly_amount: None, months: Some(months), start };
            let plan = plan(&terms, &Kept::default(), Some(count));
            if price.minor() < count.into() {
                prop_assert_eq!(plan, Err(Unplannable::MoreThanMinorUnits));
                return Ok(());
            }
            let plan = plan.expect("a plan");
            let amounts = on_the_wire(&plan, price.currency());
            prop_assert_eq!(amounts.len(), usize::try_from(count).expect("few"));
            prop_assert_eq!(amounts.iter().sum::<i64>(), price.minor());
            prop_assert!(amounts.is_sorted_by(|larger, smaller| larger >= smaller));
            let (largest, smallest) = (amounts[0], amounts[amounts.len() - 1]);
            prop_assert!(smallest > 0 && largest - smallest <= 1);
            let days: Vec<_> = plan.iter().map(|planned| planned.due).collect();
            prop_assert_eq!(days[0], start);
            prop_assert!(days.is_sorted_by(|before, after| before < after));
            prop_assert!(never_drift(&days, start, months), "{:?}", days);
        }

        #[test]
        fn without_a_count_no_part_is_more_than_the_monthly_amount_says(
            price in prices(),
            months in schedules(),
            start in starts(),
            part in 1..=MOST_INSTALMENTS,
        ) {
            let monthly = (price.minor() / i64::from(part) / i64::from(months)).max(1);
            let terms = Terms {
                price: price.minor(), monthly_amount: Some(monthly), months: Some(months), start,
            };
            let each = monthly * i64::from(months);
            match plan(&terms, &Kept::default(), None) {
                Ok(plan) => {
                    let amounts = amounts(&plan);
                    prop_assert!(amounts.iter().all(|amount| *amount <= each));
                    // And it could not have been one less.
                    let fewer = i64::try_from(amounts.len()).expect("few") - 1;
                    prop_assert!(fewer * each < price.minor());
                }
                Err(why) => {
                    prop_assert_eq!(why, Unplannable::MoreThanMost);
                    prop_assert!(i64::from(MOST_INSTALMENTS) * each < price.minor());
                }
            }
        }

        /// Some are paid, some in part, some of those closed; the price moves; all is planned anew.
        #[test]
        fn planned_anew_what_is_kept_and_what_is_new_come_to_the_price(
            price in 1000..Money::MAX_MINOR / 2,
            new_price in 1..Money::MAX_MINOR,
            months in schedules(),
            start in starts(),
            count in 1..=60_u32,
            again in 1..=60_u32,
            facts in prop::collection::vec((0..=100_i64, any::<bool>()), 60),
        ) {
            let terms = Terms { price, monthly_amount: None, months: Some(months), start };
            let first = plan(&terms, &Kept::default(), Some(count)).expect("a plan");
            let (mut kept, mut last_due) = (0, None);
            for (planned, (percent, is_closed)) in first.iter().zip(facts) {
                let allocated = planned.amount / 100 * percent;
                if allocated > 0 {
                    kept += if is_closed { allocated } else { planned.amount };
                    last_due = Some(planned.due);
                }
            }
            let terms = Terms { price: new_price, ..terms };
            let kept = Kept { amount: kept, last_due, last_number: count.into() };
            match plan(&terms, &kept, Some(again)) {
                Ok(plan) => {
                    let new: i64 = amounts(&plan).iter().sum();
                    prop_assert_eq!(kept.amount + new, new_price);
                    prop_assert!(plan.iter().all(|planned| planned.amount > 0));
                    prop_assert!(plan.iter().all(|planned| planned.number > i64::from(count)));
                    let days: Vec<_> = plan.iter().map(|planned| planned.due).collect();
                    let all = last_due.into_iter().chain(days.iter().copied());
                    prop_assert!(all.is_sorted_by(|before, after| before < after));
                    prop_assert!(never_drift(&days, start, months), "{:?}", days);
                }
                Err(Unplannable::BelowKept) => prop_assert!(new_price < kept.amount),
                Err(why) => {
                    prop_assert_eq!(why, Unplannable::MoreThanMinorUnits);
                    prop_assert!(new_price - kept.amount < again.into());
                }
            }
        }
    }
}
