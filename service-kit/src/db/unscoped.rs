//! What may be read before it is known which account it is about?

use std::ops::Deref;

use sqlx::{PgPool, Postgres, postgres::PgArguments, query::QueryAs};

use super::{
    Sql,
    connect::{most, was_ended},
    tx::{Row, counted},
};
use crate::error::Error;

type Query<'q, T> = QueryAs<'q, Postgres, T, PgArguments>;

/// Single reads across accounts, as a role that can read little and write nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unscoped<'a>(&'a PgPool);

/// A row that says whose it is.
pub trait Tenanted {
    fn account_id(&self) -> i64;
}

/// A row that was found, and with it the right to act in its account.
#[derive(Debug)]
pub struct Found<T>(T);

/// The scope of a task that acts in an account before anybody is signed in.
#[derive(Debug, Clone, Copy)]
pub struct System {
    account_id: i64,
    task: &'static str,
}

impl<'a> Unscoped<'a> {
    pub(super) fn new(pool: &'a PgPool) -> Self {
        Self(pool)
    }

    /// One autocommit statement: the row, or none.
    pub async fn find<'q, T: Row>(
        &self,
        text: Sql,
        bind: impl Fn(Query<'q, T>) -> Query<'q, T>,
    ) -> Result<Option<Found<T>>, Error> {
        Ok(self.all(text, bind).await?.pop())
    }

    /// One autocommit statement: all rows. It changes nothing, so it is simply asked again where
    /// it met a connection that the database had ended.
    pub async fn all<'q, T: Row>(
        &self,
        text: Sql,
        bind: impl Fn(Query<'q, T>) -> Query<'q, T>,
    ) -> Result<Vec<Found<T>>, Error> {
        let mut dead = 0;
        loop {
            match self.ask(bind(sqlx::query_as(text))).await {
                Err(error) if was_ended(&error) && dead < most(self.0) => dead += 1,
                rows => return Ok(rows?.into_iter().map(Found).collect()),
            }
        }
    }

    async fn ask<T: Row>(&self, query: Query<'_, T>) -> Result<Vec<T>, sqlx::Error> {
        let mut connection = self.0.acquire().await?;
        counted(query.fetch_all(&mut *connection)).await
    }
}

impl<T: Tenanted> Found<T> {
    /// The scope of the row's account, for a task named in the records.
    pub fn system(&self, task: &'static str) -> System {
        System { account_id: self.0.account_id(), task }
    }
}

impl<T> Found<T> {
    /// The row alone.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Found<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl System {
    pub(super) fn new(account_id: i64, task: &'static str) -> Self {
        Self { account_id, task }
    }

    pub fn account_id(&self) -> i64 {
        self.account_id
    }

    pub(super) fn task(&self) -> &'static str {
        self.task
    }
}
