//! A probe for a person who asks what happened.

use std::fmt::Write;

use super::text;
use crate::metrics;
use crate::probe::{LogLine, Report};

/// The probe's log, the metrics that it would have returned, and `configuration`, which must be without secrets.
#[must_use]
pub fn debug(report: &Report, configuration: &str) -> String {
    let mut out = String::from("Logs for the probe:\n");
    for LogLine { at, text } in &report.log {
        // A server's words may have line breaks, and must not look like lines of ours.
        let _ = writeln!(out, "{:>12.6}s  {}", at.as_secs_f64(), text.replace('\n', "\\n"));
    }
    out.push_str("\nMetrics that would have been returned:\n");
    out.push_str(&text(&metrics::of_report(report)));
    out.push_str("\nModule configuration:\n");
    out.push_str(configuration);
    out
}
