//! How much is an amount of Stripe's?
//!
//! Stripe counts in units of its own: mostly the currency's minor units, but its table of
//! currencies without decimals is not ISO's, and two of them are counted as if they had some.

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

/// An amount in minor units; nothing where the currency is unknown, or the amount has a part
/// that the currency has no coin for.
pub fn money(amount: i64, currency: &str) -> Option<Money> {
    let currency = Currency::parse(&currency.to_ascii_uppercase()).ok()?;
    let minor = in_minor_units(amount, currency)?;
    (1..=Money::MAX_MINOR).contains(&minor).then(|| Money::from_minor(minor, currency))
}

/// Minor units; an amount may be nothing.
pub fn in_minor_units(amount: i64, currency: Currency) -> Option<i64> {
    let (ours, stripes) = (currency.decimals(), decimals_at_stripe(currency.code()));
    let power = |exponent: usize| u32::try_from(exponent).ok().and_then(|e| 10_i64.checked_pow(e));
    if ours >= stripes {
        return amount.checked_mul(power(ours - stripes)?);
    }
    let unit = power(stripes - ours)?;
    (amount % unit == 0).then_some(amount / unit)
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
        let minor = |amount: i64, currency: &str| money(amount, currency).map(Money::minor);
        assert_eq!(minor(1000, "eur"), Some(1000), "10.00 EUR");
        assert_eq!(minor(500, "jpy"), Some(500), "500 JPY");
        assert_eq!(minor(5120, "kwd"), Some(5120), "5.120 KWD");
        assert_eq!(minor(500, "isk"), Some(5), "5 ISK");
        assert_eq!(minor(500, "ugx"), Some(5), "5 UGX");
        assert_eq!(minor(500, "mga"), Some(50_000), "500 MGA, of which ISO counts hundredths");
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for (amount, currency) in
            [(0, "eur"), (-1, "eur"), (1, "xyz"), (1, ""), (550, "isk"), (i64::MAX, "mga")]
        {
            assert_eq!(money(amount, currency), None, "{amount} {currency}");
        }
    }

    #[test]
    fn every_currency_of_the_table_is_known() {
        for code in [WITHOUT_DECIMALS, WITH_THREE, &["ISK", "UGX"]].concat() {
            assert!(Currency::parse(code).is_ok(), "{code}");
        }
    }
}
