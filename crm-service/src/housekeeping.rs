//! What of crm-service's is too old to be of use?

use std::{sync::Arc, time::Duration};

use service_kit::{
    config::HousekeepingSettings,
    db::Db,
    housekeeping::{Chore, DAY, Housekeeping, KEEP_ANSWERS},
    serve::Background,
    sql,
    telemetry::metrics::Metrics,
};

/// How long somebody may be away and go on from their cursor.
const KEEP_CHANGES: Duration = Duration::from_secs(7 * DAY.as_secs());
/// Far longer than the three days for which Stripe delivers an event again.
const KEEP_STRIPE_EVENTS: Duration = Duration::from_secs(30 * DAY.as_secs());
/// How long an event waits for a customer or charge that nobody tells of.
const KEEP_PARKED_EVENTS: Duration = Duration::from_secs(365 * DAY.as_secs());

const CHORES: &[Chore] = &[
    // By age, which is not quite the order of their numbers: whoever would run into a gap is told
    // that their cursor has expired.
    Chore {
        kind: "client_changes",
        keep: KEEP_CHANGES,
        delete: sql!(
            "DELETE FROM crm.client_changes WHERE (account_id, number) IN (
                 SELECT old.account_id, old.number FROM crm.client_changes AS old
                 WHERE old.time < $1 ORDER BY old.time LIMIT $2)"
        ),
    },
    // By when it was begun: what has taken a day can be sent again from the beginning.
    Chore {
        kind: "client_imports",
        keep: KEEP_ANSWERS,
        delete: sql!(
            "DELETE FROM crm.client_imports WHERE (account_id, actor, request_id) IN (
                 SELECT old.account_id, old.actor, old.request_id FROM crm.client_imports AS old
                 WHERE old.create_time < $1 ORDER BY old.create_time LIMIT $2)"
        ),
    },
    Chore {
        kind: "stripe_events",
        keep: KEEP_STRIPE_EVENTS,
        delete: sql!(
            "DELETE FROM crm.stripe_events WHERE (account_id, event_id) IN (
                 SELECT old.account_id, old.event_id FROM crm.stripe_events AS old
                 WHERE old.state <> 'parked' AND old.create_time < $1
                 ORDER BY old.create_time LIMIT $2)"
        ),
    },
    Chore {
        kind: "stripe_events_parked",
        keep: KEEP_PARKED_EVENTS,
        delete: sql!(
            "DELETE FROM crm.stripe_events WHERE (account_id, event_id) IN (
                 SELECT old.account_id, old.event_id FROM crm.stripe_events AS old
                 WHERE old.state = 'parked' AND old.create_time < $1
                 ORDER BY old.create_time LIMIT $2)"
        ),
    },
];

/// The task that sees to it.
pub fn task(db: &Db, settings: &HousekeepingSettings, metrics: &Metrics) -> Background {
    let housekeeping = Arc::new(Housekeeping::new(db, settings, metrics, CHORES));
    Background::new("housekeeping", move || {
        let housekeeping = Arc::clone(&housekeeping);
        async move { housekeeping.go_on().await }
    })
}
