//! A program that stood still finds the answers that came meanwhile: they are neither lost nor late.

#![expect(clippy::unwrap_used, reason = "a test ends where its helpers find what cannot be")]

mod support;

use std::process::Command;
use std::thread;
use std::time::Duration;

use support::lab::{Site, host};
use support::{Exporter, get, value};
use uplink_exporter::lab::{Action, Fault, Isp, Matches, Path, Topology, target};
use uplink_exporter::net::Family;

const PROBES: &str = "
isps:
  a: {source_ip: 10.1.0.2}
modules:
  trace_icmp: {prober: traceroute}
  trace_udp: {prober: traceroute, traceroute: {protocol: udp}}
  trace_tcp: {prober: traceroute, traceroute: {protocol: tcp, port: 80}}
  half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true}}
  icmp_raw: {prober: icmp, icmp: {raw: true, count: 3}}
  icmp_datagram: {prober: icmp, icmp: {raw: false, count: 3}}
  slow_icmp_raw: {prober: icmp, icmp: {raw: true, count: 3, interval: 1s}}
  slow_icmp_datagram: {prober: icmp, icmp: {raw: false, count: 3, interval: 1s}}
  slow_trace_icmp: {prober: traceroute, traceroute: {interval: 1s}}
  short_tcp: {prober: tcp, timeout: 1s}
  short_half_open: {prober: tcp, timeout: 1s, tcp: {half_open: true}}
  short_half_open_raw: {prober: tcp, timeout: 1s, tcp: {half_open: true, raw: true}}
  short_http: {prober: http, timeout: 1s}
  short_icmp_raw: {prober: icmp, timeout: 1s, icmp: {raw: true}}
  short_icmp_datagram: {prober: icmp, timeout: 1s, icmp: {raw: false}}
  short_trace_icmp: {prober: traceroute, timeout: 1s}
  short_trace_udp: {prober: traceroute, timeout: 1s, traceroute: {protocol: udp}}
  short_trace_tcp: {prober: traceroute, timeout: 1s, traceroute: {protocol: tcp, port: 80}}
";

/// The exporter in the lab, whose round trips take 300 ms, and a way to stop it during a probe.
struct Stalled {
    site: Site,
    exporter: Exporter,
}

impl Stalled {
    fn start() -> Option<Self> {
        let path = |isp| Path::straight(isp, &[40_000, 40_000, 80_000, 80_000], 60_000);
        let topology = Topology { seed: 1, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() };
        let site = Site::start(topology, "  none: {prober: icmp}\n")?;
        let exporter = Exporter::start_by(PROBES, |command| site.lab.prober().spawn(command).unwrap());
        site.lab.prober().run(|| exporter.wait()).unwrap();
        Some(Self { site, exporter })
    }

    /// Runs a probe, and stops the exporter so long after the request, in milliseconds, and for so long.
    fn probe(&self, module: &str, target: &str, after: u64, still: u64) -> String {
        let signal = |name: &str| {
            let id = self.exporter.process.0.id().to_string();
            assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
        };
        let path = format!("/probe?module={module}&isp=a&target={target}");
        thread::scope(|scope| {
            let asked = scope.spawn(|| self.site.lab.prober().run(|| get(self.exporter.address, &path)).unwrap());
            thread::sleep(Duration::from_millis(after));
            signal("-STOP");
            thread::sleep(Duration::from_millis(still));
            signal("-CONT");
            let (status, body) = asked.join().unwrap();
            assert_eq!(status, 200, "{body}");
            body
        })
    }
}

#[test]
fn what_arrived_while_we_stood_still_has_arrived() {
    let Some(stalled) = Stalled::start() else { return };
    let probe = |module, behind, after| {
        let body = stalled.probe(module, &format!("{}{behind}", host(Family::V4, 10)), after, 1_500);
        assert_eq!(value(&body, "probe_success"), Some(1.0), "{module}: {body}");
        let overhead = value(&body, "probe_measurement_overhead_seconds").unwrap();
        assert!(overhead > 1.2, "{module}: {overhead} s of 1.5 are ours: {body}");
        body
    };
    for module in ["trace_icmp", "trace_udp", "trace_tcp"] {
        // The third round has just left.
        let body = probe(module, "", 350);
        for hop in 1..=5 {
            let received = value(&body, &format!("probe_traceroute_hop_received{{hop=\"{hop:02}\"}}"));
            assert_eq!(received, Some(3.0), "hop {hop} of {module}: {body}");
        }
    }
    let body = probe("half_open_raw", ":80", 150);
    assert_eq!(value(&body, "probe_tcp_syn_retransmits"), Some(0.0), "{body}");
    for module in ["icmp_raw", "icmp_datagram"] {
        let body = probe(module, "", 350);
        assert_eq!(value(&body, "probe_icmp_packets_received"), Some(3.0), "{module}: {body}");
    }
}

#[test]
fn what_we_oversleep_between_two_packets_is_ours() {
    let Some(stalled) = Stalled::start() else { return };
    for (module, phase) in [("icmp_raw", "interval"), ("icmp_datagram", "interval"), ("trace_icmp", "trace")] {
        // All that left was answered, and the next packet is not due yet, or just now.
        let body = stalled.probe(&format!("slow_{module}"), &host(Family::V4, 10), 600, 1_500);
        let overhead = value(&body, "probe_measurement_overhead_seconds").unwrap();
        let span = value(&body, &format!("probe_phase_duration_seconds{{phase=\"{phase}\"}}")).unwrap();
        assert!(overhead > 0.8, "{module}: {overhead} s of at least 0.9 are ours: {body}");
        assert!(span < 2.6, "{module}: {phase} is 2 s and a round trip: {body}");
    }
}

#[test]
fn a_deadline_that_passes_while_we_stand_still_is_no_fault_of_the_network() {
    let Some(stalled) = Stalled::start() else { return };
    let [answers, silent] = [host(Family::V4, 10), host(Family::V4, 11)];
    stalled.site.lab.change(|topology| {
        let destination = Some(target(Family::V4, 11));
        topology.faults.push(Fault { of: Matches { destination, ..Matches::default() }, action: Action::Drop });
    });
    let (tcp, url) = (format!("{answers}:80"), format!("http://{answers}/"));
    // The module, its target, when it is stopped, and what comes of it: a success, or this reason.
    let cases = [
        // The last answer is on its way.
        ("short_tcp", tcp.clone(), 150, None),
        ("short_half_open", tcp.clone(), 150, None),
        ("short_half_open_raw", tcp.clone(), 150, None),
        ("short_icmp_raw", answers.clone(), 150, None),
        ("short_icmp_datagram", answers.clone(), 150, None),
        ("short_trace_icmp", answers.clone(), 150, None),
        ("short_trace_udp", answers.clone(), 150, None),
        ("short_trace_tcp", answers.clone(), 150, None),
        ("short_http", url.clone(), 450, None),
        // There is more to be said after it.
        ("short_http", url, 150, Some("prober_overload")),
        // Nothing is on its way.
        ("short_tcp", format!("{silent}:80"), 500, Some("connection_timeout")),
        ("short_http", format!("http://{silent}/"), 500, Some("connection_timeout")),
        ("short_half_open_raw", format!("{silent}:80"), 500, Some("connection_timeout")),
        ("short_icmp_raw", silent.clone(), 500, Some("icmp_timeout")),
        ("short_icmp_datagram", silent, 500, Some("icmp_timeout")),
    ];
    for (module, target, after, expected) in cases {
        let body = stalled.probe(module, &target, after, 1_500);
        let reason = body.lines().find_map(|line| {
            line.strip_prefix("probe_failure_info{")?
                .split_once("reason=\"")?
                .1
                .split_once('"')
                .map(|(reason, _)| reason)
        });
        assert_eq!(reason, expected, "{module} of {target}: {body}");
        assert_eq!(value(&body, "probe_success"), Some(f64::from(u8::from(expected.is_none()))), "{body}");
        if reason.is_none() {
            let overhead = value(&body, "probe_measurement_overhead_seconds").unwrap();
            assert!(overhead > 1.2, "{module}: {overhead} s of 1.5 are ours: {body}");
        }
    }
}

#[test]
fn what_arrives_after_the_deadline_is_too_late_however_late_we_look() {
    let Some(stalled) = Stalled::start() else { return };
    // A round trip takes longer than a probe.
    stalled.site.lab.change(|topology| {
        let of = Matches::default();
        topology.faults.push(Fault { of, action: Action::Delay(Duration::from_millis(1_200)) });
    });
    let answers = host(Family::V4, 10);
    for (module, target, reason) in [
        ("short_tcp", format!("{answers}:80"), "connection_timeout"),
        ("short_half_open", format!("{answers}:80"), "connection_timeout"),
        ("short_half_open_raw", format!("{answers}:80"), "connection_timeout"),
        ("short_icmp_raw", answers.clone(), "icmp_timeout"),
        ("short_icmp_datagram", answers.clone(), "icmp_timeout"),
        ("short_trace_icmp", answers.clone(), "icmp_timeout"),
    ] {
        let body = stalled.probe(module, &target, 500, 1_500);
        assert!(body.contains(&format!("reason=\"{reason}\"")), "{module}: {body}");
    }
}
