//! How does a call that is sent twice have one effect?
//!
//! A caller may put a UUID of their own into `request_id`. The first call with it claims it in
//! its own transaction and stores its answer there, so that effect and answer become true
//! together; a repeat, also one at the same time, waits for that and gets the answer again. A
//! call that fails leaves nothing, not even the claim.

use std::sync::Arc;

use prost::{Message, Name};
use proto::Repeatable;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Reply,
    db::{Act, TenantTx},
    error::Error,
    fields::{Flaw, request_id},
    keys::{Keyring, Purpose},
    reply, sql,
};

/// Makes and finds stored answers.
#[derive(Debug, Clone)]
pub struct Repeats(Arc<Keyring>);

/// A call that may have been made before.
#[derive(Debug)]
pub struct Repeat {
    keys: Arc<Keyring>,
    method: String,
    body: Vec<u8>,
    request_id: Option<Uuid>,
    /// Who can repeat it: the one who called, or, where nobody is signed in, whoever knows this.
    public: Option<String>,
}

impl Repeats {
    pub fn new(keys: Arc<Keyring>) -> Self {
        Self(keys)
    }

    /// A call by somebody signed in.
    pub fn of<R: Repeatable>(&self, request: &R) -> Result<Repeat, Flaw> {
        Ok(Repeat {
            keys: self.0.clone(),
            method: R::full_name(),
            body: request.body(),
            request_id: request_id(request.request_id())?,
            public: None,
        })
    }

    /// A public call: repeatable by whoever knows `scope`, an e-mail address or a code.
    pub fn of_public<R: Repeatable>(&self, request: &R, scope: String) -> Result<Repeat, Flaw> {
        Ok(Repeat { public: Some(scope), ..self.of(request)? })
    }
}

impl Repeat {
    /// The answer that was given before. Without one the call is claimed: go on, and
    /// [`finish`](Self::finish) it in the same transaction.
    pub async fn answer<A: Message + Name + Default>(
        &self,
        tx: &mut TenantTx,
    ) -> Result<Option<A>, Error> {
        let Some(request_id) = self.request_id else {
            return Ok(None);
        };
        let fingerprint = self.keys.sign(Purpose::FINGERPRINT, &[&self.body]);
        let stored = match &self.public {
            None => claim(tx, &self.method, request_id, &fingerprint).await?,
            Some(email) => claim_public(tx, &self.scope(email, request_id), &fingerprint).await?,
        };
        let Some((fingerprint, answer)) = stored else {
            return Ok(None);
        };
        if !self.keys.verify(Purpose::FINGERPRINT, &[&self.body], &fingerprint) {
            return Err(Error::RequestIdReused);
        }
        let plain = self.keys.open(Purpose::STORED_ANSWER, &self.binding(request_id), &answer);
        let plain = plain.ok_or_else(|| Error::internal("a stored answer does not open"))?;
        Ok(Some(A::decode(plain.as_slice()).map_err(Error::internal)?))
    }

    /// Ends the call well: keeps the answer for repeats, records what was done, makes it all
    /// true together, and answers.
    pub async fn finish<A: Message + Name>(
        self,
        mut tx: TenantTx,
        acts: impl IntoIterator<Item = Act>,
        answer: A,
    ) -> Reply<A> {
        self.store(&mut tx, &answer).await?;
        tx.commit(acts).await?;
        reply(answer)
    }

    async fn store<A: Message + Name>(&self, tx: &mut TenantTx, answer: &A) -> Result<(), Error> {
        let Some(request_id) = self.request_id else { return Ok(()) };
        let plain = answer.encode_to_vec();
        let sealed = self.keys.seal(Purpose::STORED_ANSWER, &self.binding(request_id), &plain);
        match &self.public {
            None => keep(tx, &self.method, request_id, &sealed).await,
            Some(email) => keep_public(tx, &self.scope(email, request_id), &sealed).await,
        }
    }

    fn scope(&self, email: &str, request_id: Uuid) -> Vec<u8> {
        Sha256::digest(
            [self.method.as_bytes(), b"\0", email.as_bytes(), b"\0", request_id.as_bytes()]
                .concat(),
        )
        .to_vec()
    }

    /// A sealed answer opens only as the answer to this method and id.
    fn binding(&self, request_id: Uuid) -> Vec<u8> {
        [self.method.as_bytes(), request_id.as_bytes()].concat()
    }
}

type Stored = Option<(Vec<u8>, Vec<u8>)>;

/// Claims a request id, waiting for whoever claimed it before; or finds what they stored.
async fn claim(
    tx: &mut TenantTx,
    method: &str,
    request_id: Uuid,
    fingerprint: &[u8],
) -> Result<Stored, Error> {
    let (account_id, actor, now) = (tx.account_id(), tx.actor().to_string(), tx.now());
    let query = sqlx::query(sql!(
        "INSERT INTO answers (account_id, actor, method, request_id, fingerprint, create_time)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"
    ))
    .bind(account_id)
    .bind(&actor)
    .bind(method)
    .bind(request_id)
    .bind(fingerprint)
    .bind(now);
    let claimed = tx.execute(query).await?;
    if claimed == 1 {
        return Ok(None);
    }
    let query = sqlx::query_as(sql!(
        "SELECT fingerprint, answer FROM answers
         WHERE account_id = $1 AND actor = $2 AND method = $3 AND request_id = $4"
    ))
    .bind(account_id)
    .bind(&actor)
    .bind(method)
    .bind(request_id);
    let stored = tx.one(query).await?;
    Ok(Some(stored))
}

async fn keep(
    tx: &mut TenantTx,
    method: &str,
    request_id: Uuid,
    answer: &[u8],
) -> Result<(), Error> {
    let (account_id, actor) = (tx.account_id(), tx.actor().to_string());
    let query = sqlx::query(sql!(
        "UPDATE answers SET answer = $5
         WHERE account_id = $1 AND actor = $2 AND method = $3 AND request_id = $4"
    ))
    .bind(account_id)
    .bind(actor)
    .bind(method)
    .bind(request_id)
    .bind(answer);
    tx.execute(query).await?;
    Ok(())
}

async fn claim_public(
    tx: &mut TenantTx,
    scope: &[u8],
    fingerprint: &[u8],
) -> Result<Stored, Error> {
    let now = tx.now();
    let query = sqlx::query(sql!(
        "INSERT INTO public_answers (scope, fingerprint, create_time)
         VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
    ))
    .bind(scope)
    .bind(fingerprint)
    .bind(now);
    let claimed = tx.execute(query).await?;
    if claimed == 1 {
        return Ok(None);
    }
    let query =
        sqlx::query_as(sql!("SELECT fingerprint, answer FROM public_answers WHERE scope = $1"))
            .bind(scope);
    Ok(Some(tx.one(query).await?))
}

async fn keep_public(tx: &mut TenantTx, scope: &[u8], answer: &[u8]) -> Result<(), Error> {
    let query = sqlx::query(sql!("UPDATE public_answers SET answer = $2 WHERE scope = $1"))
        .bind(scope)
        .bind(answer);
    tx.execute(query).await?;
    Ok(())
}
