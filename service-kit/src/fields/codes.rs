//! Which countries and currencies are there?

use super::Flaw;

/// A currency by its ISO 4217 code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Where nobody ever says which.
    pub const USD: Self = Self(iso_currency::Currency::USD);
    /// No currency has more.
    pub const MOST_DECIMALS: usize = 4;

    pub fn parse(code: &str) -> Result<Self, Flaw> {
        iso_currency::Currency::from_code(code)
            // Gold and other things without minor units are nothing that anybody is paid in.
            .filter(|currency| currency.exponent().is_some())
            .map(Self)
            .ok_or_else(|| Flaw::bad("must be an ISO 4217 code such as EUR"))
    }

    /// Nothing where nothing is said.
    pub fn optional(code: &str) -> Result<Option<Self>, Flaw> {
        if code.is_empty() { Ok(None) } else { Self::parse(code).map(Some) }
    }

    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals an amount in it has.
    pub fn decimals(self) -> usize {
        self.0.exponent().unwrap_or_default().into()
    }
}

/// A country by its ISO 3166-1 alpha-2 code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Country(&'static str);

impl Country {
    pub fn parse(code: &str) -> Result<Self, Flaw> {
        let known = code.bytes().all(|byte| byte.is_ascii_uppercase()) && code.len() == 2;
        known
            .then(|| rust_iso3166::from_alpha2(code))
            .flatten()
            .map(|country| Self(country.alpha2))
            .ok_or_else(|| Flaw::bad("must be an ISO 3166-1 alpha-2 code such as NL"))
    }

    /// Nothing where nothing is said.
    pub fn optional(code: &str) -> Result<Option<Self>, Flaw> {
        if code.is_empty() { Ok(None) } else { Self::parse(code).map(Some) }
    }

    pub fn code(self) -> &'static str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_currency_has_more_decimals_than_the_most() {
        let letters = || 'A'..='Z';
        let codes = letters().flat_map(|a| letters().map(move |b| format!("{a}{b}")));
        let codes = codes.flat_map(|start| letters().map(move |c| format!("{start}{c}")));
        let decimals = codes.filter_map(|code| Currency::parse(&code).ok()).map(Currency::decimals);
        assert_eq!(decimals.max(), Some(Currency::MOST_DECIMALS));
    }

    #[test]
    fn only_codes_in_capitals_that_exist() {
        assert_eq!(Currency::parse("EUR").expect("euro").code(), "EUR");
        assert_eq!(Country::parse("NL").expect("Netherlands").code(), "NL");
        for bad in ["eur", "EURO", "XYZ", "XAU", "€", "nl", "ZZ", "N", ""] {
            assert!(Currency::parse(bad).is_err(), "{bad}");
            assert!(Country::parse(bad).is_err(), "{bad}");
        }
    }
}
