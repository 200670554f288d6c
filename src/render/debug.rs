//! A probe for a person who asks what happened.

use std::fmt::Write;

use httpdate::fmt_http_date;

use super::text;
use crate::metrics::{self, Family};
use crate::probe::{Comparison, LogLine, Outcome, Report};
use crate::verdict::Judgement;

/// The logs of what was asked for, the metrics that it would have returned, and `configuration`, its module without secrets; under the headings
/// of blackbox_exporter, which scripts look for.
#[must_use]
pub fn debug(outcome: &Outcome, configuration: &str) -> String {
    let mut out = String::new();
    if let Outcome::Several(Comparison { judgement: Judgement { verdict, blamed: _, because }, .. }) = outcome {
        let _ = writeln!(out, "{}: {because}\n", verdict.name());
    }
    for report in outcome.reports() {
        log(&mut out, report);
        out.push('\n');
    }
    of_module(&mut out, &metrics::of_outcome(outcome), configuration);
    out
}

/// The same of one report.
#[must_use]
pub fn debug_report(report: &Report, configuration: &str) -> String {
    let mut out = String::new();
    log(&mut out, report);
    out.push('\n');
    of_module(&mut out, &metrics::of_report(report), configuration);
    out
}

fn log(out: &mut String, report: &Report) {
    out.push_str("Logs for the probe:\n");
    line(out, 0.0, &beginning(report));
    for LogLine { at, text } in &report.log {
        line(out, at.as_secs_f64(), text);
    }
    let outcome = if report.success() { "the probe succeeded" } else { "the probe failed" };
    line(out, report.duration.as_secs_f64(), outcome);
}

fn of_module(out: &mut String, families: &[Family], configuration: &str) {
    out.push_str("Metrics that would have been returned:\n");
    out.push_str(&text(families));
    out.push_str("\nModule configuration:\n");
    out.push_str(configuration);
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
