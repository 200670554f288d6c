//! What is probed by both exporters.

use std::time::Duration;

use crate::support::value;

/// A module and a target.
#[derive(Debug)]
pub(crate) struct Case {
    prober: &'static str,
    /// Its module; unlike all others.
    pub(crate) name: &'static str,
    /// What becomes of it here, so that nothing fails for another reason than is meant: `success`, a reason, or `refused`.
    outcome: &'static str,
    /// The module's timeout.
    pub(crate) timeout: Duration,
    /// The target, and what else stands in the query.
    pub(crate) target: &'static str,
    /// The module's section, as YAML.
    pub(crate) section: &'static str,
}

/// Reads cases, one a line, as the files say.
pub(crate) fn read(prober: &'static str, lines: &'static str) -> Vec<Case> {
    rows(lines)
        .map(|[name, outcome, target, section]| {
            let (outcome, timeout) = outcome.split_once('@').unwrap_or((outcome, "5000ms"));
            let timeout = Duration::from_millis(timeout.strip_suffix("ms").unwrap().parse().unwrap());
            Case { prober, name, outcome, timeout, target, section }
        })
        .collect()
}

impl Case {
    /// Its module, as a line of a configuration.
    pub(crate) fn module(&self) -> String {
        let Self { prober, name, section, .. } = self;
        let section = if section.is_empty() { String::new() } else { format!(", {prober}: {section}") };
        format!("  {name}: {{prober: {prober}, timeout: {}ms{section}}}\n", self.timeout.as_millis())
    }

    /// What became of it here, where that is not what is meant.
    pub(crate) fn unexpected(&self, status: u16, answer: &str) -> Option<String> {
        let mut failures = answer.lines().filter_map(|line| line.strip_prefix("probe_failure_info{"));
        let mut reason = || failures.next().and_then(|labels| labels.split_once("reason=\"")?.1.split('"').next());
        let outcome = match (status, value(answer, "probe_success")) {
            (400, _) => "refused",
            (200, Some(1.0)) => "success",
            (200, Some(_)) => reason().unwrap_or("a failure without a reason"),
            _ => "no answer",
        };
        (outcome != self.outcome).then(|| format!("it is {outcome} here, not {}", self.outcome))
    }
}

/// A request to the exporters themselves.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) header: Option<&'static str>,
}

/// Reads requests, one a line, as the file says.
pub(crate) fn read_requests(lines: &'static str) -> Vec<Request> {
    rows(lines)
        .map(|[name, method, path, header]| Request {
            name,
            method,
            path,
            header: (!header.is_empty()).then_some(header),
        })
        .collect()
}

/// The lines that are no comments, in four columns with two blanks between; the last may be missing.
fn rows(lines: &'static str) -> impl Iterator<Item = [&'static str; 4]> {
    let lines = lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let mut columns = line.splitn(4, "  ");
        [(); 4].map(|()| columns.next().unwrap_or_default())
    })
}
