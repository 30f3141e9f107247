//! What is a session, and which refresh token is its present one?

use chrono::{DateTime, TimeDelta, Utc};
use proto::identity::v1 as pb;
use service_kit::{
    clock,
    keys::{Keyring, Purpose},
};
use subtle::ConstantTimeEq;

use crate::secrets::{Kind, Secret};

const REFRESH_TOKEN: Purpose = Purpose::new("refresh token");

/// A refresh token that was just replaced is taken once more within this time, and gives the
/// same successor: two tabs of a browser may refresh at once.
pub const GRACE: TimeDelta = TimeDelta::seconds(10);

/// As many live sessions a person may have; one more ends the oldest.
pub const MOST: i64 = 100;

/// How long sessions live.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Unless it is refreshed.
    pub idle: TimeDelta,
    /// In any case.
    pub absolute: TimeDelta,
}

/// A session as it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Session {
    pub id: i64,
    pub employee_id: i64,
    pub device_label: String,
    pub network: String,
    pub nonce: Vec<u8>,
    pub generation: i64,
    pub create_time: DateTime<Utc>,
    pub last_seen_time: DateTime<Utc>,
    pub idle_time: DateTime<Utc>,
    pub expire_time: DateTime<Utc>,
}

impl Session {
    /// When its refresh token ends.
    pub fn refresh_expire_time(&self) -> DateTime<Utc> {
        self.idle_time.min(self.expire_time)
    }

    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        now < self.refresh_expire_time()
    }

    /// The refresh token of a generation. It is derived, so that whoever asks twice gets the
    /// same one.
    pub fn refresh_token(&self, keys: &Keyring, generation: i64) -> Secret {
        let place = Place { session_id: self.id, generation };
        let tag = keys.tags(REFRESH_TOKEN, &[&place.bytes(), &self.nonce]).swap_remove(0);
        let mut bytes = [0; 32];
        bytes[..Place::BYTES].copy_from_slice(&place.bytes());
        bytes[Place::BYTES..].copy_from_slice(&tag[..32 - Place::BYTES]);
        Secret::from_bytes(Kind::RefreshToken, &bytes)
    }

    /// As its owner sees it.
    pub fn shown(self, current: Option<i64>) -> pb::Session {
        pb::Session {
            id: self.id,
            device_label: self.device_label,
            network: self.network,
            create_time: Some(clock::timestamp(self.create_time)),
            last_seen_time: Some(clock::timestamp(self.last_seen_time)),
            expire_time: Some(clock::timestamp(self.idle_time.min(self.expire_time))),
            is_current: current == Some(self.id),
        }
    }
}

/// Which refresh token it is, of all that there were and will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub session_id: i64,
    pub generation: i64,
}

impl Place {
    /// A session's id, and a generation in four bytes: refreshed every second, that lasts for a
    /// century.
    const BYTES: usize = 12;

    fn bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.session_id.to_be_bytes());
        let generation = u32::try_from(self.generation).unwrap_or(u32::MAX);
        bytes[8..].copy_from_slice(&generation.to_be_bytes());
        bytes
    }
}

/// A refresh token that somebody shows: what it says it is, and what proves that.
#[derive(Clone, Copy)]
pub struct Shown {
    pub place: Place,
    tag: [u8; 32 - Place::BYTES],
}

impl Shown {
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Secret::parse(text, Kind::RefreshToken)?.bytes()?;
        let (id, rest) = bytes.split_first_chunk::<8>()?;
        let (generation, tag) = rest.split_first_chunk::<4>()?;
        let place = Place {
            session_id: i64::from_be_bytes(*id),
            generation: u32::from_be_bytes(*generation).into(),
        };
        Some(Self { place, tag: tag.try_into().ok()? })
    }

    /// Whether the session that it names made it, whose nonce this is.
    pub fn is_of(&self, keys: &Keyring, nonce: &[u8]) -> bool {
        let tags = keys.tags(REFRESH_TOKEN, &[&self.place.bytes(), nonce]);
        tags.iter()
            .fold(false, |made, tag| made | bool::from(tag[..32 - Place::BYTES].ct_eq(&self.tag)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: i64, nonce: u8) -> Session {
        let now = clock::now();
        Session {
            id,
            employee_id: 1,
            device_label: String::new(),
            network: String::new(),
            nonce: vec![nonce; 32],
            generation: 0,
            create_time: now,
            last_seen_time: now,
            idle_time: now + TimeDelta::hours(1),
            expire_time: now + TimeDelta::days(1),
        }
    }

    #[test]
    fn a_refresh_token_is_known_by_its_session_and_no_other() {
        let keys = Keyring::parse(&Keyring::generate()).unwrap();
        let token = session(7, 1).refresh_token(&keys, 3);
        let shown = Shown::parse(&token.expose()).unwrap();
        assert_eq!(shown.place, Place { session_id: 7, generation: 3 });
        assert!(shown.is_of(&keys, &[1; 32]));
        assert!(!shown.is_of(&keys, &[2; 32]), "another nonce");
        let other = Keyring::parse(&Keyring::generate()).unwrap();
        assert!(!shown.is_of(&other, &[1; 32]), "other keys");
        let later = Shown { place: Place { generation: 4, ..shown.place }, ..shown };
        assert!(!later.is_of(&keys, &[1; 32]), "another generation");
        assert_eq!(session(7, 1).refresh_token(&keys, 3).expose(), token.expose());
        assert_ne!(session(7, 1).refresh_token(&keys, 4).expose(), token.expose());
    }
}
