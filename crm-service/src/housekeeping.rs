//! What of crm-service's is too old to be of use?

use std::sync::Arc;

use service_kit::{
    config::HousekeepingSettings,
    db::Db,
    housekeeping::{Chore, Housekeeping},
    serve::Background,
    telemetry::metrics::Metrics,
};

/// Nothing but what both services have.
const CHORES: &[Chore] = &[];

/// The task that sees to it.
pub fn task(db: &Db, settings: &HousekeepingSettings, metrics: &Metrics) -> Background {
    let housekeeping = Arc::new(Housekeeping::new(db, settings, metrics, CHORES));
    Background::new("housekeeping", move || {
        let housekeeping = Arc::clone(&housekeeping);
        async move { housekeeping.go_on().await }
    })
}
