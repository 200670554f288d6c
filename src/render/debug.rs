//! A probe for a person who asks what happened.

use std::fmt::Write;

use httpdate::fmt_http_date;

use super::text;
use crate::metrics;
use crate::probe::{LogLine, Report};

/// The probe's log, the metrics that it would have returned, and `configuration`, its module without secrets; under the headings of
/// blackbox_exporter, which scripts look for.
#[must_use]
pub fn debug(report: &Report, configuration: &str) -> String {
    let mut out = String::from("Logs for the probe:\n");
    line(&mut out, 0.0, &beginning(report));
    for LogLine { at, text } in &report.log {
        line(&mut out, at.as_secs_f64(), text);
    }
    let outcome = if report.success() { "the probe succeeded" } else { "the probe failed" };
    line(&mut out, report.duration.as_secs_f64(), outcome);
    out.push_str("\nMetrics that would have been returned:\n");
    out.push_str(&text(&metrics::of_report(report)));
    out.push_str("\nModule configuration:\n");
    out.push_str(configuration);
    out
}

/// What was asked for, and when.
fn beginning(report: &Report) -> String {
    let Report { target, module, hostname, isp, started, timeout, .. } = report;
    let mut text = format!("{}: {target} by module {module:?}", fmt_http_date(*started));
    if let Some(hostname) = hostname {
        let _ = write!(text, " as {hostname}");
    }
    if let Some(isp) = isp {
        let _ = write!(text, " through ISP {:?}", isp.name);
    }
    let _ = write!(text, ", within {} s", timeout.as_secs_f64());
    text
}

fn line(out: &mut String, seconds: f64, text: &str) {
    // A server's words may have line breaks, and must not look like lines of ours.
    let _ = writeln!(out, "{seconds:>12.6}s  {}", text.replace('\n', "\\n"));
}
