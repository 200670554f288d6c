//! The catalogue: every metric of a probe, with its name, its help and its meaning. This is the public interface.

use std::borrow::Cow;

use crate::probe::Report;

/// A metric family: samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The name in text 0.0.4.
    pub name: &'static str,
    /// What it is, for a stranger.
    pub help: &'static str,
    /// How it is told in OpenMetrics.
    pub kind: Kind,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number that goes up and down.
    Gauge,
    /// Labels whose value is always 1; the name ends in `_info`.
    Info,
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its labels, in order.
    pub labels: Vec<(Cow<'static, str>, String)>,
    /// Its value.
    pub value: f64,
}

/// The metrics of a report.
#[must_use]
pub fn of_report(_report: &Report) -> Vec<Family> {
    Vec::new()
}
