//! What the answers along a path mean.

mod statistics;

pub use statistics::Statistics;
