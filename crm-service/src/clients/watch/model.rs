//! What is a change, and what does somebody get to see of several?

use std::collections::HashMap;

use proto::crm::v1::{self as pb, client_change::Change as Shown};
use service_kit::error::Error;

use crate::{clients::model::Client, visibility::Scope};

/// A change, and the client as it is by now.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Change {
    pub number: i64,
    /// The employees who had a part in it before.
    pub before: Vec<i64>,
    #[sqlx(flatten)]
    pub client: Client,
}

/// Changes that follow each other without a gap.
#[derive(Debug)]
pub struct Batch {
    /// The number right before the first of them.
    pub after: i64,
    pub changes: Vec<Change>,
}

impl Batch {
    /// The changes that were found behind a number, if they are all that there are: `head` is the
    /// last one's number as it was before they were looked for.
    pub fn behind(after: i64, head: i64, changes: Vec<Change>) -> Result<Self, Error> {
        let is_next = |(change, number): (&Change, i64)| change.number == number;
        let follow = changes.iter().zip(after.saturating_add(1)..).all(is_next);
        let is_all = !changes.is_empty() || head == after;
        if follow && is_all { Ok(Self { after, changes }) } else { Err(Error::CursorExpired) }
    }

    /// The number of the last of them.
    pub fn end(&self) -> i64 {
        self.changes.last().map_or(self.after, |last| last.number)
    }

    /// Those behind a number.
    pub fn beyond(&self, number: i64) -> &[Change] {
        &self.changes[self.changes.partition_point(|change| change.number <= number)..]
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
    last.sort_unstable_by_key(|(change, _)| change.number);
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
