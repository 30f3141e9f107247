//! How much is an amount of Stripe's?
//!
//! Stripe counts in units of its own: mostly the currency's minor units, but its table of
//! currencies without decimals is not ISO's, and two of them are counted as if they had some.

use serde::{Deserialize, Serialize};
use service_kit::fields::{Currency, Money};

/// Currencies that Stripe counts without decimals.
#[rustfmt::skip]
const WITHOUT_DECIMALS: &[&str] = &[
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
    "XOF", "XPF",
];
/// Currencies that Stripe counts with three.
const WITH_THREE: &[&str] = &["BHD", "JOD", "KWD", "OMR", "TND"];
// All others with two: also ISK and UGX, which have none.

/// Why an amount can be that of no payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    CurrencyUnknown,
    /// It has a part that the currency has no coin for.
    AmountNotWhole,
    /// Less than nothing, or more than any payment is.
    AmountOutOfBounds,
}

/// An amount in minor units; nothing where nothing is paid.
pub fn money(amount: i64, currency: &str) -> Result<Option<Money>, Obstacle> {
    let currency = Currency::parse(&currency.to_ascii_uppercase());
    let currency = currency.map_err(|_| Obstacle::CurrencyUnknown)?;
    match in_minor_units(amount, currency)? {
        0 => Ok(None),
        minor @ 1..=Money::MAX_MINOR => Ok(Some(Money::from_minor(minor, currency))),
        _ => Err(Obstacle::AmountOutOfBounds),
    }
}

fn in_minor_units(amount: i64, currency: Currency) -> Result<i64, Obstacle> {
    let (ours, stripes) = (currency.decimals(), decimals_at_stripe(currency.code()));
    let power = |exponent: usize| u32::try_from(exponent).ok().and_then(|e| 10_i64.checked_pow(e));
    let unit = power(ours.abs_diff(stripes)).ok_or(Obstacle::AmountOutOfBounds)?;
    if ours >= stripes {
        return amount.checked_mul(unit).ok_or(Obstacle::AmountOutOfBounds);
    }
    if amount % unit == 0 { Ok(amount / unit) } else { Err(Obstacle::AmountNotWhole) }
}

fn decimals_at_stripe(code: &str) -> usize {
    match code {
        code if WITHOUT_DECIMALS.contains(&code) => 0,
        code if WITH_THREE.contains(&code) => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_follow_stripes_table_and_not_isos() {
        let minor =
            |amount: i64, currency: &str| money(amount, currency).unwrap().map(Money::minor);
        assert_eq!(minor(1000, "eur"), Some(1000), "10.00 EUR");
        assert_eq!(minor(500, "jpy"), Some(500), "500 JPY");
        assert_eq!(minor(5120, "kwd"), Some(5120), "5.120 KWD");
        assert_eq!(minor(500, "isk"), Some(5), "5 ISK");
        assert_eq!(minor(500, "ugx"), Some(5), "5 UGX");
        assert_eq!(minor(500, "mga"), Some(50_000), "500 MGA, of which ISO counts hundredths");
    }

    #[test]
    fn what_no_payment_can_be_of_says_why() {
        use Obstacle::{AmountNotWhole, AmountOutOfBounds, CurrencyUnknown};
        for (amount, currency, obstacle) in [
            (1, "xyz", CurrencyUnknown),
            (1, "usdc", CurrencyUnknown),
            (1, "", CurrencyUnknown),
            (333, "isk", AmountNotWhole),
            (-1, "eur", AmountOutOfBounds),
            (Money::MAX_MINOR + 1, "eur", AmountOutOfBounds),
            (i64::MAX, "mga", AmountOutOfBounds),
        ] {
            assert_eq!(money(amount, currency), Err(obstacle), "{amount} {currency}");
        }
        assert_eq!(money(0, "eur"), Ok(None));
    }

    #[test]
    fn every_currency_of_the_table_is_known() {
        for code in [WITHOUT_DECIMALS, WITH_THREE, &["ISK", "UGX"]].concat() {
            assert!(Currency::parse(code).is_ok(), "{code}");
        }
    }
}
