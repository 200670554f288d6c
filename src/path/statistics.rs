//! Running statistics of round-trip times.

use std::time::Duration;

/// Last, best, worst, mean, standard deviation and jitter of a series, without keeping the series.
///
/// Mean and deviation are Welford's (Technometrics 4, 1962) in f64, so they do not drift however long the series is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statistics {
    count: u64,
    last: f64,
    best: f64,
    second: f64,
    worst: f64,
    mean: f64,
    squares: f64,
    steps: f64,
}

impl Statistics {
    /// Adds one value.
    pub fn add(&mut self, value: Duration) {
        let value = value.as_secs_f64();
        if self.count == 0 {
            (self.best, self.second, self.worst) = (value, f64::INFINITY, value);
        } else {
            self.second = self.second.min(value.max(self.best));
            self.best = self.best.min(value);
            self.worst = self.worst.max(value);
            self.steps += (value - self.last).abs();
        }
        self.count += 1;
        self.last = value;
        let distance = value - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (value - self.mean);
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last value, in seconds; nothing without a value, as for all below.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        (self.count > 0).then_some(self.last)
    }

    /// The smallest value, in seconds.
    #[must_use]
    pub fn best(&self) -> Option<f64> {
        (self.count > 0).then_some(self.best)
    }

    /// The smallest but one, in seconds; nothing for fewer than two values.
    #[must_use]
    pub fn second_best(&self) -> Option<f64> {
        (self.count > 1).then_some(self.second)
    }

    /// The largest value, in seconds.
    #[must_use]
    pub fn worst(&self) -> Option<f64> {
        (self.count > 0).then_some(self.worst)
    }

    /// The mean, in seconds.
    #[must_use]
    pub fn avg(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// The sample standard deviation (divisor n − 1), in seconds; nothing for fewer than two values.
    #[must_use]
    pub fn stddev(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count - 1) as f64).max(0.0).sqrt())
    }

    /// The mean distance between neighbours of the series, in seconds; nothing for fewer than two values.
    #[must_use]
    pub fn jitter(&self) -> Option<f64> {
        (self.count > 1).then(|| self.steps / (self.count - 1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(milliseconds: &[u64]) -> Statistics {
        let mut statistics = Statistics::default();
        milliseconds.iter().for_each(|ms| statistics.add(Duration::from_millis(*ms)));
        statistics
    }

    fn close(left: Option<f64>, right: f64) -> bool {
        left.is_some_and(|left| (left - right).abs() < 1e-12)
    }

    #[test]
    fn an_empty_series_has_no_numbers() {
        let empty = of(&[]);
        assert_eq!([empty.last(), empty.best(), empty.worst(), empty.avg(), empty.stddev(), empty.jitter()], [None; 6]);
    }

    #[test]
    fn one_value_has_no_deviation_and_no_jitter() {
        let one = of(&[7]);
        assert!(close(one.avg(), 0.007) && close(one.best(), 0.007) && close(one.worst(), 0.007));
        assert_eq!((one.stddev(), one.jitter(), one.second_best()), (None, None, None));
    }

    #[test]
    fn a_series_has_the_textbook_numbers() {
        let series = of(&[2, 4, 4, 4, 5, 5, 7, 9]);
        assert!(close(series.avg(), 0.005));
        assert!(close(series.stddev(), (32.0_f64 / 7.0).sqrt() / 1000.0));
        assert!(close(series.jitter(), 0.001));
        assert!(close(series.second_best(), 0.004) && close(of(&[9, 3, 7, 5, 3]).second_best(), 0.003));
        assert!(close(of(&[9, 3]).second_best(), 0.009) && close(of(&[3, 9, 5]).second_best(), 0.005));
        assert!(close(series.last(), 0.009) && close(series.best(), 0.002) && close(series.worst(), 0.009));
    }

    #[test]
    fn a_million_values_do_not_drift() {
        let mut series = Statistics::default();
        for n in 0..1_000_000_u64 {
            series.add(Duration::from_nanos(20_000_000 + (n % 3) * 500_000));
        }
        assert!((series.avg().unwrap_or(0.0) - 0.0205).abs() < 1e-9);
        assert!((series.stddev().unwrap_or(0.0) - 0.000_408_248_7).abs() < 1e-9);
    }
}
