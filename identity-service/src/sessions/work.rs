//! How is a session opened, and how does it go on?

use std::sync::Arc;

use chrono::{DateTime, Utc};
use proto::common::v1::ErrorReason as Reason;
use service_kit::{
    clock,
    db::{Act, Db, TenantTx},
    error::Error,
    keys::{Keyring, random},
    network,
    telemetry::context,
};

use super::{
    access_token::{AccessTokens, Claims},
    model::{GRACE, Lifetimes, MOST, Session, Shown},
    sql,
};
use crate::{
    accounts,
    employees::{self, model::Employee},
    feeds::{self, Holder},
};

/// Opens sessions and refreshes them.
#[derive(Clone)]
pub struct Sessions {
    pub keys: Arc<Keyring>,
    pub access_tokens: Arc<AccessTokens>,
    pub lifetimes: Lifetimes,
    /// Whether a refresh token is used up by using it.
    pub rotates: bool,
}

/// A pair of tokens, and when they end.
pub struct Pair {
    pub access_token: String,
    pub refresh_token: String,
    pub access_expire_time: DateTime<Utc>,
    pub refresh_expire_time: DateTime<Utc>,
}

impl Sessions {
    /// A session of somebody who was just let in. Where they have too many the oldest end.
    pub async fn open(
        &self,
        tx: &mut TenantTx,
        employee: &Employee,
        device_label: &str,
    ) -> Result<(Pair, Act), Error> {
        let from = context::current().and_then(|request| request.client()).map(network::shown);
        let session = sql::insert(
            tx,
            employee.id,
            device_label,
            &from.unwrap_or_default(),
            &random::<32>(),
            self.lifetimes,
        )
        .await?;
        let mut act = Act::on("session", session.id, "open").with("employee_id", employee.id);
        let ended = sql::revoke_oldest(tx, employee.id, MOST).await?;
        if !ended.is_empty() {
            act = act.with("sessions_ended", ended.clone());
        }
        for id in ended {
            feeds::revoke(tx, Holder::Session(id));
        }
        Ok((self.pair(tx.account_id(), &session)?, act))
    }

    /// The next pair for a refresh token.
    pub async fn refresh(&self, db: &Db, refresh_token: &str) -> Result<Pair, Error> {
        let invalid = || Error::Unauthenticated(Reason::TokenInvalid);
        let shown = Shown::parse(refresh_token).ok_or_else(invalid)?;
        let located = sql::locate(db, shown.place.session_id).await?.ok_or_else(invalid)?;
        let mut tx = db.begin_system(located.system("refresh")).await?;
        // Proven before anything is locked: a stranger holds nobody up.
        let nonce = sql::nonce(&mut tx, shown.place.session_id).await?.ok_or_else(invalid)?;
        if !shown.is_of(&self.keys, &nonce) {
            return Err(invalid());
        }
        let Some(session) = sql::lock(&mut tx, shown.place.session_id).await? else {
            return Err(Error::Unauthenticated(Reason::TokenRevoked));
        };
        if !session.is_live(tx.now()) {
            return Err(Error::Unauthenticated(Reason::TokenExpired));
        }
        let employee = employees::sql::find(&mut tx, session.employee_id).await?;
        if !employee.is_some_and(|employee| employee.is_active) {
            return Err(Error::Unauthenticated(Reason::EmployeeInactive));
        }
        if accounts::sql::get(&mut tx).await?.close_time.is_some() {
            return Err(Error::ACCOUNT_CLOSED);
        }
        if is_repeat(&session, &shown, tx.now()) {
            return self.pair(tx.account_id(), &session);
        }
        let next = sql::advance(&mut tx, shown.place, self.lifetimes, self.rotates).await?;
        let Some(next) = next else {
            end_replayed(tx, &session).await?;
            return Err(Error::Unauthenticated(Reason::TokenRevoked));
        };
        let pair = self.pair(tx.account_id(), &next)?;
        // Not recorded: nothing is decided here, and it happens all the time.
        tx.commit([]).await?;
        Ok(pair)
    }

    fn pair(&self, account_id: i64, session: &Session) -> Result<Pair, Error> {
        let (employee_id, session_id) = (session.employee_id, session.id);
        let claims = Claims { account_id, employee_id, session_id };
        let (access_token, access_expire_time) = self.access_tokens.issue(&claims, clock::now())?;
        Ok(Pair {
            access_token,
            refresh_token: session.refresh_token(&self.keys, session.generation).expose(),
            access_expire_time,
            refresh_expire_time: session.refresh_expire_time(),
        })
    }
}

/// The token before the present one, shown within the time that two tabs may take.
fn is_repeat(session: &Session, shown: &Shown, now: DateTime<Utc>) -> bool {
    shown.place.generation + 1 == session.generation && now < session.last_seen_time + GRACE
}

/// Somebody has a token that was used up long ago: nobody knows who is who, so the session ends.
async fn end_replayed(mut tx: TenantTx, session: &Session) -> Result<(), Error> {
    tracing::warn!(session = session.id, "a used refresh token was shown: the session is ended");
    sql::revoke(&mut tx, session.employee_id, session.id).await?;
    feeds::revoke(&mut tx, Holder::Session(session.id));
    let act = Act::on("session", session.id, "replay").with("employee_id", session.employee_id);
    tx.commit([act]).await
}
