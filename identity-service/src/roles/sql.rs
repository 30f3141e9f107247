//! Queries on roles.

use service_kit::{
    db::{ListQuery, Rows, TenantTx},
    error::Error,
    page::Page,
    sql, sql_family,
};

use super::model::{Change, CompanyRole, Details, SystemRole};

/// The columns of a [`CompanyRole`].
macro_rules! columns {
    () => {
        "id, name, name_key, description, create_time, update_time, version"
    };
}

pub async fn insert(tx: &mut TenantTx, details: &Details) -> Result<CompanyRole, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query_as(sql!(
        "INSERT INTO identity.company_roles
             (account_id, name, name_key, description, create_time, update_time)
         VALUES ($1, $2, $3, $4, $5, $5)
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(details.name.as_str())
    .bind(details.name.key())
    .bind(details.description.as_str())
    .bind(now);
    tx.one(query).await
}

pub async fn find(tx: &mut TenantTx, id: i64) -> Result<Option<CompanyRole>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM identity.company_roles WHERE account_id = $1 AND id = $2"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// A role that nobody deletes until this transaction ends.
pub async fn share(tx: &mut TenantTx, id: i64) -> Result<Option<CompanyRole>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM identity.company_roles WHERE account_id = $1 AND id = $2 FOR KEY SHARE"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// A role that nobody else changes until this transaction ends.
pub async fn lock(tx: &mut TenantTx, id: i64) -> Result<Option<CompanyRole>, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query_as(sql!(
        "SELECT ",
        columns!(),
        " FROM identity.company_roles WHERE account_id = $1 AND id = $2 FOR UPDATE"
    ))
    .bind(account_id)
    .bind(id);
    tx.optional(query).await
}

/// Changes a locked role.
pub async fn update(tx: &mut TenantTx, id: i64, change: &Change) -> Result<CompanyRole, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let name = change.name.as_ref();
    let query = sqlx::query_as(sql!(
        "UPDATE identity.company_roles
         SET name = coalesce($4, name), name_key = coalesce($5, name_key),
             description = coalesce($6, description), update_time = $3, version = version + 1
         WHERE account_id = $1 AND id = $2
         RETURNING ",
        columns!()
    ))
    .bind(account_id)
    .bind(id)
    .bind(now)
    .bind(name.map(|name| name.as_str().to_owned()))
    .bind(name.map(super::model::RoleName::key))
    .bind(change.description.as_ref().map(|text| text.as_str().to_owned()));
    tx.one(query).await
}

/// Deletes a role; whoever had it has it no more.
pub async fn delete(tx: &mut TenantTx, id: i64) -> Result<(), Error> {
    let account_id = tx.account_id();
    let query =
        sqlx::query(sql!("DELETE FROM identity.company_roles WHERE account_id = $1 AND id = $2"))
            .bind(account_id)
            .bind(id);
    tx.execute(query).await?;
    Ok(())
}

/// Gives somebody a role; false where they have it.
pub async fn assign(tx: &mut TenantTx, employee_id: i64, role_id: i64) -> Result<bool, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "INSERT INTO identity.employee_company_roles (account_id, employee_id, role_id)
         VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(role_id);
    Ok(tx.execute(query).await? == 1)
}

/// Takes a role from somebody; false where they have it not.
pub async fn unassign(tx: &mut TenantTx, employee_id: i64, role_id: i64) -> Result<bool, Error> {
    let account_id = tx.account_id();
    let query = sqlx::query(sql!(
        "DELETE FROM identity.employee_company_roles
         WHERE account_id = $1 AND employee_id = $2 AND role_id = $3"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(role_id);
    Ok(tx.execute(query).await? == 1)
}

/// Gives a locked person a system role; false where they have it.
pub async fn grant(tx: &mut TenantTx, employee_id: i64, role: SystemRole) -> Result<bool, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "UPDATE identity.employees
         SET system_roles = array_append(system_roles, $3), update_time = $4,
             version = version + 1
         WHERE account_id = $1 AND id = $2 AND $3 <> ALL(system_roles)"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(role.text())
    .bind(now);
    Ok(tx.execute(query).await? == 1)
}

/// Takes a system role from a locked person; false where they have it not.
pub async fn revoke(tx: &mut TenantTx, employee_id: i64, role: SystemRole) -> Result<bool, Error> {
    let (account_id, now) = (tx.account_id(), tx.now());
    let query = sqlx::query(sql!(
        "UPDATE identity.employees
         SET system_roles = array_remove(system_roles, $3), update_time = $4,
             version = version + 1
         WHERE account_id = $1 AND id = $2 AND $3 = ANY(system_roles)"
    ))
    .bind(account_id)
    .bind(employee_id)
    .bind(role.text())
    .bind(now);
    Ok(tx.execute(query).await? == 1)
}

/// The roles of a page, and one more if there is another page.
pub async fn list(tx: &mut TenantTx, page: &Page<CompanyRole>) -> Result<Rows<CompanyRole>, Error> {
    page_query(tx.account_id(), page).fetch(tx).await
}

pub async fn count(tx: &mut TenantTx) -> Result<i64, Error> {
    count_query(tx.account_id()).count(tx).await
}

fn page_query(account_id: i64, page: &Page<CompanyRole>) -> ListQuery {
    let select = concat!("SELECT ", columns!(), " FROM identity.company_roles WHERE account_id = ");
    let mut query = ListQuery::new(select, account_id);
    query.page(page);
    query
}

fn count_query(account_id: i64) -> ListQuery {
    ListQuery::new("SELECT count(*) FROM identity.company_roles WHERE account_id = ", account_id)
}

/// Every order, and the places in it.
fn list_variants() -> Vec<String> {
    let pages = Page::variants(super::model::ORDERS);
    let lists = pages.iter().map(|page| page_query(1, page).into_text());
    lists.chain([count_query(1).into_text()]).collect()
}

sql_family!(list_variants);
