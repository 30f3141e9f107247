//! How is somebody invited, and what happens when they accept?

use proto::common::v1::{Permission, Role};
use service_kit::{
    access,
    caller::Actor,
    db::{Act, Db, Found, TenantTx},
    error::Error,
    fields::{Email, Text},
};

use super::{
    model::{Invitation, NewInvitation},
    sql::{self, Located},
};
use crate::{
    accounts, api_keys,
    employees::{
        self,
        model::{Employee, Login, NewEmployee},
    },
    feeds,
    mail::{
        letter,
        post::{Post, address},
    },
    secrets::{Kind, Secret},
};

/// Invites somebody, in the name of an actor; without a letter, where it must not go.
pub async fn invite(
    tx: &mut TenantTx,
    post: &Post,
    invitation: &NewInvitation,
    inviter: Actor,
    may_send: bool,
) -> Result<(Invitation, Act), Error> {
    let account = accounts::sql::get(tx).await?;
    let name = inviter_name(tx, inviter).await?;
    let code = Secret::mint(Kind::InvitationCode);
    let made = sql::insert(tx, invitation, &code, &inviter.to_string()).await?;
    let letter = letter::invitation(
        post.app_url(),
        letter::Invitation {
            to: invitation.email.clone(),
            account: &account.name,
            inviter: &name,
            role: invitation.role,
            code: &code.expose(),
        },
    );
    let act = Act::on("invitation", made.id, "create");
    let act = act.with("role", access::role_text(invitation.role));
    if may_send {
        post.send(tx, &letter).await?;
    } else {
        tracing::warn!(invitation = made.id, "its letter is withheld: the address has too many");
    }
    Ok((made, act))
}

/// Takes back what invites an address, if anything does and the caller may.
pub async fn take_back(
    tx: &mut TenantTx,
    email_key: &str,
    may: impl FnOnce(Role) -> Result<(), Error>,
) -> Result<Option<Act>, Error> {
    let Some(before) = sql::lock_to(tx, email_key).await? else { return Ok(None) };
    let open = before.is_open(tx.now());
    if open {
        may(before.role())?;
    }
    sql::revoke(tx, before.id).await?;
    Ok(open.then(|| Act::on("invitation", before.id, "revoke")))
}

/// What a password of somebody invited must not be made of.
pub async fn known_words(db: &Db, located: &Found<Located>) -> Result<Vec<String>, Error> {
    let mut tx = db.begin_system(located.system("accept-invite")).await?;
    let account = accounts::sql::get(&mut tx).await?;
    let invitation = sql::find(&mut tx, located.id).await?;
    let email = invitation.and_then(|it| Email::required(&it.email).ok());
    let local_part = email.map(|email| email.local_part().to_owned());
    Ok([account.name].into_iter().chain(local_part).collect())
}

async fn inviter_name(tx: &mut TenantTx, inviter: Actor) -> Result<String, Error> {
    let name = match inviter {
        Actor::Employee(id) => employees::sql::find(tx, id).await?.map(|employee| employee.name),
        Actor::ApiKey(id) => api_keys::sql::find(tx, id).await?.map(|key| key.name),
        Actor::System(_) => None,
    };
    Ok(name.unwrap_or_default())
}

/// An invitation that is open, and whose inviter could still give it.
pub async fn lock_open(tx: &mut TenantTx, id: i64) -> Result<Invitation, Error> {
    // Whoever closes the account now waits, and ends what is made here.
    let account = accounts::sql::share(tx).await?;
    let invitation = sql::lock(tx, id).await?.ok_or(Error::CodeInvalid)?;
    let open = invitation.is_open(tx.now()) && account.close_time.is_none();
    if open && may_still_give(tx, &invitation).await? {
        Ok(invitation)
    } else {
        Err(Error::CodeInvalid)
    }
}

async fn may_still_give(tx: &mut TenantTx, invitation: &Invitation) -> Result<bool, Error> {
    let (person, rank, given) = match invitation.inviter() {
        Some(Actor::Employee(id)) => {
            let person = employees::sql::find(tx, id).await?;
            let rank = person.as_ref().map(Employee::role).unwrap_or_default();
            (person, rank, None)
        }
        Some(Actor::ApiKey(id)) => {
            let now = tx.now();
            let key = api_keys::sql::find(tx, id).await?;
            let Some(key) = key.filter(|key| key.revoke_time.is_none() && now < key.expire_time)
            else {
                return Ok(false);
            };
            let maker = employees::sql::find(tx, key.creator_id).await?;
            (maker, Role::Employee, Some(key.permissions))
        }
        _ => return Ok(false),
    };
    let Some(person) = person.filter(|person| person.is_active) else { return Ok(false) };
    let held = access::effective(person.role(), &person.permissions());
    let holds = |permission: Permission| {
        let name = access::permission_name(permission);
        held.contains(&permission) && given.as_ref().is_none_or(|given| given.contains(&name))
    };
    Ok(holds(Permission::ManageEmployees) && access::rank(rank) >= access::rank(invitation.role()))
}

/// Makes the employee who was invited.
pub async fn accept(
    tx: &mut TenantTx,
    invitation: &Invitation,
    name: Text<255>,
    hash: String,
) -> Result<(Employee, Act), Error> {
    let email = address(&invitation.email)?;
    let employee = NewEmployee::plain(email, name, invitation.role());
    let login = Login { password_hash: Some(hash), password_change_advised: false };
    let employee = employees::sql::insert(tx, &employee, &login).await?;
    employees::sql::set_verified(tx, employee.id).await?;
    sql::accept(tx, invitation.id).await?;
    feeds::announce_employee(tx, employee.id, &employee.name, employee.state());
    let act = Act::on("invitation", invitation.id, "accept").with("employee_id", employee.id);
    let employee = employees::sql::find(tx, employee.id).await?;
    let employee = employee.ok_or_else(|| Error::internal("a new employee is gone"))?;
    Ok((employee, act))
}
