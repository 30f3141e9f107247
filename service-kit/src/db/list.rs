//! How is a list put together from filters and a page?

use sqlx::{Encode, Postgres, QueryBuilder, Type};

use super::{Row, Rows, TenantTx};
use crate::{
    error::Error,
    page::{Key, Page},
};

/// A value that a filter compares with.
pub trait Bind: for<'q> Encode<'q, Postgres> + Type<Postgres> + Send + 'static {}
impl<T: for<'q> Encode<'q, Postgres> + Type<Postgres> + Send + 'static> Bind for T {}

/// A list being put together. Texts are literals of the program, values are bound: each
/// combination of filters is a statement of its own, so that each gets the plan it deserves.
pub struct ListQuery(QueryBuilder<Postgres>);

impl ListQuery {
    /// `SELECT … FROM … WHERE account_id = `, and the account.
    pub fn new(select: &'static str, account_id: i64) -> Self {
        let mut query = QueryBuilder::new(select);
        query.push_bind(account_id);
        Self(query)
    }

    /// More text, up to where a value goes.
    pub fn text(&mut self, text: &'static str) -> &mut Self {
        self.0.push(text);
        self
    }

    /// A value.
    pub fn bind(&mut self, value: impl Bind) -> &mut Self {
        self.0.push_bind(value);
        self
    }

    /// That a column begins with a word: two plain comparisons, which reach an index also under
    /// row security.
    pub fn begins(&mut self, column: &'static str, word: &str) -> &mut Self {
        // Behind every word that begins like this one, and before every other.
        let behind = format!("{word}{}", char::MAX);
        self.text(column).text(" >= ").bind(word.to_owned());
        self.text(" AND ").text(column).text(" < ").bind(behind)
    }

    /// The rows of one page, and one more that tells whether there is another.
    pub fn page<T>(&mut self, page: &Page<T>) -> &mut Self {
        let direction = if page.descending { " DESC" } else { "" };
        let id = page.order.id_column();
        if let Some((key, last)) = &page.after {
            self.text(" AND (").text(page.order.column).text(", ").text(id);
            self.text(if page.descending { ") < (" } else { ") > (" });
            match key {
                Key::Instant(instant) => self.bind(*instant),
                Key::Text(text) => self.bind(text.clone()),
                Key::Date(date) => self.bind(*date),
            };
            self.text(", ").bind(*last).text(")");
        }
        self.text(" ORDER BY ").text(page.order.column).text(direction);
        self.text(", ").text(id).text(direction);
        self.text(" LIMIT ").bind(page.limit_and_one());
        if page.skip > 0 {
            self.text(" OFFSET ").bind(page.skip);
        }
        self
    }

    /// The text, for those who check it.
    pub fn into_text(self) -> String {
        self.0.sql().as_str().to_owned()
    }

    /// The rows, as many of them as fit into an answer.
    pub async fn fetch<T: Row>(mut self, tx: &mut TenantTx) -> Result<Rows<T>, Error> {
        tx.all_that_fit(self.0.build()).await
    }

    /// For `SELECT count(*)`.
    pub async fn count(mut self, tx: &mut TenantTx) -> Result<i64, Error> {
        let (count,) = tx.one(self.0.build_query_as()).await?;
        Ok(count)
    }
}
