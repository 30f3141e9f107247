//! How does a message become words of the domain, with every bad field reported at once?
//!
//! A conversion takes each field through a [`Fields`], which collects what is wrong, and then
//! asks for all of them together. Past that point an invalid value cannot exist: the types in
//! here have private contents and no constructor but parsing.
//!
//! ```
//! use service_kit::fields::{Fields, Text};
//!
//! let mut fields = Fields::default();
//! let first = fields.take("client.first_name", Text::<100>::required("Ada"));
//! let last = fields.take("client.last_name", Text::<100>::parse("Lovelace"));
//! let (first, last) = fields.all((first, last))?;
//! # assert_eq!((first.as_str(), last.as_str()), ("Ada", "Lovelace"));
//! # Ok::<(), service_kit::fields::Violations>(())
//! ```

mod codes;
mod date;
mod email;
mod labels;
mod money;
mod text;

use std::{borrow::Cow, collections::BTreeSet, fmt};

pub use codes::{Country, Currency};
pub use date::{date, optional_date};
pub use email::{Email, email_key};
pub use labels::Labels;
pub use money::{Amount, Money, shown as shown_money};
pub use text::{Notes, Text, fold, parse_search, search_words};

/// What is wrong with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// It is required and empty.
    Missing,
    /// A sentence's end: "must be …".
    Bad(Cow<'static, str>),
}

impl Flaw {
    pub fn bad(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Bad(what.into())
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is required"),
            Self::Bad(what) => f.write_str(what),
        }
    }
}

/// A field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub field: String,
    pub flaw: Flaw,
}

/// Everything that is wrong with a message: at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Where one field is bad and that is all.
    pub fn one(field: &str, flaw: Flaw) -> Self {
        Self(vec![Violation { field: field.to_owned(), flaw }])
    }

    /// Whether nothing is wrong but that something is missing.
    pub fn only_missing(&self) -> bool {
        self.0.iter().all(|violation| violation.flaw == Flaw::Missing)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.0.iter()
    }

    /// The first ones, as many as are so many bytes and one at least, and how many more there are.
    pub fn first(&self, bytes: usize) -> (&[Violation], usize) {
        let sizes = self.0.iter().scan(0, |all, violation| {
            *all += violation.size();
            Some(*all)
        });
        let fitting = sizes.take_while(|all| *all <= bytes).count().max(1).min(self.0.len());
        (&self.0[..fitting], self.0.len() - fitting)
    }
}

impl Violation {
    /// Its bytes on the wire, about.
    fn size(&self) -> usize {
        let flaw = match &self.flaw {
            Flaw::Missing => 11,
            Flaw::Bad(what) => what.len(),
        };
        self.field.len() + flaw + 8
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.flaw)
    }
}

/// Collects what is wrong while a message is taken apart.
#[derive(Debug, Default)]
pub struct Fields {
    wrong: Vec<Violation>,
    waiting: Vec<Waiting>,
}

/// An amount of which only a row tells what it is in.
#[derive(Debug)]
struct Waiting {
    /// How many violations come before one of its own.
    place: usize,
    field: String,
    amount: Amount,
    /// What is wrong with it in any other currency; nothing where it may be in another.
    in_another: Option<&'static str>,
}

/// What a currency shows of an amount.
fn judged(
    amount: &Amount,
    currency: Currency,
    in_another: Option<&'static str>,
) -> Result<Money, Flaw> {
    let money = amount.or_in(currency)?;
    match in_another {
        Some(flaw) if money.currency() != currency => Err(Flaw::bad(flaw)),
        _ => Ok(money),
    }
}

impl Fields {
    /// The value, or nothing and a note of what is wrong with the field.
    pub fn take<T>(&mut self, field: &str, parsed: Result<T, Flaw>) -> Option<T> {
        parsed.map_err(|flaw| self.refuse(field, flaw)).ok()
    }

    /// The same for an amount, which may be there or not. One that names no currency is good so
    /// far; see [`judge_in`](Self::judge_in).
    pub fn amount<A>(&mut self, field: &str, parsed: Result<A, Flaw>) -> Option<A>
    where
        A: Clone + Into<Option<Amount>>,
    {
        let amount = self.take(field, parsed)?;
        if let Some(short) = amount.clone().into().filter(|amount| !amount.names_currency()) {
            self.wait(field, short, None);
        }
        Some(amount)
    }

    /// The same for an amount beside another one, which says what both are `of`: some currency,
    /// none yet, or none that there is. `in_another` is what is wrong with this one where it is
    /// in another currency, if that is wrong.
    pub fn amount_beside<A>(
        &mut self,
        field: &str,
        parsed: Result<A, Flaw>,
        of: &Result<Option<Currency>, Flaw>,
        in_another: Option<&'static str>,
    ) -> Option<A>
    where
        A: Clone + Into<Option<Amount>>,
    {
        let taken = self.take(field, parsed)?;
        let Some(amount) = taken.clone().into() else { return Some(taken) };
        match of {
            Ok(Some(of)) => {
                self.take(field, judged(&amount, *of, in_another))?;
            }
            Ok(None) => self.wait(field, amount, in_another),
            // Of an amount in no currency nobody knows what it should be.
            Err(_) => {}
        }
        Some(taken)
    }

    fn wait(&mut self, field: &str, amount: Amount, in_another: Option<&'static str>) {
        let (place, field) = (self.wrong.len(), field.to_owned());
        self.waiting.push(Waiting { place, field, amount, in_another });
    }

    /// Whether something is wrong, and there are amounts that wait to be judged: then it is
    /// worth finding out in which currency, so that all that is wrong is told at once.
    pub fn wait_for_currency(&self) -> bool {
        !self.wrong.is_empty() && !self.waiting.is_empty()
    }

    /// Whether nothing is wrong so far.
    pub fn are_good(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Notes what this currency shows of the amounts that waited for one, each where its field is.
    pub fn judge_in(&mut self, currency: Currency) {
        // The last one first: the places before it stay what they are.
        for waiting in self.waiting.drain(..).rev() {
            let Waiting { place, field, amount, in_another } = waiting;
            if let Err(flaw) = judged(&amount, currency, in_another) {
                self.wrong.insert(place, Violation { field, flaw });
            }
        }
    }

    /// The ids of a batch, each once and in their own order; each that is none is named with its
    /// place.
    pub fn ids(&mut self, field: &str, given: &[i64]) -> Option<Vec<i64>> {
        const MOST: usize = 500;
        if given.is_empty() {
            return self.take(field, Err(Flaw::Missing));
        }
        if given.len() > MOST {
            return self.take(field, Err(Flaw::bad("must be at most 500")));
        }
        let mut ids = BTreeSet::new();
        for (place, id) in given.iter().enumerate() {
            if *id > 0 {
                ids.insert(*id);
            } else {
                self.refuse(&format!("{field}[{place}]"), Flaw::bad("must be the id of something"));
            }
        }
        Some(ids.into_iter().collect())
    }

    /// Refuses a stretch that does not end after it begins.
    pub fn in_order<T: PartialOrd>(
        &mut self,
        (from_field, from): (&str, Option<&T>),
        (until_field, until): (&str, Option<&T>),
    ) {
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            self.refuse(until_field, Flaw::bad(format!("must be after {from_field}")));
        }
    }

    /// Refuses another value for a field that stays as it is, where one is said.
    pub fn stays<T: PartialEq>(&mut self, field: &str, said: Option<T>, is: &T) {
        if said.is_some_and(|said| said != *is) {
            self.refuse(field, Flaw::bad("cannot be changed"));
        }
    }

    /// Notes that a field is bad.
    pub fn refuse(&mut self, field: &str, flaw: Flaw) {
        self.wrong.push(Violation { field: field.to_owned(), flaw });
    }

    /// All values taken, or everything that was wrong.
    pub fn all<T: Together>(self, taken: T) -> Result<T::Values, Violations> {
        match taken.together() {
            Some(values) if self.wrong.is_empty() => Ok(values),
            _ => Err(Violations(self.wrong)),
        }
    }
}

/// Several values that were taken, each there or not.
pub trait Together {
    type Values;
    fn together(self) -> Option<Self::Values>;
}

/// Where all that matters is whether anything was refused.
impl Together for () {
    type Values = ();
    fn together(self) -> Option<()> {
        Some(())
    }
}

macro_rules! together {
    ($($value:ident),+) => {
        impl<$($value),+> Together for ($(Option<$value>,)+) {
            type Values = ($($value,)+);
            #[expect(non_snake_case, reason = "one name serves as type and as variable")]
            fn together(self) -> Option<Self::Values> {
                let ($($value,)+) = self;
                Some(($($value?,)+))
            }
        }
    };
}
together!(A);
together!(A, B);
together!(A, B, C);
together!(A, B, C, D);
together!(A, B, C, D, E);
together!(A, B, C, D, E, F);
together!(A, B, C, D, E, F, G);
together!(A, B, C, D, E, F, G, H);
together!(A, B, C, D, E, F, G, H, I);
together!(A, B, C, D, E, F, G, H, I, J);
together!(A, B, C, D, E, F, G, H, I, J, K);
together!(A, B, C, D, E, F, G, H, I, J, K, L);

/// As much of what somebody sent as is said again: it may be as long as a message, and be of
/// anything.
pub(crate) fn beginning(text: &str) -> String {
    text.chars().take(63).flat_map(char::escape_debug).collect()
}

/// The id of a row, which every row has.
pub fn id(id: i64) -> Result<i64, Flaw> {
    if id == 0 { Err(Flaw::Missing) } else { Ok(id) }
}

/// The UUID in an optional `request_id`.
pub fn request_id(text: &str) -> Result<Option<uuid::Uuid>, Flaw> {
    if text.is_empty() {
        return Ok(None);
    }
    uuid::Uuid::try_parse(text)
        .map(Some)
        .map_err(|_| Flaw::bad("must be a UUID such as 6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_is_reported_at_once() {
        let mut fields = Fields::default();
        let name = fields.take("name", Text::<3>::required(""));
        let note = fields.take("note", Text::<3>::parse("four"));
        let fine = fields.take("fine", Text::<3>::parse("yes"));
        let violations = fields.all((name, note, fine)).expect_err("two are bad");
        let named: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, ["name", "note"]);
        assert!(!violations.only_missing());
    }

    #[test]
    fn amounts_wait_for_their_currency_and_keep_their_places() {
        let money = |code: &str, amount: &str| {
            let (currency_code, amount) = (code.to_owned(), amount.to_owned());
            Amount::required(Some(&proto::common::v1::Money { currency_code, amount }))
        };
        let (usd, yen) = (Currency::USD, Currency::parse("JPY").expect("yen"));
        let named = |fields: Fields| {
            let violations = fields.all(()).expect_err("some are bad");
            violations.iter().map(|it| it.field.clone()).collect::<Vec<_>>()
        };
        let taken = || {
            let mut fields = Fields::default();
            fields.amount("price", money("", "1.5"));
            fields.amount("other", money("USD", "1.5"));
            fields.amount_beside("beside", money("", "1.5"), &Ok(None), Some("must not differ"));
            fields.amount_beside("differs", money("USD", "1"), &Ok(None), Some("must not differ"));
            assert!(!fields.wait_for_currency(), "nothing is wrong");
            fields.refuse("date", Flaw::bad("must be"));
            fields.amount("fee", money("", "2.5"));
            assert!(fields.wait_for_currency());
            fields
        };
        assert_eq!(named(taken()), ["date"]);
        let mut fields = taken();
        fields.judge_in(yen);
        assert_eq!(named(fields), ["price", "beside", "differs", "date", "fee"]);
        let mut fields = taken();
        fields.judge_in(usd);
        assert_eq!(named(fields), ["date"]);

        // What stands beside an amount that names its currency waits for nothing.
        let mut fields = Fields::default();
        fields.amount_beside("beside", money("", "1.5"), &Ok(Some(yen)), None);
        fields.amount_beside("unknown", money("", "1.5"), &Err(Flaw::Missing), None);
        assert!(!fields.wait_for_currency());
        assert_eq!(named(fields), ["beside"]);
    }

    #[test]
    fn a_field_refused_beside_good_values_still_refuses_the_message() {
        let mut fields = Fields::default();
        let name = fields.take("name", Text::<3>::required("Ada"));
        fields.refuse("other", Flaw::bad("must not be"));
        assert!(fields.all((name,)).is_err());
    }

    #[test]
    fn the_ids_of_a_batch_are_each_once_and_none_is_nobodys() {
        let take = |given: &[i64]| {
            let mut fields = Fields::default();
            let ids = fields.ids("ids", given);
            let taken = fields.all((ids,)).map(|(ids,)| ids);
            taken.map_err(|wrong| {
                wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            })
        };
        assert_eq!(take(&[3, 1, 3]), Ok(vec![1, 3]));
        assert_eq!(take(&[]), Err("ids is required".to_owned()));
        assert_eq!(take(&[1; 501]), Err("ids must be at most 500".to_owned()));
        let places = "ids[1] must be the id of something, ids[2] must be the id of something";
        assert_eq!(take(&[1, 0, -1]), Err(places.to_owned()));
    }

    #[test]
    fn a_request_id_is_a_uuid_or_absent() {
        assert_eq!(request_id(""), Ok(None));
        assert!(request_id("6f1c1f5e-8f0a-4c52-9d3c-0a5b6c7d8e9f").is_ok_and(|id| id.is_some()));
        assert!(request_id("1").is_err());
    }
}
