//! A program that stood still finds the answers that came meanwhile: they are neither lost nor late.

mod support;

use std::process::Command;
use std::thread;
use std::time::Duration;

use support::lab::{Site, host};
use support::{Exporter, get, value};
use uplink_exporter::lab::{Isp, Path, Topology};
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
";

#[test]
fn what_arrived_while_we_stood_still_has_arrived() {
    let path = |isp| Path::straight(isp, &[10_000, 10_000, 20_000, 20_000], 20_000);
    let topology = Topology { seed: 1, a: path(Isp::A), b: path(Isp::B), faults: Vec::new() };
    let Some(site) = Site::start(topology, "  none: {prober: icmp}\n") else { return };
    let exporter = Exporter::start_by(PROBES, |command| site.lab.prober().spawn(command).unwrap());
    let signal = |name: &str| {
        let id = exporter.process.0.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    };
    // Stops the exporter so long after the request, in milliseconds, and for so long.
    let probe = |module: &str, behind: &str, after: u64, still: u64| {
        let path = format!("/probe?module={module}&isp=a&target={}{behind}", host(Family::V4, 10));
        thread::scope(|scope| {
            let asked = scope.spawn(|| site.lab.prober().run(|| get(exporter.address, &path)).unwrap());
            thread::sleep(Duration::from_millis(after));
            signal("-STOP");
            thread::sleep(Duration::from_millis(still));
            signal("-CONT");
            let (status, body) = asked.join().unwrap();
            assert_eq!(status, 200, "{body}");
            assert_eq!(value(&body, "probe_success"), Some(1.0), "{module}: {body}");
            body
        })
    };
    site.lab.prober().run(|| exporter.wait()).unwrap();
    for module in ["trace_icmp", "trace_udp", "trace_tcp"] {
        // The third round has just left.
        let body = probe(module, "", 230, 1_500);
        for hop in 1..=5 {
            let received = value(&body, &format!("probe_traceroute_hop_received{{hop=\"{hop:02}\"}}"));
            assert_eq!(received, Some(3.0), "hop {hop} of {module}: {body}");
        }
    }
    let body = probe("half_open_raw", ":80", 30, 1_500);
    assert_eq!(value(&body, "probe_tcp_syn_retransmits"), Some(0.0), "{body}");
    for module in ["icmp_raw", "icmp_datagram"] {
        let body = probe(module, "", 230, 1_500);
        assert_eq!(value(&body, "probe_icmp_packets_received"), Some(3.0), "{module}: {body}");
    }
}
