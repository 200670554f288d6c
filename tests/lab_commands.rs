//! What the program does in a lab of its own, `demo` and `selftest`, as a person runs it.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use support::{Running, free_port, get, skip, value};
use uplink_exporter::lab::selftest::{Bench, Case, Expect, Injected, Kind};
use uplink_exporter::lab::{Action, Binding, Isp, Lab};
use uplink_exporter::net::Family;
use uplink_exporter::verdict::Reason;

const PROGRAM: &str = env!("CARGO_BIN_EXE_uplink_exporter");

fn lab() -> bool {
    Lab::available().map_err(|why| skip(&why)).is_ok()
}

/// Runs the demo; gives back it, where it serves, and what it says.
fn demo(command: &mut Command) -> (Running, SocketAddr, Vec<String>) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    command.arg("demo").arg(format!("--web.listen-address={address}")).stdout(Stdio::piped());
    let mut demo = Running::start(command);
    let lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told = lines.take_while(|line| line != "Ctrl-C ends it all.").collect();
    (demo, address, told)
}

/// Ends a program by a signal; says whether it was a success.
fn end(mut program: Running, signal: &str) -> bool {
    Command::new("kill").args([signal, &program.0.id().to_string()]).status().unwrap();
    program.0.wait().unwrap().success()
}

/// Runs the demo; opens everything that it says one can open. Gives back its answers, by what follows the host in their URLs.
fn open_everything(command: &mut Command) -> Vec<(String, String)> {
    let (demo, address, told) = demo(command);
    let urls = told.iter().filter_map(|line| {
        let url = line.trim().trim_start_matches("curl -s ").trim_matches('\'');
        url.strip_prefix(&format!("http://{address}"))
    });
    let answers: Vec<_> = urls
        .map(|path| {
            let (status, body) = get(address, path);
            assert_eq!(status, 200, "{path}: {body}");
            (path.to_owned(), body)
        })
        .collect();
    assert!(answers.len() >= 10, "{told:?}");
    assert!(end(demo, "-TERM"));
    answers
}

#[test]
fn a_demo_that_ends_leaves_nothing_also_when_its_terminal_is_closed() {
    if !lab() {
        return;
    }
    for signal in ["-INT", "-TERM", "-HUP"] {
        let (demo, address, told) = demo(&mut Command::new(PROGRAM));
        let line = told.iter().find_map(|line| line.strip_prefix("The configuration is ")).unwrap();
        let configuration = std::path::Path::new(line.split(". Change it").next().unwrap());
        assert!(configuration.is_file());
        assert_eq!(get(address, "/-/healthy").0, 200);
        assert!(end(demo, signal), "{signal}");
        assert!(!configuration.parent().unwrap().exists(), "{signal} leaves {}", configuration.display());
    }
}

#[test]
fn everything_that_the_demo_shows_works() {
    if !lab() {
        return;
    }
    let mut connects = [None; 2];
    for (path, body) in open_everything(&mut Command::new(PROGRAM)) {
        if path.contains("format=json") {
            assert!(body.contains("\"success\": true"), "{path}: {body}");
        } else if path.contains("debug=true") {
            assert!(body.contains("\nprobe_success 1\n"), "{path}: {body}");
        } else if path.starts_with("/probe") {
            assert_eq!(value(&body, "probe_success"), Some(1.0), "{path}: {body}");
        }
        if path.contains("tcp_half_open") {
            connects[usize::from(path.contains("isp=b"))] = value(&body, "probe_tcp_handshake_rtt_seconds");
        }
        if path.contains("module=traceroute&") {
            assert_eq!(value(&body, "probe_traceroute_total_hops"), Some(9.0));
            assert_eq!(value(&body, "probe_traceroute_hop_rtt_best_seconds{hop=\"03\"}"), None, "it is silent");
            let step = ["04", "02"]
                .map(|hop| value(&body, &format!("probe_traceroute_hop_rtt_best_seconds{{hop=\"{hop}\"}}")).unwrap());
            assert_eq!(step[0] - step[1] > 0.040, path.contains("isp=b"), "{path}: {step:?}");
        }
    }
    let [a, b] = connects.map(|connect| connect.expect("a half-open check through both"));
    assert!((b - a - 0.040).abs() < 0.005, "A {a} s, B {b} s");
}

#[test]
fn the_command_that_the_demo_shows_probes_in_it() {
    if !lab() {
        return;
    }
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return skip("only root may enter the demo's namespace");
    }
    // Without its capabilities it makes a user namespace of its own, which is entered, too.
    let mut without = Command::new("setpriv");
    without.args(["--bounding-set=-net_admin,-sys_admin", "--inh-caps=-all", PROGRAM]);
    for (mut command, enters) in [(Command::new(PROGRAM), "nsenter --net="), (without, " --user ")] {
        let (demo, _, told) = demo(&mut command);
        let line = told.iter().find(|line| line.contains("nsenter")).unwrap();
        assert!(line.contains(enters), "{line}");
        let done = Command::new("sh").args(["-c", line]).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{line}: {said}\n{}", String::from_utf8_lossy(&done.stderr));
        for expected in ["\nISP      b (lab), from 10.2.0.2", "\n  3.|-- ???  ", "\n  9.|-- 198.51.100.10  "] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
        assert!(end(demo, "-TERM"));
    }
}

#[test]
fn the_demo_needs_no_root_outside_its_own_namespace() {
    if !lab() {
        return;
    }
    let inside = Command::new("unshare").args(["--user", "--map-root-user", "true"]).status();
    if !inside.is_ok_and(|status| status.success()) {
        return skip("unshare --user is not allowed here");
    }
    let answers = open_everything(Command::new("unshare").args(["--user", "--map-root-user", PROGRAM]));
    assert!(answers.iter().any(|(path, body)| path.contains("icmp") && body.contains("probe_success 1")));
}

#[test]
fn the_selftest_passes_and_says_so() {
    if !lab() {
        return;
    }
    let done = Command::new(PROGRAM).arg("selftest").output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    let passed = said.lines().filter(|line| line.contains(" pass ")).count();
    // 13 kinds of probes × 2 families × 2 ISPs × 3 means of binding, and the faults.
    assert!(passed > 13 * 2 * 2 * 3 + 50, "{said}");
    assert!(said.ends_with(&format!("\n{passed} of {passed} passed\n")), "{said}");
}

#[test]
fn the_selftest_tells_what_is_not_as_it_should_be() {
    if !lab() {
        return;
    }
    let bench = Bench::start().unwrap();
    let case = |kind, injected, expect| Case {
        kind,
        isp: Isp::A,
        family: Family::V4,
        binding: Binding::Address,
        injected,
        expect,
    };
    let slow = Injected::Fault(Action::Delay(std::time::Duration::from_millis(3)));
    let wrong = [
        (case(Kind::Tcp, slow, Expect::Path), "rtt 23."),
        (case(Kind::IcmpRaw, slow, Expect::Path), "rtt 23."),
        (case(Kind::Tcp, Injected::Nothing, Expect::Retransmits(1)), "0 SYNs sent again"),
        (case(Kind::Tcp, Injected::Nothing, Expect::Fails(Reason::ConnectionRefused, None)), "success"),
        (case(Kind::Tcp, Injected::ClosedPort, Expect::Path), "connection_refused"),
        (
            case(Kind::Tcp, Injected::ClosedPort, Expect::Fails(Reason::ConnectionTimeout, None)),
            "connection_refused in connect",
        ),
        (case(Kind::Tcp, Injected::ClosedPort, Expect::Fails(Reason::ConnectionRefused, Some(3))), "instead of from"),
    ];
    let prober = bench.lab.prober().clone();
    let outcomes = prober.block_on(async move {
        let mut outcomes = Vec::new();
        for (number, (case, _)) in wrong.iter().enumerate() {
            outcomes.push(bench.run(case, number).await.unwrap());
        }
        outcomes
    });
    for (outcome, (case, expected)) in outcomes.unwrap().into_iter().zip(wrong) {
        let why = outcome.expect_err("it is wrong");
        assert!(why.contains(expected), "{case:?}: {why}");
    }
}
