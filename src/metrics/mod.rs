//! The catalogue: every metric of a probe, with its name, its help and its meaning. This is the public interface.

mod catalogue;
mod comparison;
mod report;

pub use catalogue::{CATALOGUE, Metric};
pub use comparison::of_outcome;
pub use report::of_report;
pub(crate) use report::{loss_ratio, seconds, unix_seconds};

use std::borrow::Cow;

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
