//! Can this server do its work, and who is told?
//!
//! Whoever balances load asks `grpc.health.v1`; whoever runs the container asks `/healthz`.
//! Both get what a task found out by asking the database every second, so that no number of
//! questions reaches the database.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthRpc, HealthServer},
    server::{HealthReporter, health_reporter},
};

use super::Ready;

/// How often the database is asked …
const ASK_EVERY: Duration = Duration::from_secs(1);
/// … and how long it may take to answer.
const ASK_LIMIT: Duration = Duration::from_secs(2);

/// The state of a server.
pub struct Health {
    reporter: HealthReporter,
    /// The whole server, under the empty name, and each of its services.
    names: Vec<&'static str>,
    ready: Arc<dyn Ready>,
    serving: watch::Sender<bool>,
}

impl Health {
    /// The state as it is now, and the service that tells it.
    pub async fn new(
        services: &[&'static str],
        ready: Arc<dyn Ready>,
    ) -> (Self, HealthServer<impl HealthRpc>) {
        let (reporter, service) = health_reporter();
        let names = [""].iter().chain(services).copied().collect();
        let health = Self { reporter, names, ready, serving: watch::Sender::new(false) };
        health.report(false).await;
        health.ask().await;
        (health, service)
    }

    /// Whether calls can be served, at any time.
    pub fn state(&self) -> watch::Receiver<bool> {
        self.serving.subscribe()
    }

    /// Keeps the state true until `shutdown`; then says that no more calls are wanted, and
    /// only after that lets the server stop.
    pub async fn keep_asking(self, shutdown: CancellationToken, stopping: CancellationToken) {
        let asking = async {
            loop {
                sleep(ASK_EVERY).await;
                self.ask().await;
            }
        };
        shutdown.run_until_cancelled(asking).await;
        self.report(false).await;
        stopping.cancel();
    }

    async fn ask(&self) {
        // A panic in there must not be the end of the task that everybody relies on.
        let asking = AssertUnwindSafe(self.ready.ready()).catch_unwind();
        let answer = match timeout(ASK_LIMIT, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_logged_by_the_hook)) => Err("asking failed".to_owned()),
            Err(_) => Err("no answer in time".to_owned()),
        };
        let was_serving = *self.serving.borrow();
        match &answer {
            Ok(()) if !was_serving => tracing::info!("ready to serve"),
            Err(why) if was_serving => tracing::error!(why, "not ready to serve"),
            _ => {}
        }
        if answer.is_ok() != was_serving {
            self.report(answer.is_ok()).await;
        }
    }

    async fn report(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in &self.names {
            self.reporter.set_service_status(name, status).await;
        }
        self.serving.send_replace(serving);
    }
}
