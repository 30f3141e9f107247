//! Which rows are on this page, and how does the caller ask for the next one?
//!
//! Pages are keyset pages: a page token holds the order's value and the id of the last row
//! given, so that page 1,000 costs what page 1 costs. A token is signed together with the
//! account, the method and the filters it belongs to; anywhere else it is refused.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use prost::Message;
use proto::Paged;

use crate::{
    caller::Caller,
    db::Rows,
    fields::{Fields, Flaw},
    keys::{Keyring, Purpose},
};

const DEFAULT_SIZE: i32 = 50;
const MAX_SIZE: i32 = 1000;
const MAX_SKIP: i32 = 10_000;

/// An order that a list of `T` can be asked for, and the column that it follows. Ties go by id.
#[derive(Debug)]
pub struct Order<T> {
    pub name: &'static str,
    pub column: &'static str,
    /// What a row has in that column.
    pub key: KeyOf<T>,
}

impl<T> Order<T> {
    /// The column that ties go by: of the same table.
    pub fn id_column(&self) -> &'static str {
        if self.column.starts_with("e.") { "e.id" } else { "id" }
    }
}

/// How to read the column of an order.
#[derive(Debug)]
pub enum KeyOf<T> {
    Instant(fn(&T) -> DateTime<Utc>),
    Text(fn(&T) -> String),
    Date(fn(&T) -> NaiveDate),
}

impl<T> KeyOf<T> {
    fn read(&self, row: &T) -> Key {
        match self {
            Self::Instant(read) => Key::Instant(read(row)),
            Self::Text(read) => Key::Text(read(row)),
            Self::Date(read) => Key::Date(read(row)),
        }
    }
}

/// The value of a row in the column of its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Instant(DateTime<Utc>),
    Text(String),
    Date(NaiveDate),
}

/// The page asked for.
#[derive(Debug)]
pub struct Page<T: 'static> {
    pub order: &'static Order<T>,
    pub descending: bool,
    pub skip: i64,
    /// The last row of the page before.
    pub after: Option<(Key, i64)>,
    pub include_total: bool,
    size: i32,
    binding: Binding,
}

/// What a page token belongs to.
#[derive(Debug, Clone)]
struct Binding {
    account_id: [u8; 8],
    query: Vec<u8>,
}

impl<T> Page<T> {
    /// Reads the page fields of a list request.
    pub fn parse<R: Paged>(
        fields: &mut Fields,
        request: &R,
        caller: &Caller,
        keys: &Keyring,
        orders: &'static [Order<T>],
        default_order: &str,
    ) -> Option<Self> {
        let ask = request.ask();
        let binding = Binding::of(request, caller);
        let order_by = if ask.order_by.is_empty() { default_order } else { ask.order_by };
        let order = fields.take("order_by", parse_order(order_by, orders));
        let size = fields.take("page_size", parse_size(ask.size));
        let skip = fields.take("skip", parse_skip(ask.skip));
        let after = fields.take("page_token", binding.parse_token(ask.token, keys));
        let (order, descending) = order?;
        Some(Self {
            order,
            descending,
            skip: skip?,
            after: after?,
            include_total: ask.include_total,
            size: size?,
            binding,
        })
    }

    /// Pages of every order, at the beginning and further on: for those who check statements.
    pub fn variants(orders: &'static [Order<T>]) -> Vec<Self> {
        let mut pages = Vec::new();
        for order in orders {
            for descending in [false, true] {
                let place = match order.key {
                    KeyOf::Instant(_) => Key::Instant(DateTime::UNIX_EPOCH),
                    KeyOf::Text(_) => Key::Text(String::new()),
                    KeyOf::Date(_) => Key::Date(NaiveDate::default()),
                };
                for after in [None, Some(place)] {
                    pages.push(Self {
                        order,
                        descending,
                        skip: i64::from(after.is_none()),
                        after: after.map(|key| (key, 1)),
                        include_total: false,
                        size: DEFAULT_SIZE,
                        binding: Binding { account_id: [0; 8], query: Vec::new() },
                    });
                }
            }
        }
        pages
    }

    /// One row more than the page has: if it is there, so is another page.
    pub fn limit_and_one(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// The rows of this page, and the token of the next one or nothing.
    pub fn cut(&self, found: Rows<T>, keys: &Keyring, id: impl Fn(&T) -> i64) -> (Vec<T>, String) {
        let size = usize::try_from(self.size).unwrap_or_default();
        let Rows { mut rows, cut_short } = found;
        if rows.len() <= size && !cut_short {
            return (rows, String::new());
        }
        rows.truncate(size);
        let next = rows.last().map(|row| (self.order.key.read(row), id(row)));
        let token = next.map(|(key, id)| self.binding.token(&Cursor::new(key, id), keys));
        (rows, token.unwrap_or_default())
    }
}

/// What a page token holds.
#[derive(Clone, PartialEq, Message)]
struct Cursor {
    #[prost(int64, optional, tag = "1")]
    micros: Option<i64>,
    #[prost(string, optional, tag = "2")]
    text: Option<String>,
    #[prost(int64, tag = "3")]
    id: i64,
    /// Days since the first one there was.
    #[prost(int32, optional, tag = "4")]
    day: Option<i32>,
}

impl Cursor {
    fn new(key: Key, id: i64) -> Self {
        let place = Self { id, ..Self::default() };
        match key {
            Key::Instant(instant) => Self { micros: Some(instant.timestamp_micros()), ..place },
            Key::Text(text) => Self { text: Some(text), ..place },
            Key::Date(date) => Self { day: Some(date.num_days_from_ce()), ..place },
        }
    }

    fn read(self) -> Option<(Key, i64)> {
        let key = match (self.micros, self.text, self.day) {
            (Some(micros), None, None) => Key::Instant(DateTime::from_timestamp_micros(micros)?),
            (None, Some(text), None) => Key::Text(text),
            (None, None, Some(day)) => Key::Date(NaiveDate::from_num_days_from_ce_opt(day)?),
            _ => return None,
        };
        Some((key, self.id))
    }
}

impl Binding {
    fn of<R: Paged>(request: &R, caller: &Caller) -> Self {
        let mut query = R::full_name().into_bytes();
        query.push(0);
        query.extend(request.query().encode_to_vec());
        Self { account_id: caller.account_id().to_be_bytes(), query }
    }

    fn token(&self, cursor: &Cursor, keys: &Keyring) -> String {
        keys.stamp(Purpose::PAGE_TOKEN, &self.parts(), &cursor.encode_to_vec())
    }

    /// The place in a token; none in the empty one, which asks for the first page.
    fn parse_token(&self, token: &str, keys: &Keyring) -> Result<Option<(Key, i64)>, Flaw> {
        if token.is_empty() {
            return Ok(None);
        }
        keys.stamped(Purpose::PAGE_TOKEN, &self.parts(), token)
            .and_then(|cursor| Cursor::decode(cursor.as_slice()).ok()?.read())
            .map(Some)
            .ok_or_else(|| {
                Flaw::bad("must be the next_page_token of a list with the same filters and order")
            })
    }

    fn parts(&self) -> [&[u8]; 2] {
        [&self.account_id, &self.query]
    }
}

fn parse_size(size: i32) -> Result<i32, Flaw> {
    match size {
        0 => Ok(DEFAULT_SIZE),
        1.. => Ok(size.min(MAX_SIZE)),
        _ => Err(Flaw::bad("must not be negative")),
    }
}

fn parse_skip(skip: i32) -> Result<i64, Flaw> {
    if (0..=MAX_SKIP).contains(&skip) {
        return Ok(i64::from(skip));
    }
    Err(Flaw::bad("must be from 0 to 10,000; beyond that use page tokens"))
}

fn parse_order<'o, T>(
    order_by: &str,
    orders: &'o [Order<T>],
) -> Result<(&'o Order<T>, bool), Flaw> {
    let mut words = order_by.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    let descending = match (words.next(), words.next()) {
        (None | Some("asc"), None) => Some(false),
        (Some("desc"), None) => Some(true),
        _ => None,
    };
    let order = orders.iter().find(|order| order.name == name);
    order.zip(descending).ok_or_else(|| {
        let names: Vec<_> = orders.iter().map(|order| order.name).collect();
        Flaw::bad(format!("must be {}, alone or followed by \" desc\"", names.join(" or ")))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORDERS: &[Order<()>] = &[
        Order {
            name: "create_time",
            column: "create_time",
            key: KeyOf::Instant(|()| DateTime::UNIX_EPOCH),
        },
        Order { name: "last_name", column: "name_key", key: KeyOf::Text(|()| String::new()) },
    ];

    fn keys() -> Keyring {
        Keyring::parse(&Keyring::generate()).expect("a key")
    }

    fn binding(account: i64, query: &str) -> Binding {
        Binding { account_id: account.to_be_bytes(), query: query.into() }
    }

    #[test]
    fn a_token_is_good_for_its_account_and_query_only() {
        let keys = keys();
        let place = (Key::Text("lovelace".into()), 7);
        let token = binding(1, "a").token(&Cursor::new(place.0.clone(), place.1), &keys);
        assert_eq!(binding(1, "a").parse_token(&token, &keys), Ok(Some(place)));
        assert!(binding(2, "a").parse_token(&token, &keys).is_err());
        assert!(binding(1, "b").parse_token(&token, &keys).is_err());
        assert!(binding(1, "a").parse_token(&token, &self::keys()).is_err());
    }

    #[test]
    fn orders_come_from_a_list() {
        assert!(matches!(parse_order("last_name", ORDERS), Ok((_, false))));
        assert!(matches!(parse_order(" last_name  desc ", ORDERS), Ok((_, true))));
        for bad in ["", "desc", "email", "last_name down", "last_name desc, id", "id; DROP TABLE"] {
            assert!(parse_order(bad, ORDERS).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_and_skips_are_bounded() {
        assert_eq!(parse_size(0), Ok(50));
        assert_eq!(parse_size(5000), Ok(1000));
        assert!(parse_size(-1).is_err());
        assert_eq!(parse_skip(10_000), Ok(10_000));
        assert!(parse_skip(10_001).is_err());
        assert!(parse_skip(-1).is_err());
    }

    proptest! {
        /// Security checklist 51 and 63.
        #[test]
        fn no_token_but_ours_is_taken(token in ".*", flip in 0_usize..60) {
            let keys = keys();
            let binding = binding(1, "a");
            prop_assert!(token.is_empty() || binding.parse_token(&token, &keys).is_err());
            let mut ours = binding.token(&Cursor::new(Key::Text("x".into()), 7), &keys).into_bytes();
            let place = flip % ours.len();
            ours[place] = if ours[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(ours).expect("base64");
            let read = binding.parse_token(&forged, &keys);
            prop_assert!(read.is_err() || read == Ok(Some((Key::Text("x".into()), 7))));
        }
    }
}
