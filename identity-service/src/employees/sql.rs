//! Queries on employees.

use proto::common::v1::Permission;
use service_kit::{
    access,
    db::{Db, Found, ListQuery, Rows, TenantTx, Tenanted},
    error::Error,
    fields::Email,
    page::Page,
    sql, sql_family,
};

use super::model::{Details, Employee, Filter, Login, Names, NewEmployee};

/// The columns of an [`Employee`], where `e` is the employee and `a` the account, `$1`.
macro_rules! columns {
    () => {
        "e.account_id, a.name AS account_name, e.id, e.email, e.name, e.first_name, e.last_name,
         e.role, e.job_role, e.phone_number, e.is_active, e.password_change_advised,
         e.permissions, e.system_roles, e.email_verify_time, e.create_time, e.update_time,
         e.delete_time, e.version, e.name_key,
         (SELECT coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'name', r.name)
                                    ORDER BY r.name_key), '[]')
          FROM identity.employee_company_roles x
          JOIN identity.company_roles r ON r.account_id = $1 AND r.id = x.role_id
          WHERE x.account_id = $1 AND x.employee_id = e.id) AS company_roles"
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

/// Where somebody is.
#[derive(Debug, sqlx::FromRow)]
pub struct Located {
    account_id: i64,
}

impl Tenanted for Located {
    fn account_id(&self) -> i64 {
        self.account_id
    }
}

/// The accounts that have somebody of this id, for an operator who names it: one, where no import
/// gave it twice.
pub async fn locate(db: &Db, id: i64) -> Result<Vec<Found<Located>>, Error> {
    let text = sql!("SELECT account_id FROM identity.employees WHERE id = $1 ORDER BY account_id");
    db.unscoped().all(text, |query| query.bind(id)).await
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
                  create_time, update_time, system_roles, name_key)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14, $15)
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
    .bind(now)
    .bind(&employee.system_roles)
    .bind(employee.names().key());
    let inserted: Employee = tx.one(query).await?;
    add_search_words(tx, inserted.id, inserted.names()).await?;
    Ok(inserted)
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

/// Those of several people who are there, by id.
pub async fn find_all(tx: &mut TenantTx, ids: &[i64]) -> Result<Vec<Employee>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        "
         FROM identity.employees e JOIN identity.accounts a ON a.id = $1
         WHERE e.account_id = $1 AND e.id = ANY($2) AND e.delete_time IS NULL
         ORDER BY e.id"
    ))
    .bind(account_id)
    .bind(ids);
    tx.all(query).await
}

/// A person, deleted or not, whom nobody else changes until this transaction ends.
pub async fn lock(tx: &mut TenantTx, id: i64) -> Result<Option<Employee>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        "
         FROM identity.employees e JOIN identity.accounts a ON a.id = $1
         WHERE e.account_id = $1 AND e.id = $2
         FOR NO KEY UPDATE OF e"
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

/// Whether the account has an active super admin beside one. Asked while the account's row is
/// locked.
pub async fn has_super_admin_beside(tx: &mut TenantTx, id: i64) -> Result<bool, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT EXISTS (
             SELECT 1 FROM identity.employees
             WHERE account_id = $1 AND id <> $2 AND role = 'super_admin' AND is_active
               AND delete_time IS NULL)"
    ))
    .bind(account_id)
    .bind(id);
    let (there,) = tx.one(query).await?;
    Ok(there)
}

/// Puts new details in place of those of a locked person.
pub async fn update(
    tx: &mut TenantTx,
    before: &Employee,
    details: &Details,
) -> Result<Employee, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "WITH e AS (
             UPDATE identity.employees
             SET name = $4, first_name = $5, last_name = $6, phone_number = $7, job_role = $8,
                 role = $9, is_active = $10, name_key = $11, update_time = $3,
                 version = version + 1
             WHERE account_id = $1 AND id = $2
             RETURNING *)
         SELECT ",
        columns!(),
        " FROM e JOIN identity.accounts a ON a.id = $1"
    ))
    .bind(account_id)
    .bind(before.id)
    .bind(now)
    .bind(&details.name)
    .bind(&details.first_name)
    .bind(&details.last_name)
    .bind(&details.phone_number)
    .bind(&details.job_role)
    .bind(access::role_text(details.role))
    .bind(details.is_active)
    .bind(details.names(before).key());
    let employee: Employee = tx.one(query).await?;
    if employee.names() != before.names() {
        replace_search_words(tx, employee.id, employee.names()).await?;
    }
    Ok(employee)
}

/// What a person's password is compared with, if they have one.
pub async fn password_hash(tx: &mut TenantTx, id: i64) -> Result<Option<String>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT password_hash FROM identity.employees WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(id);
    let found: Option<(Option<String>,)> = tx.optional(query).await?;
    Ok(found.and_then(|(hash,)| hash))
}

/// Puts a password that the person chose in the place of another, if that is still the one.
pub async fn change_password(
    tx: &mut TenantTx,
    id: i64,
    old: Option<&str>,
    new: &str,
) -> Result<Option<Employee>, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "WITH e AS (
             UPDATE identity.employees
             SET password_hash = $5, password_change_advised = false, update_time = $3,
                 version = version + 1
             WHERE account_id = $1 AND id = $2 AND delete_time IS NULL AND is_active
               AND password_hash IS NOT DISTINCT FROM $4
             RETURNING *)
         SELECT ",
        columns!(),
        " FROM e JOIN identity.accounts a ON a.id = $1"
    ))
    .bind(account_id)
    .bind(id)
    .bind(now)
    .bind(old)
    .bind(new);
    tx.optional(query).await
}

/// Puts a stronger hash of the same password in the place of a weak one, if that is still the
/// one; nobody sees a difference.
pub async fn strengthen(
    tx: &mut TenantTx,
    id: i64,
    weak: &str,
    strong: &str,
) -> Result<bool, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "UPDATE identity.employees SET password_hash = $4
         WHERE account_id = $1 AND id = $2 AND password_hash = $3"
    ))
    .bind(account_id)
    .bind(id)
    .bind(weak)
    .bind(strong);
    Ok(tx.execute(query).await? == 1)
}

/// Sets a password that the person chose, who has shown that they read what is sent to them.
pub async fn set_password(tx: &mut TenantTx, id: i64, hash: &str) -> Result<(), Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "UPDATE identity.employees
         SET password_hash = $4, password_change_advised = false, update_time = $3,
             email_verify_time = coalesce(email_verify_time, $3), version = version + 1
         WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(id)
    .bind(now)
    .bind(hash);
    tx.execute(query).await?;
    Ok(())
}

/// What somebody is seen with beside their own row has changed: so have they.
pub async fn touch(tx: &mut TenantTx, id: i64) -> Result<(), Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "UPDATE identity.employees SET update_time = $3, version = version + 1
         WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(id)
    .bind(now);
    tx.execute(query).await?;
    Ok(())
}

/// The same of everyone who has a company role, in the order in which all who lock several people
/// do; returns who they are.
pub async fn touch_holders(tx: &mut TenantTx, role_id: i64) -> Result<Vec<i64>, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "WITH holder AS (
             SELECT id FROM identity.employees
             WHERE account_id = $1 AND id IN (
                 SELECT employee_id FROM identity.employee_company_roles
                 WHERE account_id = $1 AND role_id = $2)
             ORDER BY id FOR NO KEY UPDATE)
         UPDATE identity.employees AS e SET update_time = $3, version = e.version + 1
         FROM holder WHERE e.account_id = $1 AND e.id = holder.id
         RETURNING e.id"
    ))
    .bind(account_id)
    .bind(role_id)
    .bind(now);
    let holders: Vec<(i64,)> = tx.all(query).await?;
    Ok(holders.into_iter().map(|(id,)| id).collect())
}

/// Notes that the address of a locked person is theirs.
pub async fn set_verified(tx: &mut TenantTx, id: i64) -> Result<(), Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "UPDATE identity.employees
         SET email_verify_time = $3, update_time = $3, version = version + 1
         WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(id)
    .bind(now);
    tx.execute(query).await?;
    Ok(())
}

/// Gives a locked person an address that they have shown to be theirs.
pub async fn set_email(tx: &mut TenantTx, before: &Employee, email: &Email) -> Result<(), Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "UPDATE identity.employees
         SET email = $4, email_key = $5, email_verify_time = $3, update_time = $3,
             version = version + 1
         WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(before.id)
    .bind(now)
    .bind(email.as_str())
    .bind(email.key());
    tx.execute(query).await?;
    replace_search_words(tx, before.id, before.names().at(email)).await
}

/// Sets what was granted to a locked person.
pub async fn set_permissions(
    tx: &mut TenantTx,
    id: i64,
    permissions: &[Permission],
) -> Result<Employee, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let names: Vec<_> = permissions.iter().copied().map(access::permission_name).collect();
    let query = sqlx::query_as(sql!(
        "WITH e AS (
             UPDATE identity.employees
             SET permissions = $4, update_time = $3, version = version + 1
             WHERE account_id = $1 AND id = $2
             RETURNING *)
         SELECT ",
        columns!(),
        " FROM e JOIN identity.accounts a ON a.id = $1"
    ))
    .bind(account_id)
    .bind(id)
    .bind(now)
    .bind(names);
    tx.one(query).await
}

/// Hides a locked person, or brings one back if their address is still free.
pub async fn set_deleted(tx: &mut TenantTx, id: i64, deleted: bool) -> Result<Employee, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "WITH e AS (
             UPDATE identity.employees
             SET delete_time = $4, update_time = $3, version = version + 1
             WHERE account_id = $1 AND id = $2
             RETURNING *)
         SELECT ",
        columns!(),
        " FROM e JOIN identity.accounts a ON a.id = $1"
    ))
    .bind(account_id)
    .bind(id)
    .bind(now)
    .bind(deleted.then_some(now));
    tx.one(query).await
}

/// The people of a page, and one more if there is another page.
pub async fn list(
    tx: &mut TenantTx,
    filter: &Filter,
    page: &Page<Employee>,
) -> Result<Rows<Employee>, Error> {
    page_query(tx.account_id(), filter, page).fetch(tx).await
}

/// How many people match, on whatever page.
pub async fn count(tx: &mut TenantTx, filter: &Filter) -> Result<i64, Error> {
    count_query(tx.account_id(), filter).count(tx).await
}

fn page_query(account_id: i64, filter: &Filter, page: &Page<Employee>) -> ListQuery {
    let select = concat!(
        "SELECT ",
        columns!(),
        " FROM identity.employees e JOIN identity.accounts a ON a.id = $1 WHERE e.account_id = "
    );
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, filter);
    query.page(page);
    query
}

fn count_query(account_id: i64, filter: &Filter) -> ListQuery {
    let select = "SELECT count(*) FROM identity.employees e WHERE e.account_id = ";
    let mut query = ListQuery::new(select, account_id);
    narrow(&mut query, filter);
    query
}

fn narrow(query: &mut ListQuery, filter: &Filter) {
    query.text(" AND e.delete_time IS NULL");
    if let Some(role) = filter.role {
        query.text(" AND e.role = ").bind(role);
    }
    if let Some(is_active) = filter.is_active {
        query.text(" AND e.is_active = ").bind(is_active);
    }
    if let Some(system_role) = filter.system_role {
        query.text(" AND ").bind(system_role).text(" = ANY(e.system_roles)");
    }
    if let Some(role_id) = filter.company_role_id {
        query
            .text(
                " AND e.id IN (SELECT employee_id FROM identity.employee_company_roles
                  WHERE account_id = $1 AND role_id = ",
            )
            .bind(role_id)
            .text(")");
    }
    for word in &filter.words {
        query
            .text(
                " AND e.id IN (SELECT employee_id FROM identity.employee_search_words
                  WHERE account_id = $1 AND ",
            )
            .begins("word", word)
            .text(")");
    }
}

async fn replace_search_words(tx: &mut TenantTx, id: i64, names: Names<'_>) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "DELETE FROM identity.employee_search_words WHERE account_id = $1 AND employee_id = $2"
    ))
    .bind(account_id)
    .bind(id);
    tx.execute(query).await?;
    add_search_words(tx, id, names).await
}

async fn add_search_words(tx: &mut TenantTx, id: i64, names: Names<'_>) -> Result<(), Error> {
    let account_id = tx.account_id();
    let words: Vec<_> = names.search_words().into_iter().collect();
    let query = sqlx::query(sql!(
        "INSERT INTO identity.employee_search_words (account_id, word, employee_id)
         SELECT $1, word, $2 FROM unnest($3::text[]) AS word ON CONFLICT DO NOTHING"
    ))
    .bind(account_id)
    .bind(id)
    .bind(words);
    tx.execute(query).await?;
    Ok(())
}

/// Every combination of filters, orders and places in them.
fn list_variants() -> Vec<String> {
    let filters = filter_variants();
    let counts = filters.iter().map(|filter| count_query(1, filter).into_text());
    let pages = Page::variants(super::model::ORDERS);
    let lists = filters
        .iter()
        .flat_map(|filter| pages.iter().map(move |page| page_query(1, filter, page).into_text()));
    counts.chain(lists).collect()
}

fn filter_variants() -> Vec<Filter> {
    let mut filters = Vec::new();
    for role in [None, Some("admin")] {
        for is_active in [None, Some(true)] {
            for company_role_id in [None, Some(1)] {
                for system_role in [None, Some("user")] {
                    for words in [vec![], vec!["ada".to_owned(), "love".to_owned()]] {
                        let filter =
                            Filter { role, is_active, company_role_id, system_role, words };
                        filters.push(filter);
                    }
                }
            }
        }
    }
    filters
}

sql_family!(list_variants);
