//! How is a code made, and what does it do?

use proto::{common::v1::ErrorReason as Reason, identity::v1 as pb};
use service_kit::{
    db::{Act, Db, Found, TenantTx},
    error::Error,
    fields::{Email, email_key},
};

use super::{
    model::{Purpose, Used},
    sql::{self, Located},
};
use crate::{
    credentials,
    employees::{self, model::Employee},
    mail::{
        letter,
        post::{Post, address},
    },
    secrets::{Kind, Secret},
};

/// A new code for a locked person.
pub async fn renew(
    tx: &mut TenantTx,
    employee: &Employee,
    purpose: Purpose,
    new_email: Option<&Email>,
) -> Result<Secret, Error> {
    let code = Secret::mint(purpose.kind());
    let key = email_key(&employee.email);
    sql::put(tx, employee.id, purpose, &code, &key, new_email.map(Email::as_str)).await?;
    Ok(code)
}

/// Asks somebody new whether their address is theirs.
pub async fn ask_to_verify(
    tx: &mut TenantTx,
    post: &Post,
    employee: &Employee,
) -> Result<(), Error> {
    let code = renew(tx, employee, Purpose::Verify, None).await?;
    let to = address(&employee.email)?;
    post.send(tx, &letter::email_verification(post.app_url(), to, &code.expose())).await
}

/// Nobody who cannot log in is sent a code, and nobody who has nothing to verify.
pub fn is_wanted(purpose: Purpose, employee: &Employee) -> bool {
    let live = employee.is_active && employee.delete_time.is_none();
    live && (purpose == Purpose::Reset || employee.email_verify_time.is_none())
}

/// A code that somebody shows, and where the person is to whom it was sent; nothing where it was
/// sent to nobody.
pub async fn find(
    db: &Db,
    code: &str,
    kind: Kind,
) -> Result<Option<(Secret, Found<Located>)>, Error> {
    let Some(code) = Secret::parse(code, kind) else { return Ok(None) };
    let located = sql::locate(db, &code).await?;
    Ok(located.map(|located| (code, located)))
}

/// The person whom a code was sent to, and the code used up. It is good only while the person
/// has the address that it was made for.
async fn take(
    tx: &mut TenantTx,
    located: &Found<Located>,
    code: &Secret,
) -> Result<(Employee, Used), Error> {
    let employee = employees::sql::lock(tx, located.employee_id).await?;
    let live = employee.filter(|it| it.delete_time.is_none() && it.is_active);
    let employee = live.ok_or(Error::CodeInvalid)?;
    let used = sql::take(tx, employee.id, code).await?.ok_or(Error::CodeInvalid)?;
    if used.email_key != email_key(&employee.email) {
        return Err(Error::CodeInvalid);
    }
    Ok((employee, used))
}

/// What a password of the person behind a code must not be made of.
pub async fn known_words(db: &Db, located: &Found<Located>) -> Result<Vec<String>, Error> {
    let mut tx = db.begin_system(located.system("reset")).await?;
    let employee = employees::sql::find(&mut tx, located.employee_id).await?;
    let known = employee.map(|employee| employee.known_words().map(str::to_owned).to_vec());
    Ok(known.unwrap_or_default())
}

/// Sets a new password by a code; also returns whose address it is.
pub async fn reset_password(
    tx: &mut TenantTx,
    post: &Post,
    located: &Found<Located>,
    code: &Secret,
    hash: &str,
) -> Result<(String, Act), Error> {
    let (employee, used) = take(tx, located, code).await?;
    if used.purpose() != Some(Purpose::Reset) {
        return Err(Error::CodeInvalid);
    }
    employees::sql::set_password(tx, employee.id, hash).await?;
    sql::drop_all(tx, employee.id).await?;
    let ended = credentials::end_of_employee(tx, employee.id).await?;
    post.notify(tx, &employee.email, letter::password_changed).await?;
    let act = Act::on("employee", employee.id, "reset_password").with("credentials_ended", ended);
    Ok((employee.email, act))
}

/// Verifies an address by a code, or changes to it.
pub async fn verify_email(
    tx: &mut TenantTx,
    located: &Found<Located>,
    code: &Secret,
) -> Result<(pb::VerifyEmailResponse, Act), Error> {
    let (employee, used) = take(tx, located, code).await?;
    let (id, email) = (employee.id, employee.email.clone());
    match (used.purpose(), used.new_email) {
        (Some(Purpose::Verify), _) => {
            employees::sql::set_verified(tx, id).await?;
            let act = Act::on("employee", id, "verify_email");
            Ok((pb::VerifyEmailResponse { email }, act))
        }
        (Some(Purpose::ChangeEmail), Some(new)) => {
            let new = address(&new)?;
            employees::sql::set_email(tx, &employee, &new).await.map_err(hide_taken)?;
            sql::drop_all(tx, id).await?;
            let act = Act::on("employee", id, "change_email");
            Ok((pb::VerifyEmailResponse { email: new.as_str().to_owned() }, act))
        }
        _ => Err(Error::CodeInvalid),
    }
}

/// That somebody has an address may not be learned here.
fn hide_taken(error: Error) -> Error {
    if error.reason() == Reason::EmailTaken { Error::CodeInvalid } else { error }
}
