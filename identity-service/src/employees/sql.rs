//! Queries on employees.

use service_kit::{
    access,
    db::{Db, Found, TenantTx, Tenanted},
    error::Error,
    sql,
};

use super::model::{Employee, Login, NewEmployee};

/// The columns of an [`Employee`], where `e` is the employee and `a` the account.
macro_rules! columns {
    () => {
        "e.account_id, a.name AS account_name, e.id, e.email, e.name, e.first_name, e.last_name,
         e.role, e.job_role, e.phone_number, e.is_active, e.password_change_advised,
         e.create_time, e.update_time, e.version"
    };
}

/// Who would log in with an address.
#[derive(Debug, sqlx::FromRow)]
pub struct Candidate {
    account_id: i64,
    pub id: i64,
    pub is_active: bool,
    pub password_hash: Option<String>,
}

impl Tenanted for Candidate {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// Whoever has this address, in whatever account: the one question that is asked of a log-in
/// before the password is checked, whether there is somebody or not.
pub async fn find_by_email(db: &Db, email_key: &str) -> Result<Option<Found<Candidate>>, Error> {
    let text = sql!(
        "SELECT account_id, id, is_active, password_hash FROM identity.employees
         WHERE email_key = $1 AND delete_time IS NULL"
    );
    db.unscoped().find(text, |query| query.bind(email_key)).await
}

/// Adds a person to the transaction's account.
pub async fn insert(
    tx: &mut TenantTx,
    employee: &NewEmployee,
    login: &Login,
) -> Result<Employee, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "WITH e AS (
             INSERT INTO identity.employees
                 (account_id, email, email_key, name, first_name, last_name, role, job_role,
                  phone_number, is_active, password_hash, password_change_advised,
                  create_time, update_time)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)
             RETURNING *)
         SELECT ",
        columns!(),
        " FROM e JOIN identity.accounts a ON a.id = $1"
    ))
    .bind(account_id)
    .bind(employee.email.as_str())
    .bind(employee.email.key())
    .bind(employee.name.as_str())
    .bind(employee.first_name.as_str())
    .bind(employee.last_name.as_str())
    .bind(access::role_text(employee.role))
    .bind(employee.job_role.as_str())
    .bind(employee.phone_number.as_str())
    .bind(employee.is_active)
    .bind(&login.password_hash)
    .bind(login.password_change_advised)
    .bind(now);
    tx.one(query).await
}

/// A person of the account.
pub async fn find(tx: &mut TenantTx, id: i64) -> Result<Option<Employee>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        "
         FROM identity.employees e JOIN identity.accounts a ON a.id = $1
         WHERE e.account_id = $1 AND e.id = $2 AND e.delete_time IS NULL"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// The person who may log in now, with the very hash that was just verified; locked, so that
/// whoever deactivates them or changes the password comes before or after, not between.
pub async fn find_for_login(
    tx: &mut TenantTx,
    candidate: &Candidate,
) -> Result<Option<Employee>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        "
         FROM identity.employees e JOIN identity.accounts a ON a.id = $1
         WHERE e.account_id = $1 AND e.id = $2 AND e.delete_time IS NULL AND e.is_active
           AND e.password_hash = $3
         FOR SHARE OF e"
    ))
    .bind(account_id)
    .bind(candidate.id)
    .bind(&candidate.password_hash);
    tx.optional(query).await
}
