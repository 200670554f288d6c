//! Where the time went: a bar for each phase, beside where the one before it ends.

use std::time::Duration;

use super::Page;
use super::units::milliseconds;
use crate::flight::Phase;
use crate::probe::Report;

/// Columns of a line that is no wider than a terminal, 80, behind the name and the time.
const WIDTH: usize = 54;

/// The bars of a probe: its phases and its overhead, which add up to its duration.
pub(super) struct Waterfall {
    whole: Duration,
    at: Duration,
}

/// All phases of a probe, as one waterfall.
pub(super) fn write(page: &mut Page, report: &Report) {
    page.blank();
    let mut waterfall = Waterfall::of(report);
    waterfall.phases(page, &report.phases);
    waterfall.end(page, report);
}

impl Waterfall {
    pub(super) fn of(report: &Report) -> Self {
        Self { whole: report.duration, at: Duration::ZERO }
    }

    /// Adds phases behind those that are there.
    pub(super) fn phases(&mut self, page: &mut Page, phases: &[(Phase, Duration)]) {
        for (phase, span) in phases {
            self.bar(page, phase.name(), *span);
        }
    }

    /// Adds what was our own, and the sum.
    pub(super) fn end(mut self, page: &mut Page, report: &Report) {
        self.bar(page, "overhead", report.overhead);
        page.line(format_args!("{:<12}{:>9} ms", "total", milliseconds(report.duration.as_secs_f64())));
    }

    fn bar(&mut self, page: &mut Page, name: &str, span: Duration) {
        let (from, to) = columns(self.whole, self.at, span);
        self.at += span;
        let time = milliseconds(span.as_secs_f64());
        let bar = format!("{:from$}{}", "", "#".repeat(to - from));
        page.line(format!("{name:<12}{time:>9} ms  {bar}").trim_end());
    }
}

/// The columns that a span fills; one at least, however short it is, unless it is nothing.
fn columns(whole: Duration, at: Duration, span: Duration) -> (usize, usize) {
    let column = |time: Duration| {
        let part = time.as_secs_f64() / whole.as_secs_f64();
        // A probe of no length has no columns.
        if part.is_finite() { ((part * WIDTH as f64).round() as usize).min(WIDTH) } else { 0 }
    };
    if span.is_zero() || whole.is_zero() {
        return (0, 0);
    }
    let from = column(at).min(WIDTH - 1);
    (from, column(at + span).max(from + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_part_of_the_whole_and_stay_on_the_line() {
        let ms = Duration::from_millis;
        for (whole, at, span, expected) in [
            (ms(100), ms(0), ms(100), (0, 54)),
            (ms(100), ms(0), ms(50), (0, 27)),
            (ms(100), ms(50), ms(50), (27, 54)),
            (ms(100), ms(50), ms(0), (0, 0)),
            (ms(100_000), ms(50_000), ms(1), (27, 28)),
            (ms(100), ms(100), ms(1), (53, 54)),
            (ms(100), ms(900), ms(900), (53, 54)),
            (ms(0), ms(0), ms(1), (0, 0)),
        ] {
            assert_eq!(columns(whole, at, span), expected, "{span:?} at {at:?} of {whole:?}");
        }
    }
}
