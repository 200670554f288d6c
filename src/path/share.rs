//! Shares of flows, and how far they can be trusted.

/// The part of the flows that took one way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Of those whose way is known, from 0 to 1.
    pub ratio: f64,
    /// The least that it is, with 95 % certainty, whichever way the others took.
    pub lower: f64,
    /// The most that it is, likewise.
    pub upper: f64,
}

/// Within so many standard deviations lie 95 % of a normal distribution.
const DEVIATIONS: f64 = 1.959_963_984_540_054;

/// The most of the flows whose way may be unknown: less than chance makes of a share. Answers are not missing by chance: a router that has more
/// to forward has more to answer, and comes to its limit first.
const UNKNOWN: f64 = 0.05;

/// The shares of `sent` flows that took several ways, so many each; nothing where the way of too many is not known.
#[must_use]
pub fn shares(sent: u32, taken: &[u32]) -> Option<Vec<Share>> {
    let known: u32 = taken.iter().sum();
    let unknown = sent.saturating_sub(known);
    if known == 0 || f64::from(unknown) > UNKNOWN * f64::from(sent) {
        return None;
    }
    let share = |taken: &u32| Share {
        ratio: f64::from(*taken) / f64::from(known),
        lower: wilson(*taken, sent).0,
        upper: wilson(taken + unknown, sent).1,
    };
    Some(taken.iter().map(share).collect())
}

/// The interval in which the probability of something lies with 95 % certainty that happened so many times of so many: Wilson's score
/// interval (Journal of the American Statistical Association 22, 1927, p. 209), which holds for few trials and at 0 and 1, too (Brown, Cai,
/// DasGupta: Statistical Science 16, 2001, p. 101).
fn wilson(times: u32, trials: u32) -> (f64, f64) {
    let (n, z) = (f64::from(trials), DEVIATIONS);
    let p = f64::from(times) / n;
    let middle = p + z * z / (2.0 * n);
    let width = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    // At the ends it is exactly that, but for the last digit of the root.
    let lower = if times == 0 { 0.0 } else { (middle - width) / scale };
    let upper = if times == trials { 1.0 } else { (middle + width) / scale };
    (lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To four digits.
    fn rounded((lower, upper): (f64, f64)) -> (f64, f64) {
        let round = |value: f64| (value * 1e4).round() / 1e4;
        (round(lower), round(upper))
    }

    #[test]
    fn intervals_are_wilsons() {
        // Their ends are what a probability p may be that is as many deviations off what was seen: (times / trials - p)² = z² p (1 - p) / trials.
        for (times, trials) in [(1, 2), (5, 10), (3, 64), (75, 100), (999, 1000)] {
            let (lower, upper) = wilson(times, trials);
            for p in [lower, upper] {
                let seen = f64::from(times) / f64::from(trials);
                let off = (seen - p).powi(2) - DEVIATIONS.powi(2) * p * (1.0 - p) / f64::from(trials);
                assert!(off.abs() < 1e-12 && lower < seen && seen < upper, "{times} of {trials}: {off}");
            }
        }
        let cases = [
            (0, 10, (0.0, 0.2775)),
            (10, 10, (0.7225, 1.0)),
            (5, 10, (0.2366, 0.7634)),
            (1, 10, (0.0179, 0.4042)),
            (50, 100, (0.4038, 0.5962)),
            (75, 100, (0.6570, 0.8245)),
            (0, 100, (0.0, 0.0370)),
            (0, 1, (0.0, 0.7935)),
        ];
        for (times, trials, expected) in cases {
            assert_eq!(rounded(wilson(times, trials)), expected, "{times} of {trials}");
        }
    }

    #[test]
    fn an_interval_has_the_truth_in_it_in_at_least_93_of_100_cases() {
        // The exact probability, summed over all outcomes, for many truths: it swings around 95 %.
        for trials in [32, 64, 100] {
            let mut covered = Vec::new();
            for truth in (5..=95).map(|percent| f64::from(percent) / 100.0) {
                let mut probability = (1.0 - truth).powi(trials as i32);
                let mut sum = 0.0;
                for times in 0..=trials {
                    let (lower, upper) = wilson(times, trials);
                    if (lower..=upper).contains(&truth) {
                        sum += probability;
                    }
                    probability *= f64::from(trials - times) / f64::from(times + 1) * truth / (1.0 - truth);
                }
                assert!(sum > 0.92, "{truth} of {trials}: {sum}");
                covered.push(sum);
            }
            let mean = covered.iter().sum::<f64>() / covered.len() as f64;
            assert!((0.945..0.965).contains(&mean), "{trials}: {mean}");
        }
    }

    #[test]
    fn what_is_missing_widens_the_interval_to_both_sides_and_too_much_of_it_leaves_nothing() {
        let told = shares(100, &[72, 24]).unwrap();
        assert_eq!(told[0].ratio, 0.75);
        assert_eq!((told[0].lower, told[0].upper), (wilson(72, 100).0, wilson(76, 100).1));
        assert_eq!((told[1].lower, told[1].upper), (wilson(24, 100).0, wilson(28, 100).1));
        assert!(shares(100, &[71, 24]).is_some());
        assert_eq!(shares(100, &[71, 23]), None);
        assert_eq!(shares(1, &[0]), None);
        assert_eq!(shares(0, &[]), None);
        let all = shares(64, &[0, 64]).unwrap();
        assert_eq!((all[0].ratio, all[0].lower, all[1].ratio, all[1].upper), (0.0, 0.0, 1.0, 1.0));
    }
}
