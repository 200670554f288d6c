//! What works without privileges does, and what does not says what it lacks.

mod support;

use std::net::TcpListener;
use std::process::Command;

use support::{Exporter, get, program, value};

const PROBES: &str = "
isps:
  marked: {fwmark: 7}
  addressed: {source_ip: 127.0.0.2}
modules:
  tcp: {prober: tcp}
  half_open: {prober: tcp, tcp: {half_open: true}}
  half_open_raw: {prober: tcp, tcp: {half_open: true, raw: true}}
  http: {prober: http}
  icmp_raw: {prober: icmp, icmp: {raw: true}}
  trace_icmp: {prober: traceroute, traceroute: {protocol: icmp}}
  trace_udp: {prober: traceroute, traceroute: {protocol: udp}}
  trace_tcp: {prober: traceroute, traceroute: {protocol: tcp}}
";

#[test]
fn without_capabilities_only_raw_packets_and_marks_fail_and_say_why() {
    let Some(setpriv) = program("setpriv") else { return };
    let exporter = Exporter::start_by(PROBES, |command| {
        let mut unprivileged = Command::new(setpriv);
        unprivileged.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]);
        unprivileged.arg(command.get_program()).args(command.get_args()).spawn().unwrap()
    });
    exporter.wait();
    let status = std::fs::read_to_string(format!("/proc/{}/status", exporter.process.0.id())).unwrap();
    assert!(status.contains("CapEff:\t0000000000000000\n"), "{status}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let probe = |module: &str, isp: &str, target: &str| {
        let isp = if isp.is_empty() { String::new() } else { format!("&isp={isp}") };
        let (status, body) = get(exporter.address, &format!("/probe?module={module}&target={target}{isp}"));
        assert_eq!(status, 200, "{body}");
        body
    };
    for module in ["tcp", "half_open"] {
        for isp in ["", "addressed"] {
            let body = probe(module, isp, &target);
            assert_eq!(value(&body, "probe_success"), Some(1.0), "{module}: {body}");
        }
    }
    for (module, isp, target) in [
        ("half_open_raw", "", target.as_str()),
        ("icmp_raw", "", "127.0.0.1"),
        ("trace_icmp", "", "127.0.0.1"),
        ("trace_udp", "", "127.0.0.1"),
        ("trace_tcp", "addressed", "127.0.0.1"),
        ("tcp", "marked", target.as_str()),
        ("http", "marked", "127.0.0.1"),
    ] {
        let body = probe(module, isp, target);
        assert_eq!(value(&body, "probe_success"), Some(0.0), "{module}: {body}");
        assert!(body.contains("reason=\"prober_config_error\""), "{module}: {body}");
    }
}
