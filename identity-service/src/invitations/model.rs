//! What is an invitation?

use std::{borrow::Cow, collections::BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use proto::{common::v1::Role, identity::v1 as pb};
use service_kit::{
    access,
    caller::Actor,
    clock,
    fields::{Email, Fields, Flaw},
    page::{KeyOf, Order},
};

use crate::employees::model::parse_role_or_employee;

const TWICE: Flaw = Flaw::Bad(Cow::Borrowed("must not be an address that was named before"));
pub const LIFE: TimeDelta = TimeDelta::days(7);

/// An invitation that is about to be.
pub struct NewInvitation {
    pub email: Email,
    pub role: Role,
}

impl NewInvitation {
    /// Reads what a caller asks for; output-only fields are ignored.
    pub fn parse(fields: &mut Fields, invitation: &pb::Invitation) -> Option<Self> {
        let email = fields.take("invitation.email", Email::required(&invitation.email));
        let role = fields.take("invitation.role", parse_role_or_employee(invitation.role));
        Some(Self { email: email?, role: role? })
    }
}

/// Those whom a sign-up asks to be admins, beside whoever signs up.
pub fn parse_admins(
    fields: &mut Fields,
    admins: &[pb::SignUpAdmin],
    founder: Option<&Email>,
) -> Option<Vec<NewInvitation>> {
    const MOST: usize = 20;
    if admins.len() > MOST {
        return fields.take("additional_admins", Err(Flaw::bad("must be at most 20")));
    }
    let mut known: BTreeSet<_> = founder.map(Email::key).into_iter().collect();
    let mut one = |(place, admin): (usize, &pb::SignUpAdmin)| {
        let email = Email::required(&admin.email)
            .and_then(|email| if known.insert(email.key()) { Ok(email) } else { Err(TWICE) });
        let email = fields.take(&format!("additional_admins[{place}].email"), email)?;
        Some(NewInvitation { email, role: Role::Admin })
    };
    let invitations: Vec<_> = admins.iter().enumerate().map(&mut one).collect();
    invitations.into_iter().collect()
}

/// An invitation as it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Invitation {
    pub id: i64,
    pub email: String,
    role: String,
    inviter: String,
    pub create_time: DateTime<Utc>,
    pub expire_time: DateTime<Utc>,
    pub accept_time: Option<DateTime<Utc>>,
    pub revoke_time: Option<DateTime<Utc>>,
}

impl Invitation {
    pub fn role(&self) -> Role {
        access::role_from_text(&self.role).unwrap_or_default()
    }

    pub fn inviter(&self) -> Option<Actor> {
        Actor::from_text(&self.inviter)
    }

    /// Whether it can still be accepted.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.accept_time.is_none() && self.revoke_time.is_none() && now < self.expire_time
    }
}

impl From<Invitation> for pb::Invitation {
    fn from(invitation: Invitation) -> Self {
        let inviter_id = match invitation.inviter() {
            Some(Actor::Employee(id)) => id,
            _ => 0,
        };
        Self {
            id: invitation.id,
            role: invitation.role().into(),
            email: invitation.email,
            inviter_id,
            create_time: Some(clock::timestamp(invitation.create_time)),
            expire_time: Some(clock::timestamp(invitation.expire_time)),
            accept_time: invitation.accept_time.map(clock::timestamp),
            revoke_time: invitation.revoke_time.map(clock::timestamp),
        }
    }
}

/// The orders that a list can be asked for.
pub const ORDERS: &[Order<Invitation>] = &[Order {
    name: "create_time",
    column: "create_time",
    key: KeyOf::Instant(|invitation| invitation.create_time),
}];
pub const DEFAULT_ORDER: &str = "create_time desc";
