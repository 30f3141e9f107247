//! How far did this import come when it was sent before, and is it the same one?

use prost::Message;
use proto::{Repeatable, crm::v1 as pb};
use service_kit::{
    db::TenantTx,
    error::Error,
    keys::{Keyring, Purpose},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::sql;

const FINGERPRINT: Purpose = Purpose::new("import of clients");

/// The high-water mark of an import that can be sent again.
pub struct Mark {
    request_id: Uuid,
    options: Vec<u8>,
    /// Of the rows that were dealt with now.
    digest: Sha256,
    /// The last row that was dealt with before, and the fingerprint of those up to it.
    reached: i64,
    fingerprint: Vec<u8>,
}

impl Mark {
    pub async fn find(
        tx: &mut TenantTx,
        request_id: Uuid,
        options: &pb::ImportClientsOptions,
    ) -> Result<Self, Error> {
        let (reached, fingerprint) = sql::mark(tx, request_id).await?.unwrap_or_default();
        let options = options.body();
        Ok(Self { request_id, options, digest: Sha256::new(), reached, fingerprint })
    }

    /// The last row that needs no dealing with.
    pub fn reached(&self) -> i64 {
        self.reached
    }

    /// Rows were dealt with; the digest is theirs and of all before.
    pub fn pass(&mut self, rows: &[pb::Client]) {
        self.digest = self.digest_with(rows);
    }

    /// Refuses other rows than those that were dealt with before, now that all of them came again.
    pub fn check(&self, keys: &Keyring) -> Result<(), Error> {
        let digest = self.digest.clone().finalize();
        if keys.verify(FINGERPRINT, &[&self.options, &digest], &self.fingerprint) {
            return Ok(());
        }
        Err(Error::RequestIdReused)
    }

    /// Moves it on by these rows, if nobody else did. They are dealt with once [`pass`](Self::pass)
    /// says so, after the transaction.
    pub async fn advance(
        &self,
        tx: &mut TenantTx,
        keys: &Keyring,
        (from, to): (i64, i64),
        rows: &[pb::Client],
    ) -> Result<(), Error> {
        let digest = self.digest_with(rows).finalize();
        let fingerprint = keys.sign(FINGERPRINT, &[&self.options, &digest]);
        let moved = sql::advance(tx, self.request_id, (from, to), &fingerprint).await?;
        if moved { Ok(()) } else { Err(Error::Conflict) }
    }

    /// Each row goes in with its length before it, so that no other rows read the same.
    fn digest_with(&self, rows: &[pb::Client]) -> Sha256 {
        let mut digest = self.digest.clone();
        for row in rows {
            let bytes = row.encode_to_vec();
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        }
        digest
    }
}
