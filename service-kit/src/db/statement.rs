//! Which statements are there?
//!
//! Every SQL text of a service is written with [`sql!`](crate::sql) or, where it depends on
//! filters, registered as a [`Family`] with all its variants. So the tests see each statement
//! that the program contains, executed or not: that it binds the account, that it prepares
//! against the migrated schema, and which index it uses.

use sqlx::{SqlSafeStr, SqlStr};

/// A text that the tests know of. Only [`sql!`](crate::sql) makes one.
#[derive(Debug, Clone, Copy)]
pub struct Sql(&'static str);

impl Sql {
    /// For `sql!`, which registers the text.
    #[doc(hidden)]
    pub const fn registered(text: &'static str) -> Self {
        Self(text)
    }
}

impl SqlSafeStr for Sql {
    fn into_sql_str(self) -> SqlStr {
        self.0.into_sql_str()
    }
}

/// A fixed statement and where it stands.
#[derive(Debug)]
pub struct Statement {
    pub text: &'static str,
    pub place: &'static str,
}

inventory::collect!(Statement);

/// A statement with variants, and a function that makes each of them.
#[derive(Debug)]
pub struct Family {
    pub variants: fn() -> Vec<String>,
    pub place: &'static str,
}

inventory::collect!(Family);

/// Every fixed statement linked into this program.
pub fn statements() -> impl Iterator<Item = &'static Statement> {
    inventory::iter::<Statement>.into_iter()
}

/// Every statement with variants linked into this program.
pub fn families() -> impl Iterator<Item = &'static Family> {
    inventory::iter::<Family>.into_iter()
}

/// A statement, put together from literals at compile time, and known to the tests.
#[macro_export]
macro_rules! sql {
    ($($part:expr),+ $(,)?) => {{
        const TEXT: &str = concat!($($part),+);
        $crate::inventory::submit! {
            $crate::db::Statement { text: TEXT, place: concat!(file!(), ":", line!()) }
        }
        $crate::db::Sql::registered(TEXT)
    }};
}

/// Makes the variants of a statement known to the tests.
#[macro_export]
macro_rules! sql_family {
    ($variants:path) => {
        $crate::inventory::submit! {
            $crate::db::Family { variants: $variants, place: file!() }
        }
    };
}
