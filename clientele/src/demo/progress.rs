//! How far is it?

use std::{
    io::{IsTerminal, stderr},
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line says it, where there is no terminal to draw a bar on.
const EVERY: Duration = Duration::from_secs(5);

/// A bar on standard error where that is a terminal, and now and then a line where not.
pub struct Progress {
    bar: ProgressBar,
    is_drawn: bool,
    said: Mutex<Instant>,
}

impl Progress {
    pub fn of(clients: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(clients as u64), ProgressDrawTarget::stderr());
        let template = "Demo data {bar:40} {pos}/{len} clients  {elapsed} (rest: {eta})";
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, is_drawn: stderr().is_terminal(), said: Mutex::new(Instant::now()) }
    }

    /// One more client is there, with all that they bought.
    pub fn passed(&self) {
        self.bar.inc(1);
        let Ok(mut said) = self.said.lock() else { return };
        if !self.is_drawn && said.elapsed() >= EVERY {
            *said = Instant::now();
            let (there, all) = (self.bar.position(), self.bar.length().unwrap_or_default());
            eprintln!("Demo data: {there} of {all} clients.");
        }
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
