//! The same modules against the same servers, through this program and through Debian's blackbox_exporter: both say the same, series by
//! series, but for what `parity/differences.rs` lists.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the tests talk to their own servers, they are no probes"
)]

#[path = "parity/case.rs"]
mod case;
#[path = "parity/differences.rs"]
mod differences;
#[path = "parity/servers.rs"]
mod servers;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use case::Case;
use differences::{DIFFERENCES, Difference, NEWER};
use servers::{HOSTS, ROUTES, Servers};
use support::dns::series;
use support::{Running, get, program, skip, until};

/// The probers and their cases. Debian's has no `unix` and no `websocket`, and `traceroute` is ours alone.
const PROBERS: [(&str, &str); 5] = [
    ("http", include_str!("parity/cases/http.txt")),
    ("tcp", include_str!("parity/cases/tcp.txt")),
    ("icmp", include_str!("parity/cases/icmp.txt")),
    ("dns", include_str!("parity/cases/dns.txt")),
    ("grpc", include_str!("parity/cases/grpc.txt")),
];

const OURS: &str = "127.0.0.1:9116";
const THEIRS: &str = "127.0.0.1:9115";

/// Names that are known, and who is asked for others.
const MOUNTS: &str = "mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf";

/// Set where the test runs in its namespaces.
const INSIDE: &str = "UPLINK_PARITY_INSIDE";

#[test]
fn the_readme_has_the_differences() {
    let mut table = "| | blackbox_exporter | here | why |\n|---|---|---|---|\n".to_owned();
    for Difference { row, .. } in DIFFERENCES {
        writeln!(table, "| {} |", row.join(" | ")).unwrap();
    }
    assert!(include_str!("../README.md").contains(&table), "the README's table of differences must be:\n{table}");
}

#[test]
fn both_exporters_say_the_same() {
    if std::env::var_os(INSIDE).is_some() {
        return compare();
    }
    let programs = ["prometheus-blackbox-exporter", "nginx", "openssl", "unshare", "ip"].map(program);
    if programs.iter().any(Option::is_none) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hosts"), HOSTS).unwrap();
    std::fs::write(folder.path().join("resolv.conf"), "nameserver 127.0.0.53\noptions attempts:1\n").unwrap();
    let script = format!("{MOUNTS} && {ROUTES} && exec \"$@\"");
    let within = |user: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(user).args(["--net", "--mount", "sh", "-c", &script, "sh"]).current_dir(folder.path());
        command
    };
    // Root may make them, and others as root of a namespace of users.
    let users: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    let outcomes = users.map(|user| within(user).arg("true").output().unwrap());
    let Some(possible) = outcomes.iter().position(|outcome| outcome.status.success()) else {
        return skip(&format!("no namespaces: {}", String::from_utf8_lossy(&outcomes[1].stderr)));
    };
    let mut test = within(users[possible]);
    test.arg(std::env::current_exe().unwrap()).args(["--exact", "both_exporters_say_the_same", "--nocapture"]);
    let output = test.env(INSIDE, "1").env("RUST_BACKTRACE", "0").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn compare() {
    let folder = tempfile::tempdir().unwrap();
    let [nginx, openssl, blackbox] =
        ["nginx", "openssl", "prometheus-blackbox-exporter"].map(|name| program(name).unwrap());
    let _servers = Servers::start(folder.path(), &nginx, &openssl);
    let cases: Vec<_> = PROBERS.iter().flat_map(|(prober, cases)| case::read(prober, cases)).collect();
    let modules: String = cases.iter().map(Case::module).collect();
    std::fs::write(folder.path().join("blackbox.yml"), format!("modules:\n{modules}")).unwrap();
    let _exporters = [
        start(&blackbox, folder.path(), THEIRS),
        start(Path::new(env!("CARGO_BIN_EXE_uplink_exporter")), folder.path(), OURS),
    ];
    let mut comparison = Comparison::default();
    for case in &cases {
        comparison.probe(case);
    }
    for request in case::read_requests(include_str!("parity/cases/surface.txt")) {
        comparison.request(&request);
    }
    comparison.own_metrics();
    comparison.end();
}

/// Starts an exporter with the configuration.
fn start(program: &Path, folder: &Path, address: &str) -> Running {
    let mut command = Command::new(program);
    command.arg("--config.file=blackbox.yml").arg(format!("--web.listen-address={address}")).current_dir(folder);
    let running = Running::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    until("the exporter serves", || TcpStream::connect(address).is_ok());
    running
}

/// What was seen so far.
#[derive(Default)]
struct Comparison {
    /// Of which differences, which series and which cases.
    used: BTreeSet<(usize, &'static str)>,
    /// What is not listed.
    wrong: String,
}

impl Comparison {
    /// Probes through both at the same time.
    fn probe(&mut self, case: &Case) {
        let path = format!("/probe?module={}&target={}", case.name, case.target);
        let [theirs, ours] = at_once(|address| get(address, &path));
        let mut diff = String::new();
        if let Some(unexpected) = case.unexpected(ours.0, &ours.1) {
            writeln!(diff, "    {unexpected}").unwrap();
        }
        let [theirs, ours] = [theirs, ours].map(|answer| series_of(&answer));
        for side in [&theirs, &ours] {
            diff += &nonsense(side, case.timeout);
        }
        self.compare(case.name, &theirs, &ours, diff);
    }

    /// Compares the statuses of a request's answers.
    fn request(&mut self, request: &case::Request) {
        let headers = request.header.map(|header| format!("{header}\r\n")).unwrap_or_default();
        let statuses = at_once(|address| support::request(address, request.method, request.path, &headers).0);
        let [theirs, ours] = statuses.map(|status| BTreeMap::from([(STATUS.to_owned(), status.into())]));
        self.compare(request.name, &theirs, &ours, String::new());
    }

    /// Compares the names of the exporters' own metrics; those that are ours only need no reason.
    fn own_metrics(&mut self) {
        let names = |(status, body): (u16, String)| {
            assert_eq!(status, 200);
            let names = body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
            names.map(|name| (name.to_owned(), 1.0)).collect::<BTreeMap<_, _>>()
        };
        let [theirs, mut ours] = at_once(|address| names(get(address, "/metrics")));
        ours.retain(|name, _| theirs.contains_key(name));
        self.compare("own_metrics", &theirs, &ours, String::new());
    }

    /// Compares series; `diff` is what is wrong already.
    fn compare(&mut self, case: &str, theirs: &Series, ours: &Series, mut diff: String) {
        let names: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
        for name in names {
            let (there, here) = (theirs.get(name).copied(), ours.get(name).copied());
            let same = there == here || (is_duration(name) && there.is_some() && here.is_some());
            if !same && !self.is_listed(case, name, there, here) {
                let value = |value: Option<f64>| value.map_or("absent".to_owned(), |value| value.to_string());
                writeln!(diff, "    {name}: {} there, {} here", value(there), value(here)).unwrap();
            }
        }
        if !diff.is_empty() {
            writeln!(self.wrong, "{case}\n{diff}").unwrap();
        }
    }

    /// Whether a difference is listed; if so, it was seen.
    fn is_listed(&mut self, case: &str, name: &str, there: Option<f64>, here: Option<f64>) -> bool {
        let fits =
            |pattern: &&&str| pattern.strip_suffix('*').map_or(case == **pattern, |start| case.starts_with(start));
        for (n, difference) in differences()
            .enumerate()
            .filter(|(_, difference)| difference.shapes.iter().any(|shape| shape.is_of(there, here)))
        {
            let series = difference.series.iter().find(|start| name.starts_with(**start));
            let whichever = difference.cases.is_empty().then_some(&"");
            if let (Some(series), Some(case)) = (series, difference.cases.iter().find(fits).or(whichever)) {
                self.used.extend([(n, *series), (n, *case)]);
                return true;
            }
        }
        false
    }

    fn end(self) {
        assert!(self.wrong.is_empty(), "what is not listed differs:\n{}", self.wrong);
        let patterns = |(n, difference): (usize, &'static Difference)| {
            difference.series.iter().chain(difference.cases).map(move |pattern| (n, *pattern))
        };
        let unused: Vec<_> =
            differences().enumerate().flat_map(patterns).filter(|one| !self.used.contains(one)).collect();
        assert!(unused.is_empty(), "listed, and seen in no case (number in the list, series or case): {unused:?}");
    }
}

type Series = BTreeMap<String, f64>;

/// All that may differ.
fn differences() -> impl Iterator<Item = &'static Difference> {
    DIFFERENCES.iter().chain(NEWER)
}

/// Asks both at the same time: them, and us.
fn at_once<T: Send>(ask: impl Fn(SocketAddr) -> T + Sync) -> [T; 2] {
    thread::scope(|scope| {
        let asked = [THEIRS, OURS].map(|address| scope.spawn(|| ask(address.parse().unwrap())));
        asked.map(|asked| asked.join().unwrap())
    })
}

/// How the status of an answer is called among the series.
const STATUS: &str = "status";

/// The series of an answer, and its status as one more. Labels are in the order of the alphabet.
fn series_of((status, body): &(u16, String)) -> Series {
    let mut all = BTreeMap::from([(STATUS.to_owned(), f64::from(*status))]);
    if *status == 200 {
        all.extend(series(body).into_iter().map(|(name, value)| (in_order(&name), value)));
    }
    all
}

/// A series with its labels in order, and without one that 0.23 does not know yet.
fn in_order(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else { return series.to_owned() };
    let mut labels: Vec<_> =
        labels.trim_end_matches('}').split_inclusive("\",").map(|l| l.trim_end_matches(',')).collect();
    labels.retain(|label| !label.starts_with("serialnumber="));
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

/// Whether a series is a time that a probe takes, which is never the same twice.
fn is_duration(name: &str) -> bool {
    let family = name.split('{').next().unwrap_or_default();
    family.ends_with("_duration_seconds") || family == "probe_dns_lookup_time_seconds"
}

/// What cannot be of the durations of an exporter: negative ones, longer ones than the probe took, or than it might.
fn nonsense(series: &Series, timeout: Duration) -> String {
    let Some(whole) = series.get("probe_duration_seconds") else { return String::new() };
    let mut nonsense = String::new();
    let of = |family: &str| {
        let prefix = format!("{family}{{");
        series.iter().filter(|(name, _)| name.starts_with(&prefix)).map(|(_, value)| *value).sum::<f64>()
    };
    // A busy machine may be late, but not for long.
    if *whole > timeout.as_secs_f64() + 2.0 || series.iter().any(|(name, value)| is_duration(name) && *value < 0.0) {
        writeln!(nonsense, "    the probe took {whole} s").unwrap();
    }
    for family in ["probe_http_duration_seconds", "probe_icmp_duration_seconds", "probe_dns_duration_seconds"] {
        if of(family) > whole + 1e-3 {
            writeln!(nonsense, "    {family}: {} s of {whole} s", of(family)).unwrap();
        }
    }
    nonsense
}
