//! What of identity-service's is too old to be of use?

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use service_kit::{
    config::HousekeepingSettings,
    db::Db,
    housekeeping::{Chore, DAY, Housekeeping, KEEP_ANSWERS},
    serve::Background,
    sql,
    telemetry::metrics::Metrics,
};

use crate::attempts::Attempts;

/// How long a bearer can read that a credential of theirs was taken back or is over, rather than
/// that there is none such.
const KEEP_TOMBSTONES: Duration = days(30);
/// The same of a session or a token that came to its end by itself.
const KEEP_ENDED_SESSIONS: Duration = days(1);
/// How long another service may be away and go on from its cursor.
const KEEP_EVENTS: Duration = days(7);

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * DAY.as_secs())
}

const CHORES: &[Chore] = &[
    Chore {
        kind: "public_answers",
        keep: KEEP_ANSWERS,
        delete: sql!(
            "DELETE FROM identity.public_answers WHERE scope IN (
                 SELECT old.scope FROM identity.public_answers AS old
                 WHERE old.create_time < $1 ORDER BY old.create_time LIMIT $2)"
        ),
    },
    Chore {
        kind: "revoked_tokens",
        keep: KEEP_TOMBSTONES,
        delete: sql!(
            "DELETE FROM identity.revoked_tokens WHERE key IN (
                 SELECT old.key
                 FROM identity.accounts a CROSS JOIN LATERAL (
                     SELECT t.key FROM identity.revoked_tokens t
                     WHERE t.account_id = a.id AND t.revoke_time < $1
                     ORDER BY t.revoke_time LIMIT $2) AS old
                 LIMIT $2)"
        ),
    },
    Chore {
        kind: "revoked_sessions",
        keep: KEEP_TOMBSTONES,
        delete: sql!(
            "DELETE FROM identity.revoked_sessions WHERE id IN (
                 SELECT old.id
                 FROM identity.accounts a CROSS JOIN LATERAL (
                     SELECT s.id FROM identity.revoked_sessions s
                     WHERE s.account_id = a.id AND s.revoke_time < $1
                     ORDER BY s.revoke_time LIMIT $2) AS old
                 LIMIT $2)"
        ),
    },
    Chore {
        kind: "sessions",
        keep: KEEP_ENDED_SESSIONS,
        delete: sql!(
            "DELETE FROM identity.sessions WHERE (account_id, id) IN (
                 SELECT old.account_id, old.id FROM identity.sessions AS old
                 WHERE least(old.idle_time, old.expire_time) < $1
                 ORDER BY least(old.idle_time, old.expire_time) LIMIT $2)
               AND least(idle_time, expire_time) < $1"
        ),
    },
    Chore {
        kind: "api_keys",
        keep: KEEP_TOMBSTONES,
        delete: sql!(
            "DELETE FROM identity.api_keys WHERE (account_id, id) IN (
                 SELECT old.account_id, old.id FROM identity.api_keys AS old
                 WHERE old.expire_time < $1 ORDER BY old.expire_time LIMIT $2)"
        ),
    },
    Chore {
        kind: "codes",
        keep: KEEP_ENDED_SESSIONS,
        delete: sql!(
            "DELETE FROM identity.codes WHERE (account_id, employee_id, purpose) IN (
                 SELECT old.account_id, old.employee_id, old.purpose FROM identity.codes AS old
                 WHERE old.expire_time < $1 ORDER BY old.expire_time LIMIT $2)
               AND expire_time < $1"
        ),
    },
    Chore {
        kind: "invitations",
        keep: KEEP_TOMBSTONES,
        delete: sql!(
            "DELETE FROM identity.invitations WHERE (account_id, id) IN (
                 SELECT old.account_id, old.id FROM identity.invitations AS old
                 WHERE old.expire_time < $1 ORDER BY old.expire_time LIMIT $2)"
        ),
    },
    // From the beginning of a log up to the first young event, so that there is never a gap; and
    // never the last one.
    Chore {
        kind: "revocations",
        keep: KEEP_EVENTS,
        delete: sql!(
            "WITH first AS (SELECT number, time FROM identity.revocations ORDER BY number LIMIT $2)
             DELETE FROM identity.revocations WHERE number < (
                 SELECT coalesce(min(number) FILTER (WHERE time >= $1), max(number))
                 FROM first AS old)"
        ),
    },
    Chore {
        kind: "directory_events",
        keep: KEEP_EVENTS,
        delete: sql!(
            "WITH first AS (SELECT number, time FROM identity.directory_events ORDER BY number LIMIT $2)
             DELETE FROM identity.directory_events WHERE number < (
                 SELECT coalesce(min(number) FILTER (WHERE time >= $1), max(number))
                 FROM first AS old)"
        ),
    },
];

/// Tokens that nobody used for too long, where there is such a limit.
fn idle_tokens(limit: Duration) -> Chore {
    Chore {
        kind: "employee_tokens",
        keep: limit.saturating_add(KEEP_ENDED_SESSIONS),
        delete: sql!(
            "DELETE FROM identity.employee_tokens WHERE key IN (
                 SELECT old.key FROM identity.employee_tokens AS old
                 WHERE coalesce(old.last_used_time, old.created) < $1
                 ORDER BY coalesce(old.last_used_time, old.created) LIMIT $2)
               AND coalesce(last_used_time, created) < $1"
        ),
    }
}

/// The task that sees to it.
pub fn task(
    db: &Db,
    settings: &HousekeepingSettings,
    token_idle: Option<Duration>,
    metrics: &Metrics,
    attempts: Arc<Attempts>,
) -> Background {
    let idle_tokens = token_idle.map(idle_tokens);
    let chores: Vec<_> = CHORES.iter().copied().chain(idle_tokens).collect();
    let housekeeping = Housekeeping::new(db, settings, metrics, &chores);
    let housekeeping = Arc::new(housekeeping.also(move || attempts.sweep(Instant::now())));
    Background::new("housekeeping", move || {
        let housekeeping = Arc::clone(&housekeeping);
        async move { housekeeping.go_on().await }
    })
}
