//! What does a call that took something back wait for?

use std::time::{Duration, Instant};

use service_kit::{
    db::Db,
    lease::{clock::Moment, wait::Wait},
    serve::Settle,
};
use tokio::{sync::watch, time::sleep};

use super::giver::Giver;

/// How often it is looked whether other processes have published by now.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[tonic::async_trait]
impl Settle for Giver {
    /// Everything that is in the log by now counts: what the call itself did is there, and so is
    /// what it found done already.
    async fn settle(&self) {
        let mut heard = self.heard();
        let mut wait = match self.table().await {
            Ok(table) => self.begin_wait(&table),
            Err(error) => {
                tracing::warn!(error = %error.for_log(), "nobody knows who has to be waited for");
                Wait::in_the_dark(Moment::now())
            }
        };
        if self.is_over(&mut wait) {
            return;
        }
        let began = Instant::now();
        // Its holders need not wait until it is looked again.
        self.tell_news();
        self.sit_out(&mut wait, &mut heard).await;
        self.figures.waits.inc();
        self.figures.waited.inc_by(began.elapsed().as_secs_f64());
    }
}

impl Giver {
    async fn sit_out(&self, wait: &mut Wait, heard: &mut watch::Receiver<()>) {
        while !self.is_over(wait) {
            let mut pause = Moment::now().until(wait.until());
            if wait.is_for_others() {
                pause = pause.min(LOOK_EVERY);
            }
            let is_time_to_look = tokio::select! {
                _giver_is_ours = heard.changed() => false,
                () = sleep(pause) => wait.is_for_others(),
            };
            if is_time_to_look && let Ok(table) = self.table().await {
                wait.look(&table.rows);
            }
        }
    }
}

/// The same for a program that gives no leases itself, after what it did.
pub async fn settle(db: &Db) {
    Giver::new(db.clone()).settle().await;
}
