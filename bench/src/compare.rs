//! How do subjects stand next to their reference?

use crate::{
    Outcome,
    figures::table::{Line, Ratio},
    load::{Load, Measure, Target, drive},
    options::Options,
    progress::Progress,
};

/// How a comparison is run.
pub struct Comparison<'a> {
    pub options: &'a Options,
    pub progress: &'a Progress,
    pub callers: usize,
}

impl<'a> Comparison<'a> {
    pub fn new(options: &'a Options, progress: &'a Progress) -> Self {
        Self { options, progress, callers: options.callers as usize }
    }

    pub fn with_callers(self, callers: usize) -> Self {
        Self { callers, ..self }
    }

    /// Drives each in turn, several rounds, and returns a line for each. The first is the
    /// reference that the others are held against.
    pub async fn run(&self, targets: &[Target]) -> Outcome<Vec<Line>> {
        let mut measured: Vec<Vec<Measure>> = targets.iter().map(|_| Vec::new()).collect();
        self.progress.expect(targets.len() as u64 * (1 + u64::from(self.options.rounds)));
        for target in targets {
            self.progress.say(&format!("Warming up: {}", target.name));
            let warm = self.options.duration().min(std::time::Duration::from_secs(1));
            drive(target, Load { callers: self.callers, duration: warm })
                .await?
                .all_answered(&target.name)?;
            self.progress.step();
        }
        for round in 0..self.options.rounds {
            // Whoever comes first is another one each time.
            for turn in 0..targets.len() {
                let place = (turn + round as usize) % targets.len();
                let target = &targets[place];
                let rounds = self.options.rounds;
                self.progress.say(&format!("Round {} of {rounds}: {}", round + 1, target.name));
                let load = Load { callers: self.callers, duration: self.options.duration() };
                measured[place].push(drive(target, load).await?.all_answered(&target.name)?);
                self.progress.step();
            }
        }
        let lines = targets.iter().zip(&measured).enumerate().map(|(place, (target, rounds))| {
            let reference = (place > 0).then_some(&measured[0]);
            line(&target.name, rounds, reference)
        });
        Ok(lines.collect())
    }
}

fn line(name: &str, rounds: &[Measure], reference: Option<&Vec<Measure>>) -> Line {
    let quantile = |at: f64| median_of(rounds, |round| round.latencies.value_at_quantile(at));
    Line {
        name: name.to_owned(),
        per_second: median(rounds.iter().map(Measure::rate).collect()),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        ratio: reference.map(|reference| {
            let each = rounds.iter().zip(reference).map(|(one, other)| one.rate() / other.rate());
            ratio(each.collect())
        }),
        cpu_us: by_process(rounds, |round| &round.cpu, median),
        resident_kib: by_process(
            rounds,
            |round| &round.resident,
            |mut values: Vec<u64>| {
                values.sort_unstable();
                values.last().copied().unwrap_or(0)
            },
        ),
    }
}

fn by_process<T: Copy>(
    rounds: &[Measure],
    figures: impl Fn(&Measure) -> &Vec<(String, T)>,
    together: impl Fn(Vec<T>) -> T,
) -> Vec<(String, T)> {
    let Some(first) = rounds.first() else { return Vec::new() };
    let each = figures(first).iter().enumerate().map(|(place, (name, _))| {
        let values = rounds.iter().map(|round| figures(round)[place].1).collect();
        (name.clone(), together(values))
    });
    each.collect()
}

fn median_of(rounds: &[Measure], value: impl Fn(&Measure) -> u64) -> u64 {
    let mut values: Vec<_> = rounds.iter().map(value).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

pub fn ratio(values: Vec<f64>) -> Ratio {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    Ratio { median: median(values), least, most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        let found = ratio(vec![0.5, 0.9, 0.7]);
        assert!(
            (found.least - 0.5).abs() < f64::EPSILON && (found.most - 0.9).abs() < f64::EPSILON
        );
    }
}
