//! What is an amount of money?
//!
//! Whole minor units of one currency, checked wherever it is computed with. There is no
//! floating point number anywhere between the wire and the database.

use proto::common::v1 as pb;

use super::{Currency, Flaw};

/// An amount above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

impl Money {
    /// So far below the largest `i64` that thousands of the largest amounts can be added.
    pub const MAX_MINOR: i64 = 1_000_000_000_000_000;

    /// An amount that must be there; without a currency of its own it is in `default`.
    pub fn required(money: Option<&pb::Money>, default: Currency) -> Result<Self, Flaw> {
        Self::optional(money, default)?.ok_or(Flaw::Missing)
    }

    /// Nothing where nothing is said.
    pub fn optional(money: Option<&pb::Money>, default: Currency) -> Result<Option<Self>, Flaw> {
        Amount::optional(money)?.map(|amount| amount.or_in(default)).transpose()
    }

    /// Minor units that are known to be a good amount: from a column.
    pub fn from_minor(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    pub fn minor(self) -> i64 {
        self.minor
    }

    pub fn currency(self) -> Currency {
        self.currency
    }
}

/// An amount above zero as it was said: perhaps in the currency of a row that is not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amount {
    decimal: String,
    currency: Option<Currency>,
}

impl Amount {
    /// An amount that must be there.
    pub fn required(money: Option<&pb::Money>) -> Result<Self, Flaw> {
        Self::optional(money)?.ok_or(Flaw::Missing)
    }

    /// Nothing where nothing is said. A message that is there says something, and not enough
    /// where it is empty: taken for nothing it might mean “all”, or take something away.
    pub fn optional(money: Option<&pb::Money>) -> Result<Option<Self>, Flaw> {
        let Some(money) = money else { return Ok(None) };
        let currency = Self::currency_said(Some(money))?;
        if money.amount.is_empty() {
            return Err(Flaw::Missing);
        }
        let (whole, fraction) = above_zero(&money.amount)?;
        match currency {
            Some(currency) => to_minor(whole, fraction, currency)?,
            None => to_most_minor(whole, fraction)?,
        };
        Ok(Some(Self { decimal: money.amount.clone(), currency }))
    }

    /// The currency that is named, whatever is wrong with the amount; nothing where none is.
    pub fn currency_said(money: Option<&pb::Money>) -> Result<Option<Currency>, Flaw> {
        let code = money.map_or("", |money| &money.currency_code);
        Currency::optional(code)
            .map_err(|_| Flaw::bad("must have an ISO 4217 currency_code such as EUR"))
    }

    /// What it is in, where `default` is what it is in when it names no currency.
    pub fn currency_or(&self, default: Currency) -> Currency {
        self.currency.unwrap_or(default)
    }

    pub fn names_currency(&self) -> bool {
        self.currency.is_some()
    }

    /// The amount, in `default` where it names no currency: of which it may be too exact.
    pub fn or_in(&self, default: Currency) -> Result<Money, Flaw> {
        let currency = self.currency_or(default);
        let (whole, fraction) = above_zero(&self.decimal)?;
        Ok(Money { minor: to_minor(whole, fraction, currency)?, currency })
    }
}

impl From<Money> for pb::Money {
    fn from(money: Money) -> Self {
        shown(money.minor.into(), money.currency.code())
    }
}

/// Minor units of a currency on the wire: also sums, which may be larger than any amount, and
/// what is left of them, which may be nothing or less.
pub fn shown(minor: i128, currency_code: &str) -> pb::Money {
    let decimals = Currency::parse(currency_code).map_or(0, Currency::decimals);
    pb::Money { currency_code: currency_code.to_owned(), amount: decimal(minor, decimals) }
}

/// `123456` with two decimals is `1234.56`.
fn decimal(minor: i128, decimals: usize) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let point = if decimals == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

/// What stands before and behind the point of an amount in some currency.
fn above_zero(amount: &str) -> Result<(&str, &str), Flaw> {
    let flaw = || Flaw::bad("must be an amount such as 999.99");
    let zero_or_less = || Flaw::bad("must be above zero");
    if let Some(positive) = amount.strip_prefix('-') {
        let _is_number = digits(positive).ok_or_else(flaw)?;
        return Err(zero_or_less());
    }
    let (whole, fraction) = digits(amount).ok_or_else(flaw)?;
    let is_zero = whole.bytes().chain(fraction.bytes()).all(|digit| digit == b'0');
    if is_zero { Err(zero_or_less()) } else { Ok((whole, fraction)) }
}

fn to_minor(whole: &str, fraction: &str, currency: Currency) -> Result<i64, Flaw> {
    let decimals = currency.decimals();
    if fraction.len() > decimals {
        return Err(Flaw::bad(format!(
            "must have at most {decimals} decimals in {}",
            currency.code()
        )));
    }
    minor_units(whole, fraction, decimals)
}

/// As [`to_minor`] where the currency is not known yet: refuses what no currency has.
fn to_most_minor(whole: &str, fraction: &str) -> Result<i64, Flaw> {
    if fraction.len() > Currency::MOST_DECIMALS {
        let most = Currency::MOST_DECIMALS;
        return Err(Flaw::bad(format!("must have at most {most} decimals in any currency")));
    }
    minor_units(whole, fraction, fraction.len())
}

fn minor_units(whole: &str, fraction: &str, decimals: usize) -> Result<i64, Flaw> {
    let minor = format!("{whole}{fraction:0<decimals$}").parse().ok();
    minor
        .filter(|minor| *minor <= Money::MAX_MINOR)
        .ok_or_else(|| Flaw::bad("must be at most 1,000,000,000,000,000 in minor units"))
}

/// What stands before and behind the point of a plain decimal number.
fn digits(amount: &str) -> Option<(&str, &str)> {
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match amount.split_once('.') {
        Some((whole, fraction)) => {
            (are_digits(whole) && are_digits(fraction)).then_some((whole, fraction))
        }
        None => are_digits(amount).then_some((amount, "")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(currency_code: &str, amount: &str) -> Result<i64, Flaw> {
        let money =
            pb::Money { currency_code: currency_code.to_owned(), amount: amount.to_owned() };
        Money::required(Some(&money), Currency::USD).map(Money::minor)
    }

    #[test]
    fn an_amount_has_the_decimals_of_its_currency() {
        assert_eq!(parse("EUR", "999.99"), Ok(99_999));
        assert_eq!(parse("EUR", "999.9"), Ok(99_990));
        assert_eq!(parse("EUR", "999"), Ok(99_900));
        assert_eq!(parse("JPY", "999"), Ok(999));
        assert_eq!(parse("KWD", "1.234"), Ok(1234));
        assert_eq!(parse("", "0.01"), Ok(1));
        for (currency, amount) in [("EUR", "1.234"), ("JPY", "1.0"), ("KWD", "1.2345")] {
            assert!(parse(currency, amount).is_err(), "{amount} {currency}");
        }
    }

    /// Security checklist 55.
    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in [
            "0",
            "0.00",
            "-1",
            "-0.01",
            "1e3",
            "1,000",
            "1.",
            ".5",
            " 1",
            "1 ",
            "+1",
            "NaN",
            "inf",
            "0x10",
            "١",
            "1.2.3",
            "--1",
            "-",
            "99999999999999999999",
            "10000000000000.01",
        ] {
            assert!(matches!(parse("EUR", bad), Err(Flaw::Bad(_))), "{bad:?}");
        }
        assert_eq!(parse("EUR", ""), Err(Flaw::Missing));
        assert_eq!(Money::required(None, Currency::USD), Err(Flaw::Missing));
        assert!(parse("XYZ", "1").is_err());
        assert_eq!(parse("EUR", "10000000000000.00"), Ok(Money::MAX_MINOR));
    }

    #[test]
    fn an_amount_may_leave_its_currency_to_a_row_but_nothing_else() {
        let said = |currency_code: &str, amount: &str| {
            let money =
                pb::Money { currency_code: currency_code.to_owned(), amount: amount.to_owned() };
            Amount::required(Some(&money))
        };
        let kwd = Currency::parse("KWD").expect("dinar");
        let amount = said("", "1.5").expect("some amount");
        assert_eq!(amount.or_in(kwd), Ok(Money::from_minor(1500, kwd)));
        assert!(amount.or_in(Currency::parse("JPY").expect("yen")).is_err());
        let amount = said("USD", "1.5").expect("dollars");
        assert_eq!(amount.or_in(kwd), Ok(Money::from_minor(150, Currency::USD)));
        for (currency_code, amount) in [("", "0.0"), ("", "-1"), ("", "1e3"), ("USD", "1.555")] {
            assert!(matches!(said(currency_code, amount), Err(Flaw::Bad(_))), "{amount}");
        }
        assert_eq!(said("", ""), Err(Flaw::Missing));
    }

    #[test]
    fn what_no_currency_has_is_refused_before_it_is_known_which_one_it_is() {
        let said = |amount: &str| {
            let money = pb::Money { amount: amount.to_owned(), ..Default::default() };
            Amount::required(Some(&money)).map(drop)
        };
        for good in ["1.0001", "1000000000000000", "100000000000.0000"] {
            assert_eq!(said(good), Ok(()), "{good}");
        }
        for bad in ["1.00001", "1000000000000001", "100000000000.0001"] {
            assert!(matches!(said(bad), Err(Flaw::Bad(_))), "{bad}");
        }
    }

    #[test]
    fn only_where_no_message_is_there_nothing_is_said() {
        let said = |currency_code: &str| {
            let currency_code = currency_code.to_owned();
            let money = pb::Money { currency_code, amount: String::new() };
            Amount::optional(Some(&money))
        };
        assert_eq!(Amount::optional(None), Ok(None));
        assert_eq!(said(""), Err(Flaw::Missing));
        assert_eq!(said("EUR"), Err(Flaw::Missing));
        assert!(matches!(said("ZZZ"), Err(Flaw::Bad(_))));
    }

    #[test]
    fn sums_are_shown_whatever_their_size_and_sign() {
        let amount = |minor: i128, code: &str| shown(minor, code).amount;
        assert_eq!(amount(0, "EUR"), "0.00");
        assert_eq!(amount(-5, "EUR"), "-0.05");
        assert_eq!(amount(1_234_567, "JPY"), "1234567");
        assert_eq!(amount(i128::from(i64::MAX) * 100, "KWD"), "922337203685477580.700");
    }

    proptest! {
        /// Security checklist 63.
        #[test]
        fn whatever_is_sent_is_an_amount_or_refused(currency in "[A-Z]{3}|.*", amount in ".*") {
            if let Ok(minor) = parse(&currency, &amount) {
                prop_assert!((1..=Money::MAX_MINOR).contains(&minor));
            }
        }

        #[test]
        fn what_is_shown_reads_back(
            minor in 1..=Money::MAX_MINOR,
            code in prop::sample::select(vec!["EUR", "JPY", "KWD", "CLF", "USD"]),
        ) {
            let shown = shown(minor.into(), code);
            let read = Money::required(Some(&shown), Currency::USD);
            prop_assert_eq!(read.map(Money::minor), Ok(minor));
        }
    }
}
