//! How far is it?

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error where that is a terminal, and lines where not.
pub struct Progress {
    bar: ProgressBar,
    is_drawn: bool,
}

impl Progress {
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(std::time::Duration::from_millis(250));
        Self { bar, is_drawn: stderr().is_terminal() }
    }

    /// There is so much more to do.
    pub fn expect(&self, steps: u64) {
        self.bar.inc_length(steps);
    }

    /// What is done now.
    pub fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        if !self.is_drawn {
            eprintln!("{what}");
        }
    }

    /// One step of it is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// Shows something that stays.
    pub fn show(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
