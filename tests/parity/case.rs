//! What is asked of both exporters: lines of the files in `cases/`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::peer::Version;
use crate::support::{Answer, value};

/// The name of a case, unlike all others, and who can be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    pub(crate) text: &'static str,
    /// The version of blackbox_exporter that has what it needs.
    pub(crate) since: Option<Version>,
}

impl Name {
    fn read(text: &'static str) -> Self {
        let Some((text, since)) = text.split_once('@') else { return Self { text, since: None } };
        Self { text, since: Some(Version::parse(since).unwrap()) }
    }

    /// Whether a version of blackbox_exporter can be asked.
    pub(crate) fn is_for(self, version: Version) -> bool {
        self.since.is_none_or(|since| since <= version)
    }
}

/// Whether a pattern, a name or how names begin and a `*`, is of a case.
pub(crate) fn fits(name: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |start| name.starts_with(start))
}

/// A module and a target.
#[derive(Debug)]
pub(crate) struct Case {
    prober: &'static str,
    /// Its module's name, too.
    pub(crate) name: Name,
    /// What becomes of it here, so that nothing fails for another reason than is meant: `success`, a reason, or `refused`.
    outcome: &'static str,
    /// The module's timeout.
    pub(crate) timeout: Duration,
    /// The target, and what else stands in the query.
    pub(crate) target: &'static str,
    /// The module's section, as YAML.
    section: &'static str,
    /// How many seconds each phase takes here, and which there are, where that is known.
    pub(crate) phases: Option<BTreeMap<&'static str, f64>>,
}

/// Reads cases, one a line, as the files say.
pub(crate) fn read(prober: &'static str, lines: &'static str) -> impl Iterator<Item = Case> {
    rows(lines).map(move |[name, outcome, target, section]| Case::new(prober, name, outcome, target, section))
}

/// Reads cases whose phases are known, one a line, as the file says.
pub(crate) fn read_timed(lines: &'static str) -> impl Iterator<Item = Case> {
    rows(lines).map(|[name, outcome, target, phases, section]| {
        let (prober, _) = name.split_once('_').unwrap();
        let phases = phases.split(' ').map(|phase| phase.split_once('=').unwrap());
        let phases = phases.map(|(phase, milliseconds)| (phase, milliseconds.parse::<f64>().unwrap() / 1e3)).collect();
        Case { phases: Some(phases), ..Case::new(prober, name, outcome, target, section) }
    })
}

impl Case {
    fn new(
        prober: &'static str,
        name: &'static str,
        outcome: &'static str,
        target: &'static str,
        section: &'static str,
    ) -> Self {
        let (outcome, timeout) = outcome.split_once('@').unwrap_or((outcome, "5000ms"));
        let timeout = Duration::from_millis(timeout.strip_suffix("ms").unwrap().parse().unwrap());
        Self { prober, name: Name::read(name), outcome, timeout, target, section, phases: None }
    }

    /// Its module, as a line of a configuration.
    pub(crate) fn module(&self) -> String {
        let Self { prober, name, section, .. } = self;
        let section = if section.is_empty() { String::new() } else { format!(", {prober}: {section}") };
        format!("  {}: {{prober: {prober}, timeout: {}ms{section}}}\n", name.text, self.timeout.as_millis())
    }

    /// What became of it here, where that is not what is meant.
    pub(crate) fn unexpected(&self, answer: Option<&Answer>) -> Option<String> {
        let body = answer.map_or("", |answer| &answer.body);
        let mut failures = body.lines().filter_map(|line| line.strip_prefix("probe_failure_info{"));
        let mut reason = || failures.next().and_then(|labels| labels.split_once("reason=\"")?.1.split('"').next());
        let outcome = match (answer.map(|answer| answer.status), value(body, "probe_success")) {
            (Some(400), _) => "refused",
            (Some(200), Some(1.0)) => "success",
            (Some(200), Some(_)) => reason().unwrap_or("a failure without a reason"),
            _ => "no answer",
        };
        (outcome != self.outcome).then(|| format!("it is {outcome} here, not {}", self.outcome))
    }
}

/// A request to the exporters themselves.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) name: Name,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// One more line of the request, with its end; or nothing.
    pub(crate) header: String,
}

/// Reads requests, one a line, as the file says.
pub(crate) fn read_requests(lines: &'static str) -> impl Iterator<Item = Request> {
    rows(lines).map(|[name, method, path, header]| Request {
        name: Name::read(name),
        method,
        path,
        header: if header.is_empty() { String::new() } else { format!("{header}\r\n") },
    })
}

/// How long a probe may take by its module and by a request.
#[derive(Debug)]
pub(crate) struct Timeout {
    /// Its module's name, too.
    pub(crate) name: Name,
    /// The module's timeout; or nothing.
    of_module: &'static str,
    /// The request's line that says how long the client waits, with its end; or nothing.
    pub(crate) header: String,
}

/// Reads them, one a line, as the file says.
pub(crate) fn read_timeouts(lines: &'static str) -> impl Iterator<Item = Timeout> {
    rows(lines).map(|[name, of_module, of_client, _]| Timeout {
        name: Name::read(name),
        of_module: if of_module == "none" { "" } else { of_module },
        header: match of_client {
            "" => String::new(),
            seconds => format!("X-Prometheus-Scrape-Timeout-Seconds: {seconds}\r\n"),
        },
    })
}

impl Timeout {
    /// Its module, as a line of a configuration.
    pub(crate) fn module(&self) -> String {
        format!("  {}: {{prober: tcp, timeout: {}}}\n", self.name.text, self.of_module)
    }
}

/// A way to start the exporters, which then end by themselves.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) name: Name,
    pub(crate) arguments: Vec<&'static str>,
}

/// Reads them, one a line, as the file says.
pub(crate) fn read_starts(lines: &'static str) -> impl Iterator<Item = Start> {
    rows(lines)
        .map(|[name, arguments]| Start { name: Name::read(name), arguments: arguments.split_whitespace().collect() })
}

/// The lines that are no comments, in columns with two blanks between; the last may be missing.
fn rows<const COLUMNS: usize>(lines: &'static str) -> impl Iterator<Item = [&'static str; COLUMNS]> {
    let lines = lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let mut columns = line.splitn(COLUMNS, "  ");
        [(); COLUMNS].map(|()| columns.next().unwrap_or_default())
    })
}
