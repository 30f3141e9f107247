//! What is done with a person, by whichever method?

use prost_types::FieldMask;
use proto::identity::v1 as pb;
use service_kit::{
    access,
    caller::Caller,
    db::{Act, Db, TenantTx},
    error::Error,
    fields::Fields,
};

use super::{
    authority::check_super_admin_stays,
    model::{Change, Employee, check_email_stays},
    sql,
};
use crate::{
    credentials,
    feeds::{self, Holder},
};

/// Changes a locked person, and tells whoever has to know. What changes nothing leaves the etag
/// as it is.
pub async fn update(
    tx: &mut TenantTx,
    before: Employee,
    change: Change,
) -> Result<(Employee, Option<Act>), Error> {
    let details = change.apply(&before);
    let changes = details.changes(&before);
    if changes.is_empty() {
        return Ok((before, None));
    }
    if details.takes_super_admin(&before) {
        check_super_admin_stays(tx, &before).await?;
    }
    let mut act = Act::on("employee", before.id, "update").with("fields", changes.clone());
    if details.role != before.role() {
        act = act
            .with("role_before", access::role_text(before.role()))
            .with("role_after", access::role_text(details.role));
    }
    if details.is_active != before.is_active {
        act = act
            .with("is_active_before", before.is_active)
            .with("is_active_after", details.is_active);
    }
    let employee = sql::update(tx, &before, &details).await?;
    if changes.iter().any(|field| ["role", "is_active"].contains(field)) {
        feeds::revoke(tx, Holder::Employee(employee.id));
        credentials::revoke_keys_made_by(tx, employee.id).await?;
    }
    if changes.iter().any(|field| ["name", "is_active"].contains(field)) {
        feeds::announce_employee(tx, employee.id, &employee.name, employee.state());
    }
    Ok((employee, Some(act)))
}

/// Where something is wrong with an update anyway, an address that it cannot change is named
/// beside it.
pub async fn note_email(
    db: &Db,
    caller: &Caller,
    id: i64,
    (sent, mask): (&pb::Employee, Option<&FieldMask>),
    fields: &mut Fields,
) -> Result<(), Error> {
    if fields.are_good() {
        return Ok(());
    }
    let mut tx = db.begin(caller).await?;
    if let Some(before) = sql::find(&mut tx, id).await? {
        check_email_stays(fields, sent, mask, &before);
    }
    Ok(())
}

/// A person, deleted or not, whom nobody else changes until the transaction ends.
pub async fn lock(tx: &mut TenantTx, id: i64, field: &'static str) -> Result<Employee, Error> {
    sql::lock(tx, id).await?.ok_or(not_found(field))
}

/// The same, not deleted.
pub async fn lock_live(tx: &mut TenantTx, id: i64, field: &'static str) -> Result<Employee, Error> {
    let employee = lock(tx, id, field).await?;
    if employee.delete_time.is_some() { Err(not_found(field)) } else { Ok(employee) }
}

pub fn not_found(field: &'static str) -> Error {
    Error::NotFound { resource: "employee", field }
}
