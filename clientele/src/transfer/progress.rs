//! How far is it?

use std::{fmt::Display, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error, where that is a terminal; lines pass above it.
#[derive(Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Of something whose size is known.
    pub fn of_bytes(bytes: u64) -> Self {
        Self::new(Some(bytes), "{bar:40} {percent:>3} %  {msg}  {elapsed} (rest: {eta})")
    }

    /// Of something that ends when it ends.
    pub fn without_end() -> Self {
        Self::new(None, "{spinner} {msg}  {elapsed}")
    }

    fn new(length: Option<u64>, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(bar)
    }

    pub fn passed(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// From the beginning again.
    pub fn restart(&self) {
        self.0.set_position(0);
    }

    pub fn rows(&self, rows: u64) {
        self.0.set_message(format!("{} rows", grouped(rows)));
    }

    /// A line on standard error.
    pub fn say(&self, line: impl Display) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// `1,000,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn large_numbers_are_grouped() {
        let shown = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
