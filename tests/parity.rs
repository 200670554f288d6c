//! The same modules against the same servers, the same requests and flags, through this program and through blackbox_exporter: both say the
//! same, series by series, but for what `parity/differences.rs` lists.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the tests talk to their own servers, they are no probes"
)]

#[path = "parity/case.rs"]
mod case;
#[path = "parity/comparison.rs"]
mod comparison;
#[path = "parity/differences.rs"]
mod differences;
#[path = "parity/offers.rs"]
mod offers;
#[path = "parity/servers.rs"]
mod servers;
mod support;
#[path = "parity/timed.rs"]
mod timed;

use std::fmt::Write as _;
use std::process::Command;

use case::{Case, Name};
use comparison::{CONFIGURATION, Comparison};
use servers::{HOSTS, ROUTES, Servers};
use support::lab::alone;
use support::peer::{BLACKBOX_EXPORTER, Peer};
use support::{program, skip};

/// The probers and their cases; `traceroute` is ours alone.
const PROBERS: [(&str, &str); 7] = [
    ("http", include_str!("parity/cases/http.txt")),
    ("tcp", include_str!("parity/cases/tcp.txt")),
    ("icmp", include_str!("parity/cases/icmp.txt")),
    ("dns", include_str!("parity/cases/dns.txt")),
    ("grpc", include_str!("parity/cases/grpc.txt")),
    ("unix", include_str!("parity/cases/unix.txt")),
    ("websocket", include_str!("parity/cases/websocket.txt")),
];

/// The cases of which is known how long they take.
const TIMED: &str = include_str!("parity/cases/timed.txt");
const SURFACE: &str = include_str!("parity/cases/surface.txt");
const TIMEOUTS: &str = include_str!("parity/cases/timeouts.txt");
const STARTS: &str = include_str!("parity/cases/starts.txt");

/// A configuration that nobody takes.
const WRONG: &str = "modules: {a: {prober: icmp, icmp: {ttl: 300}}}\n";

/// What is compared once.
const HEADINGS: Name = Name { text: "headings", since: None };
const OWN_METRICS: Name = Name { text: "own_metrics", since: None };
const FLAGS: Name = Name { text: "flags", since: None };
const OFFERS: Name = Name { text: "offers", since: None };

/// Names that are known, and who is asked for others.
const MOUNTS: &str = "mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf";

/// What starts the exporters: with proxies in their environment.
const BY: [&str; 3] =
    ["env", "HTTP_PROXY=http://me:secret@127.0.0.1:3128", "HTTPS_PROXY=http://me:secret@127.0.0.1:3128"];

/// Set where the test runs in its namespaces.
const INSIDE: &str = "UPLINK_PARITY_INSIDE";

#[test]
fn the_readme_has_the_differences() {
    let mut table = "| | blackbox_exporter | here | why |\n|---|---|---|---|\n".to_owned();
    for row in differences::rows() {
        writeln!(table, "| {} |", row.join(" | ")).unwrap();
    }
    assert!(include_str!("../README.md").contains(&table), "the README's table of differences must be:\n{table}");
}

#[test]
fn both_exporters_say_the_same() {
    if std::env::var_os(INSIDE).is_some() {
        return compare();
    }
    let Some(peer) = Peer::find() else { return };
    let _alone = alone();
    if ["nginx", "openssl", "unshare", "ip"].map(program).iter().any(Option::is_none) {
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
    tell(&peer, &names());
    let mut test = within(users[possible]);
    test.arg(std::env::current_exe().unwrap()).args(["--exact", "both_exporters_say_the_same", "--nocapture"]);
    test.env(INSIDE, "1").env(BLACKBOX_EXPORTER, &peer.program).env("RUST_BACKTRACE", "0");
    let output = test.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn both_exporters_tell_the_durations_that_there_are() {
    let Some(peer) = Peer::find() else { return };
    let _alone = alone();
    let names: Vec<_> = case::read_timed(TIMED).map(|case| case.name).collect();
    tell(&peer, &names);
    let cases: Vec<_> = case::read_timed(TIMED).filter(|case| case.name.is_for(peer.version)).collect();
    timed::compare(&peer, &cases, &names);
}

/// Says what is compared, and what is not, and why.
fn tell(peer: &Peer, names: &[Name]) {
    let (run, rest): (Vec<&Name>, Vec<&Name>) = names.iter().partition(|name| name.is_for(peer.version));
    let mut text = format!("{} cases beside blackbox_exporter {}", run.len(), peer.version);
    if !rest.is_empty() {
        let rest: Vec<_> = rest.iter().map(|name| format!("{} ({})", name.text, name.since.unwrap())).collect();
        write!(text, "; not run, as they need the version behind them: {}", rest.join(", ")).unwrap();
    }
    support::tell(&text);
}

fn cases() -> impl Iterator<Item = Case> {
    PROBERS.iter().flat_map(|(prober, cases)| case::read(prober, cases))
}

/// The names of all cases.
fn names() -> Vec<Name> {
    let requests = case::read_requests(SURFACE).map(|request| request.name);
    let timeouts = case::read_timeouts(TIMEOUTS).map(|timeout| timeout.name);
    let starts = case::read_starts(STARTS).map(|start| start.name);
    let all = cases().map(|case| case.name).chain(requests).chain(timeouts).chain(starts);
    all.chain([HEADINGS, OWN_METRICS, FLAGS, OFFERS]).collect()
}

fn compare() {
    let peer = Peer::find().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [nginx, openssl] = ["nginx", "openssl"].map(|name| program(name).unwrap());
    let _servers = Servers::start(folder.path(), &nginx, &openssl);
    let cases: Vec<_> = cases().filter(|case| case.name.is_for(peer.version)).collect();
    let timeouts: Vec<_> = case::read_timeouts(TIMEOUTS).collect();
    let modules: String = cases.iter().map(Case::module).chain(timeouts.iter().map(case::Timeout::module)).collect();
    // What stands in a module itself, as a string of YAML.
    let modules = ["ca.pem", "client.pem", "client.key"].iter().fold(modules, |modules, name| {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap().replace('\n', "\\n");
        modules.replace(&format!("TEXT_OF({name})"), &format!("\"{text}\""))
    });
    std::fs::write(folder.path().join(CONFIGURATION), format!("modules:\n{modules}")).unwrap();
    std::fs::write(folder.path().join("wrong.yml"), WRONG).unwrap();
    let mut comparison = Comparison::start(&peer, folder.path(), &BY, f64::INFINITY);
    for case in &cases {
        comparison.probe(case);
    }
    for request in case::read_requests(SURFACE).filter(|request| request.name.is_for(peer.version)) {
        comparison.request(&request);
    }
    for timeout in &timeouts {
        comparison.timeout(timeout);
    }
    for start in case::read_starts(STARTS).filter(|start| start.name.is_for(peer.version)) {
        comparison.end_of(&start);
    }
    comparison.headings(HEADINGS, "/probe?module=tcp_connect&target=127.0.0.1:80&debug=true");
    comparison.flags(FLAGS);
    comparison.offers(OFFERS, "tls_by_address");
    comparison.own_metrics(OWN_METRICS, WRONG);
    let known: Vec<_> = names().into_iter().chain(case::read_timed(TIMED).map(|case| case.name)).collect();
    comparison.end(&known, |_| true);
}
