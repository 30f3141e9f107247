//! How are figures shown?

use std::fmt::Write;

use serde::Serialize;

/// What one scenario found.
#[derive(Debug, Serialize)]
pub struct Report {
    pub scenario: &'static str,
    pub title: String,
    pub lines: Vec<Line>,
    /// What is asked of it, and whether that is so.
    pub floors: Vec<Floor>,
    pub notes: Vec<String>,
}

/// One subject or reference.
#[derive(Debug, Serialize)]
pub struct Line {
    pub name: String,
    pub per_second: f64,
    pub p50_us: u64,
    pub p99_us: u64,
    /// To the reference, if there is one.
    pub ratio: Option<Ratio>,
    /// Microseconds of each answer, by process.
    pub cpu_us: Vec<(String, f64)>,
    /// By process.
    pub resident_kib: Vec<(String, u64)>,
}

/// The median of the rounds, and the least and the most of them.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Ratio {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// What a figure must at least, or at most, be.
#[derive(Debug, Serialize)]
pub struct Floor {
    pub what: String,
    pub found: f64,
    pub bound: f64,
    pub is_upper: bool,
    pub is_met: bool,
}

impl Floor {
    pub fn at_least(what: &str, found: f64, bound: f64) -> Self {
        Self { what: what.to_owned(), found, bound, is_upper: false, is_met: found >= bound }
    }

    /// How a line must stand to its reference.
    pub fn ratio(what: &str, line: &Line, bound: f64) -> Self {
        Self::at_least(what, line.ratio.map_or(0.0, |ratio| ratio.median), bound)
    }

    pub fn at_most(what: &str, found: f64, bound: f64) -> Self {
        Self { what: what.to_owned(), found, bound, is_upper: true, is_met: found <= bound }
    }
}

impl Report {
    pub fn new(scenario: &'static str, title: &str) -> Self {
        Self {
            scenario,
            title: title.to_owned(),
            lines: Vec::new(),
            floors: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// As Markdown, which reads well in a terminal too.
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}: {}\n\n", self.scenario, self.title);
        if !self.lines.is_empty() {
            text += &aligned(&self.cells());
            text.push('\n');
        }
        for floor in &self.floors {
            let sign = if floor.is_upper { "≤" } else { "≥" };
            let verdict = if floor.is_met { "met" } else { "NOT MET" };
            _ = writeln!(
                text,
                "- {}: {:.2}, asked for {sign} {:.2}: {verdict}",
                floor.what, floor.found, floor.bound
            );
        }
        for note in &self.notes {
            _ = writeln!(text, "- {note}");
        }
        text
    }

    fn cells(&self) -> Vec<Vec<String>> {
        let head = ["", "per second", "p50", "p99", "ratio", "CPU each", "resident"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.lines.iter().map(Line::cells));
        rows
    }
}

impl Line {
    fn cells(&self) -> Vec<String> {
        let ratio = self.ratio.map_or(String::new(), |ratio| {
            format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.least, ratio.most)
        });
        let cpu = self.cpu_us.iter().map(|(name, us)| format!("{name} {us:.0} µs"));
        let resident =
            self.resident_kib.iter().map(|(name, kib)| format!("{name} {} MiB", kib / 1024));
        vec![
            self.name.clone(),
            format!("{:.0}", self.per_second),
            milliseconds(self.p50_us),
            milliseconds(self.p99_us),
            ratio,
            cpu.collect::<Vec<_>>().join(", "),
            resident.collect::<Vec<_>>().join(", "),
        ]
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^52 microseconds")]
pub fn milliseconds(us: u64) -> String {
    if us == 0 {
        return String::new();
    }
    format!("{:.2} ms", us as f64 / 1000.0)
}

/// A table whose columns are as wide as their widest cell.
pub fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| {
            format!("{cell}{}", " ".repeat(width.saturating_sub(cell.chars().count())))
        });
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        text += &line(row);
        if number == 0 {
            text += &line(&rule);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let table = aligned(&[row(["", "µs"]), row(["subject", "1"])]);
        assert_eq!(table, "|         | µs |\n| ------- | -- |\n| subject | 1  |\n");
    }

    #[test]
    fn a_floor_is_met_on_its_own_side() {
        assert!(Floor::at_least("rate", 0.9, 0.9).is_met);
        assert!(!Floor::at_least("rate", 0.89, 0.9).is_met);
        assert!(Floor::at_most("latency", 1.2, 1.2).is_met);
        assert!(!Floor::at_most("latency", 1.21, 1.2).is_met);
    }
}
