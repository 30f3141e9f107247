//! What of crm-service's is too old to be of use?

use std::{sync::Arc, time::Duration};

use service_kit::{
    config::HousekeepingSettings,
    db::Db,
    housekeeping::{Chore, DAY, Housekeeping},
    serve::Background,
    sql,
    telemetry::metrics::Metrics,
};

/// How long somebody may be away and go on from their cursor.
const KEEP_CHANGES: Duration = Duration::from_secs(7 * DAY.as_secs());

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
];

/// The task that sees to it.
pub fn task(db: &Db, settings: &HousekeepingSettings, metrics: &Metrics) -> Background {
    let housekeeping = Arc::new(Housekeeping::new(db, settings, metrics, CHORES));
    Background::new("housekeeping", move || {
        let housekeeping = Arc::clone(&housekeeping);
        async move { housekeeping.go_on().await }
    })
}
