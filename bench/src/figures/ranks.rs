//! Can two sets of figures be told apart?

/// What the test of Mann and Whitney says of two sets.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    /// How likely one of the first set is above one of the second: 0.5 where nothing tells them
    /// apart. Whoever guesses by it is right so often.
    pub above: f64,
    /// How likely sets that are alike differ at least so much.
    pub p: f64,
}

/// Compares two sets by the ranks of their figures; for sets large enough that the sum of ranks
/// is as good as normal.
#[expect(clippy::cast_precision_loss, reason = "nobody takes 2^52 samples")]
pub fn mann_whitney(first: &[u64], second: &[u64]) -> Verdict {
    let (n, m) = (first.len() as f64, second.len() as f64);
    let mut all: Vec<_> = first.iter().map(|value| (*value, true)).collect();
    all.extend(second.iter().map(|value| (*value, false)));
    all.sort_unstable();
    let (mut rank_sum, mut ties, mut place) = (0.0, 0.0, 0);
    for same in all.chunk_by(|one, other| one.0 == other.0) {
        let count = same.len() as f64;
        // The ranks of equal figures are shared among them.
        let rank = place as f64 + f64::midpoint(1.0, count);
        rank_sum += rank * same.iter().filter(|(_, is_first)| *is_first).count() as f64;
        ties += count.powi(3) - count;
        place += same.len();
    }
    let above = rank_sum - n * (n + 1.0) / 2.0;
    let total = n + m;
    let variance = n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    let distance = (above - n * m / 2.0).abs() / variance.sqrt().max(f64::MIN_POSITIVE);
    Verdict { above: above / (n * m), p: 2.0 * upper_tail(distance) }
}

/// How much of the normal distribution lies above so many deviations (Abramowitz and Stegun
/// 26.2.17, to 1e-7).
fn upper_tail(deviations: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * deviations);
    let factors = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum = factors.iter().rev().fold(0.0, |sum, factor| (sum + factor) * t);
    let density = (-deviations * deviations / 2.0).exp() / std::f64::consts::TAU.sqrt();
    density * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_is_known() {
        for (deviations, tail) in [(0.0, 0.5), (1.0, 0.158_655), (1.96, 0.024_998), (3.0, 0.001_35)]
        {
            assert!((upper_tail(deviations) - tail).abs() < 1e-5, "{deviations}");
        }
    }

    #[test]
    fn sets_that_are_alike_are_not_told_apart_and_others_are() {
        let set = |offset: u64| (0..200).map(|n| 1_000 + offset + n * 7 % 100).collect::<Vec<_>>();
        let same = mann_whitney(&set(0), &set(0));
        assert!((same.above - 0.5).abs() < 1e-9 && same.p > 0.99, "{same:?}");
        let other = mann_whitney(&set(20), &set(0));
        assert!(other.above > 0.6 && other.p < 0.001, "{other:?}");
        let apart = mann_whitney(&set(200), &set(0));
        assert!((apart.above - 1.0).abs() < 1e-9 && apart.p < 1e-9, "{apart:?}");
    }
}
