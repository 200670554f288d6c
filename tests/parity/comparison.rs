//! Holds what both exporters say against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::case::{self, Case, Name};
use crate::differences::{Difference, certain, differences};
use crate::offers;
use crate::support::dns::series;
use crate::support::peer::{Peer, Version};
use crate::support::{Answer, Running, ask, until, value};

const OURS: &str = "127.0.0.1:9116";
const THEIRS: &str = "127.0.0.1:9115";

/// The last version that all that is listed is true of.
const CONTRACT: Version = Version(0, 28);

/// The file that both load.
pub(crate) const CONFIGURATION: &str = "blackbox.yml";

/// Own metrics of both that have the same value, since both were asked the same.
const COMPARED_METRICS: [&str; 2] =
    ["blackbox_exporter_config_last_reload_successful", "blackbox_module_unknown_total"];

/// What an answer says, or a program: series and the like, each with a value.
type Said = BTreeMap<String, f64>;

/// Both exporters, and what was seen so far.
pub(crate) struct Comparison<'a> {
    peer: &'a Peer,
    folder: &'a Path,
    /// By how many seconds durations may differ and still be the same.
    tolerance: f64,
    _exporters: [Running; 2],
    /// Which cases ran.
    ran: BTreeSet<&'static str>,
    /// Of which differences, which series and which cases were seen.
    used: BTreeSet<(usize, &'static str)>,
    /// What is not listed.
    wrong: String,
}

impl<'a> Comparison<'a> {
    /// Starts both with the same modules, the [`CONFIGURATION`] of a folder, which a command starts. Durations are the same that do
    /// not differ by more than `tolerance` seconds.
    pub(crate) fn start(peer: &'a Peer, folder: &'a Path, by: &[&str], tolerance: f64) -> Self {
        let file = Path::new(CONFIGURATION);
        let mut command = Command::new(ours());
        command.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address={OURS}"));
        let exporters = [peer.command(file, THEIRS.parse().unwrap()), command].map(|command| {
            let mut outer = Command::new(by[0]);
            outer.args(&by[1..]).arg(command.get_program()).args(command.get_args());
            Running::start(outer.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()))
        });
        for address in [THEIRS, OURS] {
            until("the exporter serves", || TcpStream::connect(address).is_ok());
        }
        let (ran, used, wrong) = Default::default();
        Self { peer, folder, tolerance, _exporters: exporters, ran, used, wrong }
    }

    /// Probes through both at the same time. Here each phase takes as long as it must, if the case says so.
    pub(crate) fn probe(&mut self, case: &Case) {
        let path = format!("/probe?module={}&target={}", case.name.text, case.target);
        let [theirs, ours] = at_once(|address| ask(address, "GET", &path, ""));
        let mut diff = String::new();
        if let Some(unexpected) = case.unexpected(ours.as_ref()) {
            writeln!(diff, "    {unexpected}").unwrap();
        }
        diff += &types([theirs.as_ref(), ours.as_ref()]);
        let [theirs, ours] = [theirs, ours].map(|answer| self.series_of(answer.as_ref()));
        diff += &nonsense(&ours, case);
        diff += &self.mistimed(&ours, case);
        self.compare(case.name, &theirs, &ours, diff);
    }

    /// Which phases are there that may not be, are absent, or did not take as long as they must, in whichever family; and the whole, where it is
    /// not what they are together.
    fn mistimed(&self, ours: &Said, case: &Case) -> String {
        let Some(phases) = &case.phases else { return String::new() };
        let is_near = |told: f64, meant: f64| (told - meant).abs() < self.tolerance;
        let mut wrong = String::new();
        let whole = ours["probe_duration_seconds"];
        if !is_near(whole, phases.values().sum()) {
            writeln!(wrong, "    it takes {whole} here, not as long as its phases").unwrap();
        }
        let mut told = BTreeSet::new();
        for (name, seconds) in ours {
            let Some((family, phase)) = name.split_once("_duration_seconds{phase=\"") else { continue };
            let phase = phase.trim_end_matches("\"}");
            // To blackbox_exporter, TLS to a name server is a part of connecting.
            let more = phases.get("tls").filter(|_| (family, phase) == ("probe_dns", "connect"));
            let meant = phases.get(phase).map(|meant| meant + more.copied().unwrap_or_default());
            if family == "probe_phase" {
                told.insert(phase);
            }
            // Those of one prober may have its own names.
            if meant.map_or(family == "probe_phase", |meant| !is_near(*seconds, meant)) {
                writeln!(wrong, "    {name} is {seconds} here, not {meant:?}").unwrap();
            }
        }
        for phase in phases.keys().filter(|phase| !told.contains(*phase)) {
            writeln!(wrong, "    {phase} is absent here").unwrap();
        }
        wrong
    }

    /// Compares what a request is answered with, and as what.
    pub(crate) fn request(&mut self, request: &case::Request) {
        let answers = at_once(|address| ask(address, request.method, request.path, &request.header));
        // Nothing has no media type.
        let both_say = answers.iter().flatten().all(|answer| !answer.body.is_empty());
        let [theirs, ours] = answers.map(|answer| {
            let mut said = status(answer.as_ref());
            let answer = answer.filter(|_| both_say);
            let media = answer.as_ref().and_then(|answer| answer.header("content-type")?.split(';').next());
            said.extend(media.map(|media| (media.to_owned(), 1.0)));
            said
        });
        self.compare(request.name, &theirs, &ours, String::new());
    }

    /// Compares how long a probe may take.
    pub(crate) fn timeout(&mut self, timeout: &case::Timeout) {
        // They tell it in the log, and we as a series.
        let path = format!("/probe?module={}&target=127.0.0.1:1&debug=true", timeout.name.text);
        let [theirs, ours] = at_once(|address| ask(address, "GET", &path, &timeout.header));
        let of = |answer: Option<&Answer>, before: &str| {
            let rest = answer.and_then(|answer| answer.body.split_once(before)).map(|(_, rest)| rest);
            let number = rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            number.map(|number: f64| ("timeout".to_owned(), number))
        };
        let both = [(theirs.as_ref(), "timeout_seconds="), (ours.as_ref(), "\nprobe_timeout_seconds ")];
        let [theirs, ours] =
            both.map(|(answer, before)| status(answer).into_iter().chain(of(answer, before)).collect());
        self.compare(timeout.name, &theirs, &ours, String::new());
    }

    /// Compares how the programs end.
    pub(crate) fn end_of(&mut self, start: &case::Start) {
        let run = |program: &Path| {
            let mut command = Command::new(program);
            command.arg("--web.listen-address=127.0.0.1:0").args(&start.arguments).current_dir(self.folder);
            let mut running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
            let mut code = None;
            until("it ends", || {
                code = running.0.try_wait().unwrap().map(|status| status.code().unwrap());
                code.is_some()
            });
            Said::from([("exit".to_owned(), code.unwrap().into())])
        };
        let [theirs, ours] = [&self.peer.program, ours()].map(run);
        self.compare(start.name, &theirs, &ours, String::new());
    }

    /// Compares the headings of what `debug=true` tells; those that are ours only need no reason.
    pub(crate) fn headings(&mut self, name: Name, path: &str) {
        let [theirs, ours] = at_once(|address| {
            let answer = ask(address, "GET", path, "").unwrap();
            let headings =
                answer.body.lines().filter(|line| line.starts_with(char::is_uppercase) && line.ends_with(':'));
            headings.map(|heading| (heading.to_owned(), 1.0)).collect::<Said>()
        });
        assert!(!theirs.is_empty());
        self.compare_theirs(name, &theirs, ours);
    }

    /// Compares what comes of a reload of a file that is wrong, and the names, types and, where they mean the same, values of the exporters'
    /// own metrics after it; those that are ours only need no reason.
    pub(crate) fn own_metrics(&mut self, name: Name, wrong: &str) {
        std::fs::write(self.folder.join(CONFIGURATION), wrong).unwrap();
        let reloads = at_once(|address| ask(address, "POST", "/-/reload", ""));
        let answers = at_once(|address| ask(address, "GET", "/metrics", "").unwrap());
        let diff = types(answers.each_ref().map(Some));
        let said = |reload: Option<&Answer>, answer: &Answer| {
            let mut said = status(reload);
            for name in families(&answer.body).into_keys() {
                let compared = COMPARED_METRICS.contains(&name).then(|| value(&answer.body, name).unwrap());
                said.insert(name.to_owned(), compared.unwrap_or(1.0));
                said.extend(labels(&answer.body, name).map(|label| (format!("{name} by {label}"), 1.0)));
            }
            said
        };
        let [theirs, mut ours] = [0, 1].map(|n| said(reloads[n].as_ref(), &answers[n]));
        ours.retain(|name, _| theirs.contains_key(name));
        self.compare(name, &theirs, &ours, diff);
    }

    /// Compares the names and defaults of flags; those that are ours only need no reason.
    pub(crate) fn flags(&mut self, name: Name) {
        let help = |program: &Path| {
            let Output { stdout, stderr, .. } = Command::new(program).arg("--help").output().unwrap();
            String::from_utf8([stdout, stderr].concat()).unwrap()
        };
        let theirs = their_flags(&help(&self.peer.program));
        assert!(theirs.len() > 10, "{theirs:?}");
        self.compare_theirs(name, &theirs, our_flags(&help(ours())));
    }

    /// Compares what a module offers to a server of TLS: of what both speak, both prefer the same. A server without a preference of its own
    /// chooses by it: the cipher, and which of its certificates it shows.
    pub(crate) fn offers(&mut self, name: Name, module: &str) {
        let [theirs, ours] = [(THEIRS, 9447), (OURS, 9448)].map(|(address, port)| {
            let offer = offers::hear(port);
            ask(address.parse().unwrap(), "GET", &format!("/probe?module={module}&target=127.0.0.1:{port}"), "");
            offer.recv().unwrap()
        });
        let [theirs, ours] = [(&theirs, &ours), (&ours, &theirs)].map(|(offer, other)| {
            let common = offer.iter().map(|(what, numbers)| {
                let common: Vec<_> = numbers.iter().filter(|number| other[what].contains(number)).collect();
                (format!("{what} of both: {common:04x?}"), 1.0)
            });
            common.collect::<Said>()
        });
        self.compare(name, &theirs, &ours, String::new());
    }

    fn compare_theirs(&mut self, name: Name, theirs: &Said, mut ours: Said) {
        ours.retain(|name, _| theirs.contains_key(name));
        self.compare(name, theirs, &ours, String::new());
    }

    /// Compares what was said; `diff` is what is wrong already.
    fn compare(&mut self, case: Name, theirs: &Said, ours: &Said, mut diff: String) {
        let names: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
        let answered = is_answered(theirs);
        for name in names {
            let (there, here) = (theirs.get(name).copied(), ours.get(name).copied());
            let is_near = || there.zip(here).is_some_and(|(there, here)| (there - here).abs() < self.tolerance);
            let same = there == here || (is_duration(name) && is_near());
            if !same && !self.is_listed(case.text, name, answered, there, here) {
                let value = |value: Option<f64>| value.map_or("absent".to_owned(), |value| value.to_string());
                writeln!(diff, "    {name}: {} there, {} here", value(there), value(here)).unwrap();
            }
        }
        if !diff.is_empty() {
            writeln!(self.wrong, "{}\n{diff}", case.text).unwrap();
        }
        assert!(self.ran.insert(case.text), "{} is the name of several cases", case.text);
    }

    /// Whether a difference is listed; if so, it was seen.
    fn is_listed(&mut self, case: &str, name: &str, answered: bool, there: Option<f64>, here: Option<f64>) -> bool {
        for (n, difference) in differences(self.peer.version).enumerate() {
            if let Some((series, case)) = difference.is_of(case, name, answered, there, here) {
                self.used.extend([(n, series), (n, case)]);
                return true;
            }
        }
        false
    }

    /// Says what differs and is not listed, and what is listed, belongs here and differs in no case; `known` are all cases, those included
    /// that this version cannot be asked.
    pub(crate) fn end(self, known: &[Name], belongs_here: impl Fn(&Difference) -> bool) {
        assert!(self.wrong.is_empty(), "what is not listed differs:\n{}", self.wrong);
        let mut unseen = String::new();
        for (n, difference) in certain(self.peer.version).enumerate().filter(|(_, difference)| belongs_here(difference))
        {
            let Difference { series, cases, .. } = difference;
            let ran = |pattern: &str| self.ran.iter().any(|case| case::fits(case, pattern));
            for pattern in cases.iter().filter(|pattern| !known.iter().any(|name| case::fits(name.text, pattern))) {
                writeln!(unseen, "no case is called {pattern}").unwrap();
            }
            if self.peer.version <= CONTRACT && cases.iter().all(|pattern| ran(pattern)) {
                for one in series.iter().chain(*cases).filter(|one| !self.used.contains(&(n, **one))) {
                    writeln!(unseen, "{one:?} of {difference:?}").unwrap();
                }
            }
        }
        assert!(unseen.is_empty(), "listed, and seen in no case:\n{unseen}");
    }

    /// The series of an answer, and its status as one more. Labels are in the order of the alphabet.
    fn series_of(&self, answer: Option<&Answer>) -> Said {
        let mut said = status(answer);
        if let Some(answer) = answer.filter(|answer| answer.status == 200) {
            let has_serial_number = self.peer.version >= Version(0, 26);
            said.extend(
                series(&answer.body).into_iter().map(|(name, value)| (in_order(&name, has_serial_number), value)),
            );
        }
        said
    }
}

fn ours() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_uplink_exporter"))
}

/// Asks both at the same time: them, and us.
fn at_once<T: Send>(ask: impl Fn(SocketAddr) -> T + Sync) -> [T; 2] {
    thread::scope(|scope| {
        let asked = [THEIRS, OURS].map(|address| scope.spawn(|| ask(address.parse().unwrap())));
        asked.map(|asked| asked.join().unwrap())
    })
}

/// The status of an answer; 0 where the connection ended without one.
fn status(answer: Option<&Answer>) -> Said {
    BTreeMap::from([("status".to_owned(), answer.map_or(0.0, |answer| answer.status.into()))])
}

/// A series with its labels in order; 0.26 has one more of certificates than those before it.
fn in_order(series: &str, has_serial_number: bool) -> String {
    let Some((name, labels)) = series.split_once('{') else { return series.to_owned() };
    let mut labels: Vec<_> =
        labels.trim_end_matches('}').split_inclusive("\",").map(|l| l.trim_end_matches(',')).collect();
    labels.retain(|label| has_serial_number || !label.starts_with("serialnumber="));
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

/// The types of families of an exposition.
fn families(exposition: &str) -> BTreeMap<&str, &str> {
    exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

/// The names of the labels of a family.
fn labels<'a>(exposition: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let series = exposition.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix('{')?.split_once('}'));
    series.flat_map(|(labels, _)| labels.split("\",")).filter_map(|label| label.split_once('=').map(|(name, _)| name))
}

/// What families of both are of another type.
fn types([theirs, ours]: [Option<&Answer>; 2]) -> String {
    let [theirs, ours] = [theirs, ours].map(|answer| families(answer.map_or("", |answer| &answer.body)));
    let mut wrong = String::new();
    for (name, there) in theirs {
        if let Some(here) = ours.get(name).filter(|here| **here != there) {
            writeln!(wrong, "    {name} is a {there} there, a {here} here").unwrap();
        }
    }
    wrong
}

/// Whether a response came there, as far as they tell it: what they say of one that never came is 0, or of gRPC 14 (unavailable).
fn is_answered(theirs: &Said) -> bool {
    theirs.iter().any(|(name, value)| match name.split('{').next().unwrap_or_default() {
        "probe_http_status_code" | "probe_dns_query_succeeded" | "probe_grpc_healthcheck_response" => *value > 0.0,
        "probe_grpc_status_code" => ![0.0, 14.0].contains(value),
        _ => false,
    })
}

/// Whether a series is a time that a probe takes, which is never the same twice.
fn is_duration(name: &str) -> bool {
    let family = name.split('{').next().unwrap_or_default();
    family.ends_with("_duration_seconds") || family == "probe_dns_lookup_time_seconds"
}

/// What cannot be of our durations: negative ones, longer ones than the probe took, or than it might.
fn nonsense(series: &Said, case: &Case) -> String {
    let Some(whole) = series.get("probe_duration_seconds") else { return String::new() };
    let mut nonsense = String::new();
    let of = |family: &str| {
        let prefix = format!("{family}{{");
        series.iter().filter(|(name, _)| name.starts_with(&prefix)).map(|(_, value)| *value).sum::<f64>()
    };
    // A busy machine may be late, but not for long.
    let late = *whole > case.timeout.as_secs_f64() + 2.0;
    if late || series.iter().any(|(name, value)| is_duration(name) && *value < 0.0) {
        writeln!(nonsense, "    the probe took {whole} s").unwrap();
    }
    for family in ["probe_http_duration_seconds", "probe_icmp_duration_seconds", "probe_dns_duration_seconds"] {
        if of(family) > whole + 1e-3 {
            writeln!(nonsense, "    {family}: {} s of {whole} s", of(family)).unwrap();
        }
    }
    nonsense
}

/// The flags of a help of Go's kingpin, with their defaults.
fn their_flags(help: &str) -> Said {
    let lines = help.lines().map(|line| line.trim_start().trim_start_matches("-h, "));
    let flags = lines.filter_map(|line| {
        let (flag, _) = line.strip_prefix("--")?.split_once("  ")?;
        let (name, default) = flag.split_once('=').unwrap_or((flag, ""));
        // `<url>` is no default, and what ends in an ellipsis may be given several times.
        let default = if default.starts_with('<') { "" } else { default.trim_end_matches(" ...").trim_matches('"') };
        Some(format!("--{} {default}", name.trim_start_matches("[no-]")))
    });
    flags.map(|flag| (flag, 1.0)).collect()
}

/// The flags of our help, with their defaults.
fn our_flags(help: &str) -> Said {
    let mut flags = Vec::new();
    for line in help.lines() {
        let line = line.trim_start().trim_start_matches("-h, ").trim_start_matches("-V, ");
        match (line.strip_prefix("--"), flags.last_mut()) {
            (Some(flag), _) => flags.push((flag.split(' ').next().unwrap(), "")),
            (None, Some((_, default))) => {
                let told = line.split_once("[default: ").and_then(|(_, rest)| rest.split(']').next());
                // One of several words says what stands for none.
                *default = told.filter(|told| !told.contains(' ')).unwrap_or(default);
            }
            (None, None) => {}
        }
    }
    flags.into_iter().map(|(name, default)| (format!("--{name} {default}"), 1.0)).collect()
}
