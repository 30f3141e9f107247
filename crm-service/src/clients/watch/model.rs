//! What is a change, and what does somebody get to see of several?

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use proto::crm::v1::{self as pb, client_change::Change as Shown};
use service_kit::error::Error;

use crate::{clients::model::Client, visibility::Scope};

/// A place in the feed of an account: right behind the change of this number. After a restore of
/// the database numbers are given again, but never in the same instant: by it the place is known
/// for one of a history that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Place {
    pub number: i64,
    /// When that change was made.
    pub time: DateTime<Utc>,
}

impl Place {
    /// Before the first change.
    pub const BEGINNING: Self = Self { number: 0, time: DateTime::UNIX_EPOCH };
}

/// A change, and the client as it is by now.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Change {
    #[sqlx(flatten)]
    pub place: Place,
    /// When the one before it was made.
    pub time_before: DateTime<Utc>,
    /// The employees who had a part in it before.
    pub before: Vec<i64>,
    #[sqlx(flatten)]
    pub client: Client,
}

impl Change {
    /// Whether it is the next one behind a place.
    fn follows(&self, place: Place) -> bool {
        place.number.checked_add(1) == Some(self.place.number) && place.time == self.time_before
    }
}

/// Changes that follow each other without a gap.
#[derive(Debug)]
pub struct Batch {
    /// The place right before the first of them.
    pub after: Place,
    pub changes: Vec<Change>,
}

impl Batch {
    /// The changes that were found behind a place, if they are all that there are: `head` is where
    /// the feed ended before they were looked for.
    pub fn behind(after: Place, head: Place, changes: Vec<Change>) -> Result<Self, Error> {
        let mut end = after;
        for change in &changes {
            if !change.follows(end) {
                return Err(Error::CursorExpired);
            }
            end = change.place;
        }
        let is_all = !changes.is_empty() || head == after;
        if is_all { Ok(Self { after, changes }) } else { Err(Error::CursorExpired) }
    }

    /// The place behind the last of them.
    pub fn end(&self) -> Place {
        self.changes.last().map_or(self.after, |last| last.place)
    }

    /// Those behind a place that it holds; nothing where it holds no such place.
    pub fn beyond(&self, place: Place) -> Option<&[Change]> {
        if self.after == place {
            return Some(&self.changes);
        }
        let index = self.changes.iter().position(|change| change.place == place)?;
        Some(&self.changes[index + 1..])
    }
}

/// What somebody gets to see: each client once, in the order of the last changes.
pub fn seen(scope: Scope, changes: &[Change]) -> Vec<pb::ClientChange> {
    // Clients and whether the caller saw them before any of the changes.
    let mut last = HashMap::<i64, (&Change, bool)>::new();
    for change in changes {
        let (latest, was_seen) = last.entry(change.client.id).or_insert((change, false));
        *latest = change;
        *was_seen |= was_visible(scope, change);
    }
    let mut last: Vec<_> = last.into_values().collect();
    last.sort_unstable_by_key(|(change, _)| change.place.number);
    last.into_iter().filter_map(|(change, was_seen)| show(scope, change, was_seen)).collect()
}

fn show(scope: Scope, change: &Change, was_seen: bool) -> Option<pb::ClientChange> {
    let client = &change.client;
    let is_live = client.delete_time.is_none();
    let (is_theirs, was_theirs) = match scope {
        Scope::Account => (true, true),
        Scope::Assigned(id) => (client.details.parts.employees().contains(&id), was_seen),
    };
    let change = match (is_live && is_theirs, is_theirs || was_theirs) {
        (true, _) => Shown::Client(client.clone().into()),
        (false, true) => Shown::RemovedId(client.id),
        (false, false) => return None,
    };
    Some(pb::ClientChange { change: Some(change) })
}

fn was_visible(scope: Scope, change: &Change) -> bool {
    match scope {
        Scope::Account => true,
        Scope::Assigned(id) => change.before.contains(&id),
    }
}
