//! How do the processes that give leases know of each other?

use std::{sync::Arc, time::Duration};

use service_kit::{
    error::Error,
    lease::{
        clock::Moment,
        log::Position,
        table::{BEAT_EVERY, Orders, Row},
    },
    serve::Background,
};
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    giver::{Giver, in_time},
    sql,
};

/// How often the log is looked at while leases are given by this process …
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// … and how often the table is while none are.
const LOOK_IDLE_EVERY: Duration = Duration::from_secs(5);

/// The task that keeps the table.
pub fn task(giver: Arc<Giver>) -> Background {
    Background::new("leases", move || {
        let giver = giver.clone();
        async move { Keeper::of(giver).go_on().await }
    })
}

struct Keeper {
    giver: Arc<Giver>,
    head: Option<Position>,
    shown: Option<(Uuid, Position)>,
    beat: Option<Moment>,
    was_silent: bool,
}

impl Keeper {
    fn of(giver: Arc<Giver>) -> Self {
        Self { giver, head: None, shown: None, beat: None, was_silent: false }
    }

    async fn go_on(&mut self) {
        let (mut news, mut heard) = (self.giver.news(), self.giver.heard());
        loop {
            match self.look().await {
                Ok(()) => self.was_silent = false,
                Err(error) if !self.was_silent => {
                    self.was_silent = true;
                    let error = error.for_log();
                    tracing::warn!(%error, "the table of those who give leases cannot be kept");
                }
                Err(_) => {}
            }
            let (gives, is_waiting) = {
                let state = self.giver.state();
                (state.own.is_some(), state.publisher.is_waiting())
            };
            // Woken by what others wait for, and by the first lease.
            tokio::select! {
                () = sleep(if gives { LOOK_EVERY } else { LOOK_IDLE_EVERY }) => {}
                _giver_is_ours = heard.changed(), if is_waiting => {}
                _giver_is_ours = news.changed(), if !gives => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let table = self.giver.table().await?;
        let (own, place, orders) = self.take_in(table.head, &table.rows);
        if self.head.replace(table.head) != Some(table.head) {
            self.giver.tell_news();
        }
        if let (Some(own), Some(place)) = (own, place) {
            self.show(own, place).await?;
        }
        let Orders { fence, delete } = orders;
        if fence.is_empty() && delete.is_empty() {
            return Ok(());
        }
        tracing::warn!(?fence, ?delete, "a process that gave leases is gone");
        in_time(Box::pin(sql::clear(&self.giver.db, &fence, &delete))).await
    }

    fn take_in(&self, head: Position, rows: &[Row]) -> (Option<Uuid>, Option<Position>, Orders) {
        let mut state = self.giver.state();
        let state = &mut *state;
        let now = Moment::now();
        state.publisher.observe(head, &state.notes, now);
        let place = state.publisher.ready(&state.notes, now);
        let orders = state.watchman.look(rows, state.own, now);
        (state.own, place, orders)
    }

    /// Shows in the row what is new, and now and then that this process lives.
    async fn show(&mut self, own: Uuid, place: Position) -> Result<(), Error> {
        let now = Moment::now();
        let is_due = self.beat.is_none_or(|beat| now >= beat + BEAT_EVERY);
        if self.shown == Some((own, place)) && !is_due {
            return Ok(());
        }
        in_time(Box::pin(sql::publish(&self.giver.db, own, place))).await?;
        (self.shown, self.beat) = (Some((own, place)), Some(now));
        Ok(())
    }
}
